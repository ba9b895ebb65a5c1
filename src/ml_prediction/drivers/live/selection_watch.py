"""Whether anything of what comes is selected: a list may be that of another network."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from ml_prediction.drivers.live.alarms import Alarm, Alarms
from ml_prediction.earthworm.config import LiveConfig
from ml_prediction.sources.earthworm import Arrivals
from ml_prediction.util.codes import NSLC

PATIENCE: Final = 60.0
"""Seconds in which packets have come of which none is selected."""


class SelectionWatch:
    """Tells once that of all that comes nothing is selected.

    Parameters
    ----------
    config
        For the ring, and the keywords that select.
    alarms
        Where it is told.
    clock
        Monotonic seconds.
    """

    def __init__(
        self, config: LiveConfig, alarms: Alarms, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._config = config
        self._alarms = alarms
        self._clock = clock
        self._since: float | None = None
        self._channel: NSLC | None = None
        self._count = 0
        self._over = False

    def note(self, arrivals: Arrivals) -> None:
        """Note what has come."""
        self._over = self._over or bool(arrivals.packets)
        if arrivals.unwanted_channel is not None and not self._over:
            self._since = self._clock() if self._since is None else self._since
            self._channel = arrivals.unwanted_channel
            self._count += arrivals.unwanted

    def check(self) -> None:
        """Tell it, if it is time to."""
        if self._over or self._since is None or self._clock() - self._since < PATIENCE:
            return
        self._over = True
        self._alarms.tell(Alarm.STATE, self._text())

    def _text(self) -> str:
        config, channel = self._config, self._channel
        keywords = ["Channels"] if config.channels else []
        if config.station_file is not None:
            keywords.append(f"StationFile {config.station_file}")
        example = ""
        if channel is not None:
            codes = (channel.station, channel.channel, channel.network, channel.location or "--")
            example = f", as {' '.join(codes)}"
        return (
            f"nothing is picked: none of {self._count} packets of {config.in_ring.name}{example}, "
            f"is selected by {' and '.join(keywords)}: correct it, and start again"
        )
