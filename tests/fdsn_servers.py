"""FDSN web services on loopback, for tests: real waveforms, recorded answers, and faults on demand.

Waveforms come from portable-fdsnws-dataselect, a real server in a process of its own; `Center` is
one base URL for it and for the station, event and availability services and ComCat's documents.
"""

from __future__ import annotations

import http.client
import json
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from obspy import Inventory, UTCDateTime, read_events
from obspy.core.event import Catalog, Event, Magnitude, Origin, ResourceIdentifier
from obspy.core.inventory import Channel, Network, Station
from obspy.geodetics import locations2degrees
from pymseed import MS3Record, sourceid2nslc

CREATED: Final = UTCDateTime(2026, 1, 1)
NSLC = tuple[str, str, str, str]

_COLUMNS: Final = """network TEXT, station TEXT, location TEXT, channel TEXT, quality TEXT,
starttime TEXT, endtime TEXT, samplerate REAL, filename TEXT, byteoffset INTEGER, bytes INTEGER,
hash TEXT, timeindex TEXT, timespans TEXT, timerates TEXT, format TEXT, filemodtime TEXT,
updated TEXT, scanned TEXT"""


@dataclass(frozen=True)
class Span:
    """Records of one channel that follow each other in a file."""

    code: NSLC
    start_ns: int
    end_ns: int
    rate: float
    records: tuple[tuple[int, int, int], ...]  # start and end (ns), offset
    file: Path
    offset: int
    size: int


def spans_of(file: Path) -> list[Span]:
    """Runs of records of one channel, in ascending time."""
    spans: list[Span] = []
    rows: list[tuple[int, int, int]] = []
    code: NSLC | None = None
    rate, offset, begin = 0.0, 0, 0

    def close() -> None:
        if code is not None and rows:
            end = max(row[1] for row in rows)
            spans.append(
                Span(code, rows[0][0], end, rate, tuple(rows), file, begin, offset - begin)
            )

    for record in MS3Record.from_buffer(file.read_bytes()):
        net, sta, loc, cha = sourceid2nslc(record.sourceid)
        this = (net, sta, loc, cha)
        if this != code or (rows and record.starttime < rows[-1][0]):
            close()
            rows, code, rate, begin = [], this, record.samprate, offset
        rows.append((record.starttime, record.endtime, offset))
        offset += record.reclen
    close()
    return spans


def write_index(database: Path, spans: Iterable[Span]) -> None:
    """Index of miniSEED files as mseedindex makes it, which portable-fdsnws-dataselect reads."""
    with sqlite3.connect(database) as connection:
        connection.execute(f"CREATE TABLE tsindex ({_COLUMNS})")
        for span in spans:
            times = [f"{start / 1e9:.6f}=>{offset}" for start, _, offset in span.records]
            times.append(f"latest=>{span.offset + span.size}")
            row = (
                *span.code,
                "D",
                _text(span.start_ns),
                _text(span.end_ns),
                span.rate,
                str(span.file),
                span.offset,
                span.size,
                "",
                ",".join(times),
                "",
                "",
                "2",
                *["2026-01-01T00:00:00"] * 3,
            )
            connection.execute(f"INSERT INTO tsindex VALUES ({','.join('?' * len(row))})", row)
    connection.close()


@contextmanager
def dataselect_server(folder: Path, spans: Sequence[Span], request_limit: int = 0) -> Iterator[int]:
    """Port of a portable-fdsnws-dataselect that serves some files.

    Parameters
    ----------
    folder
        Empty; for its index and configuration.
    spans
        What it serves.
    request_limit
        Bytes beyond which it answers 413; 0 is no limit.
    """
    write_index(folder / "index.sqlite", spans)
    port = free_port()
    (folder / "server.ini").write_text(
        f"[index_db]\npath = {folder / 'index.sqlite'}\ntable = tsindex\n"
        f"[server]\ninterface = 127.0.0.1\nport = {port}\nrequest_limit = {request_limit}\n",
        encoding="utf-8",
    )
    code = "from portable_fdsnws_dataselect.server import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code, str(folder / "server.ini")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        _wait_for(port, process)
        yield port
    finally:
        process.kill()
        process.communicate()


@dataclass
class Fault:
    """What a service does instead of answering, so many times.

    Attributes
    ----------
    service
        dataselect, station, event, availability or product.
    kind
        status, truncate (of the body), stall, html, reset, or drop (half a body, no length told).
    status
        HTTP status of kind status.
    times
        How often; it then answers as usual.
    skip
        Requests to let through before.
    headers
        Further headers.
    containing
        Only requests with this text in their query or body.
    seconds
        Of a stall.
    """

    service: str
    kind: str = "status"
    status: int = 500
    times: int = 1
    skip: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    containing: str = ""
    seconds: float = 30.0


