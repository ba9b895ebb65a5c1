"""Contiguous packets made one: fewer, longer packets cost the pipeline less."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Final, Generic, NamedTuple, TypeVar

import numpy as np

from ml_prediction.core.packets import Packet
from ml_prediction.util.codes import NSLC
from ml_prediction.util.times import NANOSECONDS

JOIN_TOLERANCE_NS: Final = 1000
"""Packets are joined if the second's header time is that of the next sample to 1 microsecond:
the resolution of miniSEED 2 headers, and at most 0.001 samples up to 1,000 Hz. The headers then
say the same time as the first one and the rate do, so that joining changes no result."""

P = TypeVar("P")


class Part(NamedTuple, Generic[P]):
    """Samples of one header, in whatever form."""

    nslc: NSLC
    start_ns: int
    rate: float
    dtype: np.dtype[Any]
    length: int
    samples: P


class Run(Generic[P]):
    """Contiguous parts of one channel.

    Attributes
    ----------
    nslc, start_ns, rate, dtype
        Of the first part.
    parts
        Their samples.
    """

    __slots__ = ("_next_ns", "_total", "dtype", "nslc", "parts", "rate", "start_ns")

    def __init__(self, first: Part[P]) -> None:
        self.nslc, self.start_ns, self.rate, self.dtype = first[:4]
        self.parts: list[P] = []
        self._total = 0
        self.add(first)

    def continues(self, part: Part[P]) -> bool:
        """Whether a part's header says that it comes next."""
        return (
            part.rate == self.rate
            and part.dtype == self.dtype
            and abs(part.start_ns - self._next_ns) <= JOIN_TOLERANCE_NS
        )

    def add(self, part: Part[P]) -> None:
        """Put a part at the end."""
        self.parts.append(part.samples)
        self._total += part.length
        # Measured from the first one's time, so that deviations don't add up.
        ahead = self._total * NANOSECONDS / self.rate if 0 < self.rate < math.inf else 0
        self._next_ns = self.start_ns + round(ahead)


def gather(parts: Iterable[Part[P]]) -> list[Run[P]]:
    """Contiguous parts of each channel together, by the rule of JOIN_TOLERANCE_NS.

    Parameters
    ----------
    parts
        In the order in which they follow each other.

    Returns
    -------
    list of Run
        In the order of their first parts. Rate and sample type are equal within each.
    """
    runs: list[Run[P]] = []
    latest: dict[NSLC, Run[P]] = {}
    for part in parts:
        run = latest.get(part.nslc)
        if run is not None and run.continues(part):
            run.add(part)
        else:
            run = latest[part.nslc] = Run(part)
            runs.append(run)
    return runs


def join(packets: Iterable[Packet]) -> list[Packet]:
    """Contiguous packets of a channel joined, where their headers say that they are.

    Parameters
    ----------
    packets
        In the order in which they follow each other.

    Returns
    -------
    list of Packet
        In the order of their first parts; see `gather`.
    """
    runs = gather(
        Part(p.nslc, p.start_ns, p.sampling_rate, p.samples.dtype, len(p), p) for p in packets
    )
    return [run.parts[0] if len(run.parts) == 1 else _merged(run.parts) for run in runs]


def _merged(run: list[Packet]) -> Packet:
    first = run[0]
    samples = np.concatenate([packet.samples for packet in run])
    return Packet(first.nslc, first.start_ns, first.sampling_rate, samples)
