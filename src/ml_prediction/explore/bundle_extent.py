"""Which stations and channels a bundle is about, and from when to when."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from obspy import Inventory

from ml_prediction.errors import ConfigurationError
from ml_prediction.explore.bundle_waveforms import Extent
from ml_prediction.util.codes import NSLC
from ml_prediction.util.times import NANOSECONDS

if TYPE_CHECKING:
    from ml_prediction.explore.bundle import EventBundle


def extent_of(
    bundle: EventBundle,
    pad: float | tuple[float, float],
    channels: Sequence[str],
    radius_km: float | None,
    stations: Iterable[str] | None,
) -> Extent:
    """Extent of the waveforms of an event; see `EventBundle.fetch_waveforms`.

    Raises
    ------
    ConfigurationError
        If the stations are not known, or a name is none.
    """
    before, after = (pad, pad) if isinstance(pad, int | float) else pad
    table, origin = bundle.arrivals, bundle.origin
    wanted: set[tuple[str, str]] = set()
    if stations is not None:
        wanted = {_station(code) for code in stations}
    elif radius_km is None:
        wanted = set(zip(table["network"], table["station"], strict=True))
    if not wanted and radius_km is None:
        raise ConfigurationError(
            f"{bundle.event_id} has no catalogue picks, so the stations are not known: say "
            "radius_km (--radius), or stations (--stations)."
        )
    last_ns = int(table["time_ns"].max()) if len(table) else origin.time_ns
    return Extent(
        stations=tuple(sorted(wanted)) or None,
        radius_km=None if wanted else radius_km,
        channels=tuple(channels),
        before_s=float(before),
        after_s=float(after),
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


def _station(code: str) -> tuple[str, str]:
    network, dot, station = code.partition(".")
    if not dot or "." in station:
        raise ConfigurationError(f"Station {code!r}: write it as NET.STA, e.g. UW.HANS.")
    return network, station
