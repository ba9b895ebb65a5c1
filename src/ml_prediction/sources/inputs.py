"""INPUT arguments to files: files, folders, globs, SDS archives."""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from ml_prediction.errors import ConfigurationError, DataError
from ml_prediction.sources.problems import (
    MISNAMED,
    UNREADABLE,
    Problem,
    ProblemLedger,
    first_messages,
)
from ml_prediction.sources.selection import Selection
from ml_prediction.util.codes import NSLC
from ml_prediction.util.times import NANOSECONDS

_SDS_FILE: Final = re.compile(
    r"(?P<net>\w*)\.(?P<sta>\w+)\.(?P<loc>\w*|--)\.(?P<cha>\w+)\.(?P<type>[A-Z])"
    r"\.(?P<year>[12]\d{3})\.(?P<day>\d{3})"
)
_SDS_CHANNEL_FOLDER: Final = re.compile(r"(?P<cha>\w+)\.(?P<type>[A-Z])")
YEAR: Final = re.compile(r"[12]\d{3}")
_DAY_NS: Final = 86_400 * NANOSECONDS


@dataclass(frozen=True, slots=True)
class SdsName:
    """What the name of an SDS day file says (SeisComP Data Structure, NET.STA.LOC.CHA.D.YEAR.DAY).

    ``start_ns`` and ``end_ns`` are the day's limits in nanoseconds.
    """

    nslc: NSLC
    start_ns: int
    end_ns: int

    def holds(self, nslc: NSLC, start_ns: int, end_ns: int) -> bool:
        """Whether all samples from one time to another are of the channel, and about the day."""
        hour = 3600 * NANOSECONDS
        within = start_ns >= self.start_ns - hour and end_ns <= self.end_ns + hour
        return nslc == self.nslc and within

    def is_near(self, nslc: NSLC, start_ns: int, end_ns: int) -> bool:
        """Whether all samples are of the channel, and of the day or a day beside it."""
        within = start_ns >= self.start_ns - _DAY_NS and end_ns <= self.end_ns + _DAY_NS
        return nslc == self.nslc and within

    def has(self, nslc: NSLC, start_ns: int, end_ns: int) -> bool:
        """Whether samples from one time to another are of the channel, and partly of the day."""
        return nslc == self.nslc and start_ns < self.end_ns and end_ns >= self.start_ns


@dataclass(frozen=True, slots=True)
class InputFile:
    """One file to read.

    Attributes
    ----------
    path
        File.
    named
        The user named this very file, so it is worth a warning if it can't be used.
    sds
        What its name says, if it is that of an SDS day file.
    """

    path: Path
    named: bool
    sds: SdsName | None


def expand(
    inputs: str | Path | Iterable[str | Path],
    selection: Selection | None = None,
    ledger: ProblemLedger | None = None,
) -> list[InputFile]:
    """Files of INPUT arguments, each once, in order.

    Parameters
    ----------
    inputs
        Files, folders (searched recursively, hidden files left out), globs (``**`` too), or
        the root of an SDS archive (``YEAR/NET/STA/CHA.D/NET.STA.LOC.CHA.D.YEAR.DAY``).
    selection
        SDS day files whose name says that they have nothing of it are left out. A file may
        overrun midnight, so the day before and the day after are kept.
    ledger
        Told of folders that can't be listed or have a day file's name, and of inputs that are
        empty folders.

    Raises
    ------
    ConfigurationError
        If an input is empty text or does not exist, or a glob matches nothing.
    DataError
        If no file is left.
    """
    chosen = selection or Selection()
    problems = ProblemLedger() if ledger is None else ledger
    names = [inputs] if isinstance(inputs, str | Path) else list(inputs)
    if not names:
        raise ConfigurationError("No input was given: name a file, a folder or a glob.")
    if any(not str(name).strip() for name in names):
        raise ConfigurationError(
            "One of the inputs is empty text: name a file, a folder or a glob. "
            "Is a variable of the shell unset?"
        )
    search = _Search(chosen, problems)
    found: dict[str, InputFile] = {}
    for name in names:
        for path, named in search.paths(name):
            sds = sds_name(path.name)
            if sds is None or _may_matter(sds, chosen):
                found.setdefault(os.path.realpath(path), InputFile(path, named, sds))
            else:
                search.left_out = True
    if not found:
        listed = ", ".join(str(name) for name in names)
        said = first_messages(problems.all)
        if search.left_out:
            said.insert(
                0,
                f"Input {listed} has no files for these channels and times: "
                "name another, or widen the choice of channels and times.",
            )
        raise DataError(" ".join(said) or f"Input {listed} has no files: name another.")
    return list(found.values())


def sds_name(name: str) -> SdsName | None:
    """What an SDS file name says; None if it is not one of waveform data."""
    match = _SDS_FILE.fullmatch(name)
    if match is None or match["type"] != "D":
        return None
    day = int(match["day"])
    if not 1 <= day <= 366:
        return None
    start = datetime(int(match["year"]), 1, 1, tzinfo=UTC) + timedelta(days=day - 1)
    start_ns = int(start.timestamp()) * NANOSECONDS
    nslc = NSLC.clean(match["net"], match["sta"], match["loc"], match["cha"])
    return SdsName(nslc, start_ns, start_ns + _DAY_NS)


def _may_matter(sds: SdsName, selection: Selection) -> bool:
    return selection.wants(sds.nslc) and selection.overlaps(
        sds.start_ns - _DAY_NS, sds.end_ns + _DAY_NS
    )


