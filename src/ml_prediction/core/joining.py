"""Contiguous packets made one: fewer, longer packets cost the pipeline less."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np

from ml_prediction.core.packets import Packet
from ml_prediction.util.codes import NSLC

JOIN_TOLERANCE_NS: Final = 1000
"""Packets are joined if the second's header time is that of the next sample to 1 microsecond:
the resolution of miniSEED 2 headers, and at most 0.001 samples up to 1,000 Hz. The headers then
say the same time as the first one and the rate do, so that joining changes no result."""


def join(packets: Iterable[Packet]) -> list[Packet]:
    """Contiguous packets of a channel joined, where their headers say that they are.

    Parameters
    ----------
    packets
        In the order in which they follow each other. The rule is that of JOIN_TOLERANCE_NS,
        measured from the first packet's time, so that deviations don't add up; rate and
        sample type must be equal.

    Returns
    -------
    list of Packet
        In the order of their first parts.
    """
    runs: list[list[Packet]] = []
    latest: dict[NSLC, tuple[list[Packet], int]] = {}
    for packet in packets:
        run, total = latest.get(packet.nslc, ([], 0))
        if run and _continues(run[0], total, packet):
            run.append(packet)
            latest[packet.nslc] = (run, total + len(packet))
        else:
            runs.append([packet])
            latest[packet.nslc] = (runs[-1], len(packet))
    return [run[0] if len(run) == 1 else _merged(run) for run in runs]


def _continues(first: Packet, total: int, packet: Packet) -> bool:
    return (
        packet.sampling_rate == first.sampling_rate
        and packet.samples.dtype == first.samples.dtype
        and abs(packet.start_ns - first.sample_ns(total)) <= JOIN_TOLERANCE_NS
    )


def _merged(run: list[Packet]) -> Packet:
    first = run[0]
    samples = np.concatenate([packet.samples for packet in run])
    return Packet(first.nslc, first.start_ns, first.sampling_rate, samples)
