"""The seam between the pipeline and whatever computes a forward pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ml_prediction.models.spec import ModelSpec


class Engine(Protocol):
    """Computes the forward pass of one model."""

    def __call__(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Outputs of a batch of preprocessed windows.

        Parameters
        ----------
        batch
            Shape (window, component, sample), C-contiguous.

        Returns
        -------
        numpy.ndarray
            Probabilities, shape (window, label, sample).
        """
        ...


@dataclass(frozen=True, slots=True)
class Model:
    """A model ready to run: what it is, and what computes it. It carries no run state."""

    spec: ModelSpec
    engine: Engine

    def __repr__(self) -> str:
        return f"Model({self.spec.id}, sha256 {self.spec.weights_sha256[:12]})"
