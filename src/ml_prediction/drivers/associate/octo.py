"""Picks to PyOcto, a piece of the stream at a time, and events back.

PyOcto holds all picks that it is given, so years are cut into pieces. Pieces overlap, and an event
is taken once: from the piece that has all the time after its origin in which its arrivals come.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from obspy import UTCDateTime
from obspy.geodetics import gps2dist_azimuth

from ml_prediction.core.results import Pick, pick_order
from ml_prediction.drivers.associate.places import Code, Place, Places
from ml_prediction.drivers.associate.velocity import VelocityModel, write_table
from ml_prediction.errors import ConfigurationError
from ml_prediction.sinks.events import Arrival, Event

PHASES: Final = ("P", "S")

PICKS_AT_ONCE: Final = 50_000
"""Of a piece, if they span enough time: some 100 MB."""

BEFORE_S: Final = 10.0
"""A pick may be so much earlier than the origin that it is put to: more than any tolerance."""


@dataclass(frozen=True, slots=True)
class Area:
    """Box in degrees north and east."""

    south: float
    north: float
    west: float
    east: float


@dataclass(frozen=True, slots=True)
class Settings:
    """What PyOcto is told; names in brackets are its own.

    Attributes
    ----------
    min_picks, min_p, min_s, min_both
        Least numbers of an event: picks, P, S, stations with both (``n_picks``, ``n_p_picks``,
        ``n_s_picks``, ``n_p_and_s_picks``).
    tolerance_s
        Largest residual of a pick (``pick_match_tolerance``).
    velocity_tolerance_s
        What travel times may be wrong by in the search (``tolerance`` of the velocity model).
    cutoff_km
        Stations farther away don't take part in the search (``association_cutoff_distance``);
        None: all do.
    edt_std_s
        Standard deviation of picks in the locations (``exponential_edt``, ``edt_pick_std``); None:
        PyOcto's own misfit, which has none.
    depth_km
        Deepest events (``zlim``).
    area
        Where events may be; None: around the stations.
    margin_km
        How far around them.
    threads
        Of PyOcto; None: as many as there are cores.
    """

    min_picks: int = 10
    min_p: int = 3
    min_s: int = 3
    min_both: int = 3
    tolerance_s: float = 1.5
    velocity_tolerance_s: float = 2.0
    cutoff_km: float | None = None
    edt_std_s: float | None = None
    depth_km: float = 100.0
    area: Area | None = None
    margin_km: float = 50.0
    threads: int | None = None


class Associator:
    """PyOcto for one network of stations.

    Parameters
    ----------
    settings
        See there.
    velocity
        Velocity model.
    places
        Stations; the picks' others are not used.
    scratch
        Folder for the travel-time table; must be there as long as this object is used.

    Raises
    ------
    ConfigurationError
        If PyOcto, or pyrocko where it is needed, is not installed.
    """

    def __init__(
        self, settings: Settings, velocity: VelocityModel, places: Places, scratch: Path
    ) -> None:
        pyocto = import_pyocto()
        self._places = places
        self._transform, crs = _projection(pyocto, places, settings.area)
        stations = np.asarray([self._transform(p.latitude, p.longitude) for p in places.all()])
        xlim, ylim = self._limits(stations, settings)
        corners = np.asarray([(x, y) for x in xlim for y in ylim])
        width = max(float(np.hypot(*(s - c))) for s in [*stations, *corners] for c in corners)
        common = (settings.velocity_tolerance_s, settings.cutoff_km)
        if velocity.uniform:
            vp, vs = float(velocity.vp_km_s[0]), float(velocity.vs_km_s[0])
            model = pyocto.VelocityModel0D(vp, vs, *common)
            longest = math.hypot(width, settings.depth_km) / vs
        else:
            path = scratch / "travel_times"
            longest = write_table(velocity, width, settings.depth_km, path)
            vp, vs = (float(v[0]) for v in velocity.at(np.zeros(1)))
            model = pyocto.VelocityModel1D(
                path, *common, surface_p_velocity=vp, surface_s_velocity=vs
            )
        self.longest_s = longest + settings.velocity_tolerance_s
        edt = settings.edt_std_s
        kwargs = {} if edt is None else {"exponential_edt": True, "edt_pick_std": edt}
        self._octo: Any = pyocto.OctoAssociator(
            xlim,
            ylim,
            (0.0, settings.depth_km),
            model,
            time_before=self.longest_s,
            pick_match_tolerance=settings.tolerance_s,
            n_picks=settings.min_picks,
            n_p_picks=settings.min_p,
            n_s_picks=settings.min_s,
            n_p_and_s_picks=settings.min_both,
            n_threads=settings.threads,
            crs=crs,
            **kwargs,
        )

    def associate(self, picks: Iterable[Pick]) -> Iterator[Event]:
        """Events of a stream of picks, about in the order of their origins.

        Parameters
        ----------
        picks
            By time, within a second; one for each arrival.
        """
        yield from in_pieces(picks, self._events, self.longest_s)

    def _events(self, picks: Sequence[Pick]) -> list[Event]:
        """Events of one piece."""
        places = self._places.named()
        names = [
            self._places.name_at(Code(pick.network, pick.station), pick.time) for pick in picks
        ]
        stations = pd.DataFrame(
            [(name, *place) for name, place in places.items()],
            columns=["id", "latitude", "longitude", "elevation"],
        )
        stations = self._octo.transform_stations(stations)
        table = pd.DataFrame(
            {
                "station": names,
                "time": [pick.time.timestamp for pick in picks],
                "phase": [pick.phase for pick in picks],
            }
        )
        events, assigned = self._octo.associate(table, stations)
        if not len(events):
            return []
        events = self._octo.transform_events(events)
        of_event = dict(iter(assigned.groupby("event_idx")))
        here = [places[name] for name in names]
        found = [
            _event(row, of_event[row.idx], picks, here) for row in events.itertuples(index=False)
        ]
        return each_once(sorted(found, key=lambda event: (event.time, event.id)))

    def _limits(
        self, stations: Any, settings: Settings
    ) -> tuple[tuple[float, float], tuple[float, float]]:
        if settings.area is None:
            points, margin = stations, settings.margin_km
        else:
            points, margin = _outline(self._transform, settings.area), 0.0
        low, high = points.min(axis=0) - margin, points.max(axis=0) + margin
        return (float(low[0]), float(high[0])), (float(low[1]), float(high[1]))


def import_pyocto() -> Any:
    """PyOcto, or the error that says how to install it."""
    try:
        import pyocto
    except ImportError as error:
        raise ConfigurationError(
            f"Association is done by PyOcto, which can't be imported ({error}): "
            "pip install 'ml-prediction[associate]'."
        ) from error
    return pyocto


def each_once(events: Sequence[Event]) -> list[Event]:
    """Events of which each pick is in one only: PyOcto may put it into two where slices meet.

    It stays where its residual is smaller.
    """
    best: dict[str, tuple[float, int]] = {}
    for number, event in enumerate(events):
        for arrival in event.arrivals:
            here = (abs(arrival.residual_s), number)
            best[arrival.pick.id] = min(best.get(arrival.pick.id, here), here)
    kept = [
        replace(event, arrivals=tuple(a for a in event.arrivals if best[a.pick.id][1] == number))
        for number, event in enumerate(events)
    ]
    return [event for event in kept if event.arrivals]


def in_pieces(
    picks: Iterable[Pick],
    events_of: Callable[[Sequence[Pick]], Sequence[Event]],
    longest_s: float,
    at_once: int = PICKS_AT_ONCE,
) -> Iterator[Event]:
    """Events of a stream that is looked at piece by piece.

    Parameters
    ----------
    picks
        By time, about.
    events_of
        Gives the events of a piece.
    longest_s
        An arrival follows its origin within this.
    at_once
        Picks of a piece; more if they are not spread over four times ``longest_s``.
    """
    held: list[Pick] = []
    for pick in picks:
        held.append(pick)
        if len(held) < at_once or pick.time - held[0].time < 4 * longest_s:
            continue
        held.sort(key=pick_order)
        # Events before this are complete; later ones are found again, in the next piece.
        until = held[-1].time - 2 * longest_s
        taken = [event for event in events_of(held) if event.time < until]
        yield from taken
        used = {arrival.pick.id for event in taken for arrival in event.arrivals}
        held = [p for p in held if p.time >= until - BEFORE_S and p.id not in used]
    if held:
        held.sort(key=pick_order)
        yield from events_of(held)


def _projection(
    pyocto: Any, places: Places, area: Area | None
) -> tuple[Callable[[float, float], tuple[float, float]], Any]:
    """PyOcto's transverse Mercator projection, in kilometres, around the stations or the area."""
    import pyproj

    if area is None:
        points = [(place.latitude, place.longitude) for place in places.all()]
    else:
        points = [(area.south, area.west), (area.north, area.east)]
    crs = pyocto.OctoAssociator.get_crs(pd.DataFrame(points, columns=["latitude", "longitude"]))
    return pyproj.Transformer.from_crs(pyproj.CRS.from_epsg(4326), crs).transform, crs


