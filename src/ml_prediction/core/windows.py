"""Windows: what fills their gaps, and what is done to them before the model sees them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import signal

from ml_prediction.core.history import Flags, Floats
from ml_prediction.core.kernels import window
from ml_prediction.core.packets import runs
from ml_prediction.models.spec import Normalisation
from ml_prediction.util.codes import Instrument


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
    data: npt.NDArray[np.float32]
    mask: Flags


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
    good = runs(valid)
    sides: list[tuple[int, int] | None] = [None, *good, None]
    for left, right in pairwise(sides):
        start, stop = left[1] if left else 0, right[0] if right else len(samples)
        middle = start if left is None else stop if right is None else (start + stop + 1) // 2
        if left is not None:
            distance = np.arange(middle - start)
            filled[start:middle] = samples[left[1] - 1 - _bounce(distance, left[1] - left[0])]
        if right is not None:
            distance = np.arange(stop - middle)[::-1]
            filled[middle:stop] = samples[right[0] + _bounce(distance, right[1] - right[0])]
    return filled


def _bounce(distance: npt.NDArray[np.int64], length: int) -> npt.NDArray[np.int64]:
    """Positions 0 .. length - 1 visited to and fro."""
    position = distance % (2 * length)
    return np.minimum(position, 2 * length - 1 - position)


_METHODS: Final = {"std": window.BY_DEVIATION, "peak": window.BY_PEAK, "model": window.BY_NOTHING}
_SCOPES: Final = {"component": window.EACH, "window": window.WHOLE, "mean": window.MEAN}


def normalise(samples: Floats, how: Normalisation) -> npt.NDArray[np.float32]:
    """Demean, detrend, scale and taper a window.

    Parameters
    ----------
    samples
        Shape (component, sample). Absent components are zeros.
    how
        As the model was trained. With method ``model`` only the mean is removed here.

    Returns
    -------
    numpy.ndarray
        Shape (component, sample), float32.
    """
    made = np.empty(samples.shape, dtype=np.float32)
    taper = 0 if how.method == "model" else how.taper
    if how.detrend and how.method != "model":
        samples = signal.detrend(samples)
    window.normalise_window(
        np.ascontiguousarray(samples),
        _taper(samples.shape[1], taper),
        _METHODS[how.method],
        _SCOPES[how.scope],
        how.epsilon,
        made,
    )
    return made


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
