"""Probability traces that come from several sides, held until all of them have come so far."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ml_prediction.core.channel import FOREVER
from ml_prediction.core.history import Flags
from ml_prediction.core.postprocessing import Chunk
from ml_prediction.util.codes import Instrument

Traces = npt.NDArray[np.float32]


@dataclass(slots=True)
class Gathering:
    """Traces of some members that are to be merged, sample by sample.

    What comes out of :meth:`merged` does not depend on how the traces are cut, nor on which
    member's come first.

    Attributes
    ----------
    chunks
        Of each member, in order of time; what nobody needs any more is dropped.
    fronts
        Each member has said all that it has before this index.
    margin
        Samples on each side that merging a sample looks at.
    emitted
        Samples before this index have been merged.
    kept_from
        Nobody will ask for earlier samples.
    """

    chunks: list[list[Chunk]]
    fronts: list[int]
    margin: int = 0
    emitted: int | None = None
    kept_from: int = -FOREVER

    @classmethod
    def of(cls, members: int, margin: int = 0) -> Self:
        """Nothing yet, of so many members."""
        return cls([[] for _ in range(members)], [-FOREVER] * members, margin)

    def add(self, member: int, chunk: Chunk) -> int:
        """Take a final trace of a member.

        Returns
        -------
        int
            Recorded samples of it that come too late to be merged.
        """
        self.fronts[member] = chunk.stop
        late = 0
        if self.emitted is not None and chunk.start < self.emitted:
            count = self.emitted - chunk.start
            late = int(chunk.valid[:count].sum())
            values, valid = chunk.values[:, count:], chunk.valid[count:]
            chunk = Chunk(chunk.instrument, max(self.emitted, chunk.start), values, valid)
        self.chunks[member].append(chunk)
        return late

    def pass_over(self, member: int, index: int) -> None:
        """Do not wait for what a member may have before an index."""
        self.fronts[member] = max(self.fronts[member], index)

    @property
    def stop(self) -> int:
        """Index after the last sample that any member has said something about."""
        return max((each[-1].stop for each in self.chunks if each), default=-FOREVER)

    def merged(
        self,
        instrument: Instrument,
        labels: int,
        merge: Callable[[int, int], Traces],
        stop: int | None = None,
    ) -> list[Chunk]:
        """Merged traces as far as all members have come; nothing where none has said anything.

        Parameters
        ----------
        instrument
            Put on the chunks.
        labels
            Rows of the merged traces.
        merge
            Values from a first sample to a last one (exclusive), shape (label, sample).
        stop
            As far as this, instead.
        """
        if stop is None:
            stop = min(min(self.fronts) - self.margin, self.stop)
        if stop <= -FOREVER // 2:
            return []  # somebody has not come yet
        begin = self.emitted
        if begin is None:
            begin = min((each[0].start for each in self.chunks if each), default=stop)
        if stop <= begin:
            return []
        self.emitted = stop
        found = [
            Chunk(instrument, first, merge(first, last), self.valid(first, last))
            for first, last in _covered(self.chunks, begin, stop)
        ]
        if not found or found[-1].stop < stop:
            # nothing is known up to here: what waits for later samples need not wait for them
            empty = np.zeros((labels, 0), dtype=np.float32)
            found.append(Chunk(instrument, stop, empty, np.zeros(0, dtype=np.bool_)))
        self._drop()
        return found

    def dense(self, member: int, low: int, high: int) -> Traces | None:
        """A member's traces, shape (label, sample), NaN where it has none; None if nowhere."""
        chunks = [chunk for chunk in self.chunks[member] if chunk.start < high and chunk.stop > low]
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

    def valid(self, first: int, last: int, member: int | None = None) -> Flags:
        """Where a member was recorded, or any of them; shape (sample,)."""
        valid = np.zeros(last - first, dtype=np.bool_)
        for each in self.chunks if member is None else [self.chunks[member]]:
            for chunk in each:
                a, b = max(chunk.start, first), min(chunk.stop, last)
                if a < b:
                    valid[a - first : b - first] |= chunk.valid[a - chunk.start : b - chunk.start]
        return valid

    def release(self, index: int) -> None:
        """Say that nobody will ask about samples before ``index`` any more."""
        self.kept_from = index
        self._drop()

    def snapshot(self) -> dict[str, Any]:
        """State as plain values and arrays."""
        return {
            "chunks": [[list(chunk[1:]) for chunk in each] for each in self.chunks],
            "fronts": list(self.fronts),
            "emitted": self.emitted,
            "kept_from": self.kept_from,
        }

    @classmethod
    def restored(cls, state: dict[str, Any], owners: Sequence[Instrument], margin: int = 0) -> Self:
        """Gathering of a snapshot's state, of which each member's traces are of an instrument."""
        chunks = [
            [Chunk(owner, *saved) for saved in each]
            for owner, each in zip(owners, state["chunks"], strict=True)
        ]
        fronts = list(state["fronts"])
        return cls(chunks, fronts, margin, state["emitted"], state["kept_from"])

    def _drop(self) -> None:
        """Forget what nobody needs any more."""
        if self.emitted is None:
            return
        needed = min(self.emitted - self.margin, self.kept_from)
        for each in self.chunks:
            done = 0
            while done < len(each) and each[done].stop <= needed:
                done += 1
            del each[:done]


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
