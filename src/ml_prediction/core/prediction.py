"""Stage 2: windows to outputs, in batches over all instruments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml_prediction.core.history import Flags
from ml_prediction.core.windows import Skipped, Window
from ml_prediction.errors import InternalError
from ml_prediction.models.engine import Model
from ml_prediction.util.codes import Instrument


@dataclass(frozen=True, slots=True)
class Output:
    """Model output for one window.

    Attributes
    ----------
    instrument, model, index
        As in :class:`~ml_prediction.core.windows.Window`.
    probabilities
        Shape (label, sample), float32.
    mask
        Shape (sample,): where some component was recorded.
    """

    instrument: Instrument
    model: str
    index: int
    probabilities: npt.NDArray[np.float32]
    mask: Flags


def predict(
    items: Iterable[Window | Skipped], model: Model, batch_size: int
) -> Iterator[list[Output | Skipped]]:
    """Run the model on windows, ``batch_size`` at a time.

    Parameters
    ----------
    items
        Windows of one model, of any instruments, and skipped ones among them.
    model
        What computes.
    batch_size
        Most windows in one forward pass.

    Yields
    ------
    list of Output or Skipped
        One item for each that came in, in the same order.
    """
    waiting: list[Window | Skipped] = []
    count = 0
    for item in items:
        waiting.append(item)
        count += isinstance(item, Window)
        if count == batch_size:
            yield _forward(waiting, model)
            waiting, count = [], 0
    if waiting:
        yield _forward(waiting, model)


def _forward(items: list[Window | Skipped], model: Model) -> list[Output | Skipped]:
    windows = [item for item in items if isinstance(item, Window)]
    if not windows:
        return [item for item in items if isinstance(item, Skipped)]
    batch = np.stack([window.data for window in windows])
    outputs = model.engine(batch)
    shape = (len(windows), len(model.spec.labels), model.spec.in_samples)
    if outputs.shape != shape:
        raise InternalError(f"{model!r} gave an output of shape {outputs.shape}, not {shape}.")
    results = iter(outputs)
    return [
        Output(item.instrument, item.model, item.index, next(results), item.mask.any(axis=0))
        if isinstance(item, Window)
        else item
        for item in items
    ]
