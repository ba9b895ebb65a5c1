"""`ml-prediction fetch`: real data of a named scenario, whole, checked, and resumed where it ended.

Each channel-day is one file of an SDS archive, written when all of it is there; what is known to be
absent is remembered. So a run that was interrupted or killed continues, with the same result.
"""

from __future__ import annotations

import shutil
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from rich.console import Console

from ml_prediction.data import manifest
from ml_prediction.data.faults import NoDataError, TransientError, UnreachableError
from ml_prediction.data.fdsn import Server
from ml_prediction.data.gaps import gappy_channels
from ml_prediction.data.metadata import UNAVAILABLE, event_documents, event_xml, station_xml
from ml_prediction.data.plan import Channel, Unit, find_channels, pieces, units_of, utc
from ml_prediction.data.retry import Patience
from ml_prediction.data.scenario import Part, Scenario
from ml_prediction.data.store import HIDDEN, Store, alone, put
from ml_prediction.data.transfer import Failure, get_all
from ml_prediction.drivers.progress import ConsoleProgress
from ml_prediction.errors import ConfigurationError, ServiceError
from ml_prediction.util.codes import NSLC

COMPLETE: Final = 0
NOTHING: Final = 1
FAILED: Final = 3
INCOMPLETE: Final = 4
"""Exit status: all is there that the servers have, but not all that the scenario expects."""

MARGIN: Final = 1.2
"""Of free space on the disk, over the estimate."""


@dataclass(frozen=True, slots=True)
class FetchOptions:
    """How to fetch.

    Attributes
    ----------
    out
        Folder; each scenario gets one in it.
    client
        One server for everything, instead of those of the scenario.
    parallel
        Requests at the same time.
    timeout
        Seconds without a byte after which a request has failed.
    attempts
        Of each request.
    again
        Ask again for what was not there.
    dry_run
        Only say what would be fetched.
    """

    out: Path = Path("testdata")
    client: str | None = None
    parallel: int = 4
    timeout: float = 120.0
    attempts: int = 6
    again: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class _Planned:
    part: Part
    store: Store
    units: tuple[Unit, ...]
    how: str


_Failures = defaultdict[str, list[str]]
"""What failed, by part."""


class _Servers:
    """Servers by name, each made once, so that its pauses hold for all parts."""

    def __init__(self, options: FetchOptions, err: Console) -> None:
        self._options = options
        self._err = err
        self._made: dict[str, Server] = {}

    def get(self, name: str) -> Server:
        chosen = self._options.client or name
        if chosen not in self._made:
            self._made[chosen] = Server(
                chosen,
                timeout=self._options.timeout,
                patience=Patience(attempts=self._options.attempts),
                told=self._tell,
            )
        return self._made[chosen]

    def _tell(self, error: TransientError, pause: float) -> None:
        self._err.print(f"{error} Again in {pause:g} s.", markup=False)


def fetch_scenarios(
    scenarios: Sequence[Scenario], options: FetchOptions, *, out: Console, err: Console
) -> int:
    """Fetch scenarios, one after the other.

    Returns
    -------
    int
        Exit status: 0 all complete, 1 there is nothing of any, 3 something failed and should be
        tried again, 4 something that a scenario expects is not to be had.

    Raises
    ------
    ConfigurationError
        If the folder can't be used, the disk is too small, or a server's name is wrong.
    """
    states = [fetch_scenario(each, options, out=out, err=err) for each in scenarios]
    if FAILED in states:
        return FAILED
    if set(states) == {NOTHING}:
        return NOTHING
    return COMPLETE if set(states) == {COMPLETE} else INCOMPLETE


