"""How late things are: percentiles over the newest of them."""

from __future__ import annotations

from collections import deque
from typing import Final

import numpy as np

KEPT: Final = 5000
QUANTILES: Final = (0.5, 0.95, 0.99)


class Latencies:
    """The newest so many latencies in seconds."""

    def __init__(self, kept: int = KEPT) -> None:
        self._values: deque[float] = deque(maxlen=kept)
        self.count = 0

    def add(self, seconds: float) -> None:
        """Take one."""
        self._values.append(seconds)
        self.count += 1

    def quantiles(self) -> dict[float, float]:
        """Quantiles 0.5, 0.95 and 0.99 in seconds; empty if there was nothing yet."""
        if not self._values:
            return {}
        found = np.quantile(np.array(self._values), QUANTILES)
        return {q: round(float(value), 4) for q, value in zip(QUANTILES, found, strict=True)}
