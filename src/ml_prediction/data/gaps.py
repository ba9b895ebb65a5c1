"""Which stations have many gaps: asked of the server, or counted in the data where it can't say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from obspy import UTCDateTime

from ml_prediction.data.faults import (
    BadRequestError,
    NoDataError,
    NotOfferedError,
    RefusedError,
    TransientError,
)
from ml_prediction.data.fdsn import Server
from ml_prediction.data.plan import Channel, Unit, pieces
from ml_prediction.data.records import TOLERANCE, spans
from ml_prediction.data.scenario import Gappy
from ml_prediction.data.transfer import get_piece
from ml_prediction.util.codes import NSLC
from ml_prediction.util.times import NANOSECONDS, to_ns

ASKED: Final = "availability service"
COUNTED: Final = "counted in the data"

Spans = dict[NSLC, list[tuple[int, int, float]]]
"""Start, end (ns) and rate of what is contiguous, by channel."""


def gappy_channels(
    channels: Sequence[Channel],
    units: Sequence[Unit],
    wanted: Gappy,
    server: Server,
    told: Callable[[str], None],
) -> tuple[list[Channel], str]:
    """Channels of the stations with the most gaps, and how that was found out.

    The server's availability service is asked. Where there is none, or it fails, one channel of
    each station (its vertical, if it has one) is downloaded and its gaps are counted.

    Raises
    ------
    ServiceError
        If the data can't be had either.
    """
    found, how = _asked(units, server, told)
    if found is None:
        found = _looked_at(channels, units, server)
    gaps: dict[tuple[str, str], int] = {}
    for code, known in found.items():
        station = code.network, code.station
        gaps[station] = max(gaps.get(station, 0), count_gaps(known))
    ranked = sorted((-count, station) for station, count in gaps.items())
    chosen = {s for count, s in ranked[: wanted.max_stations] if -count >= wanted.min_gaps}
    return [channel for channel in channels if channel.station in chosen], how


def count_gaps(spans: Iterable[tuple[int, int, float]]) -> int:
    """Gaps between time spans, of which some may overlap."""
    gaps = 0
    latest: int | None = None
    for start, end, rate in sorted(spans):
        if latest is not None and start > latest + (1 + TOLERANCE) * NANOSECONDS / rate:
            gaps += 1
        latest = end if latest is None else max(latest, end)
    return gaps


def parse_availability(text: str) -> Spans:
    """Time spans of the text format of fdsnws-availability, whose columns its first line names.

    Raises
    ------
    ValueError
        If it is something else.
    """
    spans: Spans = {}
    columns: list[str] = []
    for line in text.splitlines():
        words = line.split("|") if "|" in line else line.split()
        words = [word.strip() for word in words]
        if line.startswith("#"):
            columns = [word.lstrip("#").strip().lower() for word in words if word != "#"]
            continue
        if not words:
            continue
        if not columns:
            raise ValueError("it does not begin with a line of column names")
        if len(words) == len(columns) - 1 and "location" in columns:
            words.insert(columns.index("location"), "")  # some servers write nothing there
        row = dict(zip(columns, words, strict=False))
        try:
            code = NSLC.clean(row["network"], row["station"], row["location"], row["channel"])
            start, end = (to_ns(UTCDateTime(row[key])) for key in ("earliest", "latest"))
            rate = float(row.get("samplerate", 1.0))
        except (KeyError, TypeError) as error:
            raise ValueError(f"{line!r} has no column {error}") from error
        if rate > 0:
            spans.setdefault(code, []).append((start, end, rate))
    return spans


def _asked(
    units: Sequence[Unit], server: Server, told: Callable[[str], None]
) -> tuple[Spans | None, str]:
    try:
        return parse_availability(server.availability([unit.line for unit in units])), ASKED
    except NoDataError:
        return {}, ASKED
    except (NotOfferedError, BadRequestError, RefusedError, TransientError, ValueError) as error:
        told(f"Gaps are counted in the data, for want of an availability service: {error}")
        return None, COUNTED


def _looked_at(channels: Sequence[Channel], units: Sequence[Unit], server: Server) -> Spans:
    """Spans of one channel of each station, of what can be had."""
    one: dict[tuple[str, str], NSLC] = {}
    for channel in sorted(channels, key=lambda c: (not c.code.channel.endswith("Z"), c.code)):
        one.setdefault(channel.station, channel.code)
    chosen = set(one.values())
    look = _Look()
    for piece in pieces(unit for unit in units if unit.code in chosen):
        for failure in get_piece(piece, server, look):
            raise failure.error
    return look.spans


class _Look:
    """Keeps the time spans of what comes, and forgets the data."""

    def __init__(self) -> None:
        self.spans: Spans = {}

    def keep(self, unit: Unit, miniseed: bytes) -> None:
        self.spans.setdefault(unit.code, []).extend(spans(miniseed))

    def nothing(self, units: Sequence[Unit], reason: str) -> None:
        pass

    def fragment(self, unit: Unit) -> bytes | None:
        return None

    def keep_fragment(self, unit: Unit, miniseed: bytes) -> None:
        pass
