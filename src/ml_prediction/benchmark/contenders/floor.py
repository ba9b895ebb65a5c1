"""What the machine can do at most: matrix products in float32, and what a window costs of it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch.utils.flop_counter import FlopCounterMode

from ml_prediction.benchmark.contenders.base import Contender, Found, Job, Setup
from ml_prediction.benchmark.contenders.rivals import load_seisbench, versions

# The last is a convolution's: 64 channels out of 64 times 7, along a window.
_SHAPES: Final = ((512, 512, 512), (1024, 1024, 1024), (64, 448, 6000))


@dataclass(frozen=True, slots=True)
class Floor:
    """Nothing to run, only to measure."""

    model: Any
    window: int

    def run(self, job: Job) -> None:
        """Nothing."""

    def picks(self, result: Any, job: Job) -> list[Found]:
        """None."""
        return []

    def stages(self, result: Any) -> dict[str, float]:
        """None."""
        return {}

    def measure(self, seconds: float) -> dict[str, float]:
        """Best rate of matrix products over some shapes, and operations of one window.

        A multiplication and an addition count as two operations. They are counted in the network
        as SeisBench has it: convolutions and matrix products, nothing else.
        """
        rates = [_rate(shape, seconds / len(_SHAPES)) for shape in _SHAPES]
        counter: Any = FlopCounterMode(display=False)
        windows = torch.zeros(1, len(self.model.component_order), self.window)
        with torch.no_grad(), counter:
            self.model(windows)
        return {"gflops": max(rates), "mflop_per_window": counter.get_total_flops() / 1e6}

    @property
    def versions(self) -> dict[str, str]:
        """Of torch."""
        return versions("torch")


def build(setup: Setup) -> Contender:
    """Load the model whose operations are counted."""
    return Floor(load_seisbench(setup), setup.window)


def _rate(shape: tuple[int, int, int], seconds: float) -> float:
    """Best rate of one shape in 1e9 operations per second."""
    rows, inner, columns = shape
    left, right = torch.randn(rows, inner), torch.randn(inner, columns)
    result = torch.empty(rows, columns)
    best = float("inf")
    started = time.perf_counter()
    while time.perf_counter() - started < seconds:
        before = time.perf_counter()
        torch.mm(left, right, out=result)
        best = min(best, time.perf_counter() - before)
    return 2e-9 * rows * inner * columns / best
