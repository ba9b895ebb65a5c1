"""What a packet must be to enter the pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from ml_prediction.core.grid import HIGHEST_RATE, LOWEST_RATE, grid_rate, same_rate
from ml_prediction.core.packets import Packet, runs
from ml_prediction.core.pending import Piece
from ml_prediction.util.times import NANOSECONDS

YEAR_NS = 31_556_952 * NANOSECONDS
EARLIEST_NS, LATEST_NS = -70 * YEAR_NS, 130 * YEAR_NS
STAND_INS = frozenset("123")  # component letters that may stand for Z, N and E


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a packet can't be used.

    Attributes
    ----------
    reason
        Name under which it is counted.
    explanation
        For a person; empty where the count says enough.
    """

    reason: str
    explanation: str = ""


UNDECLARED = Refusal(
    "undeclared channel",
    "other channels of its instrument are declared (expected channels or inventory), but not it",
)
NO_PLACE = Refusal("unused channel", "another channel of the instrument has its component")


def check(
    packet: Packet, components: str, model_rate: float, known: Fraction | None
) -> Fraction | Refusal:
    """Rate on the grid of a packet that can be used, or why it can't.

    Parameters
    ----------
    packet
        What has come.
    components
        Component letters of the model.
    model_rate
        Rate of the model in Hz.
    known
        Rate of the channel's earlier packets; headers that mean it keep it.
    """
    if packet.samples.size == 0:
        return Refusal("empty")
    if packet.samples.ndim != 1 or packet.samples.dtype.kind not in "iufb":
        return Refusal("not numeric", f"samples of type {packet.samples.dtype} are no waveform")
    if not EARLIEST_NS <= packet.start_ns <= LATEST_NS:
        return Refusal("absurd time", "its time is not within 1900 to 2100; mend its header")
    component = packet.nslc.component
    if component not in {*STAND_INS, *components}:
        return Refusal(
            "unknown component",
            f"its code does not end in a component that the model knows ({components}, 1, 2, 3)",
        )
    if known is not None and same_rate(packet.sampling_rate, known):
        return known
    rate = grid_rate(packet.sampling_rate, model_rate)
    if rate is None:
        return Refusal(
            "unsupported rate",
            f"its sampling rate of {packet.sampling_rate:g} Hz is not within {LOWEST_RATE} to "
            f"{HIGHEST_RATE} Hz",
        )
    return rate


def finite_pieces(packet: Packet, rate: Fraction) -> Iterator[Piece]:
    """Stretches of a packet without NaN or infinity."""
    header = None if packet.sampling_rate == float(rate) else packet.sampling_rate
    piece = Piece(packet.start_ns, rate, packet.samples, header=header)
    finite = np.isfinite(packet.samples)
    if finite.all():
        yield piece
        return
    for start, stop in runs(finite):
        yield piece.cut(start, stop)
