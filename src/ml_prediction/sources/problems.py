"""What a source could not use, and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

Report = Callable[[str, str, int, str], None]
"""Called with reason, message, count and unit (``file`` or ``record``)."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Input that was not handed over.

    Attributes
    ----------
    path
        File.
    reason
        Short name, the same for all problems of a kind: ``corrupt``, ``empty file``,
        ``not waveform data``, ``text record``, ``unreadable``, ``unsupported rate``,
        ``zero-length record``.
    message
        One sentence with the first case and what to do.
    count
        How many ``unit`` it happened to.
    unit
        ``file`` or ``record``.
    quiet
        Not worth a warning: a file in a folder that was never meant to be a waveform.
    """

    path: Path
    reason: str
    message: str
    count: int
    unit: str = "file"
    quiet: bool = False


class ProblemLedger:
    """Problems by file and reason; counts add up, the first message stays."""

    def __init__(self) -> None:
        self._found: dict[Path, dict[str, Problem]] = {}

    def add(self, problem: Problem) -> None:
        """Count a problem."""
        found = self._found.setdefault(problem.path, {})
        known = found.get(problem.reason)
        found[problem.reason] = (
            problem if known is None else replace(known, count=known.count + problem.count)
        )

    def reporter(self, path: Path) -> Report:
        """Reporter that adds problems of one file."""

        def report(reason: str, message: str, count: int, unit: str) -> None:
            self.add(Problem(path, reason, message, count, unit))

        return report

    def restart(self, path: Path) -> None:
        """Forget a file's problems: it is going to be read again from the start."""
        self._found.pop(path, None)

    @property
    def all(self) -> list[Problem]:
        """Every problem so far."""
        return [problem for found in self._found.values() for problem in found.values()]
