"""What every store asks of the runs and units that it is given."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from obspy import UTCDateTime

from ml_prediction.core.results import Detection, Pick
from ml_prediction.errors import ConfigurationError, InternalError
from ml_prediction.sinks.store.base import RunRecord, UnitKey, UnitResult
from ml_prediction.util.times import NANOSECONDS, to_microseconds, to_ns

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_NS: Final = 86_400 * NANOSECONDS
_MOST_NAMED: Final = 5
"""Differences that a message names; more would hide the others."""


def check_run(run: RunRecord) -> RunRecord:
    """The run as it will be read again: lists for tuples, keys as text.

    Raises
    ------
    InternalError
        If it holds what JSON can't, has no name, or its time has no time zone.
    """
    if not run.run_id or run.created.tzinfo is None:
        raise InternalError(f"Run {run.run_id!r} needs a name, and a time with a time zone.")
    try:
        config, models, versions = (_json(v) for v in (run.config, run.models, run.versions))
    except (TypeError, ValueError) as error:
        raise InternalError(f"Run {run.run_id} can't be written as JSON: {error}.") from error
    return RunRecord(
        run.run_id, run.config_hash, config, models, versions, run.created, storable(run.root)
    )


def check_resumable(old: RunRecord, new: RunRecord, where: str) -> None:
    """Whether a run may go on as another would.

    Raises
    ------
    ConfigurationError
        If they differ in more than their time; the message names in what.
    """
    found = list(_differences(_comparable(old), _comparable(new), ""))
    if not found:
        return
    raise ConfigurationError(
        f"Run {old.run_id} in {where} can't be resumed, since its picks would not be comparable: "
        f"{_listed(found)}. Resume with the settings, weights and versions that it was begun with, "
        "or begin another run, with a --run-id of its own."
    )


def nothing_to_resume(run: RunRecord, known: Sequence[RunRecord], where: str) -> ConfigurationError:
    """The error that there are runs, but not this one; it names the nearest, and what differs."""
    there = [
        (list(_differences(_comparable(old), _comparable(run), "")), old.run_id) for old in known
    ]
    found, nearest = min(there, key=lambda each: (len(each[0]), each[1]))
    if not found:
        advice = f"{nearest} has these settings: give --run-id {nearest}"
    else:
        advice = (
            f"Of its {len(known)} the nearest is {nearest} ({_listed(found)}): resume with the "
            "settings that it was begun with"
        )
    return ConfigurationError(
        f"{where} has no run {run.run_id} to resume. {advice}, or begin another run without "
        "--resume."
    )


def without_password(url: str) -> str:
    """URL of a store, for messages."""
    shown = re.sub(r"(://[^:/@]*):.*@", r"\1:***@", url)
    return re.sub(r"(?i)([?&](?:ssl)?password=)[^&]*", r"\1***", shown)


def check_new(run_id: str, where: str) -> ConfigurationError:
    """The error that a run which is there must be resumed."""
    return ConfigurationError(
        f"{where} has run {run_id} already: give --resume to go on with it, or another --run-id."
    )


def check_result(result: UnitResult, run_id: str) -> None:
    """Whether all that is written for a unit belongs to it.

    Raises
    ------
    InternalError
        If a pick, detection or instrument is of another run, station or day, or there twice.
    """
    key = result.key
    _check_items(key, run_id, [(pick, pick.peak_time) for pick in result.picks])
    _check_items(key, run_id, [(each, each.onset) for each in result.detections])
    instruments = [each.instrument for each in result.statistics]
    if len(set(instruments)) < len(instruments):
        raise InternalError(f"Unit {key} has statistics of an instrument twice.")
    for instrument in instruments:
        if instrument[:2] != (key.network, key.station):
            raise InternalError(f"Unit {key} has statistics of {instrument}.")


def _check_items(
    key: UnitKey, run_id: str, items: Sequence[tuple[Pick | Detection, UTCDateTime]]
) -> None:
    start = day_start_ns(key.day)
    if len({item.id for item, _ in items}) < len(items):
        raise InternalError(f"Unit {key} has a pick or detection twice.")
    for item, time in items:
        if item.run_id != run_id:
            raise InternalError(f"{item.id} is of run {item.run_id!r}, not of {run_id}.")
        if (item.network, item.station) != (key.network, key.station):
            raise InternalError(f"{item.id} does not belong to unit {key}.")
        if not start <= to_ns(time) < start + _DAY_NS:
            raise InternalError(f"{item.id} at {time} does not belong to unit {key}.")


def day_start_ns(day: date) -> int:
    """Nanoseconds from 1970 to a day's start, UTC."""
    return (day - _EPOCH.date()).days * _DAY_NS


def to_datetime(time: UTCDateTime) -> datetime:
    """A time as every output rounds it: to microseconds, UTC."""
    return _EPOCH + timedelta(microseconds=to_microseconds(time))


def now() -> datetime:
    """The time, UTC."""
    return datetime.now(UTC)


def choose_run(wanted: str | None, begun: str | None, known: Iterable[str], where: str) -> str:
    """Run that is to be read: the one that is wanted, else the one begun, else the only one.

    Raises
    ------
    ConfigurationError
        If it is not there, or one of several would have to be guessed.
    """
    names = sorted(known)
    choice = wanted or begun or (names[0] if len(names) == 1 else None)
    if choice in names:
        return choice
    if not names:
        raise ConfigurationError(f"{where} has no runs.")
    if choice is None:
        raise ConfigurationError(
            f"{where} has several runs: choose one with --run-id, of {', '.join(names)}."
        )
    raise ConfigurationError(f"{where} has no run {choice}: choose from {', '.join(names)}.")


def storable(text: str) -> str:
    """Text without what no database takes: NUL, and bytes of file names that are no text."""
    return text.replace("\0", "?").encode("utf-8", "replace").decode()


def _json(value: Any) -> Any:
    return json.loads(storable(json.dumps(value, allow_nan=False, ensure_ascii=False)))


def _comparable(run: RunRecord) -> dict[str, Any]:
    return {
        "archive": run.root,
        "config": run.config,
        "config_hash": run.config_hash,
        "models": run.models,
        "versions": run.versions,
    }


def _differences(old: Any, new: Any, name: str) -> Iterable[str]:
    """What differs, by dotted name, e.g. ``config.pipeline.stride was 3000, is 1500``."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from _differences(
                old.get(key), new.get(key), f"{name}.{key}" if name else str(key)
            )
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (left, right) in enumerate(zip(old, new, strict=True)):
            yield from _differences(left, right, f"{name}[{index}]")
    elif old != new or isinstance(old, bool) != isinstance(new, bool):
        yield f"{name} was {_short(old)}, is {_short(new)}"


def _listed(differences: Sequence[str]) -> str:
    more = len(differences) - _MOST_NAMED
    return "; ".join([*differences[:_MOST_NAMED], *([f"and {more} more"] if more > 0 else [])])


def _short(value: Any) -> str:
    text = "absent" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
