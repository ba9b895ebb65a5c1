"""The seam between the pipeline and whatever computes a forward pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from ml_prediction.errors import ConfigurationError
from ml_prediction.models.spec import ModelSpec

EngineName = Literal["auto", "torch", "openvino", "openvino-bf16"]
Floats32 = npt.NDArray[np.float32]


class Engine(Protocol):
    """Computes forward passes of one model. Anything that can be called so is one."""

    def __call__(self, batch: Floats32) -> Floats32:
        """Outputs of any number of preprocessed windows.

        Parameters
        ----------
        batch
            Shape (window, component, sample), C-contiguous. An engine does not change it.

        Returns
        -------
        numpy.ndarray
            Probabilities, shape (window, label, sample).
        """
        ...


class Ticket(Protocol):
    """A forward pass under way."""

    def result(self) -> Floats32:
        """Wait for the outputs, and return them: shape (window, label, sample). Ask once."""
        ...


@runtime_checkable
class ConcurrentEngine(Engine, Protocol):
    """An engine that computes while its caller does something else."""

    @property
    def batch_size(self) -> int:
        """Windows that one pass is best given."""
        ...

    @property
    def under_way(self) -> int:
        """Passes worth having started at once, so that nothing in the engine is idle."""
        ...

    def start(self, batch: Floats32) -> Ticket:
        """Begin a forward pass over preprocessed windows.

        Parameters
        ----------
        batch
            Shape (window, component, sample), C-contiguous. It must not change before the
            ticket's result is there.

        Raises
        ------
        ConfigurationError
            If the batch hasn't the model's number of components and samples.
        """
        ...


def check_batch(batch: Floats32, components: int, samples: int) -> None:
    """Check the shape of a batch.

    Raises
    ------
    ConfigurationError
        If it hasn't the model's number of components and samples.
    """
    if batch.ndim != 3 or batch.shape[1:] != (components, samples):
        raise ConfigurationError(
            f"a batch must have shape (windows, {components}, {samples}), not {batch.shape}."
        )


@dataclass(frozen=True, slots=True)
class _Done:
    outputs: Floats32

    def result(self) -> Floats32:
        return self.outputs


@dataclass(frozen=True, slots=True)
class _Immediate:
    """Any engine, as one that is never ahead of its caller."""

    engine: Engine

    @property
    def batch_size(self) -> int:
        return 32

    @property
    def under_way(self) -> int:
        return 1

    def start(self, batch: Floats32) -> Ticket:
        return _Done(self.engine(batch))

    def __call__(self, batch: Floats32) -> Floats32:
        return self.engine(batch)


def concurrent(engine: Engine) -> ConcurrentEngine:
    """Return the engine itself if it is concurrent, else one around it."""
    return engine if isinstance(engine, ConcurrentEngine) else _Immediate(engine)


@dataclass(frozen=True, slots=True)
class Model:
    """A model ready to run: what it is, and what computes it. It carries no run state."""

    spec: ModelSpec
    engine: Engine

    @property
    def members(self) -> tuple[Model, ...]:
        """Itself, as an ensemble has several."""
        return (self,)

    def __repr__(self) -> str:
        return f"Model({self.spec.id}, sha256 {self.spec.weights_sha256[:12]})"
