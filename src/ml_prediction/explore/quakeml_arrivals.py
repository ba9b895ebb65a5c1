"""Picks of QuakeML, an analyst's or ours, as a table of arrivals."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from obspy.core.event import Event, Pick
from obspy.core.event import Origin as ObspyOrigin

from ml_prediction.explore.arrivals import Arrivals, Origin, phase_of, refuse_senseless, to_table
from ml_prediction.explore.quakeml_documents import read_catalogue
from ml_prediction.util.times import to_ns

KM_PER_DEGREE: Final = 111.195  # of a sphere of 6371 km
_OURS: Final = re.compile(r"\b(probability|quality|width|model|weights|sha256)=(\S+)")


def read_quakeml_arrivals(path: Path) -> Arrivals:
    """Read the picks of a QuakeML file.

    A pick's phase is that of its arrival at the preferred origin, else its phase hint. Where an
    event has manual picks, its automatic ones are left out; rejected ones are left out always.
    Both are counted.

    Raises
    ------
    DataError
        If ObsPy can't read it as QuakeML.
    """
    return catalogue_arrivals(read_catalogue(path.read_bytes(), str(path)), path)


def catalogue_arrivals(catalogue: Iterable[Event], path: Path) -> Arrivals:
    """Arrivals of events that ObsPy has read, as `read_quakeml_arrivals`; the path is a name."""
    rows: list[dict[str, Any]] = []
    origins: dict[str, Origin] = {}
    skipped: Counter[str] = Counter()
    for event in catalogue:
        name = str(event.resource_id).rsplit("/", 1)[-1]
        origin = event.preferred_origin() or next(iter(event.origins), None)
        magnitude = magnitude_of(event)
        if origin is not None and None not in (origin.time, origin.latitude, origin.longitude):
            origins[name] = Origin(
                to_ns(origin.time), float(origin.latitude), float(origin.longitude), magnitude
            )
        for row in _picks(event, origin, skipped):
            rows.append(
                {**row, "event": name if origin is not None else "", "magnitude": magnitude}
            )
    refuse_senseless(path, rows)
    return Arrivals(path, "QuakeML", to_table(rows), skipped, origins)


def _picks(
    event: Event, origin: ObspyOrigin | None, skipped: Counter[str]
) -> Iterator[dict[str, Any]]:
    arrivals = {} if origin is None else {str(a.pick_id): a for a in origin.arrivals}
    manual = any(pick.evaluation_mode == "manual" for pick in event.picks)
    for pick in event.picks:
        arrival = arrivals.get(str(pick.resource_id))
        name = (arrival.phase if arrival is not None else None) or pick.phase_hint or ""
        phase = phase_of(name)
        if pick.evaluation_status == "rejected":
            skipped["rejected"] += 1
        elif manual and pick.evaluation_mode == "automatic":
            skipped["automatic, in an event with manual picks"] += 1
        elif pick.waveform_id is None or pick.time is None:
            skipped["without channel or time"] += 1
        elif phase is None:
            skipped[f"phase {name}" if name else "without phase"] += 1
        else:
            distance = None if arrival is None else arrival.distance
            yield {
                **_columns(pick),
                "phase": phase,
                "distance_km": math.nan if distance is None else distance * KM_PER_DEGREE,
            }


def _columns(pick: Pick) -> dict[str, Any]:
    codes = pick.waveform_id
    uncertainty = pick.time_errors.uncertainty
    if uncertainty is None and pick.time_errors.lower_uncertainty is not None:
        uncertainty = (
            pick.time_errors.lower_uncertainty + (pick.time_errors.upper_uncertainty or 0)
        ) / 2
    said = {
        key: value
        for comment in pick.comments
        for key, value in _OURS.findall(comment.text or "")
        if "ml_prediction" in str(pick.resource_id)
    }
    return {
        "network": codes.network_code or "",
        "station": codes.station_code or "",
        "location": codes.location_code or "",
        "channel": codes.channel_code or "",
        "time_ns": to_ns(pick.time),
        "uncertainty_s": math.nan if uncertainty is None else float(uncertainty),
        "probability": float(said.get("probability", "nan")),
        "width_s": float(said.get("width", "nan")),
        "quality": float(said.get("quality", "nan")),
        "source": pick.evaluation_mode or "",
        "model": said.get("model", ""),
        "weights": said.get("weights", ""),
        "weights_sha256": said.get("sha256", ""),
    }


def magnitude_of(event: Event) -> float:
    """Preferred magnitude, else the first; NaN if it has none."""
    found = event.preferred_magnitude() or next(iter(event.magnitudes), None)
    return math.nan if found is None or found.mag is None else float(found.mag)
