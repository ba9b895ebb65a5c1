"""What a run has looked at: only there can it have missed anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from obspy import UTCDateTime

from ml_prediction.util.times import to_ns


@dataclass(frozen=True, slots=True)
class Processed:
    """Stations and time that were picked.

    Attributes
    ----------
    stations
        (network, station).
    start_ns, end_ns
        Span of the data.
    source
        Where this is known from.
    models
        ``NAME:WEIGHTS`` of those that picked, each for itself; empty where it is not known.
    """

    stations: frozenset[tuple[str, str]]
    start_ns: int
    end_ns: int
    source: str
    models: tuple[str, ...] = ()


def read_processed(summary: Mapping[str, Any]) -> Processed:
    """From the contents of a run's summary.json.

    Raises
    ------
    KeyError, TypeError, ValueError
        If it is no such summary.
    """
    codes = [str(channel).split(".") for channel in summary["channels"]]
    span = summary["span"]
    return Processed(
        frozenset((network, station) for network, station, *_ in codes),
        to_ns(UTCDateTime(span["start"])),
        to_ns(UTCDateTime(span["end"])),
        "the run's summary.json",
        tuple(f"{each['name']}:{each['weights']}" for each in summary.get("models", ())),
    )
