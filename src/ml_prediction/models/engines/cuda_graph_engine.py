"""PyTorch on an NVIDIA GPU: a forward pass that is recorded once, then launched as a whole.

Some networks are thousands of small steps (EQTransformer's recurrent layers are), which keep a GPU
waiting if each is launched by itself. A recording has one shape: batches are filled up to it, so
that what comes out for a window doesn't depend on how many others are with it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from ml_prediction.models.engine import Engine, check_batch
from ml_prediction.models.engines.comparison import difference
from ml_prediction.models.engines.torch_engine import GPU_BATCH, TorchEngine
from ml_prediction.models.spec import ModelSpec

TOLERANCE: Final = 1e-5
"""Largest difference between probabilities of the recording and of steps launched one by one."""

_CUDA: Final[Any] = torch.cuda  # partly without types
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Copied:
    """Passes under way: each one's outputs, in the host's memory as soon as `done` has come."""

    outputs: tuple[torch.Tensor, ...]
    done: torch.cuda.Event

    def result(self) -> npt.NDArray[np.float32]:
        """Wait for the outputs: C-contiguous float32, shape (window, label, sample)."""
        self.done.synchronize()
        arrays = [outputs.numpy() for outputs in self.outputs]
        return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


@dataclass(frozen=True, slots=True, eq=False)
class CudaGraphEngine:
    """A recorded forward pass of a SeisBench model. Make one with `faster`.

    Attributes
    ----------
    steps
        What was recorded.
    graph
        The recording.
    inputs
        What it reads, on the GPU: shape (`GPU_BATCH`, component, sample).
    outputs
        What it writes, on the GPU: shape (`GPU_BATCH`, label, sample).
    """

    steps: TorchEngine
    graph: torch.cuda.CUDAGraph
    inputs: torch.Tensor
    outputs: torch.Tensor

    @property
    def batch_size(self) -> int:
        """Windows in the recording."""
        return GPU_BATCH

    @property
    def under_way(self) -> int:
        """Passes worth having launched at once: one computes, one waits."""
        return 2

    def start(self, batch: npt.NDArray[np.float32]) -> Copied:
        """Launch a forward pass of any number of windows, in as many recordings as they fill.

        Parameters
        ----------
        batch
            Windows, as `TorchEngine.start` takes them, shape (window, component, sample).

        Raises
        ------
        ConfigurationError
            If the batch hasn't the model's number of components and samples.
        """
        check_batch(batch, *self.inputs.shape[1:])
        with torch.cuda.device(self.inputs.device), torch.inference_mode():
            parts = range(0, max(len(batch), 1), GPU_BATCH)
            outputs = tuple(self._launch(batch[first : first + GPU_BATCH]) for first in parts)
            done = _CUDA.Event()
            done.record()
        return Copied(outputs, done)

    def __call__(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Outputs of any number of windows, as `start` takes them."""
        return self.start(batch).result()

    def _launch(self, windows: npt.NDArray[np.float32]) -> torch.Tensor:
        """Queue copy, pass and copy back. The GPU does them in order, so all share its buffers."""
        count = len(windows)
        # Pinned: what is not makes the host wait. torch keeps such memory until the copy is over.
        sent = torch.empty(windows.shape, dtype=torch.float32, pin_memory=True)
        sent.numpy()[...] = windows
        self.inputs[:count].copy_(sent, non_blocking=True)
        self.graph.replay()
        got = torch.empty((count, *self.outputs.shape[1:]), dtype=torch.float32, pin_memory=True)
        return got.copy_(self.outputs[:count], non_blocking=True)


def faster(steps: TorchEngine, spec: ModelSpec) -> Engine:
    """Record an engine's forward pass, where it is on an NVIDIA GPU and that can be done.

    Parameters
    ----------
    steps
        What launches the steps one by one.
    spec
        Of its model.

    Returns
    -------
    Engine
        The recording, if its outputs are those of `steps` to `TOLERANCE`; else `steps`.
    """
    if not steps.device.startswith("cuda"):
        return steps
    try:
        recording = _record(steps, (GPU_BATCH, len(spec.components), spec.in_samples))
    except RuntimeError as error:  # torch's own: what can't be recorded, no room
        _LOG.warning("%s runs step by step on the GPU, more slowly: %s", spec.id, _line(error))
        return steps
    found = difference(recording, steps, spec)
    if found <= TOLERANCE:  # NaN is not
        return recording
    _LOG.warning(
        "%s runs step by step on the GPU, more slowly: recorded, its probabilities differ by "
        "%.1e (allowed %.0e). Please report this.",
        spec.id,
        found,
        TOLERANCE,
    )
    return steps


def _record(steps: TorchEngine, shape: tuple[int, int, int]) -> CudaGraphEngine:
    """Record a pass over windows of silence."""
    with torch.cuda.device(steps.device), torch.inference_mode():
        inputs = torch.zeros(shape, device=steps.device)
        aside = _CUDA.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        # What is made at first use (handles, plans of convolutions) can't be made in a recording.
        # The search must be the first to see this shape: cuDNN's plans are kept.
        with torch.cuda.stream(aside):
            for _ in range(2):
                steps.compute(inputs, search=True)
        torch.cuda.current_stream().wait_stream(aside)
        torch.cuda.empty_cache()  # room that the search tried
        graph = torch.cuda.CUDAGraph()
        recorder: Any = torch.cuda.graph(graph, capture_error_mode="thread_local")
        with recorder:
            outputs = steps.compute(inputs, search=True)
        return CudaGraphEngine(steps, graph, inputs, outputs)


def _line(error: RuntimeError) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
