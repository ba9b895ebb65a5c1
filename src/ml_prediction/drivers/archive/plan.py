"""What an archive run has to do: one unit of work for each station and day."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Final

from obspy import UTCDateTime

from ml_prediction.errors import ConfigurationError, DataError
from ml_prediction.sinks.store.base import UnitKey
from ml_prediction.sources.inputs import YEAR, InputFile, expand, looks_like_sds, sds_name
from ml_prediction.sources.problems import (
    MISNAMED,
    UNREADABLE,
    Problem,
    ProblemLedger,
    first_messages,
)
from ml_prediction.sources.scan import scan
from ml_prediction.sources.selection import Selection
from ml_prediction.util.codes import NSLC, fits_any
from ml_prediction.util.digests import sha256
from ml_prediction.util.times import to_ns, to_utc

DAY: Final = timedelta(days=1)

BESIDE: Final = frozenset(
    {"lost+found", ".Trashes", "$RECYCLE.BIN", "System Volume Information", "@eaDir", "#recycle"}
)
"""Folders that systems put at the top of a disk; none of an archive."""

Station = tuple[str, str]  # codes of network and station


@dataclass(frozen=True, slots=True)
class Unit:
    """One station's day.

    Attributes
    ----------
    network, station, day
        Which one; days are UTC.
    files
        Those that may have its samples, or those of its context: of the day before, the day, and
        the day after.
    channels
        All that the station has in the whole run, sorted: which of them are waited for must not
        depend on how the run is cut.
    unlisted
        Why files of it may be missing here: a folder of theirs that could not be listed.
    made_of
        What stands for the names of its files, within the archive.
    """

    network: str
    station: str
    day: date
    files: tuple[Path, ...]
    channels: tuple[NSLC, ...]
    unlisted: str = ""
    made_of: str = ""

    def __str__(self) -> str:
        return str(self.key)

    @property
    def key(self) -> UnitKey:
        """The unit as stores know it."""
        return UnitKey(self.network, self.station, self.day)

    @property
    def own_files(self) -> tuple[Path, ...]:
        """Those that are named as its day files in an SDS archive."""
        names = [(path, sds_name(path.name)) for path in self.files]
        return tuple(p for p, name in names if name and _day_of(name.start_ns) == self.day)

    @property
    def span(self) -> tuple[UTCDateTime, UTCDateTime]:
        """First moment of the day, and of the next one."""
        return midnight(self.day), midnight(self.day + DAY)


def midnight(day: date) -> UTCDateTime:
    """First moment of a day (UTC)."""
    return UTCDateTime(day.year, day.month, day.day)


def plan_units(
    root: Path,
    first: date,
    end: date,
    *,
    networks: Sequence[str] = (),
    channels: Iterable[str] = ("*",),
    problems: ProblemLedger | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> list[Unit]:
    """Units of the days from ``first`` on and before ``end``, station by station.

    A station has a unit for each day of which, or of whose neighbours, there is a day file: what
    that overruns midnight by belongs to the next day. Days in a row are next to each other, so
    that files that two of them need are read soon after each other.

    Parameters
    ----------
    root
        Of an SDS archive: ``YEAR/NET/STA/CHA.D/NET.STA.LOC.CHA.D.YEAR.DAY``. What is not named so
        is not used there: it may be an older copy. Or any folder of waveform files without such
        names: into these it is looked, all headers.
    first, end
        Days, UTC.
    networks
        Patterns of network codes; none: all.
    channels
        Patterns of channel codes, or of full codes.
    problems
        Takes what can't be looked at, such as a folder without the right to list it, and what is
        not where or named as it should be.
    tell
        Takes a remark if files must be looked into, which takes time.

    Raises
    ------
    ConfigurationError
        If there is no such folder, or no day.
    DataError
        If it has nothing of these.
    """
    if end <= first:
        raise ConfigurationError(f"--to {end} must be later than --from {first}.")
    if not root.is_dir():
        raise ConfigurationError(
            f"{root} is no folder: name the root of an SDS archive, or a folder of waveform files."
        )
    ledger = ProblemLedger() if problems is None else problems
    wanted = Selection(channels, to_ns(midnight(first - DAY)), to_ns(midnight(end + DAY)) - 1)
    stations: dict[Station, _Found] = {}
    span = first - DAY, end
    files = _files(root, wanted, ledger)
    strays = [file.path for file in files if file.sds is None]
    is_sds = len(strays) < len(files) or looks_like_sds(root)
    if is_sds:
        files = [file for file in files if file.sds is not None]
        strays = [path for path in strays if _may_have(path.parent, root, networks)]
        if strays:
            ledger.add(_unused(root, strays))
    elif strays:
        tell(f"No SDS archive: looking into {len(strays):,} files.")
    for file in files:
        for held in _held(file, wanted, ledger):
            if fits_any(held.nslc.network, networks):
                stations.setdefault(held.nslc[:2], _Found()).add(file.path, held, span)
    for problem in ledger.all:  # folders in the place of other networks' files
        name = sds_name(problem.path.name)
        if problem.reason == MISNAMED and name and not fits_any(name.nslc.network, networks):
            ledger.forget(problem.path)
    unlisted = _unlisted(root, ledger, networks, is_sds=is_sds)
    units = []
    for station in sorted(stations):
        found = stations[station]
        met = tuple(sorted(found.channels))
        for day in sorted(day for day in found.days if first <= day < end):
            paths = found.around(day)
            missing = _missing((*station, day), unlisted)
            units.append(Unit(*station, day, paths, met, missing, _names(paths, root)))
    if not units:
        which = f" of {', '.join(networks)}" if networks else ""
        text = (
            f"{root} has no waveforms{which} from {first} to {end}: check the folder, the days and "
            "the codes."
        )
        raise DataError(" ".join([text, *first_messages(ledger.all)]))
    return units


def _files(root: Path, wanted: Selection, ledger: ProblemLedger) -> list[InputFile]:
    try:
        return expand(root, wanted, ledger)
    except DataError:  # there are none
        return []


def _may_have(folder: Path, root: Path, networks: Sequence[str]) -> bool:
    """Whether a folder of an SDS archive may have files of these networks, by its place."""
    place = _place(folder, root)
    return len(place) < 2 or fits_any(place[1], networks)


def _unused(root: Path, strays: Sequence[Path]) -> Problem:
    some = ", ".join(str(path.relative_to(root)) for path in strays[:3])
    text = (
        f"{len(strays):,} of the files in {root} are not named as day files of its SDS archive, "
        f"and are not used: {some}{', ...' if len(strays) > 3 else ''}. Rename what should be."
    )
    return Problem(root, MISNAMED, text, 1, "name")


@dataclass(frozen=True, slots=True)
class _Held:
    """A channel of a file, the days that it has samples of, and the units it makes."""

    nslc: NSLC
    first: date
    last: date
    makes: tuple[date, date]


def _held(file: InputFile, wanted: Selection, ledger: ProblemLedger) -> Iterator[_Held]:
    """What a file has, by its name, or else by its contents."""
    if file.sds is not None:
        day = _day_of(file.sds.start_ns)
        yield _Held(file.sds.nslc, day, day, (day - DAY, day + DAY))
        return
    own = ProblemLedger()
    info = scan(file, wanted, own)
    for problem in own.all:
        if problem.unit == "file" or info is None:  # others are told by the units they concern
            ledger.add(problem)
    for extent in () if info is None else info.extents:
        days = _day_of(extent.start_ns), _day_of(extent.end_ns)
        yield _Held(extent.nslc, *days, days)


@dataclass(slots=True)
class _Found:
    """What there is of a station."""

    files: dict[date, list[Path]] = field(default_factory=dict)
    days: set[date] = field(default_factory=set)
    channels: set[NSLC] = field(default_factory=set)

    def add(self, path: Path, held: _Held, span: tuple[date, date]) -> None:
        """Take a file, for the days of a span, its last one too."""
        self.channels.add(held.nslc)
        for day in _days(max(held.first, span[0]), min(held.last, span[1])):
            self.files.setdefault(day, []).append(path)
        self.days.update(_days(max(held.makes[0], span[0]), min(held.makes[1], span[1])))

    def around(self, day: date) -> tuple[Path, ...]:
        """Files that have a day, or one beside it."""
        near = (path for shift in (-1, 0, 1) for path in self.files.get(day + shift * DAY, ()))
        return tuple(dict.fromkeys(near))


def _days(first: date, last: date) -> Iterator[date]:
    return (first + number * DAY for number in range((last - first).days + 1))


def _unlisted(
    root: Path, ledger: ProblemLedger, networks: Sequence[str], *, is_sds: bool
) -> dict[tuple[str, ...], str]:
    """Folders that could not be listed, by ``YEAR, NET, STA, CHA.D``, and why; of an SDS archive.

    Those of other networks are no problem, and what is beside the archive is none of its own.
    """
    found = {}
    for problem in ledger.all:
        if problem.reason == UNREADABLE and problem.path.is_relative_to(root):
            if is_sds and not _may_have(problem.path, root, networks):
                ledger.forget(problem.path)
            elif is_sds and (place := _place(problem.path, root)):
                found[place] = problem.message
            elif is_sds or BESIDE.intersection(problem.path.relative_to(root).parts[:1]):
                ledger.forget(problem.path)
                ledger.add(replace(problem, reason="beside the archive"))
    return found


def _names(files: Iterable[Path], root: Path) -> str:
    names = "\n".join(str(path.relative_to(root)) for path in files)
    return sha256(names.encode(errors="surrogateescape"))[:16]


def _place(path: Path, root: Path) -> tuple[str, ...]:
    """``YEAR, NET, STA, CHA.D`` of a path in an archive, as far as it goes; none without year."""
    parts = path.relative_to(root).parts
    years = [number for number, part in enumerate(parts) if YEAR.fullmatch(part)]
    return parts[years[0] :] if years else ()


def _missing(key: tuple[str, str, date], unlisted: Mapping[tuple[str, ...], str]) -> str:
    """Why a unit may lack files; nothing if it does not."""
    network, station, day = key
    years = {str((day + shift * DAY).year) for shift in (-1, 0, 1)}
    names = (years, {network}, {station})
    for parts, message in unlisted.items():
        if all(part in some for part, some in zip(parts, names, strict=False)):
            return message
    return ""


def _day_of(time_ns: int) -> date:
    day: date = to_utc(time_ns).date
    return day
