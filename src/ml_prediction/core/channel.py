"""One channel: from packets in any order to gap-aware samples on the model's grid.

Packets wait in :class:`~ml_prediction.core.pending.Pending` until they are settled: nothing that
may still come (within the allowed lateness) can lie before them. Then they go, in order of time,
into the current segment, are resampled, filtered and put into the history. All this depends on
the samples and their times alone, never on how they were cut or in which order they came.
"""

from __future__ import annotations

import logging
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from ml_prediction.core import filters
from ml_prediction.core.following import Following
from ml_prediction.core.grid import (
    differ,
    index_from,
    index_of,
    period_ns,
    phase_of,
    samples_in,
    time_of,
)
from ml_prediction.core.history import Flags, Floats, History
from ml_prediction.core.offsets import Offsets
from ml_prediction.core.pending import Pending, Piece, split_valid, steady_parts
from ml_prediction.core.resampling import Phase, Resampler, make_resampler
from ml_prediction.core.segment import Segment
from ml_prediction.core.summary import Summary
from ml_prediction.util.codes import NSLC
from ml_prediction.util.times import NANOSECONDS

FOREVER = 2**62  # an index and a time beyond all data
PHASE_SLACK = 0.0375  # seconds: what a coming segment's phase may move at the lowest rate
SMALLEST_PART = 4096  # samples
SPANS_KEPT = 600.0  # seconds for which offsets outlive samples: a detection may be long

_NO_STATE = np.zeros((0, 2))  # of a model without filter

_log = logging.getLogger(__name__)


