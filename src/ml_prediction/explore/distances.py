"""Epicentral distances of reference arrivals, from origins and station coordinates."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from obspy import Inventory
from obspy.geodetics import gps2dist_azimuth

from ml_prediction.explore.arrivals import Origin


def with_distances(
    reference: pd.DataFrame, origins: Mapping[str, Origin], inventory: Inventory | None
) -> pd.DataFrame:
    """Fill in distances that are unknown, where the origin and the station's place are known.

    Parameters
    ----------
    reference
        Table of arrivals, with their events.
    origins
        By event.
    inventory
        Station coordinates; None for none.
    """
    unknown = reference["distance_km"].isna() & reference["event"].isin(list(origins))
    if inventory is None or not unknown.any():
        return reference
    places = {
        (network.code, station.code): (station.latitude, station.longitude)
        for network in inventory
        for station in network
    }
    known: dict[tuple[str, str, str], float] = {}
    rows = reference.loc[unknown, ["event", "network", "station"]].itertuples(
        index=False, name=None
    )
    found = []
    for event, network, station in rows:
        key = (event, network, station)
        if key not in known:
            known[key] = _distance(origins[event], places.get((network, station)))
        found.append(known[key])
    filled = reference.copy()
    filled.loc[unknown, "distance_km"] = found
    return filled


def epicentral_km(origin: Origin, inventory: Inventory | None) -> dict[tuple[str, str], float]:
    """Epicentral distance of each station of an inventory, by network and station code."""
    return {
        (network.code, station.code): _distance(origin, (station.latitude, station.longitude))
        for network in inventory or ()
        for station in network
    }


def _distance(origin: Origin, place: tuple[float, float] | None) -> float:
    if place is None:
        return np.nan
    metres, _, _ = gps2dist_azimuth(origin.latitude, origin.longitude, *place)
    return float(metres) / 1000
