"""From a scenario's words to channel-days: which channels a part has, and how much data that is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from fnmatch import fnmatchcase
from io import BytesIO
from itertools import groupby
from typing import Any, Final

from obspy import UTCDateTime, read_inventory
from obspy.geodetics import gps2dist_azimuth, kilometers2degrees

from ml_prediction.data.faults import NoDataError
from ml_prediction.data.fdsn import Line, Server
from ml_prediction.data.scenario import Part, Region
from ml_prediction.util.codes import NSLC
from ml_prediction.util.times import NANOSECONDS, to_ns, to_utc

DAY_NS: Final = 86_400 * NANOSECONDS
BYTES_PER_SAMPLE: Final = 1.5
"""Of compressed (Steim 2) data: 1 where it is quiet, 2 and more in earthquakes and noise."""
RECORD_BYTES: Final = 512
PIECE_BYTES: Final = 8_000_000
PIECE_LINES: Final = 60
"""Of one request: small enough to lose little, large enough to be few."""

_VELOCITY: Final = re.compile(r"^[A-Z]H.$")
_ACCELERATION: Final = re.compile(r"^[A-Z][NL].$")
_COMPONENTS: Final = 3


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel that the station service knows, at the time wanted."""

    code: NSLC
    rate: float
    distance_km: float

    @property
    def station(self) -> tuple[str, str]:
        """Network and station."""
        return self.code.network, self.code.station


@dataclass(frozen=True, slots=True, order=True)
class Unit:
    """One channel on one day, in nanoseconds since 1970: start <= t < end. One file."""

    code: NSLC
    start_ns: int
    end_ns: int
    rate: float

    @property
    def line(self) -> Line:
        """For a bulk request. Servers give the sample at the end, too."""
        return (*self.code, to_utc(self.start_ns), to_utc(self.end_ns))

    @property
    def estimate(self) -> int:
        """Bytes to be expected, roughly."""
        samples = self.rate * (self.end_ns - self.start_ns) / NANOSECONDS
        return round(samples * BYTES_PER_SAMPLE) + RECORD_BYTES

    @property
    def path(self) -> str:
        """Place in an SDS archive."""
        day = to_utc(self.start_ns)
        net, sta, loc, cha = self.code
        return (
            f"{day.year}/{net}/{sta}/{cha}.D/{net}.{sta}.{loc}.{cha}.D.{day.year}.{day.julday:03d}"
        )

    def halves(self) -> tuple[Unit, Unit]:
        """The same in two."""
        middle = (self.start_ns + self.end_ns) // 2
        return replace(self, end_ns=middle), replace(self, start_ns=middle)

    def __str__(self) -> str:
        return f"{self.code} {to_utc(self.start_ns)} - {to_utc(self.end_ns)}"


def find_channels(part: Part, server: Server) -> list[Channel]:
    """Channels of a part that the server's station service knows, sorted by code.

    Raises
    ------
    ServiceError
        If the server doesn't answer.
    """
    query: dict[str, Any] = {
        "network": ",".join(part.networks),
        "station": ",".join(part.stations),
        "location": ",".join(part.locations),
        "channel": ",".join(part.channels),
        "starttime": utc(part.start),
        "endtime": utc(part.end),
        "level": "channel",
    }
    if part.region is not None:
        query |= around(part.region)
        if part.region.min_radius_km:
            query["minradius"] = round(kilometers2degrees(part.region.min_radius_km), 5)
    try:
        document = server.find_stations(**query)
    except NoDataError:
        return []
    channels = _channels(document, part)
    if part.six_component:
        channels = _six_component(channels)
    if part.nearest is not None:
        channels = _nearest(channels, part.nearest)
    return sorted(channels, key=lambda channel: channel.code)


def around(region: Region) -> dict[str, float]:
    """A region's circle as parameters of a query that every service knows."""
    return {
        "latitude": region.latitude,
        "longitude": region.longitude,
        "maxradius": round(kilometers2degrees(region.radius_km), 5),
    }


def units_of(part: Part, channels: Iterable[Channel]) -> list[Unit]:
    """All channel-days of a part, sorted."""
    first, last = to_ns(utc(part.start)), to_ns(utc(part.end))
    days = range(first // DAY_NS * DAY_NS, last, DAY_NS)
    return sorted(
        Unit(channel.code, max(first, day), min(last, day + DAY_NS), channel.rate)
        for channel in channels
        for day in days
    )


def pieces(units: Iterable[Unit]) -> list[tuple[Unit, ...]]:
    """Units put together into requests of bounded size, in order of time, then code."""
    made: list[tuple[Unit, ...]] = []
    by_time = sorted(units, key=lambda unit: (unit.start_ns, unit))
    for _, same in groupby(by_time, key=lambda unit: unit.start_ns):
        piece: list[Unit] = []
        size = 0
        for unit in same:
            if piece and (size + unit.estimate > PIECE_BYTES or len(piece) == PIECE_LINES):
                made.append(tuple(piece))
                piece, size = [], 0
            piece.append(unit)
            size += unit.estimate
        made.append(tuple(piece))
    return made


def utc(time: datetime) -> UTCDateTime:
    """A scenario's time as ObsPy's."""
    return UTCDateTime(time)


def _channels(document: bytes, part: Part) -> list[Channel]:
    """Channels of a StationXML document that are open to all at the part's time, each once."""
    found: dict[NSLC, Channel] = {}
    start, end = utc(part.start), utc(part.end)
    for network in read_inventory(BytesIO(document), format="STATIONXML"):
        for station in network:
            for channel in station:
                opened, closed = channel.start_date, channel.end_date
                if (opened and opened >= end) or (closed and closed <= start):
                    continue
                if channel.restricted_status not in (None, "open"):
                    continue
                code = NSLC.clean(network.code, station.code, channel.location_code, channel.code)
                if not any(fnmatchcase(code.channel, wanted) for wanted in part.channels):
                    continue
                distance = _distance_km(part.region, station.latitude, station.longitude)
                rate = channel.sample_rate or 0.0
                if rate > 0:
                    found[code] = Channel(code, float(rate), distance)
    return list(found.values())


def _distance_km(region: Region | None, latitude: float, longitude: float) -> float:
    if region is None:
        return 0.0
    metres = gps2dist_azimuth(region.latitude, region.longitude, latitude, longitude)[0]
    return float(metres) / 1000


def _six_component(channels: Sequence[Channel]) -> list[Channel]:
    """Those of stations with three components of velocity and of acceleration."""

    def three(codes: set[NSLC], kind: re.Pattern[str]) -> bool:
        alike: dict[tuple[str, str], set[str]] = {}
        for code in codes:
            if kind.match(code.channel):
                alike.setdefault((code.location, code.channel[:2]), set()).add(code.channel[2])
        return any(len(components) >= _COMPONENTS for components in alike.values())

    stations: dict[tuple[str, str], set[NSLC]] = {}
    for channel in channels:
        stations.setdefault(channel.station, set()).add(channel.code)
    wanted = {
        station
        for station, codes in stations.items()
        if three(codes, _VELOCITY) and three(codes, _ACCELERATION)
    }
    return [channel for channel in channels if channel.station in wanted]


def _nearest(channels: Sequence[Channel], count: int) -> list[Channel]:
    distances = sorted({(channel.distance_km, channel.station) for channel in channels})
    wanted = {station for _, station in distances[:count]}
    return [channel for channel in channels if channel.station in wanted]
