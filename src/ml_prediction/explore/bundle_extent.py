"""Which stations and channels a bundle is about, and from when to when."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pandas as pd
from obspy import Inventory

from ml_prediction.errors import ConfigurationError
from ml_prediction.explore.bundle_choice import CODE, Choice
from ml_prediction.explore.bundle_waveforms import Extent
from ml_prediction.util.codes import NSLC
from ml_prediction.util.times import NANOSECONDS

if TYPE_CHECKING:
    from ml_prediction.explore.bundle import EventBundle

_log = logging.getLogger(__name__)


def extent_of(
    bundle: EventBundle,
    choice: Choice,
) -> Extent:
    """Extent of the waveforms of an event; see `EventBundle.fetch_waveforms`.

    Raises
    ------
    ConfigurationError
        If the stations are not known.
    """
    table, origin = bundle.arrivals, bundle.origin
    wanted = choice.stations
    if wanted is None and choice.radius_km is None:
        wanted = _picked(table, bundle.event_id)
    if not wanted and choice.radius_km is None:
        raise ConfigurationError(
            f"{bundle.event_id} has no catalogue picks, so the stations are not known: say "
            "radius_km (--radius), or stations (--stations)."
        )
    last_ns = int(table["time_ns"].max()) if len(table) else origin.time_ns
    return Extent(
        stations=wanted,
        radius_km=choice.radius_km,
        channels=choice.channels,
        before_s=choice.pad[0],
        after_s=choice.pad[1],
        last_s=max((last_ns - origin.time_ns) / NANOSECONDS, 0.0),
        origin=origin,
        depth_km=bundle.depth_km,
    )


def channels_of(bundle: EventBundle) -> set[NSLC]:
    """Channels with waveforms; where there are none, those with catalogue picks."""
    if bundle.miniseed:
        return {NSLC(*code.split(".")) for code in bundle.miniseed}
    table = bundle.arrivals
    names = ("network", "station", "location", "channel")
    return {NSLC(*row) for row in zip(*(table[name] for name in names), strict=True)}


def channels_in(inventory: Inventory | None) -> set[NSLC]:
    """Channels of an inventory."""
    return {
        NSLC.clean(network.code, station.code, channel.location_code, channel.code)
        for network in inventory or ()
        for station in network
        for channel in station
    }


def _picked(table: pd.DataFrame, event_id: str) -> tuple[tuple[str, str], ...]:
    """Stations with catalogue picks; of codes that are none, no data centre can be asked."""
    picked = sorted(set(zip(table["network"], table["station"], strict=True)))
    good = [pair for pair in picked if all(CODE.fullmatch(code) for code in pair)]
    if len(good) < len(picked):
        names = ", ".join(".".join(pair) for pair in picked if pair not in good)
        _log.warning("%s: no waveforms for picks of %s: no codes NET.STA.", event_id, names)
    return tuple(good)
