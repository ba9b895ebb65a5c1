"""driver for association: picks of a store or a file to PyOcto, its events to QuakeML."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from obspy import UTCDateTime
from rich.console import Console

from ml_prediction.core.results import Pick
from ml_prediction.drivers.associate.doubles import one_per_arrival
from ml_prediction.drivers.associate.octo import PHASES, Associator, Settings, import_pyocto
from ml_prediction.drivers.associate.pick_file import pick_table, read_pick_file
from ml_prediction.drivers.associate.places import Code, Places
from ml_prediction.drivers.associate.velocity import DEFAULT, velocity_model
from ml_prediction.drivers.driver_local import read_inventory
from ml_prediction.drivers.progress import ConsoleProgress
from ml_prediction.errors import ConfigurationError, DataError
from ml_prediction.sinks.events import EventFiles
from ml_prediction.sinks.store import open_store, store_file, without_password
from ml_prediction.util.codes import fits_any
from ml_prediction.util.files import check_apart, check_free

MOST_NAMED: Final = 20
"""Stations that a message names."""


@dataclass(frozen=True, slots=True)
class AssociateOptions:
    """What `associate` is told, besides PyOcto's settings.

    Attributes
    ----------
    store
        URL of the store with the picks; None: they are in a file.
    pick_file
        ``picks.csv`` of `ml-prediction pick`; None: they are in a store.
    inventory
        Station metadata.
    out, table
        QuakeML file, and CSV file of the events; None for none.
    run_id, networks, start, end
        Which picks; networks are patterns of codes, none: all.
    max_sigma
        Picks that are less certain (s) are left out; None: none is.
    velocity
        See `velocity_model`.
    overwrite
        Whether files of those names may be replaced.
    """

    store: str | None
    pick_file: Path | None
    inventory: str
    out: Path
    table: Path | None = None
    run_id: str | None = None
    networks: tuple[str, ...] = ()
    start: UTCDateTime | None = None
    end: UTCDateTime | None = None
    max_sigma: float | None = None
    velocity: str = DEFAULT
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class _Source:
    """Picks by time; which stations they may be of, how many they are at most, and where."""

    picks: Iterable[Pick]
    stations: frozenset[Code]
    total: int
    where: str


def run_associate(
    options: AssociateOptions, settings: Settings, *, out: Console, err: Console
) -> int:
    """Associate picks to events.

    Returns
    -------
    int
        Exit status 0, also if no event was found.

    Raises
    ------
    ConfigurationError
        If PyOcto is missing, the store or inventory can't be had, a file is there already.
    DataError
        If there are no picks, or the inventory has none of their stations. Nothing is written then.
    ServiceError
        If the store can't be reached.
    """
    import_pyocto()  # what is missing is said before anything is read
    _check_paths(options)
    inventory = read_inventory(options.inventory)
    velocity = velocity_model(options.velocity)
    assert inventory is not None
    with ExitStack() as stack:
        source = _source(options, stack)
        if not source.stations:
            raise _no_picks(source, options)
        places = Places(inventory, source.stations)
        missing = sorted(code for code in source.stations if code not in places)
        if missing and len(missing) == len(source.stations):
            raise DataError(
                f"{options.inventory} has none of the {len(missing)} stations with picks "
                f"({_named(missing)}): give an inventory of these networks."
            )
        scratch = Path(stack.enter_context(TemporaryDirectory(prefix="ml-prediction-")))
        associator = Associator(settings, velocity, places, scratch)
        method = ("PyOcto", version("pyocto"))
        files = stack.enter_context(
            EventFiles(options.out, options.table, method=method, earth_model=velocity.name)
        )
        counts: Counter[str] = Counter()
        progress = ConsoleProgress(err, source.total, 0.0, label="associating", rate=_per_second)
        read = _watched(source.picks, stack.enter_context(progress))
        usable = _usable(read, places, options.max_sigma, counts)
        for event in associator.associate(_counted(one_per_arrival(usable), counts)):
            files.put(event)
            counts["events"] += 1
            counts["associated"] += len(event.arrivals)
        if not counts["read"]:
            raise _no_picks(source, options)
        _tell(counts, missing, options, out, err)
    return 0


def _no_picks(source: _Source, options: AssociateOptions) -> DataError:
    given = options.networks or options.start or options.end
    hint = "check --from, --to and --networks" if given else "see `ml-prediction archive status`"
    return DataError(f"No picks {source.where}: {hint}.")


def _check_paths(options: AssociateOptions) -> None:
    if (options.store is None) == (options.pick_file is None):
        raise ConfigurationError("Give --store URL or --picks FILE: one of them.")
    if options.start and options.end and options.end <= options.start:
        raise ConfigurationError(f"--to {options.end} must be later than --from {options.start}.")
    paths = [path for path in (options.out, options.table) if path is not None]
    if len(set(paths)) < len(paths):
        raise ConfigurationError(f"--out and --csv are both {options.out}: give two names.")
    inputs = (
        None if options.store is None else store_file(options.store),
        None if options.pick_file is None else pick_table(options.pick_file),
        Path(options.inventory),
        Path(options.velocity) if Path(options.velocity).is_file() else None,
    )
    for path in paths:
        check_free(path, overwrite=options.overwrite)
        check_apart(path, *inputs)


def _source(options: AssociateOptions, stack: ExitStack) -> _Source:
    span = " ".join(
        f"{word} {time}"
        for word, time in (("from", options.start), ("to", options.end))
        if time is not None
    )
    if options.pick_file is not None:
        picks = [pick for pick in read_pick_file(options.pick_file) if _chosen(pick, options)]
        stations = frozenset(Code(pick.network, pick.station) for pick in picks)
        return _Source(picks, stations, len(picks), f"in {options.pick_file} {span}".rstrip())
    assert options.store is not None
    store = stack.enter_context(open_store(options.store, create=False))
    if not store.runs():
        raise DataError(
            f"{without_password(options.store)} has no run: `ml-prediction archive` makes one."
        )
    first = None if options.start is None else options.start.date - timedelta(days=1)
    last = None if options.end is None else options.end.date + timedelta(days=1)
    counts = Counter[Code]()
    for state in store.states(run_id=options.run_id):
        key = state.key
        if (
            state.picks
            and fits_any(key.network, options.networks)
            and (first is None or key.day >= first)
            and (last is None or key.day <= last)
        ):
            counts[Code(key.network, key.station)] += state.picks
    stream = store.picks(
        run_id=options.run_id,
        networks={code.network for code in counts} if options.networks else None,
        start=options.start,
        end=options.end,
    )
    where = f"in {without_password(options.store)} {span}".rstrip()
    return _Source(stream, frozenset(counts), counts.total(), where)


def _chosen(pick: Pick, options: AssociateOptions) -> bool:
    return (
        fits_any(pick.network, options.networks)
        and (options.run_id is None or pick.run_id == options.run_id)
        and (options.start is None or pick.time >= options.start)
        and (options.end is None or pick.time < options.end)
    )


def _usable(
    picks: Iterable[Pick], places: Places, max_sigma: float | None, counts: Counter[str]
) -> Iterator[Pick]:
    """Picks of stations whose place is known, and as certain as wanted; others are counted."""
    limit = math.inf if max_sigma is None else max_sigma
    for pick in picks:
        counts["read"] += 1
        if Code(pick.network, pick.station) not in places:
            counts["of stations that the inventory lacks"] += 1
        elif pick.phase not in PHASES:
            counts["neither P nor S"] += 1
        elif max_sigma is not None and not pick.sigma <= limit:
            counts[f"less certain than {limit:g} s"] += 1
        else:
            counts["usable"] += 1
            yield pick


def _watched(picks: Iterable[Pick], progress: ConsoleProgress) -> Iterator[Pick]:
    for number, pick in enumerate(picks):
        if number % 1000 == 0:
            progress.update(number)
        yield pick


def _per_second(done: int, seconds: float) -> str:
    return f"{done / max(seconds, 1e-9):,.0f} picks/s"


def _counted(picks: Iterable[Pick], counts: Counter[str]) -> Iterator[Pick]:
    for pick in picks:
        counts["given"] += 1
        yield pick


_TOTALS: Final = ("read", "usable", "given", "events", "associated")


def _tell(
    counts: Counter[str],
    missing: Sequence[Code],
    options: AssociateOptions,
    out: Console,
    err: Console,
) -> None:
    if missing:
        err.print(
            f"warning: {options.inventory} lacks {len(missing)} of the stations with picks: "
            f"{_named(missing)}.",
            markup=False,
        )
    counts["of an arrival that another instrument or model has better"] = (
        counts["usable"] - counts["given"]
    )
    left_out = "".join(
        f"; {count:,} {reason}"
        for reason, count in sorted(counts.items())
        if count and reason not in _TOTALS
    )
    out.print(
        f"{counts['events']:,} events with {counts['associated']:,} of {counts['given']:,} picks. "
        f"In {options.out}.",
        markup=False,
    )
    if left_out:
        err.print(f"Left out of {counts['read']:,} picks: {left_out[2:]}.", markup=False)
    if not counts["events"]:
        err.print(
            "No event: are there enough stations? See --min-picks, --min-p, --min-s, --min-both.",
            markup=False,
        )


def _named(codes: Sequence[Code]) -> str:
    named = ", ".join(map(str, codes[:MOST_NAMED]))
    more = len(codes) - MOST_NAMED
    return f"{named} and {more} more" if more > 0 else named
