"""Compiled forward passes on a CPU, one request for each core.

OpenVINO is a library of Intel's (Apache 2.0) that also runs on AMD's and ARM's processors.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
import openvino

from ml_prediction.errors import ConfigurationError
from ml_prediction.models.engine import Floats32, check_batch
from ml_prediction.util.machine import cores

BATCH_SAMPLES: Final = 96_000
"""Of each component in a full batch: 16 windows of EQTransformer, 32 of PhaseNet. With half of it a
request costs 3 % more a window; more gains nothing, and costs memory."""

SIZES: Final = (1, 4, 16)
"""Batches that graphs are compiled for, beside full ones; a smaller one is filled up with zeros."""

WAITING: Final = 6
"""Passes for each thread, those that wait for their turn included."""

FILLED_UP: Final = 8
"""Batches of a size that are filled up to a larger one before it gets a graph of its own."""

MOST_THREADS: Final = 16
"""Unless more are asked for: every one needs memory of its own."""

Build = Callable[[int], openvino.Model]
Precision = Literal["f32", "bf16"]

# One for the process, for good: on processors with AMX each one replaces the thread's stack for
# signals, and the end of two, the elder first, leaves that of the elder, which is no more.
_CORE: Final = openvino.Core()


@dataclass(frozen=True, slots=True)
class Request:
    """A forward pass under way.

    Attributes
    ----------
    handle
        OpenVINO's request.
    batch, outputs
        Its input, which must live as long, and where its outputs go.
    windows
        How many of the outputs are wanted.
    idle
        Where the handle goes afterwards.
    """

    handle: Any
    batch: Floats32
    outputs: Floats32
    windows: int
    idle: deque[Any]

    def result(self) -> Floats32:
        """Wait for the outputs: shape (window, label, sample)."""
        self.handle.wait()
        self.idle.append(self.handle)
        return self.outputs[: self.windows]


@dataclass(frozen=True, slots=True)
class _Compiled:
    """Graph for one batch size, its outputs' shape, and its requests that have nothing to do."""

    model: Any
    shape: tuple[int, int, int]
    idle: deque[Any] = field(default_factory=deque)

    def start(self, batch: Floats32, windows: int) -> Request:
        try:
            handle = self.idle.pop()
        except IndexError:
            handle = self.model.create_infer_request()
        outputs = np.empty(self.shape, dtype=np.float32)
        handle.set_input_tensor(openvino.Tensor(batch, shared_memory=True))
        handle.set_output_tensor(openvino.Tensor(outputs, shared_memory=True))
        handle.start_async()
        return Request(handle, batch, outputs, windows, self.idle)


class OpenVinoEngine:
    """Forward pass of one model; the engine keeps nothing of what it has seen.

    Parameters
    ----------
    build
        Makes the graph for a number of windows.
    components, samples, labels
        Shape of one window, and number of outputs.
    threads
        CPU threads, each with a request of its own; None for one for each core, up to 16.
    precision
        What is multiplied; inputs and outputs are float32 with either.

    Raises
    ------
    ConfigurationError
        If `threads` is not positive.
    """

    def __init__(
        self,
        build: Build,
        *,
        components: int,
        samples: int,
        labels: int,
        threads: int | None,
        precision: Precision = "f32",
    ) -> None:
        if threads is not None and threads < 1:
            raise ConfigurationError(f"threads must be at least 1, not {threads}.")
        self.threads = threads or min(cores(), MOST_THREADS)
        self._build = build
        self._shape = (components, samples)
        self._labels = labels
        self._precision = precision
        self._sizes = (*SIZES, max(SIZES[-1], round(BATCH_SAMPLES / samples)))
        self._compiled: dict[int, _Compiled] = {}
        self._misfits: Counter[int] = Counter()

    @property
    def batch_size(self) -> int:
        """Windows that one pass is best given."""
        return self._sizes[-1]

    @property
    def under_way(self) -> int:
        """Passes worth having started at once: nobody is idle while a file is read."""
        return WAITING * self.threads

    def start(self, batch: Floats32) -> Request:
        """Begin a forward pass; see :class:`~ml_prediction.models.engine.Engine`."""
        check_batch(batch, *self._shape)
        windows = len(batch)
        size = self._size_for(windows)
        usable = batch.flags.c_contiguous and batch.flags.writeable and batch.dtype == np.float32
        if windows < size or not usable:
            filled = np.zeros((size, *self._shape), dtype=np.float32)
            filled[:windows] = batch
            batch = filled
        return self._compiled[size].start(batch, windows)

    def __call__(self, batch: Floats32) -> Floats32:
        """Outputs of any number of windows; see :class:`~ml_prediction.models.engine.Engine`."""
        check_batch(batch, *self._shape)
        outputs = np.empty((len(batch), self._labels, self._shape[1]), dtype=np.float32)
        running: deque[tuple[int, Request]] = deque()
        for first in range(0, len(batch), self.batch_size):
            running.append((first, self.start(batch[first : first + self.batch_size])))
            if len(running) > self.under_way:
                _collect(running, outputs)
        while running:
            _collect(running, outputs)
        return outputs

    def _size_for(self, windows: int) -> int:
        """Batch size to compute so many windows with; it has been compiled.

        Compiling costs more than filling up a few batches, such as the last one of a run.
        """
        size = next((size for size in self._sizes if windows <= size), windows)
        if size not in self._compiled:
            larger = [known for known in self._compiled if known > windows]
            self._misfits[size] += 1
            if larger and self._misfits[size] <= FILLED_UP:
                return min(larger)
            shape = (size, self._labels, self._shape[1])
            self._compiled[size] = _Compiled(self._compile(size), shape)
        return size

    def _compile(self, size: int) -> Any:
        # Not pinned: several processes would all pin themselves to the first cores.
        settings = {
            "INFERENCE_PRECISION_HINT": self._precision,
            "PERFORMANCE_HINT": "THROUGHPUT",
            "NUM_STREAMS": self.threads,
            "INFERENCE_NUM_THREADS": self.threads,
            "ENABLE_CPU_PINNING": False,
        }
        return _CORE.compile_model(self._build(size), "CPU", settings)


def _collect(running: deque[tuple[int, Request]], outputs: Floats32) -> None:
    first, request = running.popleft()
    result = request.result()
    outputs[first : first + len(result)] = result


def runtime_name(precision: Precision) -> str:
    """OpenVINO's version, and the processor and precision that it compiles for."""
    processor = _CORE.get_property("CPU", "FULL_DEVICE_NAME")
    return f"openvino {openvino.__version__} on {processor}, {precision}"


def has_bfloat16() -> bool:
    """Whether OpenVINO computes with bfloat16 here; AVX-512 BF16 and AMX make it quicker."""
    return "BF16" in _CORE.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
