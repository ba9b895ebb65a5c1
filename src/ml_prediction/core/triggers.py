"""Hysteresis triggers on a probability trace that arrives in pieces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ml_prediction.core.packets import runs


@dataclass(frozen=True, slots=True)
class Trigger:
    """One excursion of a probability trace above its threshold.

    Attributes
    ----------
    onset, end
        Index of the first sample at or above the threshold, and of the last at or above half of
        it.
    peak
        Index of the highest sample, the first of equals.
    around
        Probabilities around the peak, shape (2 * context + 1,); NaN where unknown.
    cut
        Whether it went on beyond the longest allowed.
    """

    onset: int
    end: int
    peak: int
    around: npt.NDArray[np.float32]
    cut: bool

    @property
    def probability(self) -> float:
        """Highest probability."""
        return float(self.around[len(self.around) // 2])


class TriggerTrack:
    """Finds triggers in one trace. Where it is cut into pieces does not matter.

    On above the threshold, off at half of it, as in SeisBench (ObsPy's ``trigger_onset``). NaN
    ends a trigger.

    Parameters
    ----------
    threshold
        Trigger threshold.
    longest
        Samples after the onset at which a trigger is cut; the rest of the excursion is ignored.
    context
        Samples on both sides of the peak that a trigger takes along.
    """

    def __init__(self, threshold: float, longest: int, context: int) -> None:
        self._on = np.float32(threshold)
        self._off = np.float32(threshold / 2)
        self._longest = longest
        self._context = context
        self._start = 0
        self._values = np.zeros(0, dtype=np.float32)
        self.scan = 0  # triggers that ended before this index are done
        self._muted = False

    def add(self, start: int, values: npt.NDArray[np.float32]) -> list[Trigger]:
        """Take the next final samples; triggers whose surroundings are final now.

        Parameters
        ----------
        start
            Index of the first sample. What lies between the last call's samples and these is
            unknown.
        values
            Shape (sample,).
        """
        found = []
        if not len(self._values):
            self._start = self.scan = start
        elif start > self._start + len(self._values):
            found = self.finish()
            self._start = self.scan = start
        if self._is_quiet(values):
            self._pass_over(start, values)
            return found
        self._values = np.concatenate([self._values, values])
        return found + self._scan(final=False)

    def finish(self) -> list[Trigger]:
        """Triggers that are left when nothing follows."""
        found = self._scan(final=True)
        self._values = self._values[:0]
        self._muted = False
        return found

    def snapshot(self) -> dict[str, Any]:
        """State as plain values and arrays."""
        return {
            "start": self._start,
            "values": self._values,
            "scan": self.scan,
            "muted": self._muted,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot's state."""
        self._start, self._values = state["start"], state["values"]
        self.scan, self._muted = state["scan"], state["muted"]

    def _is_quiet(self, values: npt.NDArray[np.float32]) -> bool:
        """Whether no trigger is open and these begin none; False where some are unknown."""
        idle = self.scan == self._start + len(self._values) and not self._muted
        return idle and len(values) > 0 and bool(np.maximum.reduce(values) < self._on)

    def _pass_over(self, start: int, values: npt.NDArray[np.float32]) -> None:
        """Go on to the end of quiet values, and keep what a coming trigger takes along."""
        self.scan = start + len(values)
        if len(values) < self._context:
            values = np.concatenate([self._values, values])
        self._values = values[-self._context :].copy()
        self._start = self.scan - len(self._values)

    def _scan(self, final: bool) -> list[Trigger]:
        found: list[Trigger] = []
        stop = self._start + len(self._values)
        live = self._values[self.scan - self._start :]
        base = self.scan
        above, high = live >= self._off, live >= self._on
        if self._muted:
            quiet = np.flatnonzero(~above)
            above[: quiet[0] if len(quiet) else len(above)] = False
            self._muted = not len(quiet)
        self.scan = stop
        for first, after in runs(above):
            rising = np.flatnonzero(high[first:after])
            open_end = base + after == stop and not final
            if not len(rising):
                continue
            onset = first + int(rising[0])
            cut = after > onset + self._longest
            end = min(after, onset + self._longest)
            peak = onset + int(live[onset:end].argmax())
            if not final and ((open_end and not cut) or base + peak + self._context >= stop):
                self.scan = base + onset
                break
            found.append(self._trigger(base + onset, base + end - 1, base + peak, cut))
            if open_end:
                self._muted = True
        keep = max(self.scan - self._context - self._start, 0)
        self._values = self._values[keep:].copy()
        self._start += keep
        return found

    def _trigger(self, onset: int, end: int, peak: int, cut: bool) -> Trigger:
        around = np.full(2 * self._context + 1, np.nan, dtype=np.float32)
        low = max(peak - self._context, self._start)
        high = min(peak + self._context + 1, self._start + len(self._values))
        shift = self._context - peak
        around[low + shift : high + shift] = self._values[low - self._start : high - self._start]
        return Trigger(onset, end, peak, around, cut)
