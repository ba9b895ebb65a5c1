"""Entries of a journal for tests."""

from __future__ import annotations

from typing import Any

from ml_prediction.drivers.live.journal import Entry
from ml_prediction.earthworm.logo import Logo

LOGO = Logo(8, 117, 141)
STATION = "UW.GNW..HH"
PEAK = 1_700_000_000_000_000_000


def entry(number: int, peak_ns: int | None = None, **changes: Any) -> Entry:
    values: dict[str, Any] = {
        "number": number,
        "instrument": STATION,
        "phase": "P",
        "peak_ns": PEAK + number * 10**9 if peak_ns is None else peak_ns,
        "messages": ((LOGO, f"pick {number}\n".encode()),),
    }
    return Entry(**(values | changes))


def entries(*numbers: int) -> list[Entry]:
    return [entry(number) for number in numbers]
