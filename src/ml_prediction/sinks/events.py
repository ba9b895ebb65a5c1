"""Events with origin, picks and arrivals as QuakeML 1.2, and as a table in CSV."""

from __future__ import annotations

import contextlib
import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement
from xml.sax.saxutils import quoteattr

from obspy import UTCDateTime

from ml_prediction.core.results import Pick
from ml_prediction.sinks.plain import plain_text
from ml_prediction.sinks.quakeml import CLOSING, OPENING, pick_element, resource_id
from ml_prediction.util.digests import sha256
from ml_prediction.util.files import make_result_folder
from ml_prediction.util.times import isoformat

KM_PER_DEGREE: Final = 111.195
"""Of a sphere of 6371 km."""

COLUMNS: Final = (
    "event_id",
    "time",
    "latitude",
    "longitude",
    "depth_km",
    "picks",
    "p_picks",
    "s_picks",
    "stations",
    "stations_with_both",
    "azimuthal_gap_deg",
    "nearest_km",
    "farthest_km",
    "rms_residual_s",
    "median_sigma_s",
)
"""Of the table of events."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A pick that belongs to an event.

    Attributes
    ----------
    pick
        The pick.
    residual_s
        Observed minus predicted arrival time.
    distance_km
        Epicentral distance.
    azimuth_deg
        From the epicentre to the station, clockwise from north.
    """

    pick: Pick
    residual_s: float
    distance_km: float
    azimuth_deg: float


@dataclass(frozen=True, slots=True)
class Event:
    """A preliminary origin and the picks that belong to it.

    Attributes
    ----------
    time
        Origin time.
    latitude, longitude
        Degrees north and east.
    depth_km
        Below sea level.
    arrivals
        By time.
    """

    time: UTCDateTime
    latitude: float
    longitude: float
    depth_km: float
    arrivals: tuple[Arrival, ...]

    @property
    def id(self) -> str:
        """Second of the first pick, and a hash of the picks' ids: the same for the same picks."""
        ids = "\n".join(sorted(arrival.pick.id for arrival in self.arrivals))
        first = min(arrival.pick.time for arrival in self.arrivals)
        digest = sha256(ids.encode())[:10]
        return f"{first.strftime('%Y%m%dT%H%M%S')}-{digest}"

    @property
    def rms_residual_s(self) -> float:
        """Root mean square of the residuals."""
        return math.sqrt(sum(a.residual_s**2 for a in self.arrivals) / len(self.arrivals))

    @property
    def azimuthal_gap_deg(self) -> float:
        """Largest angle between neighbouring stations, seen from the epicentre."""
        azimuths = sorted({arrival.azimuth_deg % 360 for arrival in self.arrivals})
        return max(b - a for a, b in pairwise([*azimuths, azimuths[0] + 360]))

    def stations(self, phase: str = "") -> set[tuple[str, str]]:
        """Stations with a pick (of a phase)."""
        return {
            (arrival.pick.network, arrival.pick.station)
            for arrival in self.arrivals
            if phase in ("", arrival.pick.phase)
        }


class EventFiles:
    """Writes QuakeML, event by event, and a table beside it if wanted; a context manager.

    The files appear whole when all went well, and not at all otherwise.

    Parameters
    ----------
    quakeml
        Path of the QuakeML file.
    table
        Path of the CSV file; None for none.
    method, earth_model
        What made the origins, as it stands in QuakeML's ids.
    """

    def __init__(
        self, quakeml: Path, table: Path | None, *, method: Sequence[str], earth_model: str
    ) -> None:
        self._paths = [quakeml] if table is None else [quakeml, table]
        self._method = resource_id("method", *method)
        self._earth_model = resource_id("velocity", earth_model)
        self._files: list[IO[str]] = []

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            for path in self._paths:
                make_result_folder(path.parent)
                file = _part(path).open("w", newline="", encoding="utf-8")
                stack.callback(_part(path).unlink)
                stack.callback(file.close)
                self._files.append(file)
            stack.pop_all()
        self._files[0].write(OPENING.format(quoteattr(resource_id("eventParameters"))))
        if len(self._files) > 1:
            csv.writer(self._files[1], lineterminator="\n").writerow(COLUMNS)
        return self

    def put(self, event: Event) -> None:
        """Write one event."""
        element = event_element(event, self._method, self._earth_model)
        ElementTree.indent(element)
        self._files[0].write(ElementTree.tostring(element, encoding="unicode") + "\n")
        if len(self._files) > 1:
            csv.writer(self._files[1], lineterminator="\n").writerow(row_of(event))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._files[0].write(CLOSING)
            for file in self._files:
                file.close()
            if kind is None:
                for path in self._paths:
                    _part(path).replace(path)
        finally:
            for path in self._paths:
                with contextlib.suppress(FileNotFoundError):
                    _part(path).unlink()


