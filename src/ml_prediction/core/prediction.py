"""Stage 2: windows to outputs, in batches over all instruments."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ml_prediction.core.history import Flags
from ml_prediction.core.summary import Summary
from ml_prediction.core.window_queue import OVERLOAD, WindowQueue
from ml_prediction.core.windows import Skipped, Window, recorded, together
from ml_prediction.errors import InternalError
from ml_prediction.models.engine import Model, Ticket, concurrent
from ml_prediction.util.codes import Instrument

ENGINE_FAILED: Final = "engine failed"

_log = logging.getLogger(__name__)


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


@dataclass(frozen=True, slots=True)
class _Broken:
    """A forward pass that did not even begin."""

    error: RuntimeError

    def result(self) -> npt.NDArray[np.float32]:
        raise self.error


@dataclass(frozen=True, slots=True)
class _Pass:
    """A forward pass under way, and what it is for; no ticket where all is skipped."""

    items: list[Window | Skipped]
    ticket: Ticket | None
    windows: int


class Predictor:
    """Runs one model on windows, in batches, some of which are under way at the same time.

    Parameters
    ----------
    model
        What computes.
    batch_size
        Most windows in one forward pass; None for what the engine is best given.
    overlap
        Let the engine work on while the caller prepares more: windows wait for a full batch, and
        what is under way is reported by a later call. Otherwise each call reports everything.
    queue
        Live: windows only wait until :meth:`step`, at most so many of them; beyond that the
        oldest ones are skipped as ``overload``. None for no queue.
    summary
        Where skipped windows are counted.

    Attributes
    ----------
    batch_size
        Most windows in one forward pass.
    failures
        Forward passes that failed, one after another, up to now. With a queue, their windows are
        skipped as ``engine failed``; otherwise the engine's error is the caller's.
    """

    def __init__(
        self,
        model: Model,
        batch_size: int | None = None,
        *,
        overlap: bool = False,
        queue: int | None = None,
        summary: Summary | None = None,
    ) -> None:
        self._model = model
        self._engine = concurrent(model.engine)
        self.batch_size = batch_size or self._engine.batch_size
        self._overlap = overlap
        self._summary = summary or Summary()
        self._waiting: list[Window | Skipped] = []
        self._windows = 0  # of those that wait
        self._passes: deque[_Pass] = deque()
        self._queue = None if queue is None else WindowQueue(queue)
        self.failures = 0

    def add(self, items: Iterable[Window | Skipped]) -> Iterator[list[Output | Skipped]]:
        """Take windows of any instruments, and skipped ones among them.

        Yields
        ------
        list of Output or Skipped
            One item for each that came in, in the same order. With a queue, none.
        """
        if self._queue is not None:
            for item in items:
                self._enqueue(self._queue, item)
            return
        for item in items:
            self._take(item)
            while len(self._passes) > self._engine.under_way:
                yield self._finish()
        if not self._overlap:
            yield from self.drain()

    def drain(self) -> Iterator[list[Output | Skipped]]:
        """Report everything that has come in."""
        while self._queue:
            yield from self.step()
        self._start()
        while self._passes:
            yield self._finish()

    def shed(self, most: int) -> None:
        """Skip the oldest windows of the queue until so many are left."""
        for dropped in self._queue.shed(most) if self._queue is not None else ():
            self._summary.skip("windows", OVERLOAD, 1, dropped.instrument)

    @property
    def waiting(self) -> int:
        """Windows that have not reported; where none is left, skipped ones."""
        queued, rest = (0, 0) if self._queue is None else (self._queue.windows, len(self._queue))
        windows = queued + self._windows + sum(each.windows for each in self._passes)
        return windows or rest + len(self._waiting) + sum(len(p.items) for p in self._passes)

    def step(self) -> Iterator[list[Output | Skipped]]:
        """Let the engine have as much of the queue as it can work on; wait for its next pass.

        Yields
        ------
        list of Output or Skipped
            Of the earliest pass, in the order in which they came in. Nothing if nothing waits.
        """
        while self._queue and len(self._passes) <= self._engine.under_way:
            while self._queue and self._windows < self.batch_size:
                self._waiting.append(item := self._queue.pop())
                self._windows += isinstance(item, Window)
            self._start()
        if self._passes:
            yield self._finish()

    def snapshot(self) -> list[dict[str, Any]]:
        """Inputs of windows that have not reported, as plain values and arrays."""
        items = [item for each in self._passes for item in each.items]
        return [_pack(item) for item in (*items, *self._waiting, *(self._queue or ()))]

    def restore(self, state: list[dict[str, Any]]) -> None:
        """Take over a snapshot's state."""
        self._passes.clear()
        self._waiting, self._windows = [], 0
        items = map(_unpack, state)
        if self._queue is not None:
            self._queue.restore(items)
            return
        for item in items:
            self._take(item)

    def _enqueue(self, queue: WindowQueue, item: Window | Skipped) -> None:
        dropped = queue.add(item)
        if dropped is not None:
            self._summary.skip("windows", OVERLOAD, 1, dropped.instrument)

    def _take(self, item: Window | Skipped) -> None:
        self._waiting.append(item)
        self._windows += isinstance(item, Window)
        if self._windows == self.batch_size:
            self._start()

    def _start(self) -> None:
        """Begin a pass over what waits."""
        if not self._waiting:
            return
        windows = [item.data for item in self._waiting if isinstance(item, Window)]
        ticket: Ticket | None = None
        try:
            ticket = self._engine.start(together(windows)) if windows else None
        except RuntimeError as error:
            if self._queue is None:
                raise
            ticket = _Broken(error)
        self._passes.append(_Pass(self._waiting, ticket, len(windows)))
        self._waiting, self._windows = [], 0

    def _finish(self) -> list[Output | Skipped]:
        """Outputs of the earliest pass."""
        done = self._passes.popleft()
        if done.ticket is None:
            return [item for item in done.items if isinstance(item, Skipped)]
        try:
            outputs = done.ticket.result()
        except RuntimeError as error:  # the engine's own
            if self._queue is None:
                raise
            return self._failed(done, error)
        self.failures = 0
        spec = self._model.spec
        shape = (done.windows, len(spec.labels), spec.in_samples)
        if outputs.shape != shape:
            raise InternalError(
                f"{self._model!r} gave an output of shape {outputs.shape}, not {shape}."
            )
        results = iter(outputs)
        return [
            Output(item.instrument, item.model, item.index, next(results), recorded(item.mask))
            if isinstance(item, Window)
            else item
            for item in done.items
        ]

    def _failed(self, done: _Pass, error: RuntimeError) -> list[Output | Skipped]:
        """What a pass reports of which the engine made nothing."""
        self.failures += 1
        _log.error("the engine failed: %s", " ".join(str(error).split())[:500])
        for item in done.items:
            if isinstance(item, Window):
                self._summary.skip("windows", ENGINE_FAILED, 1, item.instrument)
        return [_given_up(item, ENGINE_FAILED) for item in done.items]


def _given_up(item: Window | Skipped, reason: str) -> Skipped:
    """A window that the model will not see."""
    if isinstance(item, Skipped):
        return item
    stop = item.index + 1
    return Skipped(item.instrument, item.model, item.index, stop, reason, recorded(item.mask))


def _pack(item: Window | Skipped) -> dict[str, Any]:
    common = {"instrument": list(item.instrument), "model": item.model, "index": item.index}
    if isinstance(item, Window):
        return {**common, "data": item.data.copy(), "mask": item.mask}
    return {**common, "stop": item.stop, "reason": item.reason, "mask": item.mask}


def _unpack(state: dict[str, Any]) -> Window | Skipped:
    rest = {**state, "instrument": Instrument(*state["instrument"])}
    return Window(**rest) if "data" in rest else Skipped(**rest)
