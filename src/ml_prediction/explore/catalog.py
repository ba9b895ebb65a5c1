"""A catalogue of bundles: what a search in ComCat finds, one folder each, made and continued.

::

    found = BundleCatalog.search("M4", start, end, region=(47.6, -122.6, 100), min_magnitude=4)
    for bundle in found.build(recipe):
        ...
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import pandas as pd
from obspy import UTCDateTime
from obspy.geodetics import kilometers2degrees

from ml_prediction.data.comcat import Summary, search
from ml_prediction.data.faults import UnreachableError
from ml_prediction.data.store import alone
from ml_prediction.errors import ConfigurationError, DataError, ServiceError
from ml_prediction.explore.bundle import EventBundle
from ml_prediction.explore.bundle_folder import is_bundle, plain_name
from ml_prediction.explore.bundle_recipe import Recipe, build, failed_of
from ml_prediction.explore.bundle_waveforms import ANTIPODE_KM, AnyClient, as_server
from ml_prediction.util.files import write_whole
from ml_prediction.util.times import isoformat, to_utc

INDEX: Final = "catalog.json"
FORMAT: Final = "ml_prediction catalogue of bundles, 1"
HOPELESS: Final = 3
"""Events in a row that find no server, after which a run ends."""


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for.

    Attributes
    ----------
    start, end
        Origin times, ISO 8601.
    region
        Latitude, longitude, radius in km; None: the world.
    min_magnitude, max_magnitude, min_depth_km, max_depth_km
        None: no limit.
    """

    start: str
    end: str
    region: tuple[float, float, float] | None = None
    min_magnitude: float | None = None
    max_magnitude: float | None = None
    min_depth_km: float | None = None
    max_depth_km: float | None = None

    @property
    def query(self) -> dict[str, float | str | None]:
        """As parameters of ComCat's event service."""
        words: dict[str, float | str | None] = {
            "minmagnitude": self.min_magnitude,
            "maxmagnitude": self.max_magnitude,
            "mindepth": self.min_depth_km,
            "maxdepth": self.max_depth_km,
            "eventtype": "earthquake",
        }
        if self.region is not None:
            latitude, longitude, radius = self.region
            words |= {
                "latitude": latitude,
                "longitude": longitude,
                "maxradius": round(kilometers2degrees(radius), 5),
            }
        return words


