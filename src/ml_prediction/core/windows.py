"""Windows: what fills their gaps, and what is done to them before the model sees them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy import signal

from ml_prediction.core.history import Flags, Floats
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


def normalise(batch: Floats, how: Normalisation) -> npt.NDArray[np.float32]:
    """Demean, detrend, scale and taper windows, all at once.

    Parameters
    ----------
    batch
        Shape (window, component, sample), C-contiguous. Absent components are zeros. It is
        worked on in place: twice as fast.
    how
        As the model was trained. With method ``model`` only the mean is removed here.

    Returns
    -------
    numpy.ndarray
        Shape (window, component, sample), float32.
    """
    batch = np.ascontiguousarray(batch)
    batch -= np.add.reduce(batch, axis=-1, keepdims=True) / batch.shape[-1]
    if how.method == "model":
        return batch.astype(np.float32)
    if how.detrend:
        batch = signal.detrend(batch, axis=-1)
    batch *= 1.0 / (_scale(batch, how) + how.epsilon)
    if how.taper:
        ramp = _ramp(how.taper)
        batch[..., : how.taper] *= ramp
        batch[..., -how.taper :] *= ramp[::-1]
    return batch.astype(np.float32)


@lru_cache(maxsize=16)
def _ramp(length: int) -> Floats:
    """Rising half of a cosine taper."""
    return np.asarray(0.5 * (1 + np.cos(np.linspace(np.pi, 2 * np.pi, length))))


def _scale(batch: Floats, how: Normalisation) -> Floats:
    """Statistic that demeaned windows are divided by, of a shape that broadcasts over them.

    Every reduction runs over one contiguous last axis, so a window's place in the batch
    changes no bit.
    """
    if how.scope == "window":
        flat = batch.reshape(len(batch), 1, -1)
        return _statistic(flat, how)
    scale = _statistic(batch, how)
    return scale.mean(axis=1, keepdims=True) if how.scope == "mean" else scale


def _statistic(values: Floats, how: Normalisation) -> Floats:
    if how.method == "peak":
        return np.asarray(np.abs(values).max(axis=-1, keepdims=True))
    squares = np.add.reduce(np.square(values), axis=-1, keepdims=True)
    return np.asarray(np.sqrt(squares / (values.shape[-1] - 1)))


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
