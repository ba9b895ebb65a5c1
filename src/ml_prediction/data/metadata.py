"""What belongs to waveforms: StationXML of their channels, QuakeML of their earthquakes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from io import BytesIO
from typing import Final
from xml.etree import ElementTree

from obspy import read_inventory
from obspy.core.inventory import Inventory, Network, Station

from ml_prediction.data import comcat
from ml_prediction.data.faults import (
    BadRequestError,
    DamagedError,
    NoDataError,
    NotOfferedError,
    RefusedError,
    StalledError,
    TooLargeError,
)
from ml_prediction.data.fdsn import Line, Server
from ml_prediction.data.plan import around, utc
from ml_prediction.data.scenario import Part

LINES: Final = 240
"""Channels in one request for metadata: some ten megabytes with all responses."""
CATALOGUE: Final = "catalogue"


def station_xml(lines: Sequence[Line], server: Server) -> bytes | None:
    """StationXML with responses of all lines; None where the server has none.

    One request's document is handed on as it came; several are put together by ObsPy, station by
    station.

    Raises
    ------
    ServiceError
        If the server doesn't give it.
    """
    documents = [
        document
        for first in range(0, len(lines), LINES)
        for document in _documents(lines[first : first + LINES], server)
    ]
    if len(documents) < 2:
        return documents[0] if documents else None
    return merge_stations(documents)


def merge_stations(documents: Iterable[bytes]) -> bytes:
    """Several StationXML documents as one, the same for the same documents."""
    inventories = [read_inventory(BytesIO(each), format="STATIONXML") for each in documents]
    networks: dict[str, Network] = {}
    stations: dict[tuple[str, str, str], Station] = {}
    for network in (network for inventory in inventories for network in inventory):
        kept = networks.setdefault(network.code, network)
        found, kept.stations = network.stations, [] if kept is network else kept.stations
        for station in found:
            # One station's channels may be in two documents; each epoch of it is a station.
            key = (network.code, station.code, str(station.start_date))
            if key in stations:
                stations[key].channels += station.channels
            else:
                stations[key] = station
                kept.stations.append(station)
    for network in networks.values():
        network.stations.sort(key=lambda station: (station.code, str(station.start_date)))
        for station in network:
            station.channels.sort(key=lambda c: (c.location_code, c.code, str(c.start_date)))
    whole = Inventory(
        networks=[networks[code] for code in sorted(networks)],
        source=inventories[0].source,
        sender=inventories[0].sender,
    )
    whole.created = max(inventory.created for inventory in inventories)
    body = BytesIO()
    whole.write(body, format="STATIONXML")
    return body.getvalue()


def event_documents(part: Part) -> list[str]:
    """Names of the QuakeML documents of a part."""
    catalogue = [CATALOGUE] if part.event_min_magnitude is not None else []
    return [*part.event_ids, *catalogue]


def event_xml(name: str, part: Part, server: Server) -> bytes:
    """QuakeML document of that name.

    Raises
    ------
    ServiceError
        If the server doesn't give it; see `unavailable` for what is no use asking again.
    """
    if name != CATALOGUE:
        return comcat.quakeml(server, name)
    region = part.region
    query = {} if region is None else around(region)
    return server.events(
        starttime=utc(part.start),
        endtime=utc(part.end),
        minmagnitude=part.event_min_magnitude,
        **query,
    )


UNAVAILABLE: Final = (NoDataError, NotOfferedError, BadRequestError, RefusedError)
"""Answers that are final."""


def count_events(quakeml: bytes) -> int:
    """Earthquakes in a document."""
    document = ElementTree.iterparse(BytesIO(quakeml))
    return sum(element.tag.rpartition("}")[2] == "event" for _, element in document)


def _documents(lines: Sequence[Line], server: Server) -> list[bytes]:
    try:
        return [server.stations(lines)]
    except NoDataError:
        return []
    except (TooLargeError, StalledError, DamagedError):
        if len(lines) == 1:
            raise
        middle = len(lines) // 2
        return _documents(lines[:middle], server) + _documents(lines[middle:], server)
