"""The stretch of contiguous samples of a channel that is growing."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from ml_prediction.core.grid import samples_in
from ml_prediction.core.history import Floats
from ml_prediction.core.resampling import Resampler
from ml_prediction.util.times import NANOSECONDS

SHORT_GAP = 0.2  # seconds: interpolated


@dataclass(slots=True)
class Segment:
    """Contiguous samples on the grid of their own rate.

    Attributes
    ----------
    rate, phase
        Grid of the input.
    resampler
        From this rate to the model's.
    end
        Index after the last good sample.
    settled
        Index after the last sample that is known, good or bad.
    last
        Value of the last good sample.
    fresh
        Samples not yet resampled.
    context
        Earlier samples that the resampler still needs.
    next_output
        First output that is not there yet.
    state
        Of the filter; None before the first output.
    short_gap
        Samples of the longest gap that is interpolated.
    """

    rate: Fraction
    phase: int
    resampler: Resampler
    end: int
    settled: int
    last: float
    fresh: list[npt.NDArray[Any]]
    context: Floats
    next_output: int
    state: Floats | None
    short_gap: int = field(init=False)

    def __post_init__(self) -> None:
        self.short_gap = samples_in(SHORT_GAP, self.rate)

    @property
    def end_ns(self) -> int:
        """Time of the next grid point, without the phase; floored."""
        return self.end * NANOSECONDS * self.rate.denominator // self.rate.numerator

    def add(self, index: int, samples: Floats) -> int:
        """Go on with samples from an index on, over a short gap; the length of the gap."""
        gap = index - self.end
        if gap:
            steps = np.arange(1, gap + 1) / (gap + 1)
            self.fresh.append(self.last + (samples[0] - self.last) * steps)
        self.fresh.append(samples)
        self.last = float(samples[-1])
        self.end = self.settled = index + len(samples)
        return gap

    def prolong(self) -> None:
        """Go on with the last value, as far as the last outputs need it."""
        count = self.resampler.after + 1
        self.fresh.append(np.full(count, self.last))
        self.end += count

    def resample(self, stop: int, out: Floats) -> None:
        """The next outputs up to ``stop`` (exclusive), which must be ready, into ``out``."""
        resampler, start = self.resampler, self.next_output
        self.next_output = stop
        if resampler.copies and sum(map(len, self.fresh)) == stop - start:
            np.concatenate(self.fresh, out=out)  # the usual case: all of it, as it came
            self.fresh = []
            return
        samples = np.concatenate([self.context, *self.fresh])
        first = self.end - len(samples)
        out[:] = resampler(samples, first, start, stop)
        keep = max(resampler.first_input(stop) - first, 0)
        self.context, self.fresh = samples[keep:].copy(), []

    def snapshot(self) -> dict[str, Any]:
        """State as plain values and arrays."""
        state = {name: getattr(self, name) for name in _PLAIN}
        state["rate"] = [self.rate.numerator, self.rate.denominator]
        state["fresh"] = np.concatenate([np.zeros(0), *self.fresh])
        state["state"] = None if self.state is None else self.state.copy()
        return state

    @classmethod
    def restored(cls, state: dict[str, Any], rate: Fraction, resampler: Resampler) -> Segment:
        """Segment of a snapshot's state."""
        fresh = [state["fresh"]] if len(state["fresh"]) else []
        plain = {name: state[name] for name in _PLAIN}
        plain["state"] = None if state["state"] is None else state["state"].copy()
        return cls(rate=rate, resampler=resampler, fresh=fresh, **plain)


_PLAIN = ("phase", "end", "settled", "last", "context", "next_output", "state")
