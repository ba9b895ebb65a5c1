"""What the steps of a bundle change: a note, and the new fields by name."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from obspy import Inventory, Stream, read_inventory

from ml_prediction.data import comcat
from ml_prediction.data.faults import NoDataError, NotOfferedError
from ml_prediction.data.fdsn import Server
from ml_prediction.data.metadata import merge_stations
from ml_prediction.errors import ConfigurationError, DataError
from ml_prediction.explore import bundle_waveforms as waveforms
from ml_prediction.explore.bundle_extent import channels_in, channels_of
from ml_prediction.explore.bundle_waveforms import Asked, Extent
from ml_prediction.explore.comcat_history import history_of
from ml_prediction.explore.events import event_name, one_event, to_quakeml
from ml_prediction.util.digests import sha256
from ml_prediction.util.frozen import FrozenMap
from ml_prediction.util.times import to_utc

if TYPE_CHECKING:
    from ml_prediction.explore.bundle import EventBundle

Change: TypeAlias = tuple[str, Mapping[str, Any]]
PathLike: TypeAlias = str | os.PathLike[str]

_log = logging.getLogger(__name__)


def from_comcat(event_id: str, server: Server, libcomcat: bool | None) -> dict[str, Any]:
    """Fields of the bundle of an event; see `EventBundle.from_comcat`."""
    try:
        document = comcat.detail(server, event_id, superseded=True)
    except (NoDataError, NotOfferedError) as error:
        raise type(error)(f"{server.name} has no event {event_id!r} ({error}).") from error
    contributions = history_of(document, libcomcat=libcomcat)
    quakeml = comcat.quakeml_of(server, document, event_id)
    one_event(quakeml, f"QuakeML of {event_id}")
    return {
        "event_id": event_id,
        "quakeml": quakeml,
        "contributions": contributions,
        "notes": (f"event and {len(contributions)} contributions from {server.url}",),
    }


def from_quakeml(source: PathLike | bytes, event_id: str | None) -> dict[str, Any]:
    """Fields of the bundle of an event; see `EventBundle.from_quakeml`."""
    name = "the QuakeML document" if isinstance(source, bytes) else str(source)
    body = source if isinstance(source, bytes) else _read(source)
    event, alone = one_event(body, name, event_id)
    return {
        "event_id": event_id or event_name(event),
        "quakeml": body if alone else to_quakeml(event),
        "notes": (f"event from {name}",),
    }


def add_waveforms(bundle: EventBundle, source: Stream | PathLike | Sequence[PathLike]) -> Change:
    """See `EventBundle.with_waveforms`."""
    if isinstance(source, Stream):
        bodies = {"the stream": waveforms.miniseed_of(source)}
    else:
        paths = [source] if isinstance(source, str | os.PathLike) else list(source)
        bodies = {str(path): _read(path) for path in paths}
    kept = dict(bundle.miniseed)
    for name, body in bodies.items():
        for code, records in waveforms.records_of(body, name).items():
            kept[code] = waveforms.merge(kept.get(code, b""), records)
    return f"waveforms of {', '.join(bodies)}", {"miniseed": FrozenMap(kept)}


def read_stations(source: Inventory | PathLike) -> Change:
    """See `EventBundle.with_stations`."""
    if isinstance(source, Inventory):
        written = BytesIO()
        source.write(written, format="STATIONXML")
        return "stations given", {"stationxml": written.getvalue()}
    body = _read(source)
    try:
        read_inventory(BytesIO(body), format="STATIONXML")
    except (ValueError, TypeError, SyntaxError, AttributeError) as error:
        raise DataError(f"{source}: can't be read as StationXML ({error}).") from error
    return f"stations of {source}", {"stationxml": body}


def fetch_waveforms(
    bundle: EventBundle,
    server: Server,
    extent: Extent,
    *,
    parallel: int,
    again: bool,
    cache: Path | None,
    done: Callable[[int, int], None] | None,
) -> Change | None:
    """See `EventBundle.fetch_waveforms`; None where all of the extent is there."""
    key = key_of(server, extent)
    if key in bundle.fetched and not again:
        return None
    found = waveforms.fetch(
        extent,
        server,
        bundle.miniseed,
        bundle.asked,
        parallel=parallel,
        again=again,
        cache=cache,
        done=done,
    )
    fetched = {*bundle.fetched, key}
    if found.failed:
        _warn(bundle.event_id, found.failed, found.requests)
        fetched.remove(key)
    new = sum(body != bundle.miniseed.get(code) for code, body in found.miniseed.items())
    return f"{new} channels from {server.url}", {
        "miniseed": FrozenMap(found.miniseed),
        "asked": found.asked,
        "fetched": tuple(sorted(fetched)),
    }


def key_of(server: Server, extent: Extent) -> str:
    """Checksum by which a bundle knows that all of an extent was asked for, and nothing failed."""
    return sha256(f"all of {extent} from {server.url}".encode())


def fetch_stations(bundle: EventBundle, server: Callable[[], Server]) -> Change | None:
    """See `EventBundle.fetch_stations`; None where nothing is missing, or is to be had."""
    codes = channels_of(bundle)
    if not codes:
        raise ConfigurationError(
            f"{bundle.event_id} has neither waveforms nor picks: fetch waveforms first."
        )
    missing = codes - channels_in(bundle.inventory)
    if not missing:
        return None
    center = server()
    body = waveforms.stations_of(missing, to_utc(bundle.origin.time_ns), center)
    if body is None:
        _log.warning("%s: %s knows none of %d channels.", bundle.event_id, center.url, len(missing))
        return None
    if bundle.stationxml is not None:
        body = merge_stations([bundle.stationxml, body])
    return f"stations from {center.url}", {"stationxml": body}


def _warn(event_id: str, failed: Sequence[Asked], asked: int) -> None:
    _log.warning(
        "%s: %d of %d requests for waveforms failed, first %s The same call again asks for them.",
        event_id,
        len(failed),
        asked,
        failed[0],
    )


def _read(path: PathLike) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"Can't read {str(path)!r}: {error.strerror}.") from error