class _Search:
    """Looks for files.

    Attributes
    ----------
    left_out
        Whether there are files or folders that the selection doesn't want, by their names.
    """

    def __init__(self, selection: Selection, ledger: ProblemLedger) -> None:
        self._selection = selection
        self._ledger = ledger
        self.left_out = False

    def paths(self, name: str | Path) -> Iterator[tuple[Path, bool]]:
        """Files of one input, and whether the user named them one by one."""
        path = Path(name)
        try:
            mode = path.stat().st_mode
        except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a null byte
            yield from ((match, False) for match in self._glob(str(name)))
        except OSError as error:
            self._unreadable(path, error, "read")
        else:
            if stat.S_ISDIR(mode):
                yield from ((file, False) for file in self._folder(path))
            else:
                yield path, True

    def _folder(self, folder: Path) -> Iterator[Path]:
        """Files below a folder that the user named."""
        empty = True
        known = len(self._ledger.all)
        left_out, self.left_out = self.left_out, False
        for file in self._walk(folder):
            empty = False
            yield file
        if empty and not self.left_out and len(self._ledger.all) == known:
            text = f"Folder {folder} has no files; skipped. Hidden ones don't count: name another."
            self._ledger.add(Problem(folder, "empty folder", text, 1))
        self.left_out |= left_out

    def _glob(self, pattern: str) -> Iterator[Path]:
        if not glob.has_magic(pattern):
            raise ConfigurationError(f"Input {pattern} does not exist: check the path.")
        known = len(self._ledger.all)
        self._check_folders(pattern)
        # Path.glob takes no absolute pattern.
        matches = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207
        if not matches and len(self._ledger.all) == known:
            raise ConfigurationError(f"No file matches {pattern}: check the pattern.")
        for match in map(Path, matches):
            if os.path.isdir(match):  # noqa: PTH112 (Path.is_dir raises where it may not look)
                yield from self._walk(match)
            else:
                yield match

    def _check_folders(self, pattern: str) -> None:
        """Report the folders in which a glob can't look: it passes over them in silence."""
        parts = Path(pattern).parts
        first = next(depth for depth, part in enumerate(parts) if glob.has_magic(part))
        for depth, part in enumerate(parts[first:], first):
            above = str(Path(*parts[: depth + (part == "**")]))
            # With a separator at the end, a glob matches folders only.
            folders = glob.glob(f"{above}{os.sep}", recursive=True)  # noqa: PTH207
            for folder in folders:
                try:
                    if glob.has_magic(part):
                        os.scandir(folder).close()
                    else:
                        os.stat(f"{folder}{os.sep}.")  # noqa: PTH116 (Path drops the dot)
                except OSError as error:
                    self._unreadable(Path(folder), error, "listed")

    def _walk(self, root: Path) -> Iterator[Path]:
        """Files below a folder, sorted; parts of an SDS archive that don't matter are left out."""
        is_sds = looks_like_sds(root)
        visited: set[str] = set()
        for folder, subfolders, files in os.walk(root, onerror=self._unlisted, followlinks=True):
            real = os.path.realpath(folder)
            if real in visited:  # a link that leads back up
                subfolders.clear()
                continue
            visited.add(real)
            here = Path(folder)
            depth = len(here.relative_to(root).parts)
            seen = sorted(sub for sub in subfolders if not sub.startswith("."))
            subfolders[:] = [
                sub for sub in seen if not (is_sds and _prunable(sub, depth, self._selection))
            ]
            self.left_out |= len(subfolders) < len(seen)
            for sub in subfolders:
                name = sds_name(sub)
                if name is not None and _may_matter(name, self._selection):
                    self._misplaced(here / sub)
            for file in sorted(files):
                # An empty network code makes a dot the first character of a day file's name.
                if not file.startswith(".") or sds_name(file) is not None:
                    yield here / file

    def _unlisted(self, error: OSError) -> None:
        self._unreadable(Path(error.filename), error, "listed")

    def _misplaced(self, folder: Path) -> None:
        text = (
            f"{folder} is a folder, though it has a day file's name. Rename it, and put the "
            "day's file in its place."
        )
        self._ledger.forget(folder)  # met again, it is still one
        self._ledger.add(Problem(folder, MISNAMED, text, 1, "name"))

    def _unreadable(self, path: Path, error: OSError, what: str) -> None:
        kind = "Folder" if what == "listed" else "Input"
        text = f"{kind} {path} can't be {what} ({error.strerror}); skipped. Check its rights."
        self._ledger.forget(path)  # met again, it is still one
        self._ledger.add(Problem(path, UNREADABLE, text, 1))


def looks_like_sds(root: Path) -> bool:
    """Whether a folder has the folders of an SDS archive."""
    try:
        return next(root.glob("[12][0-9][0-9][0-9]/*/*/*.D"), None) is not None
    except OSError:  # told of while walking
        return False


def _prunable(folder: str, depth: int, selection: Selection) -> bool:
    """Whether a folder of an SDS archive has nothing of the selection, by its name."""
    if depth == 0 and YEAR.fullmatch(folder):
        first = int(datetime(int(folder), 1, 1, tzinfo=UTC).timestamp()) * NANOSECONDS
        return not selection.overlaps(first - _DAY_NS, first + 367 * _DAY_NS)
    if depth == 3 and (match := _SDS_CHANNEL_FOLDER.fullmatch(folder)):
        if match["type"] != "D":
            return True  # logs, timing, events: not waveforms
        codes = [p for p in selection.patterns if "." not in p]
        return len(codes) == len(selection.patterns) and not selection.wants(
            NSLC("", "", "", match["cha"])
        )
    return False