def fetch_scenario(scenario: Scenario, options: FetchOptions, *, out: Console, err: Console) -> int:
    """Fetch one scenario; status and errors as `fetch_scenarios`."""
    servers = _Servers(options, err)
    root = options.out / scenario.name
    if options.dry_run:
        planned = [_plan(part, root, servers, err, keep=False) for part in scenario.parts]
        _show_plan(scenario, planned, root, out)
        return COMPLETE if any(each.units for each in planned) else NOTHING
    began = time.monotonic()
    with alone(root):
        _claim(scenario, options, root)
        for path in manifest.damaged(root):
            err.print(f"{path} has changed since it was fetched: fetched again.", markup=False)
            path.unlink()
        try:
            planned, failures = _download(scenario, options, root, servers, err)
            absent = [_documents(each, servers, failures) for each in planned]
        except KeyboardInterrupt:
            err.print("What was got is kept; the same command continues.", markup=False)
            raise
        results = [
            manifest.describe(
                each.part, each.store, each.units, _urls(each.part, servers), none, root
            )
            for each, none in zip(planned, absent, strict=True)
        ]
        failed = any(failures.values())
        body = manifest.to_json(scenario, results, options.client, failed=failed)
        put(root / manifest.NAME, body, root / HIDDEN / "scratch")
        for each in planned:
            each.store.tidy()
        shutil.rmtree(root / HIDDEN / "scratch", ignore_errors=True)
    _report(scenario, results, failures, time.monotonic() - began, out)
    if failed:
        return FAILED
    if not any(result.channels for result in results):
        return NOTHING
    return INCOMPLETE if any(result.missing for result in results) else COMPLETE


def _claim(scenario: Scenario, options: FetchOptions, root: Path) -> None:
    """Make sure that the folder is this scenario's, from the same servers, or make it so."""
    store = Store(root, root / HIDDEN)
    mine = {"scenario": scenario.hash, "client": options.client}
    found = store.read("scenario.json")
    if found is None:
        store.write("scenario.json", mine)
    elif found != mine:
        why = "another --client" if found.get("scenario") == scenario.hash else "another definition"
        raise ConfigurationError(
            f"{root} holds {scenario.name} of {why}: remove it, or choose another --out."
        )


def _store(part: Part, root: Path) -> Store:
    return Store(root / part.name, root / HIDDEN / part.name)


def _plan(
    part: Part,
    root: Path,
    servers: _Servers,
    err: Console,
    *,
    keep: bool,
    again: bool = False,
) -> _Planned:
    """Channel-days of a part: as an earlier run has noted them, or as the servers say."""
    store = _store(part, root)
    noted = store.read("plan.json")
    if noted is None or (again and not noted.get("channels")):
        server = servers.get(part.server)
        err.print(f"{part.name}: asking {server.name} for stations.", markup=False)
        channels, how = find_channels(part, server), ""
        if part.gappy is not None and channels:
            channels, how = gappy_channels(
                channels,
                units_of(part, channels),
                part.gappy,
                server,
                lambda said: err.print(said, markup=False),
            )
        noted = {"channels": [asdict(channel) for channel in channels], "gaps": how}
        if keep:
            store.write("plan.json", noted)
    try:
        channels = [
            Channel(NSLC(*each["code"]), float(each["rate"]), float(each["distance_km"]))
            for each in noted["channels"]
        ]
        units = tuple(units_of(part, channels))
        return _Planned(part, store, units, str(noted["gaps"]))
    except (KeyError, TypeError, ValueError) as error:
        raise store.damaged("plan.json", repr(error)) from error


def _download(
    scenario: Scenario, options: FetchOptions, root: Path, servers: _Servers, err: Console
) -> tuple[list[_Planned], _Failures]:
    """Waveforms of all parts; returns the plans, and what failed.

    A server that fails costs its own parts only.
    """
    failures = _Failures(list)
    planned: list[_Planned] = []
    for part in scenario.parts:
        try:
            planned.append(_plan(part, root, servers, err, keep=True, again=options.again))
        except ServiceError as error:
            failures[part.name].append(str(error))
            planned.append(_Planned(part, _store(part, root), (), ""))
    if options.again:
        for each in planned:
            each.store.forget_absences()
    pending = [each.store.pending(each.units) for each in planned]
    total = sum(unit.estimate for units in pending for unit in units)
    _check_space(root, total)
    done = 0
    with ConsoleProgress(err, total, 0.0, label="fetching", rate=_megabytes) as progress:

        def finished(units: Sequence[Unit]) -> None:
            nonlocal done
            done += sum(unit.estimate for unit in units)
            progress.update(done)

        for each, units in zip(planned, pending, strict=True):
            if not units:
                continue
            server = servers.get(each.part.server)
            try:
                failed = get_all(pieces(units), server, each.store, options.parallel, finished)
            except UnreachableError as error:
                failures[each.part.name].append(str(error))
            else:
                failures[each.part.name] += [_sentence(failure) for failure in failed]
    return planned, failures


