"""Windows that wait for the engine: in order, and not more than there is room for."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final

from ml_prediction.core.windows import Skipped, Window, recorded

OVERLOAD: Final = "overload"
"""Reason of windows that were dropped because the engine did not keep up."""


class WindowQueue:
    """First in, first out; beyond a number of windows the oldest ones turn into skipped ones.

    So every window still reports, and nobody waits for one that was dropped.

    Parameters
    ----------
    most
        Windows that may wait.

    Attributes
    ----------
    windows
        How many wait; what was skipped is not among them.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._dropped: deque[Skipped] = deque()  # older than all that wait
        self._items: deque[Window | Skipped] = deque()
        self.windows = 0

    def __len__(self) -> int:
        return len(self._dropped) + len(self._items)

    def __iter__(self) -> Iterator[Window | Skipped]:
        yield from self._dropped
        yield from self._items

    def restore(self, items: Iterable[Window | Skipped]) -> None:
        """Hold these instead, even if there is no room for all: nothing is dropped for them."""
        self._dropped.clear()
        self._items = deque(items)
        self.windows = sum(isinstance(item, Window) for item in self._items)

    def add(self, item: Window | Skipped) -> Skipped | None:
        """Take a window, or a skipped one; what was dropped for it."""
        self._items.append(item)
        if isinstance(item, Skipped):
            return None
        self.windows += 1
        return self._drop_oldest() if self.windows > self._most else None

    def shed(self, most: int) -> list[Skipped]:
        """Drop the oldest windows until so many are left; what was dropped."""
        return [self._drop_oldest() for _ in range(self.windows - most)]

    def pop(self) -> Window | Skipped:
        """The oldest one.

        Raises
        ------
        IndexError
            If there is none.
        """
        if self._dropped:
            return self._dropped.popleft()
        item = self._items.popleft()
        self.windows -= isinstance(item, Window)
        return item

    def _drop_oldest(self) -> Skipped:
        while isinstance(item := self._items.popleft(), Skipped):
            self._dropped.append(item)
        self.windows -= 1
        dropped = Skipped(
            item.instrument, item.model, item.index, item.index + 1, OVERLOAD, recorded(item.mask)
        )
        self._dropped.append(dropped)
        return dropped
