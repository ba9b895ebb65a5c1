"""From the components of one instrument to one window: which are used, and what fills the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ml_prediction.core.history import Flags, Floats
from ml_prediction.core.windows import fill_gaps

LEAST_VALID = 0.2  # of a window, on some component
LEAST_SHARE = 0.5  # of the best component's valid samples
FLAT = 1e-12  # relative range below which a component is constant

OneComponent = Literal["zero", "clone", "skip"]


@dataclass(frozen=True, slots=True)
class Component:
    """One component over one window; every array has the shape (sample,).

    Attributes
    ----------
    samples
        As the model is to see them.
    unfiltered
        Without the model's filter.
    valid
        Which samples were recorded.
    usable
        False where the model may not see it, e.g. for want of a response.
    """

    samples: Floats
    unfiltered: Floats
    valid: Flags
    usable: bool = True


@dataclass(frozen=True, slots=True)
class Assembled:
    """A window before normalisation.

    Attributes
    ----------
    data
        Shape (component, sample); absent components are zeros.
    mask
        Shape (component, sample): recorded samples of the components that are used.
    recorded
        Shape (sample,): where any component was recorded, used or not.
    flat
        Rows that have enough samples, but are constant and therefore absent.
    short
        Rows that have too few samples beside the best one, and are absent for that.
    reason
        Why the window can't be used; None if it can.
    """

    data: Floats
    mask: Flags
    recorded: Flags
    flat: tuple[int, ...]
    short: tuple[int, ...]
    reason: str | None


def assemble(
    parts: Sequence[Component | None], letters: str, length: int, one_component: OneComponent
) -> Assembled:
    """Choose, fill and stack the components of a window.

    Parameters
    ----------
    parts
        One for each component letter of the model; None where there is no such channel.
    letters
        The model's component order.
    length
        Samples in the window.
    one_component
        What the horizontals are where only the vertical is used.

    Returns
    -------
    Assembled
        A component is used if it has at least half as many valid samples as the best one and
        is not constant; its gaps are filled by mirroring. At least 0.2 of the window must be
        valid on some component.
    """
    data = np.zeros((len(letters), length))
    mask = np.zeros((len(letters), length), dtype=np.bool_)
    recorded = np.zeros(length, dtype=np.bool_)
    constant: dict[int, int] = {}  # recorded samples by row
    for row, part in enumerate(parts):
        if part is None or not part.valid.any():
            continue
        recorded |= part.valid
        if not part.usable:
            continue
        if not is_flat(part.unfiltered[part.valid]):
            data[row], mask[row] = part.samples, part.valid
        else:
            constant[row] = int(part.valid.sum())
    counts = mask.sum(axis=1)
    best = int(counts.max(initial=0))
    used = [row for row in range(len(letters)) if 0 < counts[row] >= LEAST_SHARE * best]
    short = tuple(row for row in range(len(letters)) if counts[row] and row not in used)
    only_vertical = len(letters) > 1 and [letters[row] for row in used] == ["Z"]
    enough = best >= LEAST_VALID * length
    needed = LEAST_SHARE * best if enough else LEAST_VALID * length
    flat = tuple(row for row, count in constant.items() if count >= needed)
    reason = None
    if not enough:
        reason = "flat" if flat else "too few samples"
    elif only_vertical and one_component == "skip":
        reason = "vertical only"
    if reason is None:
        for row in range(len(letters)):
            if row not in used:
                data[row], mask[row] = 0.0, False
            elif counts[row] < length:
                data[row] = fill_gaps(data[row], mask[row])
        if only_vertical and one_component == "clone":
            data[:] = data[used[0]]
    return Assembled(data, mask, recorded, flat, short, reason)


def is_flat(samples: Floats) -> bool:
    """Whether samples are all the same, but for rounding in the resampler."""
    first, middle = float(samples[0]), float(samples[len(samples) // 2])
    if abs(first - middle) > 2 * FLAT * max(abs(first), abs(middle)):
        return False  # then the whole range is too large as well, however large the largest
    largest = float(np.abs(samples).max())
    return bool(np.ptp(samples) <= FLAT * largest)
