"""What a packet must be to enter the pipeline."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from ml_prediction.core.grid import HIGHEST_RATE, LOWEST_RATE, grid_rate
from ml_prediction.core.packets import Packet, runs
from ml_prediction.core.pending import Piece
from ml_prediction.util.codes import NSLC
from ml_prediction.util.times import NANOSECONDS

YEAR_NS = 31_556_952 * NANOSECONDS
EARLIEST_NS, LATEST_NS = -70 * YEAR_NS, 130 * YEAR_NS
STAND_INS = frozenset("123")  # component letters that may stand for Z, N and E

LARGEST: Final = 1e15
"""No instrument gives more, in any unit; much larger values overflow in sums of squares."""

_CODES: Final = re.compile(r"[A-Za-z0-9_-]*")


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
NOT_FINITE = Refusal(
    "not finite", "NaN or infinite samples are left out; look at how they were made"
)
ABSURD = Refusal(
    "absurd value", f"samples beyond {LARGEST:g} are left out; look at how they were made"
)
NO_PLACE = Refusal("unused channel", "another channel of the instrument has its component")


def check(packet: Packet, components: str, model_rate: float) -> Fraction | Refusal:
    """Rate on the grid of a packet that can be used, or why it can't.

    Parameters
    ----------
    packet
        What has come.
    components
        Component letters of the model.
    model_rate
        Rate of the model in Hz.
    """
    if packet.samples.size == 0:
        return Refusal("empty")
    if packet.samples.ndim != 1:
        return Refusal(
            "not one-dimensional",
            f"samples of shape {packet.samples.shape} are no waveform; give one array per channel",
        )
    if packet.samples.dtype.kind not in "iufb":
        return Refusal(
            "not numeric",
            f"samples of type {packet.samples.dtype} are no waveform; give integers or floats",
        )
    if not plain(packet.nslc):
        return Refusal(
            "bad code",
            "its codes may have letters, digits, - and _ only; mend its header",
        )
    if not EARLIEST_NS <= packet.start_ns <= LATEST_NS:
        return Refusal("absurd time", "its time is not within 1900 to 2100; mend its header")
    component = packet.nslc.component
    if component not in {*STAND_INS, *components}:
        return Refusal(
            "unknown component",
            f"its code does not end in a component that the model knows ({components}, 1, 2, 3); "
            "leave it out, or rename it",
        )
    rate = grid_rate(packet.sampling_rate, model_rate)
    if rate is None:
        return Refusal(
            "unsupported rate",
            f"its sampling rate of {packet.sampling_rate:g} Hz is not within {LOWEST_RATE} to "
            f"{HIGHEST_RATE} Hz; leave it out, or mend its header",
        )
    return rate


@lru_cache(maxsize=100_000)
def plain(nslc: NSLC) -> bool:
    """Whether a channel's codes are fit for every output: columns, XML and file names."""
    return all(_CODES.fullmatch(code) for code in nslc)


def usable_pieces(packet: Packet, rate: Fraction) -> Iterator[Piece]:
    """Stretches of a packet without NaN, infinity, and values that no instrument gives."""
    header = None if packet.sampling_rate == float(rate) else packet.sampling_rate
    piece = Piece(packet.start_ns, rate, packet.samples, header=header)
    if are_usable(packet.samples):
        yield piece
        return
    for start, stop in runs(_usable(packet.samples)):
        yield piece.cut(start, stop)


def left_out(packet: Packet) -> Iterator[tuple[Refusal, int]]:
    """What :func:`usable_pieces` leaves out of a packet: why, and how many samples."""
    finite = np.isfinite(packet.samples)
    absurd = finite & ~_usable(packet.samples)
    for refusal, flags in ((NOT_FINITE, ~finite), (ABSURD, absurd)):
        if flags.any():
            yield refusal, int(flags.sum())


def are_usable(samples: npt.NDArray[np.generic]) -> bool:
    """Whether all of a packet's samples can be used."""
    if samples.dtype.kind in "iub" and samples.dtype.itemsize <= 4:
        return True
    if samples.dtype.kind == "f":  # NaN is neither below nor above
        return float(samples.min()) >= -LARGEST and float(samples.max()) <= LARGEST
    return bool(_usable(samples).all())


def _usable(samples: npt.NDArray[np.generic]) -> npt.NDArray[np.bool_]:
    if samples.dtype.kind in "iub" and samples.dtype.itemsize <= 4:
        return np.ones(len(samples), dtype=np.bool_)
    with np.errstate(over="ignore", invalid="ignore"):
        values = samples.astype(np.float64, copy=False)
        return np.asarray(np.abs(values) <= LARGEST)
