"""From what the processes left to the output folder: merged, in order of time."""

from __future__ import annotations

import heapq
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Final

from ml_prediction.core.description import FARTHEST_CENTRE
from ml_prediction.core.feature_extraction import LINK
from ml_prediction.core.results import Detection, Pick, detection_order, pick_order
from ml_prediction.drivers.probability_file import PROBABILITIES
from ml_prediction.drivers.share import (
    ShareResult,
)
from ml_prediction.drivers.spool import merged
from ml_prediction.sinks.base import Sink, files_of, make_sinks
from ml_prediction.sinks.folder import OutputFolder
from ml_prediction.util.times import seconds_to_ns, to_microseconds

PORTION: Final = 1000
"""Picks and detections that are handed to the sinks at once."""

AFTER_DETECTION_NS: Final = seconds_to_ns(LINK + FARTHEST_CENTRE + 0.1)
"""No pick of a detection is later than this after its end; 0.1 s is more than any rounding."""


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
    delivered.outputs += [name for chosen in formats for name in files_of(chosen)]
    return delivered


def _portions(results: Sequence[ShareResult]) -> Iterator[tuple[list[Pick], list[Detection]]]:
    """Picks and detections by time, in portions; a detection never before its picks."""
    picks = merged((run for r in results for run in r.picks), pick_order)
    timed_picks = ((to_microseconds(pick.time), pick) for pick in picks)
    everything = heapq.merge(timed_picks, _when_complete(results), key=itemgetter(0))
    while portion := [item for _, item in islice(everything, PORTION)]:
        yield (
            [item for item in portion if isinstance(item, Pick)],
            [item for item in portion if isinstance(item, Detection)],
        )


def _when_complete(results: Sequence[ShareResult]) -> Iterator[tuple[int, Detection]]:
    """Detections by onset, each with a time by which its picks and those before are through."""
    latest = 0
    for detection in merged((run for r in results for run in r.detections), detection_order):
        latest = max(latest, to_microseconds(detection.end) + AFTER_DETECTION_NS // 1000)
        yield latest, detection


def _join(files: Sequence[Path], whole: Path) -> None:
    shutil.move(files[0], whole)
    with whole.open("ab") as target:
        for path in files[1:]:
            with path.open("rb") as source:
                shutil.copyfileobj(source, target)


def _abort(sinks: Iterable[Sink]) -> None:
    for sink in sinks:
        with suppress(OSError):  # the disk that made us abort
            sink.abort()
