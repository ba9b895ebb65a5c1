"""Exact time: integer nanoseconds since 1970-01-01T00:00:00 UTC."""

from __future__ import annotations

from typing import Final

from obspy import UTCDateTime

EARLIEST: Final = UTCDateTime(1700, 1, 1)
LATEST: Final = UTCDateTime(2200, 1, 1)
"""Times between them, and sums of them and a year, fit into 64 bits of nanoseconds."""
YEARS: Final = f"{EARLIEST.year} to {LATEST.year - 1}"
"""The same for people."""

NANOSECONDS: Final = 1_000_000_000
"""Nanoseconds in one second."""


def to_utc(time_ns: int) -> UTCDateTime:
    """Time in nanoseconds as ObsPy's UTCDateTime, to the nanosecond."""
    return UTCDateTime(ns=int(time_ns))


def to_ns(time: UTCDateTime) -> int:
    """ObsPy's UTCDateTime as integer nanoseconds."""
    return int(time.ns)


def is_exact(time: UTCDateTime) -> bool:
    """Whether a time fits into 64 bits of nanoseconds, with room to spare."""
    return bool(EARLIEST <= time < LATEST)


def seconds_to_ns(seconds: float) -> int:
    """Seconds as the nearest integer number of nanoseconds."""
    return round(seconds * NANOSECONDS)


def to_microseconds(time: UTCDateTime) -> int:
    """ObsPy's UTCDateTime as microseconds, as every output rounds it."""
    return (to_ns(time) + 500) // 1000


def isoformat(time: UTCDateTime) -> str:
    """ISO 8601, UTC, microseconds and Z: ``2009-08-24T00:20:07.720000Z``."""
    return str(to_utc(to_microseconds(time) * 1000).strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
