"""Stage 3: outputs of overlapping windows to probability traces."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ml_prediction.core.history import Flags, Floats
from ml_prediction.core.prediction import Output
from ml_prediction.core.summary import Summary
from ml_prediction.core.windows import Skipped
from ml_prediction.models.spec import ModelSpec
from ml_prediction.util.codes import Instrument

GUARD = 0.5  # seconds inside the data on both sides of a gap


@dataclass(frozen=True, slots=True)
class Chunk:
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
    """Stack of one instrument from sample ``start`` on."""

    next_index: int  # windows below have reported
    start: int
    emitted: int
    stack: Floats  # shape (label, sample)
    count: npt.NDArray[np.int32]
    mask: Flags
    ahead: set[int] = field(default_factory=set)  # windows that reported out of turn
    first_valid: int | None = None
    last_valid: int | None = None
    used: bool = False  # some window has been stacked


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
        self._max = stacking == "max"
        self._blinding = blinding
        self._horizon = self._length if horizon is None else min(horizon, self._length)
        self._endless = self._horizon == self._length
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
        if start > track.start + len(track.mask) and item.index == track.next_index:
            # beyond a long gap: let go what is held, keep nothing of the gap
            chunks = self._emit(item.instrument, track, start - self._guard, None)
        if isinstance(item, Output):
            self._reserve(track, start + self._length)
            self._merge(track, start, item)
            self._mark_valid(track, start, item.mask)
            track.ahead.add(item.index)
        elif item.mask is not None:
            self._reserve(track, start + self._length)
            self._mark_valid(track, start, item.mask)
            track.ahead.add(item.index)
        elif item.index <= track.next_index:
            track.next_index = max(track.next_index, item.stop)
        else:
            track.ahead.update(range(item.index, item.stop))
        while track.next_index in track.ahead:
            track.ahead.remove(track.next_index)
            track.next_index += 1
        # a sample is final once no window that may cover it is missing, and the guard at it is
        known = (track.next_index - 1) * self._stride + self._length
        first_used = max(self._blinding[0], self._length - self._horizon)
        final = track.next_index * self._stride + first_used
        final = min(final, known - self._guard)
        if open_end:
            end = track.start if track.last_valid is None else track.last_valid + 1
            final = min(final, end - self._guard)
        return chunks + self._emit(item.instrument, track, final, None)

    def final(self, instrument: Instrument) -> int | None:
        """Samples before this index have been handed out; None for an unknown instrument."""
        track = self._tracks.get(instrument)
        return None if track is None else track.emitted

    def flush(self) -> list[Chunk]:
        """Everything that is left; the ends of the data get no guard."""
        chunks = []
        for instrument, track in self._tracks.items():
            stop = track.start + len(track.mask)
            chunks += self._emit(instrument, track, stop, track.last_valid)
        self._tracks.clear()
        return chunks

    def snapshot(self) -> list[dict[str, Any]]:
        """State as plain values and arrays."""
        return [
            {
                "instrument": list(instrument),
                "ahead": sorted(track.ahead),
                **{name: getattr(track, name) for name in _PLAIN},
            }
            for instrument, track in self._tracks.items()
        ]

    def restore(self, state: list[dict[str, Any]]) -> None:
        """Take over a snapshot's state."""
        self._tracks = {
            Instrument(*item["instrument"]): _Track(
                ahead=set(item["ahead"]), **{name: item[name] for name in _PLAIN}
            )
            for item in state
        }

    # -----------------------------------------------------------------------------------------

    def _new_track(self, index: int) -> _Track:
        start = index * self._stride
        return _Track(
            next_index=index,
            start=start,
            emitted=start,
            stack=np.zeros((self._labels, 0)),
            count=np.zeros(0, dtype=np.int32),
            mask=np.zeros(0, dtype=np.bool_),
        )

    def _reserve(self, track: _Track, stop: int) -> None:
        missing = stop - track.start - len(track.mask)
        if missing > 0:
            track.stack = np.pad(track.stack, ((0, 0), (0, missing)))
            track.count = np.pad(track.count, (0, missing))
            track.mask = np.pad(track.mask, (0, missing))

    def _merge(self, track: _Track, start: int, item: Output) -> None:
        low = max(self._blinding[0], self._length - self._horizon)
        high = self._length - self._blinding[1]
        low = max(low, track.emitted - start)
        if low >= high:
            return
        here = slice(start - track.start + low, start - track.start + high)
        new = item.probabilities[:, low:high].astype(np.float64)
        known = ~np.isnan(new).any(axis=0)
        use = item.mask[low:high] & known
        lost = int((item.mask[low:high] & ~known).sum())
        self._summary.skip("probabilities", "model gave no number", lost, item.instrument)
        old, seen = track.stack[:, here], track.count[here]
        highest = np.where(seen > 0, np.maximum(old, new), new)
        merged = highest if self._max else old + new
        track.stack[:, here] = np.where(use, merged, old)
        track.count[here] = seen + use

    def _mark_valid(self, track: _Track, start: int, mask: Flags) -> None:
        low = max(track.start - start, 0)
        here = slice(start - track.start + low, start - track.start + len(mask))
        track.mask[here] |= mask[low:]
        if not mask.any():
            return
        last = start + len(mask) - 1 - int(mask[::-1].argmax())
        track.last_valid = last if track.last_valid is None else max(track.last_valid, last)
        if track.first_valid is None:
            track.first_valid = start + int(mask.argmax())

    def _emit(
        self, instrument: Instrument, track: _Track, stop: int, last_valid: int | None
    ) -> list[Chunk]:
        """Hand out samples up to ``stop``. ``last_valid`` is set where the data end."""
        begin, end = track.emitted, min(stop, track.start + len(track.mask))
        chunks = []
        if end > begin:
            here = slice(begin - track.start, end - track.start)
            count = track.count[here]
            values = np.full((self._labels, end - begin), np.nan, dtype=np.float32)
            some = count > 0
            divisor = 1 if self._max else count[some]
            values[:, some] = track.stack[:, here][:, some] / divisor
            valid = track.mask[here].copy()
            guarded = self._guarded(track, begin, end, last_valid)
            values[:, guarded | ~valid] = np.nan
            self._count(instrument, track, valid, guarded, some)
            if valid.any() or track.first_valid is not None:
                chunks.append(Chunk(instrument, begin, values, valid))
        if stop > max(begin, end) and track.first_valid is not None:
            # nothing is known up to here: what waits for later samples need not wait for them
            empty = np.zeros((self._labels, 0), dtype=np.float32)
            chunks.append(Chunk(instrument, stop, empty, np.zeros(0, dtype=np.bool_)))
        if stop > begin:
            track.emitted = stop
            drop = min(stop - self._guard - track.start, len(track.mask))
            if drop > 0:
                track.stack = track.stack[:, drop:].copy()
                track.count = track.count[drop:].copy()
                track.mask = track.mask[drop:].copy()
                track.start += drop
            if not len(track.mask):
                track.start = stop - self._guard
        return chunks

    def _guarded(self, track: _Track, begin: int, end: int, last_valid: int | None) -> Flags:
        """Samples within the guard of a missing one; the ends of the input don't count."""
        guard = self._guard
        low, high = begin - guard, end + guard
        missing = np.ones(high - low, dtype=np.bool_)
        a, b = max(low, track.start), min(high, track.start + len(track.mask))
        if a < b:
            missing[a - low : b - low] = ~track.mask[a - track.start : b - track.start]
        first = track.first_valid
        if first is None:
            return np.zeros(end - begin, dtype=np.bool_)
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


_PLAIN = (
    *("next_index", "start", "emitted", "stack", "count", "mask"),
    *("first_valid", "last_valid", "used"),
)