@dataclass(frozen=True)
class Quake:
    """An earthquake that the event service knows."""

    id: str
    time: str
    latitude: float
    longitude: float
    depth_km: float
    magnitude: float
    quakeml: bytes | None = None  # product phase-data
    products: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    """All versions of further products, as a detail document has them."""

    def detail(self, url: str, superseded: bool) -> dict[str, Any]:
        """ComCat's detail document (GeoJSON); ``url`` is the server's."""
        products: dict[str, list[dict[str, Any]]] = {
            name: [dict(each) for each in (versions if superseded else versions[-1:])]
            for name, versions in self.products.items()
        }
        if self.quakeml:
            address = f"{url}/product/phase-data/{self.id}/quakeml.xml"
            products.setdefault("phase-data", []).append(
                {
                    "source": "uw",
                    "code": self.id,
                    "updateTime": round(UTCDateTime(self.time).timestamp * 1000) + 3_600_000,
                    "preferredWeight": 231,
                    "status": "UPDATE",
                    "properties": {
                        "eventsource": "uw",
                        "eventsourcecode": self.id[2:],
                        "eventtime": str(UTCDateTime(self.time)),
                        "latitude": str(self.latitude),
                        "longitude": str(self.longitude),
                        "depth": str(self.depth_km),
                        "magnitude": str(self.magnitude),
                        "magnitude-type": "ml",
                        "review-status": "reviewed",
                    },
                    "contents": {"quakeml.xml": {"url": address}},
                }
            )
        return {
            "type": "Feature",
            "id": self.id,
            "properties": {
                "mag": self.magnitude,
                "magType": "ml",
                "place": "a test",
                "time": round(UTCDateTime(self.time).timestamp * 1000),
                "products": products,
            },
            "geometry": {
                "type": "Point",
                "coordinates": [self.longitude, self.latitude, self.depth_km],
            },
        }

    def document(self) -> bytes:
        """QuakeML as the event service gives it."""
        name = f"quakeml:earthquake.usgs.gov/fdsnws/event/1/query?eventid={self.id}"
        origin = Origin(
            resource_id=ResourceIdentifier(f"{name}&origin"),
            time=UTCDateTime(self.time),
            latitude=self.latitude,
            longitude=self.longitude,
            depth=self.depth_km * 1000,
        )
        magnitude = Magnitude(
            resource_id=ResourceIdentifier(f"{name}&magnitude"), mag=self.magnitude
        )
        event = Event(
            resource_id=ResourceIdentifier(name), origins=[origin], magnitudes=[magnitude]
        )
        return _quakeml(Catalog([event], resource_id=ResourceIdentifier("smi:local/catalogue")))


class Center:
    """A data centre on loopback.

    Attributes
    ----------
    url
        Base URL, for clients.
    log
        (Service, query or body) of each request so far.
    faults
        May be added to at any time.
    delay
        Seconds before each answer of dataselect.
    """

    def __init__(
        self,
        dataselect_port: int,
        inventory: Inventory,
        quakes: Sequence[Quake] = (),
        spans: Sequence[Span] | None = None,
    ) -> None:
        self.port = dataselect_port
        self.inventory = inventory
        self.quakes = {quake.id: quake for quake in quakes}
        self.spans = spans  # None: no availability service
        self.log: list[tuple[str, str]] = []
        self.faults: list[Fault] = []
        self.delay = 0.0
        self.lock = threading.Lock()
        self.let_go = threading.Event()
        center = self

        class Handler(_Handler):
            pass

        Handler.center = center
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> Center:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.let_go.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def requests(self, service: str) -> list[str]:
        """What was asked of a service."""
        with self.lock:
            return [text for name, text in self.log if name == service]

    def fault_for(self, service: str, text: str) -> Fault | None:
        """The fault that is due, counted."""
        with self.lock:
            self.log.append((service, text))
            for fault in self.faults:
                if fault.service != service or fault.containing not in text or fault.times == 0:
                    continue
                if fault.skip:
                    fault.skip -= 1
                    continue
                fault.times -= 1
                return fault
        return None


