"""What a source could not use, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

MISNAMED: Final = "misnamed"
"""Reason of a problem of a file that has nothing of what it is named by."""

OVERFULL: Final = "more than named"
"""Reason of a problem of a file that has more than it is named by."""

OF_NAMES: Final = frozenset({MISNAMED, OVERFULL})
"""Problems that are known before a file is read, and not met again then."""

OF_NO_SAMPLES: Final = frozenset({"text record", "zero-length record"})
"""Reasons of problems of records in which no samples were lost."""

UNREADABLE: Final = "unreadable"
"""Reason of a problem that the system has: another time it may give the file, or folder."""

Report = Callable[[str, str, int, str], None]
"""Called with reason, message, count and unit (``file`` or ``record``)."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Input that was not handed over, or is not what it is named.

    Attributes
    ----------
    path
        File, or folder.
    reason
        Short name, the same for all problems of a kind: ``compressed``, ``corrupt``,
        ``empty file``, ``empty folder``, ``misnamed``, ``more than named``, ``not waveform data``,
        ``text record``, ``unreadable``, ``unsupported rate``, ``zero-length record``; a driver
        adds ``not drawn``.
    message
        The first case, and what to do.
    count
        How many ``unit`` it happened to.
    unit
        ``file`` (a folder too), ``record``, ``name``, or a driver's ``picture``.
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
    """Problems by file and reason; counts add up, the first message stays.

    Parameters
    ----------
    known
        Problems that somebody else has told of: only what goes beyond them is in ``all``.
    """

    def __init__(self, known: Iterable[Problem] = ()) -> None:
        self._known = {(problem.path, problem.reason): problem.count for problem in known}
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
        """Forget a file's problems, but that of its name: it is read again from the start."""
        found = self._found.pop(path, {})
        kept = {reason: problem for reason, problem in found.items() if reason in OF_NAMES}
        if kept:
            self._found[path] = kept

    def forget(self, path: Path) -> None:
        """Forget all problems of a file or folder."""
        self._found.pop(path, None)

    @property
    def all(self) -> list[Problem]:
        """Every problem so far that is not known."""
        new = []
        for found in self._found.values():
            for problem in found.values():
                count = problem.count - self._known.get((problem.path, problem.reason), 0)
                if count > 0:
                    new.append(replace(problem, count=count))
        return new


def first_messages(problems: Sequence[Problem], most: int = 3) -> list[str]:
    """Messages of the first problems, and how many more there are."""
    said = [problem.message for problem in problems[:most]]
    more = len(problems) - len(said)
    return [*said, f"And {more} more."] if more else said
