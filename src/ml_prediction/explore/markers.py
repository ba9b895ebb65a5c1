"""Bundles as Pyrocko's markers, which snuffler shows: the span of a marker is time -/+ sigma."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from obspy.core.event import Event
from obspy.core.event import Pick as CataloguePick

from ml_prediction.core.results import Pick
from ml_prediction.errors import ConfigurationError, DataError
from ml_prediction.explore.arrivals import phase_of
from ml_prediction.util.codes import NSLC
from ml_prediction.util.times import NANOSECONDS, seconds_to_ns, to_ns

if TYPE_CHECKING:
    from ml_prediction.explore.bundle import EventBundle

CATALOGUE_KINDS: Final = {"P": 1, "S": 2}
MODEL_KINDS: Final = {"P": 3, "S": 4}
"""Snuffler's colour classes; other phases are 0 and 5."""
DIGITS: Final = 6
"""Of a second, in marker files; snuffler itself saves 3."""

_SIGNS: Final = {"positive": 1, "negative": -1, "up": 1, "down": -1}


@dataclass(frozen=True, slots=True)
class Mark:
    """A pick as a marker shows it.

    Attributes
    ----------
    code
        Channel.
    phase
        Name; empty if it has none.
    start_ns, end_ns
        Span: the same where sigma is unknown.
    polarity
        1 up, -1 down, None.
    automatic
        Whether a program made it.
    pick
        What it shows.
    """

    code: NSLC
    phase: str
    start_ns: int
    end_ns: int
    polarity: int | None
    automatic: bool
    pick: CataloguePick | Pick


def marks_of(event: Event, picks: Sequence[Pick]) -> Iterator[Mark]:
    """Marks of an event's picks that are not rejected and name a channel, then of a model's."""
    names = phase_names(event)
    for pick in event.picks:
        if pick.evaluation_status == "rejected" or pick.waveform_id is None or pick.time is None:
            continue
        before, after = _errors_ns(pick)
        time_ns = to_ns(pick.time)
        yield Mark(
            code_of(pick),
            names.get(str(pick.resource_id), pick.phase_hint or ""),
            time_ns - before,
            time_ns + after,
            _SIGNS.get(pick.polarity or ""),
            pick.evaluation_mode == "automatic",
            pick,
        )
    for each in picks:
        sigma_ns = seconds_to_ns(each.sigma) if math.isfinite(each.sigma) else 0
        time_ns = to_ns(each.time)
        yield Mark(
            NSLC(each.network, each.station, each.location, each.channel),
            each.phase,
            time_ns - sigma_ns,
            time_ns + sigma_ns,
            _SIGNS.get(each.polarity),
            True,
            each,
        )


def phase_names(event: Event) -> Mapping[str, str]:
    """Phase of each associated pick, by its resource id: that of the preferred origin's arrival."""
    origin = event.preferred_origin() or next(iter(event.origins), None)
    arrivals = [] if origin is None else origin.arrivals
    return {str(arrival.pick_id): arrival.phase for arrival in arrivals if arrival.phase}


def code_of(pick: CataloguePick) -> NSLC:
    """Channel of a catalogue pick."""
    codes = pick.waveform_id
    return NSLC(
        codes.network_code or "",
        codes.station_code or "",
        codes.location_code or "",
        codes.channel_code or "",
    )


def to_markers(bundle: EventBundle) -> list[Any]:
    """The event's marker, then one phase marker for each pick.

    Raises
    ------
    ConfigurationError
        If Pyrocko is not installed.
    """
    marker = pyrocko_markers()
    event = pyrocko_event(bundle)
    associated = phase_names(bundle.event)
    made: list[Any] = [marker.EventMarker(event)]
    for mark in marks_of(bundle.event, bundle.picks):
        ours = isinstance(mark.pick, Pick)
        kinds = MODEL_KINDS if ours else CATALOGUE_KINDS
        phase = phase_of(mark.phase)
        each = marker.PhaseMarker(
            [tuple(mark.code)],
            mark.start_ns / NANOSECONDS,
            mark.end_ns / NANOSECONDS,
            kind=5 * ours if phase is None else kinds[phase],
            phasename=mark.phase or None,
            polarity=mark.polarity,
            automatic=mark.automatic,
        )
        if not ours and str(mark.pick.resource_id) in associated:  # type: ignore[union-attr]
            each.set_event(event)
        made.append(each)
    return made


def pyrocko_event(bundle: EventBundle) -> Any:
    """The event as Pyrocko has it: depth in metres."""
    from pyrocko.model import Event as PyrockoEvent

    origin, depth = bundle.origin, bundle.depth_km
    return PyrockoEvent(
        lat=origin.latitude,
        lon=origin.longitude,
        time=origin.time_ns / NANOSECONDS,
        name=bundle.event_id,
        depth=None if math.isnan(depth) else depth * 1000,
        magnitude=None if math.isnan(origin.magnitude) else origin.magnitude,
    )


def save_markers(markers: Sequence[Any], path: str | os.PathLike[str]) -> None:
    """Write a marker file, to the microsecond."""
    pyrocko_markers().save_markers(list(markers), str(path), fdigits=DIGITS)


def load_markers(path: str | os.PathLike[str]) -> list[Any]:
    """Markers of a file.

    Raises
    ------
    ConfigurationError
        If it can't be read.
    DataError
        If it is no marker file.
    """
    marker = pyrocko_markers()
    try:
        with Path(path).open("rb"):
            pass
        return list(marker.load_markers(str(path)))
    except OSError as error:
        raise ConfigurationError(f"Can't read {str(path)!r}: {error.strerror}.") from error
    except (marker.MarkerParseError, ValueError, IndexError, KeyError, TypeError) as error:
        raise DataError(f"{path}: can't be read as snuffler's markers ({error}).") from error


def pyrocko_markers() -> Any:
    """Pyrocko's module of markers; it needs no screen.

    Raises
    ------
    ConfigurationError
        If Pyrocko is not installed.
    """
    try:
        from pyrocko.gui.snuffler import marker
    except ImportError as error:
        raise ConfigurationError(
            f"Markers need Pyrocko, which can't be imported ({error}): "
            "pip install 'ml-prediction[snuffler]'."
        ) from error
    return marker


def _errors_ns(pick: CataloguePick) -> tuple[int, int]:
    """Uncertainty before and after the pick."""
    errors = pick.time_errors
    both = errors.uncertainty
    before = errors.lower_uncertainty if both is None else both
    after = errors.upper_uncertainty if both is None else both
    return seconds_to_ns(before or 0.0), seconds_to_ns(after or 0.0)