@dataclass(slots=True)
class Outcome:
    """What `BundleCatalog.build` could not do.

    Attributes
    ----------
    failed
        Errors by event id: the same call again tries them again.
    empty
        Events of which no waveforms are to be had.
    """

    failed: dict[str, str] = field(default_factory=dict)
    empty: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class BundleCatalog:
    """Events of a search, and the folder of their bundles.

    Attributes
    ----------
    folder
        With `INDEX`, and a folder for each bundle that is there.
    looked_for
        The search.
    events
        In order of time.
    """

    folder: Path
    looked_for: Search
    events: tuple[Summary, ...]

    @classmethod
    def search(
        cls,
        folder: str | Path,
        start: UTCDateTime | str,
        end: UTCDateTime | str,
        *,
        region: tuple[float, float, float] | None = None,
        min_magnitude: float | None = None,
        max_magnitude: float | None = None,
        min_depth_km: float | None = None,
        max_depth_km: float | None = None,
        client: AnyClient = "USGS",
        again: bool = False,
    ) -> Self:
        """Search ComCat, or take the list that an earlier search into the folder has left.

        Parameters
        ----------
        folder
            For the list, and the bundles.
        start, end
            Of the origin times, UTC.
        region
            Latitude, longitude (degrees), radius (km).
        min_magnitude, max_magnitude, min_depth_km, max_depth_km
            Limits.
        client
            Server of the event service.
        again
            Search anew: events may have come since. Bundles that are there stay.

        Raises
        ------
        ConfigurationError
            If a limit is none, or the folder is that of another search.
        ServiceError
            If the server doesn't answer.
        """
        first, last = _time(start, "start"), _time(end, "end")
        if last <= first:
            raise ConfigurationError(f"{last} is not later than {first}: give --from and --to.")
        if region is not None and not (
            -90 <= region[0] <= 90 and -180 <= region[1] <= 180 and 0 < region[2] <= ANTIPODE_KM
        ):
            raise ConfigurationError(
                f"Region {region}: give latitude, longitude (degrees) and radius (km, at most "
                f"{ANTIPODE_KM:g})."
            )
        _check_limits("magnitude", "", min_magnitude, max_magnitude)
        _check_limits("depth", "_km", min_depth_km, max_depth_km)
        wanted = Search(
            isoformat(first),
            isoformat(last),
            None if region is None else (float(region[0]), float(region[1]), float(region[2])),
            min_magnitude,
            max_magnitude,
            min_depth_km,
            max_depth_km,
        )
        path = Path(folder)
        if (path / INDEX).is_file():
            old = cls.load(path)
            if old.looked_for != wanted:
                raise ConfigurationError(
                    f"{path} is the catalogue of another search ({old.looked_for}): choose another "
                    "folder."
                )
            if not again:
                return old
        events = search(as_server(client), first, last, **wanted.query)
        made = cls(path, wanted, tuple(events))
        with alone(path):
            write_whole(path / INDEX, made._index())
        return made

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Catalogue of a folder.

        Raises
        ------
        ConfigurationError
            If there is none.
        DataError
            If its list is damaged.
        """
        path = Path(folder) / INDEX
        try:
            table = json.loads(path.read_text("utf-8"))
            if table["format"] != FORMAT:
                raise ValueError(f"format {table['format']!r}")
            wanted = table["search"]
            region = wanted.pop("region")
            looked_for = Search(**wanted, region=None if region is None else tuple(region))
            events = tuple(_summary(each) for each in table["events"])
        except OSError as error:
            raise ConfigurationError(
                f"{path.parent}: no catalogue of bundles ({path.name}: {error.strerror})."
            ) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"{path}: damaged ({error!r}). Remove it and search again: bundles that are there "
                "stay."
            ) from error
        return cls(Path(folder), looked_for, events)

    def __len__(self) -> int:
        return len(self.events)

    def __iter__(self) -> Iterator[EventBundle]:
        """Bundles that are there, one at a time in memory."""
        for event in self.events:
            if is_bundle(self.path(event.event_id)):
                yield EventBundle.load(self.path(event.event_id))

    def __getitem__(self, event_id: str) -> EventBundle:
        if event_id not in {event.event_id for event in self.events}:
            raise KeyError(event_id)
        return EventBundle.load(self.path(event_id))

    def path(self, event_id: str) -> Path:
        """Folder of an event's bundle."""
        return self.folder / plain_name(event_id)

    def build(
        self,
        recipe: Recipe,
        outcome: Outcome | None = None,
        done: Callable[[int], None] | None = None,
    ) -> Iterator[EventBundle]:
        """Make each bundle, or complete it; yields them one by one.

        An event that fails is noted in `outcome` and the next one is made; the same call again
        tries it again.

        Parameters
        ----------
        recipe
            How.
        outcome
            Takes what failed, and what has no waveforms.
        done
            Hears of the number of events that are over.

        Raises
        ------
        UnreachableError
            If no server is found for several events in a row.
        """
        failed = outcome if outcome is not None else Outcome()
        in_a_row = 0
        for number, event in enumerate(self.events, 1):
            try:
                bundle = build(event.event_id, self.path(event.event_id), recipe)
            except (ServiceError, DataError, ConfigurationError) as error:
                failed.failed[event.event_id] = str(error)
                in_a_row = in_a_row + 1 if isinstance(error, UnreachableError) else 0
                if in_a_row == min(HOPELESS, len(self.events)):
                    raise
            else:
                in_a_row = 0
                lost = failed_of(bundle, recipe)
                if lost:
                    failed.failed[event.event_id] = f"waveforms: {lost[0]}"
                elif recipe.data is not None and not bundle.miniseed:
                    failed.empty.append(event.event_id)
                yield bundle
            if done is not None:
                done(number)

    def table(self) -> pd.DataFrame:
        """Events as a table, with what there is of each."""
        rows = []
        for event in self.events:
            row = {**asdict(event), "time": pd.Timestamp(event.time_ns, tz="UTC"), "state": "none"}
            del row["time_ns"]
            rows.append(row | self._counts(event.event_id))
        columns = ["event_id", "time", "latitude", "longitude", "depth_km", "magnitude"]
        more = ["magnitude_type", "place", "state", "channels", "catalogue_picks", "picks"]
        return pd.DataFrame(rows, columns=[*columns, *more])

    def _counts(self, event_id: str) -> dict[str, Any]:
        path = self.path(event_id)
        if not is_bundle(path):
            return {"channels": 0, "catalogue_picks": 0, "picks": 0}
        try:
            bundle = EventBundle.load(path)
        except DataError:
            return {"state": "damaged", "channels": 0, "catalogue_picks": 0, "picks": 0}
        return {
            "state": "failed" if bundle.failed else "there",
            "channels": len(bundle.miniseed),
            "catalogue_picks": len(bundle.arrivals),
            "picks": len(bundle.picks),
        }

    def _index(self) -> bytes:
        events = [
            {k: None if v != v else v for k, v in asdict(event).items()} for event in self.events
        ]
        table = {"format": FORMAT, "search": asdict(self.looked_for), "events": events}
        return (json.dumps(table, indent=1, ensure_ascii=False) + "\n").encode()

    def describe(self) -> list[str]:
        """Each event in a line."""
        return [
            f"{event.event_id}: M{event.magnitude:.1f} {isoformat(to_utc(event.time_ns))} "
            f"{event.place}".rstrip()
            for event in self.events
        ]


def _summary(table: dict[str, Any]) -> Summary:
    """An event of the list; ValueError, TypeError or KeyError if a person has damaged it."""
    for name in ("event_id", "magnitude_type", "place"):
        if not isinstance(table[name], str):
            raise ValueError(f"{name} {table[name]!r}")
    if not (table["event_id"] and isinstance(table["time_ns"], int)):
        raise ValueError(f"event {table['event_id']!r} at {table['time_ns']!r}")
    numbers = {
        name: math.nan if table[name] is None else float(table[name])
        for name in ("latitude", "longitude", "depth_km", "magnitude")
    }
    return Summary(**table | numbers)


def _check_limits(what: str, unit: str, low: float | None, high: float | None) -> None:
    """Whether something can be between two limits."""
    limits = {f"min_{what}{unit} (--min-{what})": low, f"max_{what}{unit} (--max-{what})": high}
    for name, limit in limits.items():
        if limit is not None and not math.isfinite(limit):
            raise ConfigurationError(f"{name} {limit}: give a number.")
    if low is not None and high is not None and low > high:
        raise ConfigurationError(
            f"{' is more than '.join(f'{name} {limit:g}' for name, limit in limits.items())}: "
            "nothing can be between them; exchange them."
        )


def _time(given: UTCDateTime | str, name: str) -> UTCDateTime:
    try:
        return UTCDateTime(given)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"{name} {given!r}: not a time; write it like 2023-10-09T02:21:00."
        ) from error
