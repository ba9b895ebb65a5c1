"""PyTorch forward passes: the reference engine."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from ml_prediction.errors import ConfigurationError
from ml_prediction.models.engine import check_batch

CPU_BATCH: Final = 32
GPU_BATCH: Final = 256


def choose_device(device: str = "auto") -> str:
    """Name of the torch device to compute on.

    Parameters
    ----------
    device
        ``auto`` (CUDA, else MPS, else CPU), or a torch device such as ``cpu`` or ``cuda:1``.

    Raises
    ------
    ConfigurationError
        If the device is unknown or this machine doesn't have it.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(1, device=device)
    # torch raises AssertionError where it was built without the device.
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ConfigurationError(
            f"device {device!r} can't be used on this machine; use 'auto' or 'cpu'."
        ) from error
    return device


@dataclass(frozen=True, slots=True, eq=False)
class Running:
    """A forward pass that has been launched: ``outputs`` of shape (window, label, sample)."""

    outputs: torch.Tensor

    def result(self) -> npt.NDArray[np.float32]:
        """Wait for the outputs: C-contiguous float32, shape (window, label, sample)."""
        return np.asarray(self.outputs.to("cpu").numpy(), dtype=np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class TorchEngine:
    """Forward pass of a SeisBench model; nothing of it changes from call to call.

    Make one with `TorchEngine.build`.

    Attributes
    ----------
    module
        SeisBench model in evaluation mode, without gradients, on `device`.
    device
        torch device.
    labels
        Number of output labels.
    preprocess
        Call the model's own ``annotate_batch_pre`` first.
    threads
        CPU threads of torch, set for the whole process at each call; None leaves them alone.
    """

    module: Any
    device: str
    labels: int
    preprocess: bool = False
    threads: int | None = None

    @classmethod
    def build(
        cls,
        module: Any,
        *,
        labels: int,
        device: str = "auto",
        preprocess: bool = False,
        threads: int | None = None,
    ) -> TorchEngine:
        """Engine of a SeisBench model object, which it takes over.

        Raises
        ------
        ConfigurationError
            If the device can't be used or `threads` is not positive.
        """
        if threads is not None and threads < 1:
            raise ConfigurationError(f"threads must be at least 1, not {threads}.")
        name = choose_device(device)
        module.to(name).eval().requires_grad_(False)
        return cls(module, name, labels, preprocess, threads)

    @property
    def batch_size(self) -> int:
        """Windows that one pass is best given."""
        return GPU_BATCH if self.device.startswith("cuda") else CPU_BATCH

    @property
    def under_way(self) -> int:
        """Passes worth having launched at once: on a CPU each is over when it has begun."""
        return 1 if self.device == "cpu" else 2

    def start(self, batch: npt.NDArray[np.float32]) -> Running:
        """Begin a forward pass; a GPU goes on by itself.

        Parameters
        ----------
        batch
            Windows, preprocessed unless `preprocess`, shape (window, component, sample).

        Raises
        ------
        ConfigurationError
            If the batch hasn't the model's number of components and samples.
        """
        samples = self.module.in_samples
        check_batch(batch, len(self.module.component_order), samples)
        if not len(batch):
            return Running(torch.zeros((0, self.labels, samples)))
        if self.threads is not None and torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)
        with torch.inference_mode():
            return Running(self.compute(self._to_device(batch)))

    def __call__(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Outputs of any number of windows, as `start` takes them, in one pass."""
        return self.start(batch).result()

    def compute(self, windows: torch.Tensor, *, search: bool = False) -> torch.Tensor:
        """Forward pass of at least one window.

        Parameters
        ----------
        windows
            Shape (window, component, sample), float32, on `device`. A model with preprocessing of
            its own may write to it.
        search
            On CUDA, try which way of each convolution is the fastest for this shape.

        Returns
        -------
        torch.Tensor
            Probabilities, shape (window, label, sample), float32, contiguous.
        """
        with self._full_precision(search):
            outputs = self._forward(windows)
        return outputs.transpose(1, 2).to(torch.float32).contiguous()

    def _to_device(self, batch: npt.NDArray[np.float32]) -> torch.Tensor:
        """Make the batch a tensor; a copy where the model or torch may write to it."""
        copy = self.preprocess or not batch.flags.writeable
        convert = np.array if copy else np.ascontiguousarray
        array = convert(batch, dtype=np.float32)
        return torch.from_numpy(array).to(self.device)

    def _forward(self, windows: torch.Tensor) -> torch.Tensor:
        """Run the model: shape (window, sample, label), nothing blinded."""
        settings: dict[str, Any] = {"blinding": (0, 0)}
        piggyback = None
        if self.preprocess:
            settings["sampling_rate"] = self.module.sampling_rate
            prepared = self.module.annotate_batch_pre(windows, argdict=settings)
            windows, piggyback = prepared if isinstance(prepared, tuple) else (prepared, None)
        outputs: torch.Tensor = self.module.annotate_batch_post(
            self.module(windows), piggyback=piggyback, argdict=settings
        )
        return outputs

    def _full_precision(self, search: bool) -> contextlib.AbstractContextManager[Any]:
        """On CUDA, convolutions in float32: TF32 would cost three digits.

        cuDNN's "deterministic" ways are not asked for: they are up to nine times slower, and what
        they promise concerns gradients.
        """
        if not self.device.startswith("cuda"):
            return contextlib.nullcontext()
        flags: contextlib.AbstractContextManager[Any] = torch.backends.cudnn.flags(
            enabled=True, benchmark=search, deterministic=False, allow_tf32=False
        )
        return flags