def _documents(planned: _Planned, servers: _Servers, failures: _Failures) -> dict[str, str]:
    """StationXML and QuakeML of a part; returns what is not to be had, and why."""
    part, store = planned.part, planned.store
    absent: dict[str, str] = {}
    if planned.units and not store.document(manifest.STATIONS).is_file():
        codes = sorted({unit.code for unit in planned.units})
        lines = [(*code, utc(part.start), utc(part.end)) for code in codes]
        try:
            body = station_xml(lines, servers.get(part.server))
            if body is None:
                absent[manifest.STATIONS] = NoDataError.reason
            else:
                store.keep_document(manifest.STATIONS, body)
        except UNAVAILABLE as error:
            absent[manifest.STATIONS] = error.reason
        except ServiceError as error:
            failures[part.name].append(str(error))
    for name in event_documents(part):
        file = manifest.event_file(name)
        if store.document(file).is_file():
            continue
        try:
            store.keep_document(file, event_xml(name, part, servers.get(part.event_server)))
        except UNAVAILABLE as error:
            absent[file] = error.reason
        except ServiceError as error:
            failures[part.name].append(str(error))
    return absent


def _urls(part: Part, servers: _Servers) -> Mapping[str, str]:
    return {
        "waveforms": servers.get(part.server).url,
        "events": servers.get(part.event_server).url,
    }


def _check_space(root: Path, needed: int) -> None:
    free = shutil.disk_usage(root).free
    if needed * MARGIN > free:
        raise ConfigurationError(
            f"About {_size(needed)} are to come (an estimate), and {root} has {_size(free)} free: "
            "make room, or choose another folder with --out."
        )


def _sentence(failure: Failure) -> str:
    first = str(failure.units[0])
    more = f" and {len(failure.units) - 1} more" if len(failure.units) > 1 else ""
    return f"{first}{more}: {failure.error}"


def _show_plan(scenario: Scenario, planned: Sequence[_Planned], root: Path, out: Console) -> None:
    """What would be fetched, with sizes."""
    out.print(f"{scenario.name}: {scenario.what}", markup=False)
    whole = 0
    for each in planned:
        pending = each.store.pending(each.units)
        size = sum(unit.estimate for unit in each.units)
        left = sum(unit.estimate for unit in pending)
        whole += left
        codes = {unit.code for unit in each.units}
        stations = {(code.network, code.station) for code in codes}
        how = f", found by {each.how}" if each.how else ""
        there = "" if left == size else f", of which {_size(size - left)} are there"
        out.print(
            f"  {each.part.name}: {len(stations)} stations, {len(codes)} channels, "
            f"{len(each.units)} channel-days, about {_size(size)}{there}{how}",
            markup=False,
        )
    free = shutil.disk_usage(next(p for p in (root, *root.parents) if p.exists())).free
    out.print(
        f"  about {_size(whole)} to come into {root} ({_size(free)} free). Sizes are estimates, "
        "from rates and durations; what the servers really have is known afterwards.",
        markup=False,
    )


def _report(
    scenario: Scenario,
    results: Sequence[manifest.PartResult],
    failures: _Failures,
    seconds: float,
    out: Console,
) -> None:
    for result in results:
        counts, planned = result.entry["counts"], result.entry["planned"]
        without = len(result.entry["without_data"])
        out.print(
            f"{scenario.name}/{result.part.name}: {counts['stations']} stations, "
            f"{counts['channels']} of {planned['channels']} channels, {counts['events']} events, "
            f"{counts['gaps']} gaps, {_size(counts['bytes'])}"
            + (f"; {without} channel-days without data" if without else ""),
            markup=False,
        )
        failed = failures[result.part.name]
        for sentence in () if failed else result.missing:  # nobody knows yet
            out.print(f"  expected but missing: {sentence}", markup=False)
        for name, why in result.entry["absent_documents"].items():
            out.print(f"  not to be had: {name} ({why})", markup=False)
        for sentence in failed:
            out.print(f"  failed: {result.part.name}: {sentence}", markup=False)
    if any(failures.values()):
        out.print("  What was got is kept; the same command tries the rest again.", markup=False)
    out.print(f"{scenario.name}: {seconds:.1f} s", markup=False)


def _megabytes(done: float, elapsed: float) -> str:
    return f"{done / 1e6:,.1f} MB, {done / 1e6 / elapsed:,.2f} MB/s (estimates)"


def _size(count: float) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count:.0f} B"
