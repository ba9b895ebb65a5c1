"""How far a run is: a bar on a terminal, plain lines elsewhere. Both on stderr."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

LINE_EVERY_S = 10.0
"""Seconds between plain lines."""


class ConsoleProgress:
    """Share done, rate and time left.

    Parameters
    ----------
    console
        Where to; a bar is drawn if it is a terminal.
    total
        Samples, or whatever is counted, in all.
    seconds
        Seconds that the data cover, for the rate in times real time.
    clock
        Monotonic seconds.
    label
        What is being done.
    rate
        Words for the rate, from what is done and the seconds it took; None: times real time.
    """

    def __init__(
        self,
        console: Console,
        total: int,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
        *,
        label: str = "picking",
        rate: Callable[[int, float], str] | None = None,
    ) -> None:
        self._console = console
        self._total = max(total, 1)
        self._seconds = seconds
        self._clock = clock
        self._label = label
        self._rate = rate or self._times_real_time
        self._started = clock()
        self._last_line = self._started
        self._bar: Progress | None = None
        if console.is_terminal:
            self._bar = Progress(
                TextColumn(label),
                BarColumn(),
                TextColumn("{task.percentage:3.0f} %  {task.fields[rate]}"),
                TimeRemainingColumn(),
                TextColumn("left"),
                console=console,
                transient=True,
            )
            self._task = self._bar.add_task(label, total=self._total, rate="")

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, done: int) -> None:
        """Take how much has gone through so far."""
        now = self._clock()
        share = min(done / self._total, 1.0)
        elapsed = max(now - self._started, 1e-6)
        rate = self._rate(done, elapsed)
        if self._bar is not None:
            self._bar.update(self._task, completed=done, rate=rate)
        elif now - self._last_line >= LINE_EVERY_S and share > 0:
            self._last_line = now
            left = elapsed * (1 - share) / share
            self._console.print(
                f"{self._label}: {share:.0%}, {rate}, {_duration(left)} left", highlight=False
            )

    def _times_real_time(self, done: int, elapsed: float) -> str:
        share = min(done / self._total, 1.0)
        return f"{share * self._seconds / elapsed:,.0f} x real time"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
