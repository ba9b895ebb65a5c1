from __future__ import annotations

import io

from rich.console import Console

from ml_prediction.drivers.progress import ConsoleProgress


class Clock:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_plain_lines_where_there_is_no_terminal() -> None:
    text, clock = io.StringIO(), Clock()
    with ConsoleProgress(Console(file=text, width=100), 1000, 3600.0, clock) as progress:
        clock.now = 1.0
        progress.update(1)
        clock.now = 10.0
        progress.update(250)
        progress.update(251)
    assert text.getvalue() == "picking: 25%, 90 x real time, 30 s left\n"


def test_bar_on_a_terminal_leaves_nothing_behind() -> None:
    text, clock = io.StringIO(), Clock()
    console = Console(file=text, width=100, force_terminal=True)
    with ConsoleProgress(console, 0, 0.0, clock) as progress:
        clock.now = 1.0
        progress.update(5)
    assert "x real time" in text.getvalue()
