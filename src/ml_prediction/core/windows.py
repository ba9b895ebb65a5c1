"""Windows: what fills their gaps, and what is done to them before the model sees them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import signal

from ml_prediction.core.history import Flags, Floats
from ml_prediction.core.kernels.gaps import mirror
from ml_prediction.core.kernels.window import scale_row, size_up
from ml_prediction.models.spec import Normalisation
from ml_prediction.util.codes import Instrument

Floats32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Window:
    """Model input of one instrument.

    Attributes
    ----------
    instrument, model
        Whose data, and id of the model that they are prepared for.
    index
        Place on the grid: the window starts at sample ``index * stride`` since 1970.
    data
        Shape (component, sample), float32, normalised.
    mask
        Shape (component, sample): True where the sample was recorded, not filled in. All False
        for an absent component.
    """

    instrument: Instrument
    model: str
    index: int
    data: Floats32
    mask: Flags


class Rooms:
    """Memory for windows. Those that follow each other lie together, and make a batch as they are.

    Parameters
    ----------
    components, samples
        Shape of a window.
    together
        How many.
    """

    def __init__(self, components: int, samples: int, together: int) -> None:
        self._shape = (together, components, samples)
        self._free: Iterator[Floats32] = iter(())

    def take(self) -> Floats32:
        """Room for a window, shape (component, sample), not cleared."""
        room = next(self._free, None)
        if room is None:
            self._free = iter(np.empty(self._shape, dtype=np.float32))
            room = next(self._free)
        return room


def together(windows: Sequence[Floats32]) -> Floats32:
    """Windows as a batch, shape (window, component, sample): without a copy if they lie so."""
    first = windows[0]
    whole = first.base
    if (
        isinstance(whole, np.ndarray)
        and whole.flags.c_contiguous
        and whole.shape[1:] == first.shape
        and all(window.base is whole for window in windows)
    ):
        begin = whole.ctypes.data
        places = [window.ctypes.data - begin for window in windows]
        start = places[0] // first.nbytes
        if places == [(start + number) * first.nbytes for number in range(len(windows))]:
            return np.asarray(whole[start : start + len(windows)])
    return np.stack(windows)


@dataclass(frozen=True, slots=True)
class Skipped:
    """Windows that the model does not see, with the reason.

    Attributes
    ----------
    instrument, model
        As in Window.
    index, stop
        Grid indices ``index`` to ``stop`` (exclusive).
    reason
        Why.
    mask
        Shape (sample,) of a single skipped window: where some component was recorded. None where
        the windows hold no data at all.
    """

    instrument: Instrument
    model: str
    index: int
    stop: int
    reason: str
    mask: Flags | None = None


def fill_gaps(samples: Floats, valid: Flags) -> Floats:
    """Fill missing samples by mirroring.

    The valid samples on each side of a gap are reflected at its edge and fill half of it,
    repeatedly if they are few; where one side has none, the other fills all.

    Parameters
    ----------
    samples, valid
        Shape (sample,). At least one sample must be valid.

    Returns
    -------
    numpy.ndarray
        Shape (sample,), a new array.
    """
    filled = samples.copy()
    mirror(filled, valid)
    return filled


def normalise(rows: Sequence[Floats], how: Normalisation, out: Floats32) -> None:
    """Demean, detrend, scale and taper a window.

    Parameters
    ----------
    rows
        Samples of each component, shape (sample,), contiguous. Absent ones are zeros.
    how
        As the model was trained. With method ``model`` only the mean is removed here.
    out
        Shape (component, sample): the result.
    """
    by_model, peak = how.method == "model", how.method == "peak"
    if how.detrend and not by_model:
        rows = [signal.detrend(row) for row in rows]
    length = out.shape[1]
    means, sizes = zip(*[size_up(row, peak) for row in rows], strict=True)
    scales = [1.0] * len(rows) if by_model else _scales(sizes, length, how)
    taper = _taper(length, 0 if by_model else how.taper)
    for number, row in enumerate(rows):
        scale_row(row, means[number], scales[number], taper, out[number])


def _scales(sizes: Sequence[float], length: int, how: Normalisation) -> list[float]:
    """Factor of each component, from its sum of squares or largest deviation."""
    count = len(sizes)
    peak = how.method == "peak"
    if how.scope == "window":
        whole = max(sizes) if peak else math.sqrt(sum(sizes) / (count * length - 1))
        return [1.0 / (whole + how.epsilon)] * count
    each = list(sizes) if peak else [math.sqrt(size / (length - 1)) for size in sizes]
    if how.scope == "mean":
        each = [sum(each) / count] * count
    return [1.0 / (size + how.epsilon) for size in each]


@lru_cache(maxsize=16)
def _taper(length: int, ends: int) -> Floats:
    """Ones, with so many samples of a cosine taper at both ends."""
    factors = np.ones(length)
    if ends:
        ramp = 0.5 * (1 + np.cos(np.linspace(np.pi, 2 * np.pi, ends)))
        factors[:ends] *= ramp
        factors[-ends:] *= ramp[::-1]
    factors.setflags(write=False)
    return factors


@lru_cache(maxsize=64)
def everywhere(*shape: int) -> Flags:
    """Mask of a window that was recorded throughout: read-only, and always the same object."""
    mask = np.ones(shape, dtype=np.bool_)
    mask.setflags(write=False)
    return mask


def recorded(mask: Flags) -> Flags:
    """Where some component was recorded: shape (sample,), of a mask (component, sample)."""
    if mask is everywhere(*mask.shape):
        return everywhere(mask.shape[1])
    return np.asarray(mask.any(axis=0))
