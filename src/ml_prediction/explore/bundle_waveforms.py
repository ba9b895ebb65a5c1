"""Which channels of which stations belong to an earthquake, and their waveforms from a data centre.

What came is kept whatever else fails; `Asked` says of each channel what came of it, so that the
next request is for the rest only.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final, Literal, TypeAlias

from obspy import Stream, UTCDateTime, read
from obspy.clients.fdsn.client import Client
from obspy.core.util.obspy_types import ObsPyException

from ml_prediction.data.faults import TransientError, UnreachableError
from ml_prediction.data.fdsn import Server
from ml_prediction.data.metadata import station_xml
from ml_prediction.data.plan import Channel, Unit, find_channels, pieces, units_of
from ml_prediction.data.records import by_channel, check_records, compose
from ml_prediction.data.retry import Patience
from ml_prediction.data.scenario import Part, Region
from ml_prediction.data.store import Store
from ml_prediction.data.transfer import get_all
from ml_prediction.errors import ConfigurationError, DataError, ServiceError
from ml_prediction.explore.arrivals import Origin
from ml_prediction.explore.bundle_folder import plain_name
from ml_prediction.util.codes import NSLC
from ml_prediction.util.times import to_utc

CHANNELS: Final = ("HH?", "BH?", "EH?", "HN?", "EN?")
"""Seismometers and accelerometers of 40 to 200 Hz."""
SLOWEST_KM_S: Final = 3.0
"""No S wave is slower on average, beyond the nearest sediments."""
ANTIPODE_KM: Final = 20_015.0
"""Nothing is farther away."""
STATIONS_PER_QUERY: Final = 100
"""Their codes stand in one URL."""
ALWAYS: Final = (0, 2**63 - 1)

AnyClient: TypeAlias = str | Server | Client
"""Name or URL of a data centre, or a client of it."""
Outcome = Literal["kept", "absent", "failed"]


@dataclass(frozen=True, slots=True)
class Asked:
    """One channel's day, or part of it, that was asked for, and what came of it.

    Attributes
    ----------
    code
        Channel.
    start_ns, end_ns
        start <= t < end, nanoseconds since 1970.
    outcome
        ``kept``, ``absent`` (the server has none, and says so), or ``failed`` (ask again).
    reason
        Of the latter two.
    server
        URL of the data centre: another may have what this one has not.
    """

    code: NSLC
    start_ns: int
    end_ns: int
    outcome: Outcome
    reason: str = ""
    server: str = ""

    @property
    def key(self) -> tuple[NSLC, int, int]:
        """What was asked for."""
        return self.code, self.start_ns, self.end_ns

    def __str__(self) -> str:
        return f"{self.code} {to_utc(self.start_ns)} - {to_utc(self.end_ns)}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Extent:
    """Where and when to look for waveforms.

    Attributes
    ----------
    stations
        Network and station codes; None: all within the radius.
    radius_km
        Around the epicentre; None: wherever the stations are.
    channels
        Codes or patterns.
    before_s, after_s
        Seconds before the origin, and after the S wave has passed the farthest station found.
    last_s
        Seconds after the origin of the last catalogue pick.
    origin, depth_km
        Of the earthquake.
    """

    stations: tuple[tuple[str, str], ...] | None
    radius_km: float | None
    channels: tuple[str, ...]
    before_s: float
    after_s: float
    last_s: float
    origin: Origin
    depth_km: float

    def span(self, channels: Iterable[Channel] = ()) -> tuple[UTCDateTime, UTCDateTime]:
        """Start and end of what is wanted of all of these channels."""
        farthest = max((channel.distance_km for channel in channels), default=0.0)
        last = max(self.last_s, travel_s(farthest, self.depth_km))
        time = to_utc(self.origin.time_ns)
        return time - self.before_s, time + last + self.after_s


@dataclass(frozen=True, slots=True)
class Fetched:
    """What is there after a request.

    Attributes
    ----------
    miniseed
        Records by channel.
    asked
        What came of each request, of earlier ones too.
    failed, requests
        Which of this extent's failed, of how many.
    """

    miniseed: dict[str, bytes]
    asked: tuple[Asked, ...]
    failed: tuple[Asked, ...]
    requests: int


def as_server(
    client: AnyClient,
    timeout: float = 120.0,
    attempts: int = 6,
    told: Callable[[TransientError, float], None] | None = None,
) -> Server:
    """Server of a name, a URL, or an ObsPy client.

    Raises
    ------
    ConfigurationError
        If it is none, or a client that logs in: its password can't be taken over.
    """
    if isinstance(client, Server):
        return client
    if isinstance(client, Client):
        if client.user:
            raise ConfigurationError(
                f"The client of {client.base_url} logs in as {client.user}, which is not supported "
                "here: get the stream with it, and give it to with_waveforms."
            )
        client, timeout = client.base_url, float(client.timeout)
    return Server(client, timeout=timeout, patience=Patience(attempts=attempts), told=told)


def find(extent: Extent, server: Server) -> list[Channel]:
    """Channels of an extent that the server's station service knows.

    Raises
    ------
    ServiceError
        If it doesn't answer.
    """
    region = Region(  # of the whole world, too, for the distances
        latitude=extent.origin.latitude,
        longitude=extent.origin.longitude,
        radius_km=ANTIPODE_KM if extent.radius_km is None else extent.radius_km,
    )
    start, end = extent.span()
    found: dict[NSLC, Channel] = {}
    for networks, stations in _queries(extent.stations):
        part = Part(
            name="bundle",
            what="one earthquake",
            start=start.datetime,
            end=end.datetime,
            channels=extent.channels,
            networks=networks,
            stations=stations,
            region=region,
        )
        for channel in find_channels(part, server):
            if extent.stations is None or channel.station in extent.stations:
                found[channel.code] = channel
    return sorted(found.values(), key=lambda channel: channel.code)


def fetch(
    extent: Extent,
    server: Server,
    known: Mapping[str, bytes],
    asked: Iterable[Asked],
    *,
    parallel: int = 4,
    again: bool = False,
    cache: Path | None = None,
    done: Callable[[int, int], None] | None = None,
) -> Fetched:
    """Get what is not known yet of an extent.

    Parameters
    ----------
    extent
        Where and when.
    server
        Data centre.
    known, asked
        What is there from before; it is not asked for again, nor what this server has not.
    parallel
        Requests at the same time.
    again
        Ask again for what was absent.
    cache
        Folder that keeps what came while more is to come, so that a run that is killed loses
        nothing; None: a temporary one.
    done
        Hears of bytes (estimates) that are done, and of all of them.

    Raises
    ------
    ServiceError
        If the stations can't be found, or if nothing at all is there and all failed.
    """
    history = {each.key: each for each in asked}
    units = _units(extent, find(extent, server))
    wanted = [unit for unit in units if not _settled(history.get(_key(unit)), server, again)]
    holder = nullcontext(str(cache)) if cache else tempfile.TemporaryDirectory(prefix="bundle-")
    with holder as folder:
        store = Store(Path(folder), Path(folder) / "notes" / plain_name(server.url))
        if again:
            store.forget_absences()
        failures = _transfer(wanted, store, server, parallel, done)
        miniseed = dict(known)
        for unit in wanted:
            outcome, reason = _what_came(unit, store, failures)
            history[_key(unit)] = Asked(*_key(unit), outcome, reason, server.url)
            if outcome == "kept":
                name = str(unit.code)
                miniseed[name] = merge(miniseed.get(name, b""), store.path(unit).read_bytes())
    left = sorted(_without_made_up(history.values()), key=lambda each: each.key)
    mine = {_key(unit) for unit in units}
    failed = tuple(each for each in left if each.outcome == "failed" and each.key in mine)
    if failed and not miniseed:
        raise ServiceError(f"No waveforms came: {failed[0].reason}")
    return Fetched(miniseed, tuple(left), failed, len(units))


def stations_of(codes: Iterable[NSLC], time: UTCDateTime, server: Server) -> bytes | None:
    """StationXML with responses of channels at a time; None where the server has none of them.

    Raises
    ------
    ServiceError
        If it doesn't answer.
    """
    return station_xml([(*code, time - 1, time + 1) for code in sorted(codes)], server)


def records_of(waveforms: bytes, name: str) -> dict[str, bytes]:
    """Records of miniSEED by channel, as they are, sorted by time, each once.

    Raises
    ------
    DataError
        If it is no miniSEED, or cut short; the message has the name.
    """
    try:
        check_records(waveforms)
        return {str(c): compose(r, *ALWAYS) for c, r in by_channel(waveforms).items()}
    except DataError as error:
        raise DataError(f"{name}: {error}") from error


def merge(old: bytes, new: bytes) -> bytes:
    """Records of one channel from two times, each once."""
    bodies = [body for body in (old, new) if body]
    groups = [group for body in bodies for group in by_channel(body).values()]
    return compose([record for group in groups for record in group], *ALWAYS)


def to_stream(miniseed: Mapping[str, bytes]) -> Stream:
    """Waveforms as ObsPy has them; the location ``--``, which some files have, is the empty one."""
    stream = Stream()
    for body in miniseed.values():
        stream += read_records(body)
    return stream


def read_records(body: bytes) -> Stream:
    """ObsPy's stream of whole records."""
    stream = read(BytesIO(body), format="MSEED")
    for trace in stream:
        code = NSLC.clean(*trace.id.split("."))
        trace.stats.location, trace.stats.channel = code.location, code.channel
    return stream


