"""A small synthetic archive, and the scenario that fetches it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from fdsn_servers import NSLC, Quake, Span, simple_inventory, spans_of
from obspy import Inventory, Stream, Trace, UTCDateTime

START: Final = UTCDateTime("2024-05-01T23:50:00")
END: Final = START + 1200
RATE: Final = 20.0
STATIONS: Final = {
    ("XX", "SIX"): (47.6, -122.5, ("HHZ", "HHN", "HHE", "ENZ", "ENN", "ENE")),
    ("XX", "GAPS"): (47.7, -122.4, ("HHZ", "HHN", "HHE")),
    ("YY", "ONE"): (48.5, -122.0, ("EHZ",)),
}
GAPS: Final = 4
QUAKE: Final = Quake("xx1", "2024-05-01T23:55:00", 47.65, -122.45, 20.0, 3.1)
SCENARIO: Final = """
name = "Synthetic"
what = "Twenty minutes across midnight"
why = "A test."
licence = "Made by the test."

[[parts]]
name = "night"
what = "All of it"
start = 2024-05-01T23:51:00.25Z
end = 2024-05-02T00:09:00Z
channels = ["HH?", "EN?", "EH?"]
region = { latitude = 47.6, longitude = -122.5, radius_km = 200 }
event_ids = ["xx1"]
expect = { stations = 3, channels = 10, channel_days = 20, events = 1, codes = ["XX.SIX"] }
"""


@dataclass(frozen=True)
class Archive:
    """What the servers have."""

    stream: Stream
    spans: Sequence[Span]
    inventory: Inventory


def make_archive(folder: Path) -> Archive:
    """Three stations, twenty minutes; XX.GAPS has gaps in all channels."""
    rng = np.random.default_rng(7)
    whole = Stream()
    rows: list[tuple[NSLC, float, float, float]] = []
    for (network, station), (latitude, longitude, channels) in STATIONS.items():
        for channel in channels:
            samples = np.cumsum(rng.integers(-40, 41, int(1200 * RATE))).astype(np.int32)
            header = {"network": network, "station": station, "channel": channel}
            trace = Trace(samples, {**header, "sampling_rate": RATE, "starttime": START + 0.013})
            parts = Stream([trace])
            if station == "GAPS":
                for number in range(GAPS):
                    parts.cutout(START + 100 + 200 * number, START + 110.5 + 200 * number)
            whole += parts
            rows.append(((network, station, "", channel), latitude, longitude, RATE))
            name = folder / f"{network}.{station}.{channel}.mseed"
            parts.write(str(name), format="MSEED", reclen=512, encoding="STEIM2")
    spans = [span for file in sorted(folder.iterdir()) for span in spans_of(file)]
    return Archive(whole, spans, simple_inventory(rows))
