"""How far off the grid the samples of a channel were taken, segment by segment."""

from __future__ import annotations

from bisect import bisect_left, bisect_right


class Offsets:
    """Sub-sample offset of every segment, for some time longer than its samples are kept.

    Parameters
    ----------
    kept
        Samples for which an offset outlives its samples.
    """

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._spans: list[list[int]] = []  # first, stop, offset in ns

    def begin(self, first: int, offset_ns: int) -> None:
        """A segment begins at index ``first``."""
        self._spans.append([first, first, offset_ns])

    def reach(self, stop: int) -> None:
        """The last segment goes on until index ``stop`` (exclusive)."""
        self._spans[-1][1] = stop

    def at(self, index: int) -> int | None:
        """Nanoseconds from the grid point to sample ``index``; None if it is in no segment."""
        position = bisect_right(self._spans, index, key=lambda span: span[0]) - 1
        if position < 0:
            return None
        _, stop, offset_ns = self._spans[position]
        return offset_ns if index < stop else None

    def changes(self, start: int, stop: int) -> list[int]:
        """Indices strictly inside a range at which a segment starts or ends."""
        if self._spans and self._spans[-1][0] <= start:  # the usual case
            last = self._spans[-1][1]
            return [last] if start < last < stop else []
        begin = bisect_right(self._spans, start, key=lambda span: span[1])
        end = bisect_left(self._spans, stop, key=lambda span: span[0])
        edges = {edge for span in self._spans[begin:end] for edge in span[:2]}
        return sorted(edge for edge in edges if start < edge < stop)

    def release(self, index: int) -> None:
        """Forget segments that ended long before ``index``."""
        while self._spans and self._spans[0][1] <= index - self._kept:
            del self._spans[0]

    def snapshot(self) -> list[list[int]]:
        """State as plain values."""
        return [list(span) for span in self._spans]

    def restore(self, state: list[list[int]]) -> None:
        """Take over a snapshot's state."""
        self._spans = [list(span) for span in state]
