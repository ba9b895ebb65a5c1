"""INPUT arguments to files: files, folders, globs, SDS archives."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from ml_prediction.errors import ConfigurationError, DataError
from ml_prediction.sources.selection import Selection
from ml_prediction.util.codes import NSLC
from ml_prediction.util.times import NANOSECONDS

_SDS_FILE: Final = re.compile(
    r"(?P<net>\w*)\.(?P<sta>\w+)\.(?P<loc>\w*|--)\.(?P<cha>\w+)\.(?P<type>[A-Z])"
    r"\.(?P<year>[12]\d{3})\.(?P<day>\d{3})"
)
_SDS_CHANNEL_FOLDER: Final = re.compile(r"(?P<cha>\w+)\.(?P<type>[A-Z])")
_YEAR: Final = re.compile(r"[12]\d{3}")
_DAY_NS: Final = 86_400 * NANOSECONDS


@dataclass(frozen=True, slots=True)
class SdsName:
    """What the name of an SDS day file says (SeisComP Data Structure, NET.STA.LOC.CHA.D.YEAR.DAY).

    ``start_ns`` and ``end_ns`` are the day's limits in nanoseconds.
    """

    nslc: NSLC
    start_ns: int
    end_ns: int


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
    inputs: str | Path | Iterable[str | Path], selection: Selection | None = None
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

    Raises
    ------
    ConfigurationError
        If an input does not exist, or a glob matches nothing.
    DataError
        If no file is left.
    """
    chosen = selection or Selection()
    names = [inputs] if isinstance(inputs, str | Path) else list(inputs)
    if not names:
        raise ConfigurationError("No input was given: name a file, a folder or a glob.")
    found: dict[str, InputFile] = {}
    for name in names:
        for path, named in _paths(name, chosen):
            sds = sds_name(path.name)
            if sds is None or _may_matter(sds, chosen):
                found.setdefault(os.path.realpath(path), InputFile(path, named, sds))
    if not found:
        listed = ", ".join(str(name) for name in names)
        raise DataError(
            f"Input {listed} has no files for these channels and times: "
            "name another, or widen --channels, --starttime, --endtime."
        )
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


def _paths(name: str | Path, selection: Selection) -> Iterator[tuple[Path, bool]]:
    """Files of one input, and whether the user named them one by one."""
    path = Path(name)
    if path.is_dir():
        yield from ((file, False) for file in _walk(path, selection))
    elif path.exists():
        yield path, True
    elif glob.has_magic(str(name)):
        # Path.glob takes no absolute pattern.
        matches = sorted(glob.glob(str(name), recursive=True))  # noqa: PTH207
        if not matches:
            raise ConfigurationError(f"No file matches {name}: check the pattern.")
        for match in map(Path, matches):
            if match.is_dir():
                yield from ((file, False) for file in _walk(match, selection))
            else:
                yield match, False
    else:
        raise ConfigurationError(f"Input {name} does not exist: check the path.")


def _walk(root: Path, selection: Selection) -> Iterator[Path]:
    """Files below a folder, sorted; parts of an SDS archive that don't matter are not entered."""
    is_sds = next(root.glob("[12][0-9][0-9][0-9]/*/*/*.D"), None) is not None
    visited: set[str] = set()
    for folder, subfolders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in visited:  # a link that leads back up
            subfolders.clear()
            continue
        visited.add(real)
        here = Path(folder)
        depth = len(here.relative_to(root).parts)
        subfolders[:] = sorted(
            sub
            for sub in subfolders
            if not sub.startswith(".") and not (is_sds and _prunable(sub, depth, selection))
        )
        for file in sorted(files):
            if not file.startswith("."):
                yield here / file


def _prunable(folder: str, depth: int, selection: Selection) -> bool:
    """Whether a folder of an SDS archive has nothing of the selection, by its name."""
    if depth == 0 and _YEAR.fullmatch(folder):
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
