"""From what the processes left to the output folder: merged, in order of time."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ml_prediction.core.results import Detection, Pick
from ml_prediction.drivers.probability_file import PROBABILITIES
from ml_prediction.drivers.share import ShareResult, detection_order, pick_order
from ml_prediction.drivers.spool import merged
from ml_prediction.sinks.base import Sink, make_sinks
from ml_prediction.sinks.folder import OutputFolder
from ml_prediction.util.times import seconds_to_ns, to_ns

PORTION: Final = 1000
"""Picks or detections that are handed to the sinks at once."""

AFTER_DETECTION_NS: Final = seconds_to_ns(3.0)
"""A detection's picks lie at most 2 s after its end; a pick's time is within 0.1 s of its peak."""

_FILES: Final = {
    "csv": ("picks.csv", "detections.csv"),
    "parquet": ("picks.parquet",),
    "quakeml": ("picks.xml",),
    "markers": ("picks.markers",),
    "mseed": (PROBABILITIES,),
}


@dataclass(slots=True)
class Delivered:
    """What was written; ``outputs`` are file names."""

    outputs: list[str] = field(default_factory=list)
    picks_by_phase: Counter[str] = field(default_factory=Counter)
    detections: int = 0


def deliver(
    results: Sequence[ShareResult], formats: Sequence[str], folder: OutputFolder
) -> Delivered:
    """Write everything into the folder's hidden parts.

    Parameters
    ----------
    results
        Of all processes.
    formats
        What to write.
    folder
        Commits it, or removes it.
    """
    sinks = make_sinks([name for name in formats if name != "mseed"], folder)
    delivered = Delivered()
    try:
        for picks, detections in _portions(results):
            for sink in sinks:
                sink.write(picks, detections, None)
            delivered.picks_by_phase.update(pick.phase for pick in picks)
            delivered.detections += len(detections)
        for sink in sinks:
            sink.close()
    except BaseException:
        _abort(sinks)
        raise
    probabilities = [r.probabilities for r in results if r.probabilities is not None]
    if probabilities:
        _join(probabilities, folder.part(PROBABILITIES))
    for picture in sorted(picture for result in results for picture in result.pictures):
        shutil.move(picture, folder.part(picture.name))
        delivered.outputs.append(picture.name)
    delivered.outputs += [name for chosen in formats for name in _FILES[chosen]]
    return delivered


def _portions(results: Sequence[ShareResult]) -> Iterator[tuple[list[Pick], list[Detection]]]:
    """Picks and detections by time, in portions; a detection never before its picks."""
    picks = merged((run for r in results for run in r.picks), pick_order)
    waiting = next(picks, None)
    ready: list[Pick] = []
    known: list[Detection] = []
    for detection in merged((run for r in results for run in r.detections), detection_order):
        until_ns = to_ns(detection.end) + AFTER_DETECTION_NS
        while waiting is not None and to_ns(waiting.time) <= until_ns:
            ready.append(waiting)
            waiting = next(picks, None)
            if len(ready) >= PORTION:
                yield ready, known
                ready, known = [], []
        known.append(detection)
        if len(known) >= PORTION:
            yield ready, known
            ready, known = [], []
    while waiting is not None:
        ready.append(waiting)
        waiting = next(picks, None)
        if len(ready) >= PORTION:
            yield ready, known
            ready, known = [], []
    yield ready, known


def _join(files: Sequence[Path], whole: Path) -> None:
    shutil.move(files[0], whole)
    with whole.open("ab") as target:
        for path in files[1:]:
            with path.open("rb") as source:
                shutil.copyfileobj(source, target)


def _abort(sinks: Iterable[Sink]) -> None:
    for sink in sinks:
        sink.abort()
