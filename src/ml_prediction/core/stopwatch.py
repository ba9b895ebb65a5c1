"""Where the time goes, by stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType
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

    def stage(self, name: str) -> _Stage:
        """Count what is done in this context."""
        return _Stage(self, name)

    def each(self, name: str, items: Iterator[T]) -> Iterator[T]:
        """The same items; what it takes to get them is counted."""
        while True:
            self.enter(name)
            try:
                item = next(items)
            except StopIteration:
                return
            finally:
                self.leave()
            yield item

    def enter(self, name: str) -> None:
        """A stage begins."""
        self._lap()
        self._stages.append(name)

    def leave(self) -> None:
        """The innermost stage ends."""
        self._lap()
        self._stages.pop()

    def _lap(self) -> None:
        now = self._clock()
        if self._stages:
            stage = self._stages[-1]
            self._seconds[stage] = self._seconds.get(stage, 0.0) + now - self._since
        self._since = now


class _Stage:
    """Context of a stage: several times cheaper than a generator's, and there is one per push."""

    __slots__ = ("_name", "_watch")

    def __init__(self, watch: Stopwatch, name: str) -> None:
        self._watch = watch
        self._name = name

    def __enter__(self) -> None:
        self._watch.enter(self._name)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._watch.leave()
