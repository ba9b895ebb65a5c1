"""Where the time goes, by stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


class Stopwatch:
    """Adds up seconds by stage; a stage that runs inside another one is not counted twice.

    Parameters
    ----------
    seconds
        Where the sums go.
    clock
        Monotonic seconds.
    """

    def __init__(self, seconds: dict[str, float], clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._stages: list[str] = []
        self._since = 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count what is done in this context."""
        self._lap()
        self._stages.append(name)
        try:
            yield
        finally:
            self._lap()
            self._stages.pop()

    def each(self, name: str, items: Iterator[T]) -> Iterator[T]:
        """The same items; what it takes to get them is counted."""
        while True:
            with self.stage(name):
                try:
                    item = next(items)
                except StopIteration:
                    return
            yield item

    def _lap(self) -> None:
        now = self._clock()
        if self._stages:
            stage = self._stages[-1]
            self._seconds[stage] = self._seconds.get(stage, 0.0) + now - self._since
        self._since = now