class _Handler(BaseHTTPRequestHandler):
    center: Center

    def do_GET(self) -> None:
        self._answer("")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers["Content-Length"])).decode())

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _answer(self, posted: str) -> None:
        parts = urlsplit(self.path)
        words = parts.path.strip("/").split("/")
        service = words[1] if words[0] == "fdsnws" else words[0]
        fault = self.center.fault_for(service, posted or parts.query)
        try:
            if fault is not None and self._fail(fault):
                return
            status, kind, body = self._body(service, words, parts.query, posted)
            self._send(status, kind, body, fault)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client has gone, or was killed

    def _fail(self, fault: Fault) -> bool:
        if fault.kind == "status":
            self._send(fault.status, "text/plain", b"as the test wants", None, fault.headers)
        elif fault.kind == "html":
            self._send(200, "text/html", b"<html><body>Please log in</body></html>", None)
        elif fault.kind == "stall":
            self.center.let_go.wait(fault.seconds)
            self.close_connection = True
        elif fault.kind == "reset":
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
        else:
            return False
        return True

    def _send(
        self,
        status: int,
        kind: str,
        body: bytes,
        fault: Fault | None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if fault is None or fault.kind == "truncate":
            self.send_header("Content-Length", str(0 if status == 204 else len(body)))
        self.end_headers()
        if status != 204:
            self.wfile.write(body if fault is None else body[: len(body) // 2 + 7])

    def _body(
        self, service: str, words: list[str], query: str, posted: str
    ) -> tuple[int, str, bytes]:
        if service == "dataselect":
            time.sleep(self.center.delay)
            return self._forward(posted)
        given = {key: values[0] for key, values in parse_qs(query).items()}
        if service == "station":
            return _station(self.center.inventory, given, posted)
        if service == "event":
            return self._event(given)
        if service == "availability" and self.center.spans is not None:
            return _availability(self.center.spans, posted)
        if service == "product":
            quake = self.center.quakes[words[-2]]
            return 200, "application/xml", quake.quakeml or b""
        return 404, "text/plain", b"no such service"

    def _forward(self, posted: str) -> tuple[int, str, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.center.port, timeout=60)
        try:
            method = "POST" if posted else "GET"
            connection.request(method, self.path, body=posted.encode() or None)
            answer = connection.getresponse()
            return answer.status, answer.headers["Content-Type"], answer.read()
        finally:
            connection.close()

    def _event(self, given: Mapping[str, str]) -> tuple[int, str, bytes]:
        quakes = self.center.quakes
        if "eventid" not in given:
            return _search(quakes.values(), given)
        quake = quakes.get(given["eventid"])
        if quake is None:
            return 404, "text/plain", b"event not found"
        if given.get("format") != "geojson":
            return 200, "application/xml", quake.document()
        detail = quake.detail(self.center.url, given.get("includesuperseded") == "true")
        return 200, "application/json", json.dumps(detail).encode()


def simple_inventory(rows: Iterable[tuple[NSLC, float, float, float]]) -> Inventory:
    """Inventory of (code, latitude, longitude, rate), without responses, open since 1970."""
    networks: dict[str, Network] = {}
    stations: dict[tuple[str, str], Station] = {}
    opened = UTCDateTime(1970, 1, 1)
    for (net, sta, loc, cha), latitude, longitude, rate in rows:
        if net not in networks:
            networks[net] = Network(net, start_date=opened)
        if (net, sta) not in stations:
            stations[net, sta] = Station(
                sta, latitude, longitude, 0.0, creation_date=opened, start_date=opened
            )
            networks[net].stations.append(stations[net, sta])
        channel = Channel(
            cha, loc, latitude, longitude, 0.0, 0.0, sample_rate=rate, start_date=opened
        )
        stations[net, sta].channels.append(channel)
    return Inventory(networks=list(networks.values()), source="loopback", created=CREATED)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _station(inventory: Inventory, given: Mapping[str, str], posted: str) -> tuple[int, str, bytes]:
    keys = dict(given)
    lines: list[list[str]] = []
    for row in posted.splitlines():
        if "=" in row:
            key, _, value = row.partition("=")
            keys[key] = value
        elif row.strip():
            lines.append(row.split())
    if not posted:
        names = ("network", "station", "location", "channel", "starttime", "endtime")
        lines = [[keys.get(name, "*") for name in names]]
    networks = [
        kept for network in inventory if (kept := _matching(network, lines, keys)) is not None
    ]
    if not networks:
        return 204, "text/plain", b""
    found = Inventory(networks=networks, source="loopback", created=CREATED)
    body = BytesIO()
    found.write(body, format="STATIONXML")
    return 200, "application/xml", body.getvalue()


def _matching(
    network: Network, lines: Sequence[Sequence[str]], keys: Mapping[str, str]
) -> Network | None:
    level = keys.get("level", "station")
    stations = []
    for station in network:
        if not _within(station.latitude, station.longitude, keys):
            continue
        channels = []
        for channel in station:
            code = (network.code, station.code, channel.location_code, channel.code)
            if any(_matches(code, line) and _open(channel, line) for line in lines):
                kept = Channel(**_of_channel(channel))
                kept.response = channel.response if level == "response" else None
                kept.restricted_status = channel.restricted_status
                channels.append(kept)
        if channels:
            stations.append(
                Station(
                    station.code,
                    station.latitude,
                    station.longitude,
                    station.elevation,
                    channels=channels,
                    creation_date=station.creation_date,
                    start_date=station.start_date,
                    end_date=station.end_date,
                )
            )
    if not stations:
        return None
    return Network(network.code, stations=stations, start_date=network.start_date)


def _of_channel(channel: Channel) -> dict[str, Any]:
    names = ("code", "location_code", "latitude", "longitude", "elevation", "depth", "azimuth")
    more = ("dip", "sample_rate", "start_date", "end_date", "sensor")
    return {name: getattr(channel, name) for name in (*names, *more)}


def _matches(code: NSLC, line: Sequence[str]) -> bool:
    return all(
        any(
            fnmatchcase(part or "--", want) or fnmatchcase(part, want) for want in wanted.split(",")
        )
        for part, wanted in zip(code, line[:4], strict=True)
    )


def _open(channel: Channel, line: Sequence[str]) -> bool:
    start, end = UTCDateTime(line[4]), UTCDateTime(line[5])
    return bool(
        (channel.start_date is None or channel.start_date < end)
        and (channel.end_date is None or channel.end_date > start)
    )


def _within(latitude: float, longitude: float, keys: Mapping[str, str]) -> bool:
    if "maxradius" not in keys:
        return True
    distance = locations2degrees(
        float(keys["latitude"]), float(keys["longitude"]), latitude, longitude
    )
    return bool(float(keys.get("minradius", 0)) <= distance <= float(keys["maxradius"]))


def _search(quakes: Iterable[Quake], given: Mapping[str, str]) -> tuple[int, str, bytes]:
    start, end = UTCDateTime(given["starttime"]), UTCDateTime(given["endtime"])
    found = [
        quake
        for quake in quakes
        if start <= UTCDateTime(quake.time) <= end
        and quake.magnitude >= float(given.get("minmagnitude", -9))
        and _within(quake.latitude, quake.longitude, given)
    ]
    if given.get("format") == "geojson":
        features = [quake.detail("", False) for quake in found]
        return 200, "application/json", json.dumps({"features": features}).encode()
    if not found:
        return 204, "text/plain", b""
    events = [read_events(BytesIO(quake.document()))[0] for quake in found]
    whole = Catalog(events, resource_id=ResourceIdentifier("smi:local/catalogue"))
    return 200, "application/xml", _quakeml(whole)


def _quakeml(catalog: Catalog) -> bytes:
    body = BytesIO()
    catalog.write(body, format="QUAKEML")
    return body.getvalue()


def _availability(spans: Sequence[Span], posted: str) -> tuple[int, str, bytes]:
    rows = ["#Network Station Location Channel Quality SampleRate Earliest Latest"]
    for line in posted.splitlines():
        if "=" in line or not line.strip():
            continue
        *code, start, end = line.split()
        first, last = UTCDateTime(start).ns, UTCDateTime(end).ns
        for span in spans:
            if tuple(part or "--" for part in span.code) != tuple(code):
                continue
            for begin, stop in contiguous(span):
                if stop >= first and begin <= last:
                    times = f"{_text(max(begin, first))} {_text(min(stop, last))}"
                    rows.append(f"{' '.join(code)} D {span.rate} {times}")
    if len(rows) == 1:
        return 204, "text/plain", b""
    return 200, "text/plain", "\n".join(rows).encode()


def contiguous(span: Span) -> Iterator[tuple[int, int]]:
    """Start and end (ns) of what has no gap."""
    begin, stop, _ = span.records[0]
    for start, end, _ in span.records[1:]:
        if start > stop + 1.75e9 / span.rate:
            yield begin, stop
            begin = start
        stop = max(stop, end)
    yield begin, stop


def _text(time_ns: int) -> str:
    return str(UTCDateTime(ns=time_ns)).rstrip("Z")


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        if process.poll() is not None:
            raise RuntimeError(process.communicate()[1].decode())
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError("portable-fdsnws-dataselect does not start")
