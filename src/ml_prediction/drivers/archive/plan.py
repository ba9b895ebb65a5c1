"""What an archive run has to do: one unit of work for each station and day of an SDS archive."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Final

from obspy import UTCDateTime

from ml_prediction.errors import ConfigurationError, DataError
from ml_prediction.sinks.store.base import UnitKey
from ml_prediction.sources.inputs import YEAR, InputFile, expand, sds_name
from ml_prediction.sources.problems import (
    MISNAMED,
    UNREADABLE,
    Problem,
    ProblemLedger,
    first_messages,
)
from ml_prediction.sources.selection import Selection
from ml_prediction.util.codes import NSLC, fits_any
from ml_prediction.util.times import to_ns, to_utc

DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Unit:
    """One station's day.

    Attributes
    ----------
    network, station, day
        Which one; days are UTC.
    files
        Day files that may have its samples, or those of its context: of the day before, the day,
        and the day after.
    channels
        All that the station has in the whole run, sorted: which of them are waited for must not
        depend on how the run is cut.
    unlisted
        Why files of it may be missing here: a folder of theirs that could not be listed.
    """

    network: str
    station: str
    day: date
    files: tuple[Path, ...]
    channels: tuple[NSLC, ...]
    unlisted: str = ""

    def __str__(self) -> str:
        return str(self.key)

    @property
    def key(self) -> UnitKey:
        """The unit as stores know it."""
        return UnitKey(self.network, self.station, self.day)

    @property
    def own_files(self) -> tuple[Path, ...]:
        """Those of the day itself."""
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
) -> list[Unit]:
    """Units of the days from ``first`` on and before ``end``, station by station.

    A station has a unit for each day of which, or of whose neighbours, there is a file: what a
    file overruns midnight by belongs to the next day. Days in a row are next to each other, so
    that files that two of them need are read soon after each other.

    Parameters
    ----------
    root
        Of an SDS archive: ``YEAR/NET/STA/CHA.D/NET.STA.LOC.CHA.D.YEAR.DAY``.
    first, end
        Days, UTC.
    networks
        Patterns of network codes; none: all.
    channels
        Patterns of channel codes, or of full codes.
    problems
        Takes what can't be looked at, such as a folder without the right to list it, and what is
        not where or named as it should be.

    Raises
    ------
    ConfigurationError
        If there is no such folder, or no day.
    DataError
        If it has no day files of these.
    """
    if end <= first:
        raise ConfigurationError(f"--to {end} must be later than --from {first}.")
    if not root.is_dir():
        raise ConfigurationError(f"{root} is no folder: name the root of an SDS archive.")
    ledger = ProblemLedger() if problems is None else problems
    wanted = Selection(channels, to_ns(midnight(first - DAY)), to_ns(midnight(end + DAY)) - 1)
    found: dict[tuple[str, str], dict[date, list[InputFile]]] = {}
    strays: list[Path] = []
    for file in _files(root, wanted, ledger):
        if file.sds is None:
            strays += [file.path] if _may_be_of(file.path, root, networks) else []
        elif fits_any(file.sds.nslc.network, networks):
            station = found.setdefault(file.sds.nslc[:2], {})
            station.setdefault(_day_of(file.sds.start_ns), []).append(file)
    if strays:
        ledger.add(_misnamed(root, strays))
    for problem in ledger.all:  # folders in the place of other networks' files
        name = sds_name(problem.path.name)
        if problem.reason == MISNAMED and name and not fits_any(name.nslc.network, networks):
            ledger.forget(problem.path)
    unlisted = _unlisted(root, ledger, networks)
    units = [
        replace(unit, unlisted=_missing(unit, unlisted))
        for key in sorted(found)
        for unit in _units_of(key, found[key], first, end)
    ]
    if not units:
        which = f" of {', '.join(networks)}" if networks else ""
        text = (
            f"{root} has no day files{which} from {first} to {end} that are named as in an SDS "
            "archive (NET.STA.LOC.CHA.D.YEAR.DAY): check the folder, the days and the codes."
        )
        raise DataError(" ".join([text, *first_messages(ledger.all)]))
    return units


def _files(root: Path, wanted: Selection, ledger: ProblemLedger) -> list[InputFile]:
    try:
        return expand(root, wanted, ledger)
    except DataError:  # there are none
        return []


def _may_be_of(path: Path, root: Path, networks: Sequence[str]) -> bool:
    """Whether a file that is not named as a day file lies where these networks' files are."""
    folders = path.relative_to(root).parts[:-1]
    return len(folders) < 2 or fits_any(folders[1], networks)


def _misnamed(root: Path, strays: Sequence[Path]) -> Problem:
    some = ", ".join(str(path.relative_to(root)) for path in strays[:3])
    text = (
        f"{len(strays)} of the files in {root} are not named as day files "
        f"(NET.STA.LOC.CHA.D.YEAR.DAY) and not looked at: {some}"
        f"{', ...' if len(strays) > 3 else ''}. Rename those that have waveforms."
    )
    return Problem(root, MISNAMED, text, 1)


def _unlisted(
    root: Path, ledger: ProblemLedger, networks: Sequence[str]
) -> dict[tuple[str, ...], str]:
    """Folders that could not be listed, by ``YEAR, NET, STA, CHA.D``, and why.

    Those of other networks are no problem, and what is beside the archive, such as a disk's
    lost+found, is none of its own.
    """
    found = {}
    for problem in ledger.all:
        if problem.reason == UNREADABLE and problem.path.is_relative_to(root):
            place = _place(problem.path.relative_to(root).parts)
            if place and (len(place) < 2 or fits_any(place[1], networks)):
                found[place] = problem.message
                continue
            ledger.forget(problem.path)
            if not place:
                ledger.add(replace(problem, reason="beside the archive"))
    return found


def _place(parts: tuple[str, ...]) -> tuple[str, ...]:
    """Parts of a path from the year on; none if there is no year."""
    years = [number for number, part in enumerate(parts) if YEAR.fullmatch(part)]
    return parts[years[0] :] if years else ()


def _missing(unit: Unit, unlisted: Mapping[tuple[str, ...], str]) -> str:
    """Why a unit may lack files; nothing if it does not."""
    years = {str((unit.day + shift * DAY).year) for shift in (-1, 0, 1)}
    names = (years, {unit.network}, {unit.station})
    for parts, message in unlisted.items():
        if all(part in some for part, some in zip(parts, names, strict=False)):
            return message
    return ""


def _day_of(time_ns: int) -> date:
    day: date = to_utc(time_ns).date
    return day


def _units_of(
    station: tuple[str, str], files: dict[date, list[InputFile]], first: date, end: date
) -> list[Unit]:
    every = {file.sds.nslc for some in files.values() for file in some if file.sds is not None}
    channels = tuple(sorted(every))
    near = {day + shift * DAY for day in files for shift in (-1, 0, 1)}
    units = []
    for day in sorted(day for day in near if first <= day < end):
        around = [file.path for shift in (-1, 0, 1) for file in files.get(day + shift * DAY, ())]
        units.append(Unit(*station, day, tuple(around), channels))
    return units
