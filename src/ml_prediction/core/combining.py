"""Between stages 3 and 4: the probability traces of several models to one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ml_prediction.core.channel import FOREVER
from ml_prediction.core.coherence import Floats, semblance, weighted_mean
from ml_prediction.core.postprocessing import Chunk
from ml_prediction.models.ensemble import Ensemble
from ml_prediction.util.codes import Instrument

SEMBLANCE_WINDOW: Final = 0.5
"""Seconds over which coherence is measured, as in ELEP."""

SEMBLANCE_ORDER: Final = 4
"""Power of the coherence, as in ELEP."""


@dataclass(slots=True)
class _Track:
    """Traces of one instrument that are not done with."""

    chunks: list[list[Chunk]]  # of each member, in order of time
    fronts: list[int]  # each member has said all that it has before this index
    emitted: int | None = None
    kept_from: int = -FOREVER


class Combiner:
    """Merges the traces of members, sample by sample, as far as all of them have come.

    A sample for which a member has no probability is left to the others. The result does not
    depend on how the traces are cut.

    Parameters
    ----------
    ensemble
        Members and rule, see `ml_prediction.models.ensemble.combine`.
    thresholds
        Of the labels that are picked, where they are not the members' own.
    """

    def __init__(self, ensemble: Ensemble, thresholds: Mapping[str, float]) -> None:
        specs = [model.spec for model in ensemble.members]
        self._spec = ensemble.spec
        self._rule = ensemble.rule
        self._rows = [
            [spec.labels.index(label) if label in spec.labels else None for spec in specs]
            for label in self._spec.labels
        ]
        self._shares = np.array(ensemble.shares)
        self._ids = [spec.id for spec in specs]
        self._thresholds = [{**spec.thresholds, **thresholds} for spec in specs]
        semblant = ensemble.rule == "semblance"
        self._half = round(SEMBLANCE_WINDOW * self._spec.sampling_rate / 2) if semblant else 0
        self._tracks: dict[Instrument, _Track] = {}

    def add(self, member: int, chunks: Sequence[Chunk]) -> list[Chunk]:
        """Take final traces of one member; the merged ones that are final by them."""
        touched: dict[Instrument, _Track] = {}
        for chunk in chunks:
            track = self._tracks.get(chunk.instrument)
            if track is None:
                track = self._tracks[chunk.instrument] = self._new_track()
            track.chunks[member].append(chunk)
            track.fronts[member] = chunk.stop
            touched[chunk.instrument] = track
        merged: list[Chunk] = []
        for instrument, track in touched.items():
            merged += self._emit(instrument, track, min(track.fronts) - self._half)
        return merged

    def flush(self) -> list[Chunk]:
        """Everything that is left; what the members' own ends brought is in already."""
        merged: list[Chunk] = []
        for instrument, track in self._tracks.items():
            merged += self._emit(instrument, track, max(track.fronts))
        return merged

    def reset(self) -> None:
        """Forget all traces."""
        self._tracks.clear()

    def agreeing(self, instrument: Instrument, label: str, onset: int, end: int) -> tuple[str, ...]:
        """Members that reach their own threshold themselves between two samples, both included."""
        track = self._tracks[instrument]
        row = self._rows[self._spec.labels.index(label)]
        found = []
        for member, at in enumerate(row):
            if at is None:
                continue
            trace = _dense(track.chunks[member], onset, end + 1)
            threshold = np.float32(self._thresholds[member][label])
            if trace is not None and np.fmax.reduce(trace[at]) >= threshold:
                found.append(self._ids[member])
        return tuple(found)

    def release(self, instrument: Instrument, index: int) -> None:
        """Say that nobody will ask about samples before ``index`` any more."""
        track = self._tracks[instrument]
        track.kept_from = index
        self._drop(track)

    def forget(self, instrument: Instrument) -> None:
        """Forget an instrument."""
        self._tracks.pop(instrument, None)

    def snapshot(self) -> list[dict[str, Any]]:
        """State as plain values and arrays."""
        return [
            {
                "instrument": list(instrument),
                "chunks": [[list(chunk[1:]) for chunk in each] for each in track.chunks],
                "fronts": list(track.fronts),
                "emitted": track.emitted,
                "kept_from": track.kept_from,
            }
            for instrument, track in self._tracks.items()
        ]

    def restore(self, state: list[dict[str, Any]]) -> None:
        """Take over a snapshot's state."""
        self._tracks.clear()
        for item in state:
            instrument = Instrument(*item["instrument"])
            self._tracks[instrument] = _Track(
                [[Chunk(instrument, *saved) for saved in each] for each in item["chunks"]],
                list(item["fronts"]),
                item["emitted"],
                item["kept_from"],
            )

    # -----------------------------------------------------------------------------------------

    def _new_track(self) -> _Track:
        count = len(self._ids)
        return _Track([[] for _ in range(count)], [-FOREVER] * count)

    def _emit(self, instrument: Instrument, track: _Track, stop: int) -> list[Chunk]:
        """Merged traces up to ``stop``; nothing where no member has said anything."""
        if stop <= -FOREVER // 2:
            return []  # somebody has not come yet
        begin = track.emitted
        if begin is None:
            begin = min(each[0].start for each in track.chunks if each)
        if stop <= begin:
            return []
        track.emitted = stop
        merged = [
            self._merge(instrument, track, first, last)
            for first, last in _covered(track.chunks, begin, stop)
        ]
        if not merged or merged[-1].stop < stop:
            # nothing is known up to here: what waits for later samples need not wait for them
            empty = np.zeros((len(self._spec.labels), 0), dtype=np.float32)
            merged.append(Chunk(instrument, stop, empty, np.zeros(0, dtype=np.bool_)))
        self._drop(track)
        return merged

    def _merge(self, instrument: Instrument, track: _Track, first: int, last: int) -> Chunk:
        """One stretch of merged traces."""
        low, high = first - self._half, last + self._half
        valid = np.zeros(last - first, dtype=np.bool_)
        members: list[npt.NDArray[np.float32] | None] = []
        for each in track.chunks:
            members.append(_dense(each, low, high))
            for chunk in each:
                a, b = max(chunk.start, first), min(chunk.stop, last)
                if a < b:
                    valid[a - first : b - first] |= chunk.valid[a - chunk.start : b - chunk.start]
        values = np.full((len(self._rows), last - first), np.nan, dtype=np.float32)
        for number, row in enumerate(self._rows):
            having = [
                (member[at], share)
                for member, at, share in zip(members, row, self._shares, strict=True)
                if at is not None and member is not None
            ]
            if having:
                traces = np.array([trace for trace, _ in having], dtype=np.float64)
                shares = np.array([share for _, share in having])
                values[number] = self._rule_applied(traces, shares, low)
        return Chunk(instrument, first, values, valid)

    def _rule_applied(self, traces: Floats, shares: Floats, start: int) -> Floats:
        if self._rule == "mean":
            return weighted_mean(traces, shares)
        if self._rule == "max":
            return np.asarray(np.fmax.reduce(traces))
        inner = slice(self._half, traces.shape[1] - self._half)
        highest = np.fmax.reduce(traces[:, inner])
        return np.asarray(semblance(traces, self._half, start) ** SEMBLANCE_ORDER * highest)

    def _drop(self, track: _Track) -> None:
        """Forget what nobody needs any more."""
        if track.emitted is None:
            return
        needed = min(track.emitted - self._half, track.kept_from)
        for each in track.chunks:
            done = 0
            while done < len(each) and each[done].stop <= needed:
                done += 1
            del each[:done]