def event_element(event: Event, method: str, earth_model: str) -> Element:
    """Event element: picks, and one origin with the arrivals; all automatic and preliminary."""
    element = Element("event", publicID=resource_id("associated", event.id))
    origin_id = resource_id("origin", event.id)
    _text(element, "preferredOriginID", origin_id)
    _text(element, "type", "earthquake")
    _text(element, "typeCertainty", "suspected")
    for arrival in event.arrivals:
        element.append(pick_element(arrival.pick))
    origin = SubElement(element, "origin", publicID=origin_id)
    _text(SubElement(origin, "time"), "value", isoformat(event.time))
    for name, value in (
        ("latitude", f"{event.latitude:.5f}"),
        ("longitude", f"{event.longitude:.5f}"),
        ("depth", f"{event.depth_km * 1000:.0f}"),
    ):
        _text(SubElement(origin, name), "value", value)
    _text(origin, "depthType", "from location")
    _text(origin, "methodID", method)
    _text(origin, "earthModelID", earth_model)
    _text(origin, "evaluationMode", "automatic")
    _text(origin, "evaluationStatus", "preliminary")
    quality = SubElement(origin, "quality")
    distances = [arrival.distance_km / KM_PER_DEGREE for arrival in event.arrivals]
    count, stations = str(len(event.arrivals)), str(len(event.stations()))
    for name, text in (
        ("associatedPhaseCount", count),
        ("usedPhaseCount", count),
        ("associatedStationCount", stations),
        ("usedStationCount", stations),
        ("standardError", f"{event.rms_residual_s:.4f}"),
        ("azimuthalGap", f"{event.azimuthal_gap_deg:.2f}"),
        ("minimumDistance", f"{min(distances):.5f}"),
        ("maximumDistance", f"{max(distances):.5f}"),
    ):
        _text(quality, name, text)
    for arrival in event.arrivals:
        _arrival(origin, arrival, event.id, earth_model)
    return element


def row_of(event: Event) -> list[str]:
    """Row of the table of events."""
    phases = [arrival.pick.phase for arrival in event.arrivals]
    distances = [arrival.distance_km for arrival in event.arrivals]
    return [
        event.id,
        isoformat(event.time),
        f"{event.latitude:.5f}",
        f"{event.longitude:.5f}",
        f"{event.depth_km:.3f}",
        str(len(phases)),
        str(phases.count("P")),
        str(phases.count("S")),
        str(len(event.stations())),
        str(len(event.stations("P") & event.stations("S"))),
        f"{event.azimuthal_gap_deg:.1f}",
        f"{min(distances):.2f}",
        f"{max(distances):.2f}",
        f"{event.rms_residual_s:.4f}",
        _median(arrival.pick.sigma for arrival in event.arrivals),
    ]


def _arrival(origin: Element, arrival: Arrival, event_id: str, earth_model: str) -> None:
    pick = arrival.pick
    element = SubElement(origin, "arrival", publicID=resource_id("arrival", event_id, pick.id))
    _text(element, "pickID", resource_id("pick", pick.id))
    _text(element, "phase", pick.phase)
    _text(element, "azimuth", f"{arrival.azimuth_deg:.2f}")
    _text(element, "distance", f"{arrival.distance_km / KM_PER_DEGREE:.5f}")
    _text(element, "timeResidual", f"{arrival.residual_s:.4f}")
    _text(element, "earthModelID", earth_model)


def _median(values: Iterable[float]) -> str:
    known = sorted(value for value in values if math.isfinite(value))
    if not known:
        return ""
    half = len(known) // 2
    return f"{(known[half] + known[~half]) / 2:.4f}"


def _part(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def _text(parent: Element, tag: str, text: str) -> None:
    SubElement(parent, tag).text = plain_text(text)
