"""One unit of work: a station's day, picked with the context that it needs."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from obspy import Inventory

from ml_prediction.core.context import context_of
from ml_prediction.core.linking import DetectionLinker
from ml_prediction.core.packets import Packet, samples_before
from ml_prediction.core.pipeline import Pipeline
from ml_prediction.core.results import Detection, Pick, detection_order, pick_order
from ml_prediction.drivers.archive.plan import Unit
from ml_prediction.drivers.run_config import RunConfig
from ml_prediction.drivers.share import BATCH
from ml_prediction.drivers.site_time import SiteTime
from ml_prediction.errors import DataError
from ml_prediction.models import Ensemble, Model
from ml_prediction.sinks.store.base import StationDay
from ml_prediction.sources.files import FileSource, open_files
from ml_prediction.sources.problems import (
    MISNAMED,
    OF_NO_SAMPLES,
    OVERFULL,
    UNREADABLE,
    Problem,
    ProblemLedger,
)
from ml_prediction.util.codes import NSLC, Instrument
from ml_prediction.util.machine import collections_spared
from ml_prediction.util.times import NANOSECONDS, to_ns


@dataclass(frozen=True, slots=True)
class UnitPicks:
    """What came out of a unit.

    Attributes
    ----------
    picks, detections
        Of the day, in order of time.
    statistics
        Of each instrument that has data on the day: samples, cover and gaps of the day itself;
        windows and what was skipped with the context.
    problems
        What could not be used of the day's files, or of the part of its neighbours' that it needs.
    seconds
        That it took.
    """

    picks: list[Pick]
    detections: list[Detection]
    statistics: list[StationDay]
    problems: tuple[str, ...]
    seconds: float


def pick_unit(
    unit: Unit,
    models: Sequence[Model | Ensemble],
    config: RunConfig,
    inventory: Inventory | None,
    run_id: str,
) -> UnitPicks:
    """Pick a station's day as it is picked within one stream.

    Raises
    ------
    DataError
        If the day has files, but nothing in any of them can be used; or the system could not
        read one of its own or of its neighbours' files, or list a folder of them.
    OSError
        If files can't be read.
    """
    started = time.perf_counter()
    if unit.unlisted:
        raise DataError(unit.unlisted)
    start, end = unit.span
    before, after = context_of(models, config.pipeline)
    ledger = ProblemLedger()
    try:
        source = open_files(
            unit.files,
            channels=[str(nslc) for nslc in unit.channels],
            starttime=start - before,
            endtime=end + after,
            ledger=ledger,
        )
    except DataError:
        _check_read(ledger.all)
        if unit.own_files:
            raise
        return UnitPicks([], [], [], _lost(ledger.all, unit), time.perf_counter() - started)
    _check_day(unit, source)
    _check_read(source.problems)
    pipeline = Pipeline(
        models,
        config.pipeline,
        expected=unit.channels,
        inventory=inventory,
        run_id=run_id,
        probabilities=False,
        overlap=True,
        emit=unit.span,
        places=True,
    )
    site_time = SiteTime(pipeline, source.files, BATCH)
    linker, days = DetectionLinker(), _Days(to_ns(start), to_ns(end))
    picks: list[Pick] = []
    detections: list[Detection] = []
    with collections_spared():
        for batch in source.batches(BATCH):
            days.add(batch)
            for result in chain([pipeline.push(batch)], site_time.after(batch)):
                linked, found = linker.add(result)
                picks += linked
                detections += found
        linked, found = linker.add(pipeline.flush())
    _check_read(source.problems)
    picks += [*linked, *linker.close()]
    detections += found
    places = pipeline.places
    return UnitPicks(
        sorted(picks, key=pick_order),
        sorted(detections, key=detection_order),
        [
            _statistics(cover, places.get(cover.instrument, Counter()), picks, detections)
            for cover in days.all()
        ],
        _lost(source.problems, unit),
        time.perf_counter() - started,
    )


def _check_day(unit: Unit, source: FileSource) -> None:
    """Check that not all files of the day itself are useless: its context is no substitute."""
    useless = {
        problem.path: problem
        for problem in source.problems
        if problem.unit == "file" or problem.reason == MISNAMED
    }
    if unit.own_files and all(path in useless for path in unit.own_files):
        raise DataError(f"No file of the day can be used. {useless[unit.own_files[0]].message}")


def _check_read(problems: Iterable[Problem]) -> None:
    """Check that the system gave all files, neighbours' too: picks depend on these.

    What is damaged stays so; what a network file system did not give now, it may give again.
    """
    for problem in problems:
        if problem.reason == UNREADABLE:
            raise DataError(problem.message)


def _lost(problems: Iterable[Problem], unit: Unit) -> tuple[str, ...]:
    """What cost samples, in words; what a file has beyond its name concerns its own day."""
    return tuple(
        problem.message
        for problem in problems
        if problem.reason not in OF_NO_SAMPLES
        and (problem.reason != OVERFULL or problem.path in unit.own_files)
    )


def _statistics(
    cover: _Cover, counts: Counter[str], picks: Sequence[Pick], detections: Sequence[Detection]
) -> StationDay:
    return StationDay(
        instrument=cover.instrument,
        samples=cover.samples,
        covered_s=cover.seconds,
        gaps=cover.gaps,
        windows=counts["windows"],
        picks=sum(pick.instrument == cover.instrument for pick in picks),
        detections=sum(found.instrument == cover.instrument for found in detections),
        skipped={key: count for key, count in sorted(counts.items()) if key != "windows"},
    )


class _Cover(NamedTuple):
    """What an instrument has of a day: samples of all channels, seconds, breaks between them."""

    instrument: Instrument
    samples: int
    seconds: float
    gaps: int


class _Piece(NamedTuple):
    """Samples of a channel: times of the first, and of the one after the last; their distance."""

    start_ns: int
    end_ns: int
    interval_ns: int
    samples: int


class _Days:
    """Collects what each instrument has between two times."""

    def __init__(self, start_ns: int, end_ns: int) -> None:
        self._start_ns, self._end_ns = start_ns, end_ns
        self._pieces: dict[Instrument, dict[NSLC, list[_Piece]]] = {}

    def add(self, packets: Sequence[Packet]) -> None:
        """Take packets in any order."""
        for packet in packets:
            first = samples_before(packet, self._start_ns)
            last = samples_before(packet, self._end_ns)
            if first < last:
                begin, interval = packet.sample_ns(first), packet.sample_ns(1) - packet.start_ns
                piece = _Piece(begin, packet.sample_ns(last), interval, last - first)
                channels = self._pieces.setdefault(packet.nslc.instrument, {})
                channels.setdefault(packet.nslc, []).append(piece)

    def all(self) -> list[_Cover]:
        """Of each instrument, sorted."""
        return [self._day(instrument) for instrument in sorted(self._pieces)]

    def _day(self, instrument: Instrument) -> _Cover:
        channels = self._pieces[instrument].values()
        pieces = sorted(piece for some in channels for piece in some)
        starts: npt.NDArray[np.int64] = np.array([p.start_ns for p in pieces])
        ends: npt.NDArray[np.int64] = np.array([p.end_ns for p in pieces])
        reached = np.maximum.accumulate(ends)
        breaks = np.maximum(starts[1:] - reached[:-1], 0)
        covered_ns = int(reached[-1] - starts[0] - breaks.sum())
        gaps = int((breaks > np.array([p.interval_ns for p in pieces])[1:]).sum())
        return _Cover(instrument, sum(map(_samples, channels)), covered_ns / NANOSECONDS, gaps)


def _samples(pieces: Iterable[_Piece]) -> int:
    """How many samples a channel has; what came twice counts once."""
    ordered = sorted(pieces)
    count, reached = 0, ordered[0].start_ns
    for piece in ordered:
        new = piece.end_ns - max(piece.start_ns, reached)
        count += min(piece.samples, max(0, round(new / piece.interval_ns)))
        reached = max(reached, piece.end_ns)
    return count
