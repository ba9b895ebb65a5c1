"""A small earthquake with everything that belongs to it, made here, and the centre that has it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np
from fdsn_servers import (
    NSLC,
    Center,
    Quake,
    dataselect_server,
    simple_inventory,
    spans_of,
)
from obspy import Inventory, Stream, Trace, UTCDateTime, read_events
from obspy.core.event import (
    Arrival,
    Catalog,
    Pick,
    QuantityError,
    ResourceIdentifier,
    WaveformStreamID,
)

TIME: Final = UTCDateTime("2024-05-01T23:59:00")
RATE: Final = 100.0
STATIONS: Final = {
    ("XX", "NEAR"): (47.7, -122.4, ("HHZ", "HHN", "HHE", "ENZ", "ENN", "ENE")),
    ("XX", "MIDD"): (48.0, -122.0, ("HHZ", "HHN", "HHE")),
    ("YY", "FAR"): (48.5, -121.5, ("EHZ",)),
    ("YY", "LONE"): (47.0, -123.5, ("EHZ",)),  # nobody has picked it
}
PICKS: Final = {
    ("XX", "NEAR", "HHZ", "P"): (4.1, 0.03),
    ("XX", "NEAR", "HHN", "S"): (7.2, 0.06),
    ("XX", "MIDD", "HHZ", "P"): (9.0, 0.06),
    ("XX", "MIDD", "HHE", "S"): (15.8, 0.15),
    ("YY", "FAR", "EHZ", "P"): (20.4, None),
}
QUAKE: Final = Quake("xx1", str(TIME), 47.65, -122.45, 20.0, 3.1)


def quakeml() -> bytes:
    """The earthquake with its analyst picks."""
    event = read_events(BytesIO(QUAKE.document()))[0]
    origin = event.origins[0]
    for (net, sta, cha, phase), (seconds, sigma) in PICKS.items():
        name = ResourceIdentifier(f"smi:local/pick/{net}.{sta}.{cha}.{phase}")
        event.picks.append(
            Pick(
                resource_id=name,
                time=TIME + seconds,
                time_errors=QuantityError(uncertainty=sigma),
                waveform_id=WaveformStreamID(net, sta, "", cha),
                polarity="positive" if phase == "P" else None,
                onset="impulsive",
                evaluation_mode="manual",
            )
        )
        origin.arrivals.append(
            Arrival(
                resource_id=ResourceIdentifier(f"smi:local/arrival/{net}.{sta}.{cha}.{phase}"),
                pick_id=name,
                phase=phase,
                distance=seconds / 60,
                time_residual=0.01,
            )
        )
    event.preferred_origin_id = origin.resource_id
    body = BytesIO()
    Catalog([event], resource_id=ResourceIdentifier("smi:local/xx1")).write(body, "QUAKEML")
    return body.getvalue()


def product(minutes: float, source: str, weight: int, **properties: str) -> dict[str, Any]:
    """One version of a product, so many minutes after the earthquake."""
    return {
        "source": source,
        "code": f"{source}{properties.get('eventsourcecode', '')}",
        "updateTime": round((TIME + 60 * minutes).timestamp * 1000),
        "preferredWeight": weight,
        "status": "UPDATE",
        "properties": {key.replace("_", "-"): value for key, value in properties.items()},
        "contents": {"quakeml.xml": {"url": f"http://127.0.0.1:9/{source}/{minutes}/quakeml.xml"}},
    }


def history() -> dict[str, list[dict[str, Any]]]:
    """Two networks, an automatic location that was deleted, versions, a moment tensor."""
    place = {"latitude": "47.651", "longitude": "-122.4567", "depth": "19.87"}
    ours = {"eventsource": "xx", "eventsourcecode": "1", "eventtime": "2024-05-01T23:59:00.120Z"}
    theirs = {"eventsource": "us", "eventsourcecode": "7abc", "eventtime": "2024-05-01T23:58:59Z"}
    deleted = product(1, "xx", 0, **ours, **place, magnitude="5.0")
    tensor = {f"derived_{k}": v for k, v in place.items()} | {
        "derived_magnitude": "3.14",
        "derived_magnitude_type": "Mw",
        "derived_eventtime": "2024-05-01T23:59:01.000Z",
        "percent_double_couple": "0.93",
        "nodal_plane_1_strike": "10",
        "nodal_plane_1_dip": "20",
        "nodal_plane_1_rake": "30",
    }
    return {
        "origin": [
            {**deleted, "status": "DELETE"},
            product(2.52, "xx", 10, **ours, **place, magnitude="2.876", magnitude_type="ml"),
            product(8, "us", 5, **theirs, **place, magnitude="3.3", review_status="automatic"),
            product(9, "us", 5),  # some have nothing
            product(95, "xx", 20, **ours, **place, magnitude="3.1", review_status="reviewed"),
        ],
        "moment-tensor": [product(60, "us", 5, **theirs, **tensor), product(61, "us", 5, **theirs)],
        "dyfi": [product(30, "us", 5)],
    }


def waveforms() -> Stream:
    """Two minutes before, to five minutes after: noise, and a P and an S."""
    rng = np.random.default_rng(3)
    count = round(420 * RATE)
    stream = Stream()
    for (net, sta), (_, _, channels) in STATIONS.items():
        onsets = [s for (n, t, _, _), (s, _) in PICKS.items() if (n, t) == (net, sta)]
        for cha in channels:
            samples = rng.normal(0, 20, count)
            for onset in onsets:
                first = round((120 + onset) * RATE)
                shape = np.exp(-np.arange(count - first) / (4 * RATE))
                samples[first:] += 4000 * shape * rng.normal(0, 1, count - first)
            header = {"network": net, "station": sta, "channel": cha, "sampling_rate": RATE}
            trace = Trace(samples.astype(np.int32), {**header, "starttime": TIME - 120})
            stream.append(trace)
    return stream


@dataclass(frozen=True)
class Archive:
    """What the servers have."""

    port: int
    inventory: Inventory

    def center(self) -> Center:
        """Data centre and ComCat in one, with this earthquake."""
        quake = replace(QUAKE, quakeml=quakeml(), products=history())
        return Center(self.port, self.inventory, [quake])


@contextmanager
def bundle_archive(folder: Path) -> Iterator[Archive]:
    """The waveforms, served."""
    rows: list[tuple[NSLC, float, float, float]] = []
    for (net, sta), (latitude, longitude, channels) in STATIONS.items():
        rows += [((net, sta, "", c), latitude, longitude, RATE) for c in channels]
    spans = []
    for trace in waveforms():
        file = folder / f"{trace.id}.mseed"
        trace.write(str(file), format="MSEED", reclen=512, encoding="STEIM2")
        spans += spans_of(file)
    with dataselect_server(folder, spans) as port:
        yield Archive(port, simple_inventory(rows))