def _queries(
    stations: Sequence[tuple[str, str]] | None,
) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Networks and stations of each query, so that no URL is too long."""
    if stations is None:
        return [(("*",), ("*",))]
    queries = []
    for first in range(0, len(stations), STATIONS_PER_QUERY):
        some = stations[first : first + STATIONS_PER_QUERY]
        queries.append((tuple(sorted({n for n, _ in some})), tuple(sorted({s for _, s in some}))))
    return queries


def _units(extent: Extent, channels: Sequence[Channel]) -> list[Unit]:
    start, end = extent.span(channels)
    part = Part(
        name="bundle",
        what="one earthquake",
        start=start.datetime,
        end=end.datetime,
        channels=extent.channels,
        stations=("any",),
    )
    return units_of(part, channels)


def _transfer(
    wanted: Sequence[Unit],
    store: Store,
    server: Server,
    parallel: int,
    done: Callable[[int, int], None] | None,
) -> dict[Unit, str]:
    """Fetch into a store; returns what failed, and why."""
    pending = store.pending(wanted)
    if not pending:
        return {}
    total, so_far = sum(unit.estimate for unit in pending), 0

    def count(units: Sequence[Unit]) -> None:
        nonlocal so_far
        so_far += sum(unit.estimate for unit in units)
        if done is not None:
            done(so_far, total)

    try:
        failures = get_all(pieces(pending), server, store, parallel, count)
    except UnreachableError as error:
        return dict.fromkeys(store.pending(pending), str(error))
    return {unit: str(failure.error) for failure in failures for unit in failure.units}


def _what_came(unit: Unit, store: Store, failures: Mapping[Unit, str]) -> tuple[Outcome, str]:
    if store.path(unit).is_file():
        return "kept", ""
    if unit in failures:
        return "failed", failures[unit]
    return "absent", store.absence(unit) or "no data"


def _without_made_up(asked: Iterable[Asked]) -> list[Asked]:
    """All but what failed once, and has come since with a longer time."""
    asked = list(asked)
    kept: dict[NSLC, list[Asked]] = {}
    for each in asked:
        if each.outcome == "kept":
            kept.setdefault(each.code, []).append(each)
    return [
        each
        for each in asked
        if each.outcome != "failed"
        or not any(
            whole.start_ns <= each.start_ns and each.end_ns <= whole.end_ns
            for whole in kept.get(each.code, ())
        )
    ]


def _key(unit: Unit) -> tuple[NSLC, int, int]:
    return unit.code, unit.start_ns, unit.end_ns


def _settled(asked: Asked | None, server: Server, again: bool) -> bool:
    """Whether it is of no use to ask a server for it."""
    if asked is None or asked.outcome == "failed":
        return False
    return asked.outcome == "kept" or (asked.server == server.url and not again)


def miniseed_of(stream: Stream) -> bytes:
    """MiniSEED of a stream, split at gaps, without loss.

    Raises
    ------
    DataError
        If there is nothing in it, or miniSEED can't hold it.
    """
    body = BytesIO()
    try:
        stream.copy().split().write(body, format="MSEED")
    except (ObsPyException, ValueError, TypeError, NotImplementedError) as error:
        raise DataError(f"The stream can't be kept as miniSEED ({error}).") from error
    return body.getvalue()


def travel_s(distance_km: float, depth_km: float) -> float:
    """Seconds after the origin by which the S wave has come, generously."""
    depth = 0.0 if depth_km != depth_km else depth_km
    return float((distance_km**2 + depth**2) ** 0.5 / SLOWEST_KM_S)
