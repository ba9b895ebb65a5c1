"""Packets: contiguous samples of one channel, the form in which data enter the pipeline."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from obspy import Trace

from ml_prediction.errors import DataError
from ml_prediction.util.codes import NSLC
from ml_prediction.util.times import NANOSECONDS, to_ns, to_utc


@dataclass(frozen=True, slots=True)
class Packet:
    """Contiguous samples of one channel.

    Attributes
    ----------
    nslc
        Channel.
    start_ns
        Time of the first sample, nanoseconds since 1970 (UTC).
    sampling_rate
        Header's rate in Hz.
    samples
        Shape (sample,), any real type. Counts, unless the source says otherwise.
    """

    nslc: NSLC
    start_ns: int
    sampling_rate: float
    samples: npt.NDArray[np.generic]

    def __len__(self) -> int:
        return len(self.samples)

    def sample_ns(self, index: int) -> int:
        """Time of sample ``index`` in nanoseconds; of the first where the rate is absurd."""
        if not 0 < self.sampling_rate < math.inf:
            return self.start_ns
        return self.start_ns + round(index * NANOSECONDS / self.sampling_rate)

    @property
    def end_ns(self) -> int:
        """Time of the last sample in nanoseconds."""
        return self.sample_ns(len(self.samples) - 1)

    def slice(self, start: int, stop: int) -> Packet:
        """Samples ``start`` to ``stop`` (exclusive), as a view."""
        return Packet(
            self.nslc, self.sample_ns(start), self.sampling_rate, self.samples[start:stop]
        )

    def to_trace(self) -> Trace:
        """As an ObsPy Trace that shares the samples."""
        network, station, location, channel = self.nslc
        header = {
            "network": network,
            "station": station,
            "location": location,
            "channel": channel,
            "sampling_rate": self.sampling_rate,
            "starttime": to_utc(self.start_ns),
        }
        return Trace(data=self.samples, header=header)


def to_packets(data: Trace | Packet | Iterable[Trace | Packet]) -> list[Packet]:
    """Packets of traces: of a Stream, of any iterable, or of a single one.

    Raises
    ------
    DataError
        If there is something else among them. Nothing is taken then.
    """
    if isinstance(data, Trace | Packet):
        data = [data]
    if isinstance(data, str) or not isinstance(data, Iterable):
        raise DataError(f"{_NOT_TRACES} {type(data).__name__} {str(data)[:80]!r}.")
    packets: list[Packet] = []
    for item in data:
        if isinstance(item, Packet):
            packets.append(item)
        elif isinstance(item, Trace):
            packets.extend(packets_from_trace(item))
        else:
            raise DataError(f"{_NOT_TRACES} {type(item).__name__} among them.")
    return packets


def channel_of(trace: Trace) -> NSLC:
    """Channel of an ObsPy Trace."""
    stats = trace.stats
    return NSLC.clean(stats.network, stats.station, stats.location, stats.channel)


_NOT_TRACES = "Waveforms must be ObsPy traces (a Stream; read files with obspy.read), not a"


def packets_from_trace(trace: Trace) -> Iterator[Packet]:
    """Packets of an ObsPy Trace: one, or one for each run of unmasked samples.

    Parameters
    ----------
    trace
        Any trace; masked samples are treated as missing.

    Yields
    ------
    Packet
        Views of the trace's samples. An empty trace gives one empty packet, so that it can
        be counted.
    """
    stats = trace.stats
    data = trace.data
    whole = Packet(
        channel_of(trace), to_ns(stats.starttime), float(stats.sampling_rate), np.asarray(data)
    )
    mask = data.mask if isinstance(data, np.ma.MaskedArray) else np.False_
    if not np.any(mask):
        yield whole
        return
    if np.all(mask):
        yield whole.slice(0, 0)
        return
    for start, stop in runs(~np.broadcast_to(mask, data.shape)):
        yield whole.slice(start, stop)


class Timed(Protocol):
    """Samples whose times are known."""

    def __len__(self) -> int: ...

    def sample_ns(self, index: int) -> int:
        """Time of a sample in nanoseconds."""
        ...


def samples_before(item: Timed, time_ns: int) -> int:
    """Number of samples that lie before a time, each judged by its own."""
    if item.sample_ns(0) >= time_ns:  # the usual case
        return 0
    return bisect_left(range(len(item)), time_ns, key=item.sample_ns)


def runs(flags: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Runs of True in a one-dimensional array, as (start, stop) pairs, stop exclusive."""
    edges = (np.flatnonzero(flags[1:] != flags[:-1]) + 1).tolist()
    if len(flags) and flags[0]:
        edges.insert(0, 0)
    if len(flags) and flags[-1]:
        edges.append(len(flags))
    return list(zip(edges[::2], edges[1::2], strict=True))
