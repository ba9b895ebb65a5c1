"""The shared miniSEED and StationXML, served under their true codes and times."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from fdsn_servers import NSLC, Center, Quake, Span, dataselect_server, simple_inventory, spans_of
from obspy import Inventory, read, read_inventory
from pymseed import MS3Record

FOLDERS: Final = ("Full_Array", "Bremerton_6C", "Gappy_Data", "Analogue_EQs")
LOCATION: Final = slice(13, 15)  # of a miniSEED 2 header

COORDINATES: Final = {
    "BW.BGLD": (47.75, 12.88),
    "IV.BDI": (44.06, 10.60),
    "GS.SEW": (47.55, -122.35),
    "GS.BRI": (47.55, -122.35),
    "UW.ALCT": (47.65, -122.04),
    "UW.GNW": (47.56, -122.83),
    "UW.KIMR": (47.50, -122.77),
    "UW.MEW": (47.20, -122.65),
    "NP.8040": (61.18, -149.80),
    "AV.CKT": (61.20, -152.20),
    "II.PFO": (33.61, -116.46),
    "II.TLY": (51.68, 103.64),
    "XX.HUALA": (-34.97, -71.80),
    "XX.LLOLL": (-33.61, -71.61),
    "XX.MATAN": (-33.96, -71.87),
    "XX.PAPUD": (-32.51, -71.45),
    "XX.VALPA": (-33.03, -71.62),
}
"""Of stations without StationXML, to a few kilometres."""


def quakes(shared: Path) -> list[Quake]:
    """The earthquakes of all scenarios; the analysts' picks of the M4.3 as ComCat's product."""
    picks = (shared / "data/Full_Array/uw61965081_Origin_Quake.xml").read_bytes()
    return [
        Quake("uw61965081", "2023-10-09T02:21:08.96", 48.0402, -122.7307, 54.95, 4.3, picks),
        Quake("uw61251926", "2017-02-23T04:59:04.05", 47.4802, -123.035, 15.44, 4.09),
        Quake("ci38457511", "2019-07-06T03:19:53", 35.77, -117.599, 8.0, 7.1),
        Quake("uw10530748", "2001-02-28T18:54:32", 47.149, -122.727, 51.8, 6.8),
        Quake("us1000hyfh", "2018-11-30T17:29:29", 61.346, -149.955, 46.7, 7.1),
        Quake("official20100227063411530_30", "2010-02-27T06:34:11", -36.122, -72.898, 22.9, 8.8),
        Quake("official20110311054624120_30", "2011-03-11T05:46:24", 38.297, 142.373, 29.0, 9.1),
    ]


def miniseed(shared: Path, folder: Path) -> list[Path]:
    """Files to serve: where they are, or copies with true codes, or converted from SAC."""
    files: list[Path] = []
    for name in FOLDERS:
        for path in sorted((shared / "data" / name).rglob("*")):
            copy = folder / f"{name}_{path.stem}.mseed"
            if path.suffix.lower() in (".mseed", ".msd"):
                body = path.read_bytes()
                if body[LOCATION] == b"--":
                    copy.write_bytes(_without_location(body))
                    files.append(copy)
                else:
                    files.append(path)
            elif path.suffix.lower() == ".sac":
                read(str(path), format="SAC").write(str(copy), format="MSEED")
                files.append(copy)
    return files


def inventory(shared: Path, spans: list[Span]) -> Inventory:
    """The shared StationXML, and the least for channels that have none."""
    whole = Inventory()
    for name in FOLDERS:
        for path in sorted((shared / "data" / name).rglob("*.xml")):
            if b"FDSNStationXML" in path.read_bytes()[:2000]:
                whole += read_inventory(str(path))
    text = shared / "data/Full_Array/uw61956601_Stations.txt"
    whole += read_inventory(str(text), format="STATIONTXT")
    known = {f"{n.code}.{s.code}" for n in whole for s in n if s.channels}
    rows: dict[NSLC, tuple[NSLC, float, float, float]] = {}
    for span in spans:
        station = f"{span.code[0]}.{span.code[1]}"
        if station in COORDINATES:
            rows[span.code] = (span.code, *COORDINATES[station], span.rate)
    extra = simple_inventory(row for row in rows.values())
    for network in extra:
        network.stations = [
            s for s in network.stations if f"{network.code}.{s.code}" not in known or _old(s.code)
        ]
    return whole + extra


@contextmanager
def shared_center(shared: Path, folder: Path, request_limit: int = 0) -> Iterator[Center]:
    """A data centre with all shared data; skips where its server is not installed."""
    if importlib.util.find_spec("portable_fdsnws_dataselect") is None:
        pytest.skip("portable-fdsnws-dataselect is not installed: pip install -e '.[dev]'")
    spans = [span for file in miniseed(shared, folder) for span in spans_of(file)]
    with (
        dataselect_server(folder, spans, request_limit) as port,
        Center(port, inventory(shared, spans), quakes(shared)) as center,
    ):
        center.spans = spans
        yield center


def _old(station: str) -> bool:
    """Whether a station's epochs of today don't reach back to its shared record."""
    return station in ("ALCT", "GNW", "KIMR")


def _without_location(body: bytes) -> bytes:
    """Records with the empty location where ``--`` stands."""
    changed = bytearray(body)
    start = 0
    for length in [record.reclen for record in MS3Record.from_buffer(body)]:
        place = slice(start + LOCATION.start, start + LOCATION.stop)
        if changed[place] == b"--":
            changed[place] = b"  "
        start += length
    return bytes(changed)
