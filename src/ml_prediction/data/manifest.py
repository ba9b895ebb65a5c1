"""What a fetch has brought: each file with its checksum, where it came from, and what is missing.

Nothing in it depends on the clock or on the order of events: the same data give the same manifest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import obspy
import pymseed

from ml_prediction import __version__
from ml_prediction.data.metadata import count_events, event_documents
from ml_prediction.data.plan import Unit
from ml_prediction.data.records import contents
from ml_prediction.data.scenario import Part, Scenario
from ml_prediction.data.store import Store
from ml_prediction.errors import DataError
from ml_prediction.util.digests import sha256
from ml_prediction.util.files import inside
from ml_prediction.util.times import isoformat, to_utc

NAME: Final = "manifest.json"
FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class PartResult:
    """What is there of a part, and what is not.

    Attributes
    ----------
    part
        Of the scenario.
    entry
        Its place in the manifest.
    missing
        What the scenario expects and the servers don't have, one sentence each.
    """

    part: Part
    entry: dict[str, Any]
    missing: tuple[str, ...]

    @property
    def channels(self) -> int:
        """Channels with waveforms."""
        return int(self.entry["counts"]["channels"])


def describe(
    part: Part,
    store: Store,
    units: Sequence[Unit],
    servers: Mapping[str, str],
    absent: Mapping[str, str],
    root: Path,
) -> PartResult:
    """Look at all files of a part.

    Parameters
    ----------
    part
        Of the scenario.
    store
        Where its files are.
    units
        All that were planned.
    servers
        URL of ``waveforms`` and ``events``.
    absent
        Documents that are not to be had, and why.
    root
        Folder that paths in the manifest begin at.
    """
    files: list[dict[str, Any]] = []
    stations: set[str] = set()
    channels: set[str] = set()
    days = gaps = samples = 0
    for unit in units:
        path = store.path(unit)
        if not path.is_file():
            continue
        body = path.read_bytes()
        held = contents(body)
        stations.add(f"{unit.code.network}.{unit.code.station}")
        channels.add(str(unit.code))
        days += 1
        gaps += held.gaps
        samples += held.samples
        files.append(
            _file(path, body, root)
            | {
                "channel": str(unit.code),
                "start": isoformat(to_utc(held.start_ns)),
                "end": isoformat(to_utc(held.end_ns)),
                "rate": held.rate,
                "records": held.records,
                "samples": held.samples,
                "gaps": held.gaps,
                "request": _request(servers["waveforms"], "dataselect", unit),
            }
        )
    events = 0
    for name, service, server in _documents(part, servers):
        path = store.document(name)
        if path.is_file():
            body = path.read_bytes()
            events += count_events(body) if service == "event" else 0
            files.append(_file(path, body, root) | {"request": f"{server}/fdsnws/{service}/1"})
    empty = {str(unit): store.absence(unit) for unit in units if not store.path(unit).is_file()}
    counts = {
        "stations": len(stations),
        "channels": len(channels),
        "channel_days": days,
        "events": events,
        "samples": samples,
        "gaps": gaps,
        "bytes": sum(file["bytes"] for file in files),
    }
    entry = {
        "name": part.name,
        "what": part.what,
        "planned": {
            "channels": len({unit.code for unit in units}),
            "channel_days": len(units),
        },
        "counts": counts,
        "without_data": {key: empty[key] or "not fetched" for key in sorted(empty)},
        "absent_documents": dict(sorted(absent.items())),
        "files": sorted(files, key=lambda file: str(file["path"])),
    }
    missing = _missing(part, counts, stations)
    entry["missing"] = list(missing)
    return PartResult(part, entry, missing)


def to_json(
    scenario: Scenario, parts: Sequence[PartResult], client: str | None, *, failed: bool
) -> bytes:
    """The manifest.

    Parameters
    ----------
    scenario
        What was asked for.
    parts
        What came.
    client
        The server that stood in for all, if one did.
    failed
        Whether something may still come.
    """
    table = {
        "format": FORMAT,
        "scenario": scenario.name,
        "scenario_sha256": scenario.hash,
        "what": scenario.what,
        "licence": scenario.licence,
        "client": client,
        "complete": not failed and not any(result.missing for result in parts),
        "versions": {
            "ml_prediction": __version__,
            "obspy": obspy.__version__,
            "pymseed": pymseed.__version__,
        },
        "parts": [result.entry for result in parts],
    }
    return (json.dumps(table, indent=1, ensure_ascii=False) + "\n").encode()


def damaged(root: Path) -> list[Path]:
    """Files of the manifest in a folder whose contents have changed; none without a manifest.

    Raises
    ------
    DataError
        If the manifest is damaged, or names a file outside the folder.
    """
    path = root / NAME
    if not path.is_file():
        return []
    try:
        table = json.loads(path.read_text("utf-8"))
        files = {
            inside(root, file["path"]): file["sha256"]
            for part in table["parts"]
            for file in part["files"]
        }
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: damaged ({error!r}). Remove it and run the same command again: what was got "
            "is kept, but can't be checked for changes this time."
        ) from error
    return [
        file
        for file, checksum in files.items()
        if file.is_file() and sha256(file.read_bytes()) != checksum
    ]


def _documents(part: Part, servers: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """File, service and server of what is beside the waveforms."""
    events = [(event_file(name), "event", servers["events"]) for name in event_documents(part)]
    return [(STATIONS, "station", servers["waveforms"]), *events]


STATIONS: Final = "stations.xml"


def event_file(name: str) -> str:
    """File of a QuakeML document."""
    return f"events/{name}.xml"


def _file(path: Path, body: bytes, root: Path) -> dict[str, Any]:
    return {
        "path": path.relative_to(root).as_posix(),
        "bytes": len(body),
        "sha256": sha256(body),
    }


def _request(server: str, service: str, unit: Unit) -> str:
    net, sta, loc, cha, start, end = unit.line
    line = " ".join((net, sta, loc or "--", cha, str(start).rstrip("Z"), str(end).rstrip("Z")))
    return f"{server}/fdsnws/{service}/1/query {line}"


def _missing(part: Part, counts: Mapping[str, int], stations: set[str]) -> tuple[str, ...]:
    expected = part.expect
    least = expected.model_dump(exclude={"codes"})
    few = [
        f"{part.name}: {counts[what]} of at least {count} {what.replace('_', '-')}"
        for what, count in least.items()
        if counts[what] < count
    ]
    codes = [code for code in expected.codes if code not in stations]
    return (*few, *(f"{part.name}: no waveforms of {code}" for code in codes))
