"""Stage 3: outputs of overlapping windows to probability traces."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from ml_prediction.core.history import Flags
from ml_prediction.core.prediction import Output
from ml_prediction.core.summary import Summary
from ml_prediction.core.votes import Votes
from ml_prediction.core.windows import Skipped, everywhere
from ml_prediction.models.spec import ModelSpec
from ml_prediction.util.codes import Instrument

GUARD = 0.5  # seconds inside the data on both sides of a gap
FEW: Final = 3  # windows on one sample whose outputs float32 can add up to 1e-7


class Chunk(NamedTuple):
    """A final piece of the probability traces of one instrument.

    Attributes
    ----------
    instrument
        Whose.
    start
        Index of the first sample on the model's grid.
    values
        Shape (label, sample), float32; NaN where nothing is known.
    valid
        Shape (sample,): where some component was recorded.
    """

    instrument: Instrument
    start: int
    values: npt.NDArray[np.float32]
    valid: Flags

    @property
    def stop(self) -> int:
        """Index after the last sample."""
        return self.start + self.values.shape[1]


@dataclass(slots=True)
class _Track:
    """Stack of one instrument."""

    next_index: int  # windows below have reported
    emitted: int
    votes: Votes
    ahead: set[int] = field(default_factory=set)  # windows that reported out of turn
    first_valid: int | None = None
    last_valid: int | None = None
    used: bool = False  # some window has been stacked
    plain_from: int | None = None  # first sample of the plain windows up to next_index


class Stacker:
    """Merges window outputs and lets go what no later window can change.

    Parameters
    ----------
    spec
        The model.
    stride
        Samples from one window start to the next.
    stacking
        ``max`` or ``mean`` over the windows of a sample; blinded and filled parts are left out.
    blinding
        Samples at the start and end of each output that are not used.
    horizon
        Samples: only windows that end at most so long after a sample are used for it. None for
        no limit.
    summary
        Where things are counted.
    """

    def __init__(
        self,
        spec: ModelSpec,
        *,
        stride: int,
        stacking: Literal["max", "mean"],
        blinding: tuple[int, int],
        horizon: int | None,
        summary: Summary | None = None,
    ) -> None:
        self._labels = len(spec.labels)
        self._length = spec.in_samples
        self._stride = stride
        self._horizon = self._length if horizon is None else min(horizon, self._length)
        self._endless = self._horizon == self._length
        self._low = max(blinding[0], self._length - self._horizon)  # what is used of a window
        self._high = self._length - blinding[1]
        self._gapless = stride <= self._high - self._low
        self._max = stacking == "max"
        few = self._max or self._length <= (FEW - 1) * stride + 1
        self._dtype: np.dtype[Any] = np.dtype(np.float32 if few else np.float64)
        self._guard = round(GUARD * spec.sampling_rate)
        self._summary = summary or Summary()
        self._tracks: dict[Instrument, _Track] = {}

    def add(self, item: Output | Skipped, *, open_end: bool = True) -> list[Chunk]:
        """Take the report of a window (or of skipped ones); what became final by it.

        Parameters
        ----------
        item
            Each window of an instrument reports exactly once: its earliest first, the others in
            any order.
        open_end
            Whether the end of the data may be the end of the input, which gets no guard. Its
            last 0.5 s are then held back until more data or :meth:`flush` decide.
        """
        track = self._tracks.get(item.instrument)
        if track is None:
            track = self._tracks[item.instrument] = self._new_track(item.index)
        start = item.index * self._stride
        chunks = []
        if item.index == track.next_index and start > track.votes.stop:
            # beyond a long gap: let go what is held, keep nothing of the gap
            chunks = self._emit(item.instrument, track, start - self._guard, None)
        self._report(track, start, item)
        # a sample is final once no window that may cover it is missing, and the guard at it is
        known = (track.next_index - 1) * self._stride + self._length
        final = min(track.next_index * self._stride + self._low, known - self._guard)
        if open_end:
            end = track.votes.start if track.last_valid is None else track.last_valid + 1
            final = min(final, end - self._guard)
        return chunks + self._emit(item.instrument, track, final, None)

    def final(self, instrument: Instrument) -> int | None:
        """Samples before this index have been handed out; None for an unknown instrument."""
        track = self._tracks.get(instrument)
        return None if track is None else track.emitted

    def flush(self, instrument: Instrument | None = None) -> list[Chunk]:
        """Everything that is left, of one instrument or of all; data's ends get no guard."""
        chunks = []
        for each in list(self._tracks) if instrument is None else [instrument]:
            track = self._tracks.pop(each, None)
            if track is not None:
                chunks += self._emit(each, track, track.votes.stop, track.last_valid)
        return chunks

    def forget(self, instrument: Instrument) -> None:
        """Forget an instrument."""
        self._tracks.pop(instrument, None)

    def snapshot(self) -> list[dict[str, Any]]:
        """State as plain values and arrays."""
        return [
            {
                "instrument": list(instrument),
                "ahead": sorted(track.ahead),
                **track.votes.snapshot(),
                **{name: getattr(track, name) for name in _PLAIN},
            }
            for instrument, track in self._tracks.items()
        ]

    def restore(self, state: list[dict[str, Any]]) -> None:
        """Take over a snapshot's state."""
        self._tracks = {}
        for item in state:
            votes = self._new_votes(item["start"])
            votes.restore(item)
            self._tracks[Instrument(*item["instrument"])] = _Track(
                votes=votes, ahead=set(item["ahead"]), **{name: item[name] for name in _PLAIN}
            )

    # -----------------------------------------------------------------------------------------

    def _new_track(self, index: int) -> _Track:
        start = index * self._stride
        return _Track(next_index=index, emitted=start, votes=self._new_votes(start))

    def _new_votes(self, start: int) -> Votes:
        return Votes(self._labels, start, dtype=self._dtype, highest=self._max)

    def _report(self, track: _Track, start: int, item: Output | Skipped) -> None:
        """Let one report, or that of skipped windows, into the stack."""
        plain = False
        if item.mask is not None:
            if isinstance(item, Output):
                plain = self._is_plain(item)
                self._merge(track, start, item, plain)
            track.votes.mark(start, item.mask)
            self._mark_ends(track, start, item.mask)
        if item.index != track.next_index or track.ahead:
            plain = False  # somebody is out of turn
        if not plain:
            track.plain_from = None
        elif track.plain_from is None:
            track.plain_from = start + self._low
        self._pass_on(track, item)

    def _is_plain(self, item: Output) -> bool:
        """Whether all of a window was recorded, and the model gave numbers only."""
        outputs = item.probabilities
        # a sum of squares is no number only where one of them is none
        return item.mask is everywhere(self._length) and not math.isnan(np.vdot(outputs, outputs))

    def _pass_on(self, track: _Track, item: Output | Skipped) -> None:
        """Note which windows have reported."""
        stop = item.stop if isinstance(item, Skipped) else item.index + 1
        if item.index <= track.next_index:
            track.next_index = max(track.next_index, stop)
        else:
            track.ahead.update(range(item.index, stop))
        while track.next_index in track.ahead:
            track.ahead.remove(track.next_index)
            track.next_index += 1

    def _merge(self, track: _Track, start: int, item: Output, plain: bool) -> None:
        low, high = max(self._low, track.emitted - start), self._high
        if low >= high:
            return
        if plain:
            track.votes.add(start, item.probabilities, low, high)
            return
        new = item.probabilities[:, low:high]
        known = ~np.isnan(new).any(axis=0)
        recorded = item.mask[low:high]
        track.votes.add_some(start + low, new, recorded & known)
        lost = int((recorded & ~known).sum())
        self._summary.skip("probabilities", "model gave no number", lost, item.instrument)

    def _mark_ends(self, track: _Track, start: int, mask: Flags) -> None:
        """Note where the data begin and end so far."""
        if mask is everywhere(self._length):
            first, last = start, start + self._length - 1
        elif mask.any():
            first = start + int(mask.argmax())
            last = start + len(mask) - 1 - int(mask[::-1].argmax())
        else:
            return
        track.last_valid = last if track.last_valid is None else max(track.last_valid, last)
        if track.first_valid is None:
            track.first_valid = first

    def _emit(
        self, instrument: Instrument, track: _Track, stop: int, last_valid: int | None
    ) -> list[Chunk]:
        """Hand out samples up to ``stop``. ``last_valid`` is set where the data end."""
        begin, end = track.emitted, min(stop, track.votes.stop)
        chunks = []
        if end > begin:
            if last_valid is None and self._is_whole(track, begin):
                values, valid = track.votes.result(begin, end), everywhere(end - begin)
                track.used = True
            else:
                values, valid = self._sift(instrument, track, begin, end, last_valid)
            if track.first_valid is not None or valid.any():
                chunks.append(Chunk(instrument, begin, values, valid))
        if stop > max(begin, end) and track.first_valid is not None:
            # nothing is known up to here: what waits for later samples need not wait for them
            empty = np.zeros((self._labels, 0), dtype=np.float32)
            chunks.append(Chunk(instrument, stop, empty, np.zeros(0, dtype=np.bool_)))
        if stop > begin:
            track.emitted = stop
            track.votes.drop(stop - self._guard)
        return chunks

    def _is_whole(self, track: _Track, begin: int) -> bool:
        """Whether what is final from ``begin`` on has votes throughout, and no guard."""
        plain_from = track.plain_from
        return self._gapless and plain_from is not None and plain_from <= begin - self._guard

    def _sift(
        self, instrument: Instrument, track: _Track, begin: int, end: int, last_valid: int | None
    ) -> tuple[npt.NDArray[np.float32], Flags]:
        """Probabilities where there are any, and where there are data."""
        valid = track.votes.mask(begin, end).copy()
        guarded = self._guarded(track, begin, end, last_valid)
        some = track.votes.counts(begin, end) > 0
        values = track.votes.result(begin, end, some & ~guarded & valid)
        self._count(instrument, track, valid, guarded, some)
        return values, valid

    def _guarded(self, track: _Track, begin: int, end: int, last_valid: int | None) -> Flags:
        """Samples within the guard of a missing one; the ends of the input don't count."""
        guard = self._guard
        first = track.first_valid
        if first is None:
            return np.zeros(end - begin, dtype=np.bool_)
        low, high = begin - guard, end + guard
        missing = np.ones(high - low, dtype=np.bool_)
        a, b = max(low, track.votes.start), min(high, track.votes.stop)
        if a < b:
            missing[a - low : b - low] = ~track.votes.mask(a, b)
        missing[: max(first - low, 0)] = False
        if last_valid is not None:
            missing[max(last_valid + 1 - low, 0) :] = False
        total = np.concatenate([[0], np.cumsum(missing)])
        return np.asarray(total[2 * guard + 1 :] > total[: -2 * guard - 1])

    def _count(
        self, instrument: Instrument, track: _Track, valid: Flags, guarded: Flags, some: Flags
    ) -> None:
        self._summary.skip("probabilities", "guard", int((guarded & valid).sum()), instrument)
        uncovered = valid & ~guarded & ~some
        first = int(some.argmax()) if some.any() else len(some)
        warm_up = 0 if track.used or self._endless else int(uncovered[:first].sum())
        self._summary.skip("probabilities", "warm-up", warm_up, instrument)
        rest = int(uncovered.sum()) - warm_up
        self._summary.skip("probabilities", "no usable window", rest, instrument)
        track.used = track.used or bool(some.any())


_PLAIN = ("next_index", "emitted", "first_valid", "last_valid", "used")
