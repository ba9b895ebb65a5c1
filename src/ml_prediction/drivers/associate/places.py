"""Where stations are: from an inventory, at a time."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from obspy import Inventory, UTCDateTime


class Code(NamedTuple):
    """Network and station code."""

    network: str
    station: str

    def __str__(self) -> str:
        return f"{self.network}.{self.station}"


class Place(NamedTuple):
    """Degrees north and east, metres above sea level."""

    latitude: float
    longitude: float
    elevation_m: float


class Places:
    """Places of stations; a station that was moved has one for each epoch.

    Parameters
    ----------
    inventory
        Stations of several epochs, networks of several epochs.
    wanted
        Stations that matter; others are left out.
    """

    def __init__(self, inventory: Inventory, wanted: Collection[Code]) -> None:
        self._epochs: dict[Code, list[tuple[float, float, Place]]] = {}
        for network in inventory:
            for station in network:
                code = Code(network.code, station.code)
                if code in wanted:
                    place = Place(
                        float(station.latitude), float(station.longitude), float(station.elevation)
                    )
                    begin = -float("inf") if station.start_date is None else station.start_date
                    end = float("inf") if station.end_date is None else station.end_date
                    epoch = (_timestamp(begin), _timestamp(end), place)
                    self._epochs.setdefault(code, []).append(epoch)
        for epochs in self._epochs.values():
            epochs.sort()

    def __contains__(self, code: object) -> bool:
        return code in self._epochs

    def all(self) -> list[Place]:
        """Places of all epochs."""
        return [place for epochs in self._epochs.values() for _, _, place in epochs]

    def named(self) -> dict[str, Place]:
        """All places, each under a name of its own."""
        return {
            _name(code, number): place
            for code, epochs in sorted(self._epochs.items())
            for number, (_, _, place) in enumerate(epochs)
        }

    def name_at(self, code: Code, time: UTCDateTime) -> str:
        """Name of a station's place at a time.

        Where no epoch covers it, it's that of the nearest one, the newest of several.
        """
        seconds = float(time.timestamp)
        epochs = self._epochs[code]

        def away(number: int) -> float:
            begin, end, _ = epochs[number]
            return max(begin - seconds, seconds - end, 0.0)

        return _name(code, min(reversed(range(len(epochs))), key=away))


def _name(code: Code, number: int) -> str:
    return f"{code}#{number}"


def _timestamp(time: UTCDateTime | float) -> float:
    return time if isinstance(time, float) else float(time.timestamp)