class Channel:
    """Everything that is kept of one channel.

    Parameters
    ----------
    nslc
        Its code.
    model_rate
        Rate of the model in Hz.
    sections
        The model's filter, shape (section, 6), or None.
    resampling
        Phase of the anti-alias filter.
    lateness_ns
        How long a gap waits.
    summary
        Where things are counted.
    """

    def __init__(
        self,
        nslc: NSLC,
        model_rate: Fraction,
        sections: Floats | None,
        resampling: Phase,
        lateness_ns: int,
        summary: Summary,
    ) -> None:
        self.nslc = nslc
        self.summary = summary
        self._model_rate = model_rate
        self._sections = sections
        self._resampling: Phase = resampling
        self._lateness_ns = lateness_ns
        self._pending = Pending()
        self._following = Following()
        self._segment: Segment | None = None
        self._history = History()
        self._floor = -FOREVER  # outputs below were declared settled
        self.born: int | None = None  # first output ever
        self._closed_ns = -FOREVER  # what lies before, and in no segment, stays missing
        self._offsets = Offsets(round(SPANS_KEPT * model_rate))
        self._warned = False

    # -- in -----------------------------------------------------------------------------------

    def add(self, piece: Piece) -> None:
        """Take finite samples that are not late."""
        self._spill()
        self._pending.add(piece)

    def follow(self, start_ns: int, samples: npt.NDArray[Any], period_ns: int) -> None:
        """Take such samples that come after all others, with no gap, at the same rate.

        Parameters
        ----------
        start_ns
            Time of the first, within a quarter of a sample of where the last ones end.
        samples
            Shape (sample,).
        period_ns
            Nanoseconds from sample to sample, a multiple of 100.
        """
        self._following.add(start_ns, samples, period_ns)

    def advance(self, target: int, watermark_ns: int) -> int:
        """Settle what can be settled, as far as output ``target`` needs it.

        Parameters
        ----------
        target
            Index on the model's grid up to which samples are wanted.
        watermark_ns
            Newest time of the instrument. ``FOREVER``: nothing more will come.

        Returns
        -------
        int
            The front: samples before it are final.
        """
        if self._pending or not self._following:  # else what follows tells that nothing is over
            self._settle(target, watermark_ns)
        if self._following and not self._pending:
            floor = self._floor
            if self._segment is None or not self._following.join(self._segment, floor, target):
                self._spill()
            self._settle(target, watermark_ns)
        self._resample()
        front = self._front(watermark_ns)
        self._floor = max(self._floor, min(front, target))
        return front

    # -- out ----------------------------------------------------------------------------------

    def covering(self, start: int, stop: int) -> Floats | None:
        """Samples as the model sees them, and without its filter, where all are there.

        Rows are views; the second is left out where there is no filter. None where one is missing.
        """
        return self._history.covering(start, stop)

    def read(self, start: int, stop: int) -> tuple[Floats, Flags]:
        """Samples as the model is to see them, and their validity; shape (stop - start,)."""
        return self._history.read(start, stop, 0)

    def read_unfiltered(self, start: int, stop: int) -> tuple[Floats, Flags]:
        """Resampled samples without the model's filter, and their validity."""
        return self._history.read(start, stop, 0 if self._sections is None else 1)

    def next_data(self, start: int) -> int | None:
        """First index at or after ``start`` that has data or may soon have; None without any."""
        found = self._history.first_valid(start)
        if found is not None:
            return found
        if self._segment is not None:
            return max(start, self._segment.next_output)
        if not self._pending:
            self._spill()
        if self._pending:
            return max(start, self._first_output(self._pending.head))
        return None

    def offset_ns(self, index: int) -> int | None:
        """How long after its grid point sample ``index`` was taken; None if it is missing.

        Known for some minutes longer than the sample itself.
        """
        return self._offsets.at(index)

    def offset_changes(self, start: int, stop: int) -> list[int]:
        """Indices strictly inside a range at which a segment starts or ends."""
        return self._offsets.changes(start, stop)

    def release(self, index: int) -> None:
        """Forget samples before ``index``."""
        self._history.release(index)
        self._offsets.release(index)

    # -- settling -----------------------------------------------------------------------------

    def _settle(self, target: int, watermark_ns: int) -> None:
        """Settle waiting pieces, as far as ``target`` needs them and they needn't wait."""
        self._close_if_over(watermark_ns)
        while self._pending and self._front(watermark_ns) < target:
            if not self._settle_head(target, watermark_ns):
                break
            self._close_if_over(watermark_ns)

    def _settle_head(self, target: int, watermark_ns: int) -> bool:
        """Bring the earliest piece, or part of it, into a segment; False if it has to wait."""
        head, segment = self._head(), self._segment
        if segment is None:
            if self._trim_head(self._closed_ns):
                return True
            after_joint = head.start_ns > self._closed_ns + period_ns(head.rate) // 2
            if after_joint and self._open_ns(watermark_ns) < head.start_ns:
                return False
            return self._untangle(phase_of(head.start_ns, head.rate)[1]) or self._open_segment()
        if differ(head.rate, segment.rate):
            joint_ns = time_of(segment.settled, segment.rate, segment.phase)
            if self._trim_head(joint_ns):
                return True
            gap_ns = min(period_ns(head.rate), period_ns(segment.rate)) // 2
            after_joint = head.start_ns > joint_ns + gap_ns
            if after_joint and self._open_ns(watermark_ns) < head.start_ns:
                return False
            self._close()
            return True
        index = index_of(head.start_ns, segment.rate, segment.phase)
        if index > segment.settled:
            if self._first_open_index(segment, watermark_ns) < index:
                return False
            if index - segment.end > segment.short_gap:
                self._close()
                return True
        self._pending.replace_head(head)  # now that it continues the segment, on its grid
        if self._untangle(segment.phase):
            return True
        head, *rest = steady_parts(self._pending.take(), segment.phase)
        for piece in rest:
            self._put_back(piece)
        known = min(max(segment.settled - index, 0), len(head))
        self._count_known(segment, index, head, known)
        self._append(segment, index + known, head.cut(known), target)
        return True

    def _head(self) -> Piece:
        """The earliest piece, on the segment's grid if its header means the same rate."""
        head, segment = self._pending.head, self._segment
        if segment is None or not differ(head.rate, segment.rate) or not head.means(segment.rate):
            return head
        return head.at(segment.rate)

    def _untangle(self, phase: int) -> bool:
        """Resolve one overlap of the earliest piece; False if there is none."""
        head = self._pending.head
        overlap = self._pending.untangle(phase)
        if overlap is None:
            return False
        self.summary.skip("samples", "duplicate", overlap.duplicates, self.nslc)
        self.summary.skip("samples", "disagree", overlap.disagreements, self.nslc)
        self.summary.note("slip", overlap.slips, self.nslc)
        length = overlap.duplicates + overlap.disagreements
        if 2 * overlap.disagreements > length > head.rate and not self._warned:
            self._warned = True
            _log.warning(
                "%s: two sources give different samples for the same time (%d of %d in one "
                "overlap); these are left out. Look for a time shift between them.",
                self.nslc,
                overlap.disagreements,
                length,
            )
        return True

    def _trim_head(self, settled_ns: int) -> bool:
        """Drop what of the earliest piece lies before a time that is settled; False if nothing."""
        head = self._pending.head
        ahead_ns = settled_ns - head.start_ns
        if ahead_ns <= period_ns(head.rate) // 2:
            return False
        self._pending.take()
        step = NANOSECONDS * head.rate.denominator
        known = min(len(head), (ahead_ns * head.rate.numerator + step // 2) // step)
        self.summary.skip("samples", "duplicate", known, self.nslc)
        self._put_back(head.cut(known))
        return True

    def _open_segment(self) -> bool:
        """Begin a segment with the earliest piece. Always True: something has been settled."""
        head = self._pending.take()
        good, bad, rest = split_valid(head)
        self._put_back(rest)
        if bad:
            self._closed_ns = head.sample_ns(bad)
            self._put_back(good)
            return True
        index, phase = phase_of(head.start_ns, head.rate)
        resampler = self._resampler(head.rate)
        first = float(good.samples[0])
        self._segment = Segment(
            rate=head.rate,
            phase=phase,
            resampler=resampler,
            end=index,
            settled=index,
            last=first,
            fresh=[],
            context=np.full(resampler.before, first),
            next_output=max(resampler.first(index), self._floor, self._history.stop or -FOREVER),
            state=None,
        )
        self._pending.add(good)
        return True

    def _append(self, segment: Segment, index: int, piece: Piece, target: int) -> None:
        good, bad, rest = split_valid(piece)
        if bad:
            segment.settled = index + bad
            self._put_back(good)
        elif len(good):
            if len(good) > 2 * SMALLEST_PART:  # a long piece goes in by parts: memory stays small
                needed = -(-target * segment.rate // self._model_rate) - index
                part = max(int(needed) + samples_in(1.0, segment.rate), SMALLEST_PART)
                if len(good) > 2 * part:
                    self._put_back(good.cut(part))
                    good = good.cut(0, part)
            samples = np.asarray(good.samples, dtype=np.float64)
            if gap := segment.add(index, samples):
                self.summary.note("slip" if gap == 1 else "short gap", 1, self.nslc)
        self._put_back(rest)

    def _spill(self) -> None:
        """Let what follows go the general way."""
        for piece in self._following.spill():
            self._pending.add(piece)

    def _put_back(self, piece: Piece | None) -> None:
        if piece is not None and len(piece):
            self._pending.add(piece)

    def _count_known(self, segment: Segment, index: int, head: Piece, known: int) -> None:
        """Count samples whose place is taken."""
        newest = known == 1 and index == segment.end - 1
        if newest and float(head.samples[0]) != segment.last:
            self.summary.note("slip", 1, self.nslc)
        else:
            self.summary.skip("samples", "duplicate", known, self.nslc)

    # -- fronts -------------------------------------------------------------------------------

    def _front(self, watermark_ns: int) -> int:
        """Samples before this index are final."""
        if self._segment is not None:
            return max(self._segment.resampler.ready(self._segment.end), self._floor)
        front = FOREVER
        if watermark_ns < FOREVER:
            slack = round(PHASE_SLACK * NANOSECONDS)
            front = index_from(watermark_ns - self._lateness_ns - slack, self._model_rate)
        if self._pending:
            front = min(front, self._first_output(self._pending.head))
        return max(front, self._floor)

    def _resampler(self, rate: Fraction) -> Resampler:
        return make_resampler(rate, self._model_rate, self._resampling)

    def _first_output(self, head: Piece) -> int:
        resampler = self._resampler(head.rate)
        return resampler.first(phase_of(head.start_ns, head.rate)[0])

    def _open_ns(self, watermark_ns: int) -> int:
        """Earliest time for which data may still come."""
        return FOREVER if watermark_ns >= FOREVER else watermark_ns - self._lateness_ns

    def _first_open_index(self, segment: Segment, watermark_ns: int) -> int:
        """First input index for which data may still come."""
        if watermark_ns >= FOREVER:
            return FOREVER
        return index_of(self._open_ns(watermark_ns), segment.rate, segment.phase)

    def _close_if_over(self, watermark_ns: int) -> None:
        """End the segment once nothing can continue it any more."""
        segment = self._segment
        if segment is None:
            return
        # The usual case, cheaply: no later than half a sample after the end.
        if segment.settled == segment.end and self._open_ns(watermark_ns) <= segment.end_ns:
            return
        limit = segment.end + segment.short_gap
        if max(self._first_open_index(segment, watermark_ns), segment.settled) <= limit:
            return
        if self._pending:
            head = self._head()
            start_ns, rate = head.start_ns, head.rate
        elif self._following:
            start_ns, rate = self._following.start_ns, self._following.rate
        else:
            self._close()
            return
        if differ(rate, segment.rate):
            over = start_ns > time_of(limit, segment.rate, segment.phase)
        else:
            over = index_of(start_ns, rate, segment.phase) > limit
        if over:
            self._close()

    def _close(self) -> None:
        """End the segment: its last outputs see its last value continued."""
        segment = self._segment
        if segment is None:
            return
        stop = segment.resampler.first(segment.end)
        segment.prolong()
        self._resample(stop)
        self._closed_ns = time_of(segment.settled, segment.rate, segment.phase)
        self._segment = None

    # -- resampling and filtering -------------------------------------------------------------

    def _resample(self, stop: int | None = None) -> None:
        """Bring the fresh samples of the segment into the history."""
        segment = self._segment
        if segment is None or not segment.fresh:
            return
        stop = segment.resampler.ready(segment.end) if stop is None else stop
        start = segment.next_output
        if stop <= start:
            return
        rows = self._history.grow(start, stop - start, 1 if self._sections is None else 2)
        segment.resample(stop, rows[-1])
        if segment.state is None:  # the segment begins here
            self.born = start if self.born is None else self.born
            self._offsets.begin(start, time_of(0, segment.rate, segment.phase))
            segment.state = _NO_STATE
            if self._sections is not None:
                segment.state = filters.steady_state(self._sections, float(rows[-1, 0]))
        self._offsets.reach(stop)
        if self._sections is not None:
            filters.run(self._sections, rows[-1], segment.state, rows[0])

    # -- state --------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """State as plain values and arrays."""
        self._spill()
        segment = self._segment
        return {
            "nslc": list(self.nslc),
            "pending": self._pending.snapshot(),
            "segment": None if segment is None else segment.snapshot(),
            "history": self._history.snapshot(),
            "floor": self._floor,
            "closed_ns": self._closed_ns,
            "born": self.born,
            "spans": self._offsets.snapshot(),
            "warned": self._warned,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot's state."""
        self._pending.restore(state["pending"])
        self._segment = None
        if state["segment"] is not None:
            rate = Fraction(*state["segment"]["rate"])
            self._segment = Segment.restored(state["segment"], rate, self._resampler(rate))
        self._history.restore(state["history"])
        self._floor = state["floor"]
        self._closed_ns = state["closed_ns"]
        self.born = state["born"]
        self._offsets.restore(state["spans"])
        self._warned = state["warned"]
