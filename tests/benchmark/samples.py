"""Cells with rounds in them, for tests of what is made of them."""

from __future__ import annotations

from pathlib import Path

from ml_prediction.benchmark.contenders.base import Found
from ml_prediction.benchmark.contenders.registry import ENTRANTS, Entrant
from ml_prediction.benchmark.datasets import Dataset, Span
from ml_prediction.benchmark.messages import Round
from ml_prediction.benchmark.plan import MODELS, WORKLOADS, Workload
from ml_prediction.benchmark.rounds import Cell, Entry

EQT = MODELS[0]
SPAN = Span("XX.A.", 1_767_225_600_000_000_000, 60_000)
PICK = Found("XX.A.", "P", SPAN.start_ns + 100_000_000_000, 0.9)


def entrant(key: str) -> Entrant:
    return next(item for item in ENTRANTS if item.key == key)


def entry(key: str, *seconds: float, found: list[Found] | None = None) -> Entry:
    rounds = [Round(s, 2 * s, 100.0 + s, {"reading": s / 4, "rest": s / 2}, 0.1) for s in seconds]
    picks = [PICK] if found is None and seconds else found
    return Entry(entrant(key), 32, rounds=rounds, found=picks)


def cell(*entries: Entry, workload: Workload = WORKLOADS[0], stations: int = 1) -> Cell:
    spans = tuple(Span(f"XX.{'A' * (n + 1)}.", SPAN.start_ns, 60_000) for n in range(stations))
    return Cell(EQT, workload, Dataset(Path("data"), 6000, 3000, spans), list(entries))
