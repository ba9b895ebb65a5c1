"""A network, earthquakes in it, and the picks that ObsPy's travel times make of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby

import numpy as np
from factories import make_pick
from obspy import Inventory, UTCDateTime
from obspy.core.inventory import Network, Station
from obspy.geodetics import locations2degrees
from obspy.taup import TauPyModel

from ml_prediction.core.results import Pick
from ml_prediction.sinks.store import RunRecord, Store, UnitKey, UnitResult

START = UTCDateTime(2017, 5, 1)
FIRST_ARRIVALS = {"P": ["p", "P", "Pn", "Pg"], "S": ["s", "S", "Sn", "Sg"]}


@dataclass(frozen=True)
class Quake:
    """A true origin."""

    time: UTCDateTime
    latitude: float
    longitude: float
    depth_km: float


QUAKES = (
    Quake(START + 600.25, 47.62, -122.25, 12.0),
    Quake(START + 640.5, 47.35, -122.60, 25.0),  # while the first is still under way
    Quake(START + 86_395.0, 47.70, -122.70, 50.0),  # over midnight
    Quake(START + 90_000.75, 47.45, -122.35, 5.0),
)


def network(count: int = 12) -> Inventory:
    """Stations XX.S00, XX.S01, ... at sea level, within some 60 km."""
    rng = np.random.default_rng(7)
    stations = [
        Station(f"S{n:02d}", float(lat), float(lon), 0.0, start_date=UTCDateTime(2000, 1, 1))
        for n, (lat, lon) in enumerate(
            zip(rng.uniform(47.2, 47.8, count), rng.uniform(-122.9, -122.1, count), strict=True)
        )
    ]
    return Inventory(networks=[Network("XX", stations)], source="made for tests")


def true_picks(inventory: Inventory, quakes: Sequence[Quake] = QUAKES) -> list[list[Pick]]:
    """Picks of each earthquake: first arrivals in iasp91, off by what sigma says."""
    model = TauPyModel("iasp91")
    rng = np.random.default_rng(8)
    return [
        [
            quake_pick(
                station.code, phase, quake.time + _seconds(model, quake, station, phase), rng
            )
            for station in inventory[0]
            for phase in FIRST_ARRIVALS
        ]
        for quake in quakes
    ]


def quake_pick(
    station: str, phase: str, time: UTCDateTime, rng: np.random.Generator, channel: str = "HHZ"
) -> Pick:
    """A pick of XX.station near a time, with a sigma of 0.05 s."""
    time = UTCDateTime(ns=(time + float(np.clip(rng.normal(0, 0.05), -0.15, 0.15))).ns)
    return make_pick(
        network="XX",
        station=station,
        channel=channel,
        phase=phase,
        time=time,
        sigma=0.05,
        run_id="may",
        id=f"XX.{station}..{channel[:2]}/{phase}/EQTransformer:original/{time.ns // 10**7}",
    )


def false_picks(inventory: Inventory, true: Iterable[Pick], count: int = 60) -> list[Pick]:
    """Picks at random times of two days, at least 5 s from every true one of their station."""
    rng = np.random.default_rng(9)
    taken = [(pick.station, pick.time) for pick in true]
    found: list[Pick] = []
    while len(found) < count:
        station = f"S{rng.integers(len(inventory[0])):02d}"
        near = rng.choice([500.0, 86_300.0, 90_000.0]) + rng.uniform(0, 300)  # among the true ones
        time = START + float(near)
        if all(station != other or abs(time - at) > 5 for other, at in taken):
            taken.append((station, time))
            found.append(quake_pick(station, str(rng.choice(["P", "S"])), time, rng))
    return found


def fill(store: Store, picks: Iterable[Pick], run_id: str = "may") -> None:
    """Put picks into a store as a finished run."""

    def unit(pick: Pick) -> UnitKey:
        return UnitKey(pick.network, pick.station, pick.peak_time.date)

    units = {
        key: list(group)
        for key, group in groupby(sorted(picks, key=lambda p: (unit(p), p.id)), unit)
    }
    created = datetime(2026, 11, 27, tzinfo=UTC)
    run = RunRecord(run_id, "0123456789ab", {}, [], {}, created, "/archive/SDS")
    store.begin(run, list(units), resume=False)
    for key, of_unit in units.items():
        store.write(UnitResult(key, of_unit, [], [], 1.0, 1))


def _seconds(model: TauPyModel, quake: Quake, station: Station, phase: str) -> float:
    degrees = locations2degrees(
        quake.latitude, quake.longitude, station.latitude, station.longitude
    )
    arrivals = model.get_travel_times(quake.depth_km, degrees, FIRST_ARRIVALS[phase])
    return float(min(arrival.time for arrival in arrivals))
