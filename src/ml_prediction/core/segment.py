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

    def snapshot(self) -> dict[str, Any]:
        """State as plain values and arrays."""
        state = {name: getattr(self, name) for name in _PLAIN}
        state["rate"] = [self.rate.numerator, self.rate.denominator]
        state["fresh"] = np.concatenate([np.zeros(0), *self.fresh])
        return state

    @classmethod
    def restored(cls, state: dict[str, Any], rate: Fraction, resampler: Resampler) -> Segment:
        """Segment of a snapshot's state."""
        fresh = [state["fresh"]] if len(state["fresh"]) else []
        plain = {name: state[name] for name in _PLAIN}
        return cls(rate=rate, resampler=resampler, fresh=fresh, **plain)


_PLAIN = ("phase", "end", "settled", "last", "context", "next_output", "state")
