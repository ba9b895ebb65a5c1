"""Raw rounds to figures: plain JSON values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Final

from ml_prediction.benchmark.messages import Round
from ml_prediction.benchmark.plan import RATE
from ml_prediction.benchmark.rounds import Cell, Entry

SCHEMA: Final = 1
"""Version of the results' form."""

DISTURBED: Final = 0.5
"""Cores of other processes from which on a round is called disturbed."""

_DAY_S: Final = 86_400.0


def cell_figures(
    cell: Cell, *, threads: int, gflops: float | None, mflop: float | None
) -> dict[str, Any]:
    """Figures of one model on one workload.

    Parameters
    ----------
    cell
        With all rounds, checked.
    threads
        CPU threads of each contender.
    gflops, mflop
        The machine's 1e9 operations per second, and 1e6 operations per window; None if unknown.
    """
    dataset = cell.dataset
    best = best_seisbench(cell.entries)
    annotate = next(
        (e for e in cell.entries if e.entrant.key == "seisbench-annotate" and is_counted(e)), None
    )
    return {
        "model": cell.model.name,
        "workload": cell.workload.key,
        "title": title(cell),
        "stations": len(dataset.spans),
        "station_seconds": dataset.station_seconds,
        "window": dataset.window,
        "stride": dataset.stride,
        "windows": dataset.windows,
        "contenders": [
            {
                **_entry_figures(entry, cell, threads, gflops, mflop),
                "ratio_to_seisbench_best": _ratio(best, entry),
                "ratio_to_seisbench_annotate": _ratio(annotate, entry),
            }
            for entry in cell.entries
        ],
    }


def title(cell: Cell) -> str:
    """The amount of data in words."""
    dataset = cell.dataset
    count = len(dataset.spans)
    stations = f"{count} station{'s' if count > 1 else ''}"
    if cell.workload.lone:
        return f"{stations} x one window"
    lengths = {span.samples for span in dataset.spans}
    length = _duration(max(lengths) / RATE)
    kind = ", recorded" if cell.workload.is_real else ""
    about = "up to " if len(lengths) > 1 else ""
    dense = f", every {dataset.stride / RATE:g} s" if cell.workload.stride else ""
    return f"{stations} x {about}{length}{kind}{dense}"


def is_counted(entry: Entry) -> bool:
    """Whether its times may be compared."""
    return bool(entry.rounds) and entry.status in {"valid", "unchecked"}


def best_seisbench(entries: Iterable[Entry]) -> Entry | None:
    """SeisBench's fastest way whose picks are right; None if there is none."""
    counted = [e for e in entries if e.entrant.reference and is_counted(e)]
    return min(counted, key=median_seconds, default=None)


def counted_rounds(entry: Entry) -> list[Round]:
    """Its rounds; without the disturbed ones, if there are others."""
    quiet = [item for item in entry.rounds if (item.others or 0.0) <= DISTURBED]
    return quiet or entry.rounds


def median_seconds(entry: Entry) -> float:
    """Median wall time of its rounds."""
    return median(item.seconds for item in counted_rounds(entry))


def median_stages(rounds: Sequence[Round]) -> dict[str, float]:
    """Median seconds of each stage over the rounds, the longest first."""
    names = {name for item in rounds for name in item.stages}
    medians = {name: median(item.stages.get(name, 0.0) for item in rounds) for name in names}
    ordered = sorted(medians, key=lambda name: (-medians[name], name))
    return {name: round(medians[name], 4) for name in ordered}


def _entry_figures(
    entry: Entry, cell: Cell, threads: int, gflops: float | None, mflop: float | None
) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "contender": entry.entrant.key,
        "title": entry.entrant.title,
        "batch_size": entry.batch_size,
        "status": entry.status,
        "note": entry.note,
        "rounds": [asdict(item) for item in entry.rounds],
        "counted_rounds": len(counted_rounds(entry)) if entry.rounds else 0,
        "disturbed_rounds": sum((item.others or 0.0) > DISTURBED for item in entry.rounds),
        "picks": None if entry.found is None else len(entry.found),
        "compared": None if entry.agreement is None else asdict(entry.agreement),
    }
    return {**figures, **asdict(_speed(entry, cell, threads, gflops, mflop))}


@dataclass(frozen=True, slots=True)
class _Speed:
    """Figures of one contender's rounds; None throughout where there were none."""

    median_s: float | None = None
    fastest_s: float | None = None
    slowest_s: float | None = None
    windows_per_s: float | None = None
    times_real_time: float | None = None
    core_seconds_per_station_day: float | None = None
    share_of_floor: float | None = None
    peak_mib: float | None = None
    stages: dict[str, float] | None = None


def _speed(
    entry: Entry, cell: Cell, threads: int, gflops: float | None, mflop: float | None
) -> _Speed:
    if not entry.rounds:
        return _Speed()
    seconds = median_seconds(entry)
    every = [item.seconds for item in counted_rounds(entry)]
    dataset = cell.dataset
    rate = dataset.windows / seconds
    known = gflops is not None and mflop is not None and gflops > 0
    return _Speed(
        median_s=seconds,
        fastest_s=min(every),
        slowest_s=max(every),
        windows_per_s=rate,
        times_real_time=dataset.seconds / seconds,
        core_seconds_per_station_day=seconds * threads / (dataset.station_seconds / _DAY_S),
        share_of_floor=rate * (mflop or 0.0) / (1e3 * (gflops or 1.0)) if known else None,
        peak_mib=max(item.peak_mib for item in entry.rounds),
        stages=median_stages(counted_rounds(entry)),
    )


def _ratio(other: Entry | None, entry: Entry) -> float | None:
    """How many times faster than another one."""
    if other is None or not is_counted(entry):
        return None
    return median_seconds(other) / median_seconds(entry)


def _duration(seconds: float) -> str:
    if seconds >= 2 * 3600:
        return f"{seconds / 3600:.3g} h"
    return f"{seconds / 60:.3g} min" if seconds >= 120 else f"{seconds:.3g} s"
