"""Warnings of the package during a run: shown, but not without end, and kept for the summary."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console

MOST_WARNINGS: Final = 20
"""Warnings shown on stderr; all are in summary.json."""


class WarningLog(logging.Handler):
    """Collects each warning once.

    Parameters
    ----------
    console
        Where to show them as they come, above a progress bar if there is one; None for nowhere.
    """

    def __init__(self, console: Console | None = None) -> None:
        super().__init__(logging.WARNING)
        self._console = console
        self._found: set[str] = set()

    @property
    def sentences(self) -> list[str]:
        """Everything that was said, sorted: the order must not depend on the processes."""
        return sorted(self._found)

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record of the logging module."""
        self.take([record.getMessage()])

    def take(self, sentences: Iterable[str]) -> None:
        """Take sentences, e.g. of another process."""
        for sentence in sentences:
            if sentence not in self._found:
                self._found.add(sentence)
                if self._console is not None and len(self._found) <= MOST_WARNINGS:
                    self._console.print(f"warning: {sentence}", markup=False)

    def show_rest(self) -> None:
        """Say how many were not shown."""
        rest = len(self._found) - MOST_WARNINGS
        if self._console is not None and rest > 0:
            self._console.print(f"warning: {rest} more; all are in summary.json")


@contextmanager
def listening(log: WarningLog) -> Iterator[WarningLog]:
    """Let a log hear the package's warnings."""
    logger = logging.getLogger("ml_prediction")
    logger.addHandler(log)
    try:
        yield log
    finally:
        logger.removeHandler(log)