def _outline(transform: Callable[[float, float], tuple[float, float]], area: Area) -> Any:
    """Points along the edges of a box, projected."""
    east = area.east + (360.0 if area.east < area.west else 0.0)
    latitudes = np.linspace(area.south, area.north, 21)
    longitudes = np.linspace(area.west, east, 21)
    edges = [(lat, lon) for lat in latitudes for lon in (area.west, east)]
    edges += [(lat, lon) for lat in (area.south, area.north) for lon in longitudes]
    return np.asarray([transform(lat, lon) for lat, lon in edges])


def _event(
    row: Any, assigned: pd.DataFrame, picks: Sequence[Pick], places: Sequence[Place]
) -> Event:
    arrivals = []
    for index, residual in zip(assigned["pick_idx"], assigned["residual"], strict=True):
        pick = picks[int(index)]
        place = places[int(index)]
        metres, azimuth, _ = gps2dist_azimuth(
            row.latitude, row.longitude, place.latitude, place.longitude
        )
        arrivals.append(Arrival(pick, float(residual), metres / 1000, float(azimuth)))
    return Event(
        UTCDateTime(float(row.time)),
        float(row.latitude),
        float(row.longitude),
        float(row.depth),
        tuple(sorted(arrivals, key=lambda arrival: pick_order(arrival.pick))),
    )