def _dense(chunks: Sequence[Chunk], low: int, high: int) -> npt.NDArray[np.float32] | None:
    """One member's traces, shape (label, sample), NaN where it has none; None if nowhere."""
    chunks = [chunk for chunk in chunks if chunk.start < high and chunk.stop > low]
    if not chunks:
        return None
    first = chunks[0]
    if len(chunks) == 1 and first.start <= low and first.stop >= high:
        return first.values[:, low - first.start : high - first.start]
    values = np.full((len(first.values), high - low), np.nan, dtype=np.float32)
    for chunk in chunks:
        a, b = max(chunk.start, low), min(chunk.stop, high)
        if a < b:
            values[:, a - low : b - low] = chunk.values[:, a - chunk.start : b - chunk.start]
    return values


def _covered(members: Sequence[Sequence[Chunk]], begin: int, stop: int) -> list[tuple[int, int]]:
    """Stretches between two samples about which some member has said something."""
    pieces = sorted(
        (max(chunk.start, begin), min(chunk.stop, stop))
        for chunks in members
        for chunk in chunks
        if chunk.start < stop and chunk.stop > begin
    )
    stretches: list[tuple[int, int]] = []
    for first, last in pieces:
        if first >= last:
            continue
        if stretches and first <= stretches[-1][1]:
            stretches[-1] = (stretches[-1][0], max(stretches[-1][1], last))
        else:
            stretches.append((first, last))
    return stretches
