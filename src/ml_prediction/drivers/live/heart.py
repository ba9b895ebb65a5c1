"""Heartbeats, as long as the main loop is alive."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Final

from ml_prediction.earthworm.logo import Logo
from ml_prediction.earthworm.messages import Heartbeat, encode_heartbeat
from ml_prediction.earthworm.ring import RingError

LOOK_SECONDS: Final = 0.1
STALLED_SECONDS: Final = 15.0
"""A main loop that did not come round for so long has stalled; it usually does in a fraction."""

_log = logging.getLogger(__name__)


class Pulse:
    """What the main loop shows of itself.

    Parameters
    ----------
    clock
        Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._good_until = clock() + STALLED_SECONDS

    def tick(self, seconds: float = STALLED_SECONDS) -> None:
        """Say that the loop has come round, and how long the next round may last."""
        self._good_until = self._clock() + seconds

    @property
    def alive(self) -> bool:
        """Whether the loop came round in time."""
        return self._clock() < self._good_until


class Heart(threading.Thread):
    """Puts heartbeats into a ring.

    When the main loop stalls, e.g. in the engine, they stop, so that statmgr restarts us.

    Parameters
    ----------
    put
        Puts a message.
    logo
        Of heartbeats.
    seconds
        From one to the next.
    pulse
        Of the main loop.
    """

    def __init__(
        self, put: Callable[[Logo, bytes], None], logo: Logo, seconds: float, pulse: Pulse
    ) -> None:
        super().__init__(name="heart", daemon=True)
        self._put = put
        self._logo = logo
        self._seconds = seconds
        self._pulse = pulse
        self._ending = threading.Event()

    def run(self) -> None:
        """Beat until :meth:`end`."""
        due = time.monotonic()
        stalled = False
        while not self._ending.wait(LOOK_SECONDS):
            if not self._pulse.alive:
                if not stalled:
                    _log.error("the main loop has stalled: no more heartbeats")
                stalled = True
                continue
            stalled = False
            if time.monotonic() >= due and self._beat():
                due = time.monotonic() + self._seconds

    def end(self) -> None:
        """Stop beating."""
        self._ending.set()
        if self.is_alive():
            self.join(1.0)

    def _beat(self) -> bool:
        beat = Heartbeat(int(time.time()), os.getpid())
        try:
            self._put(self._logo, encode_heartbeat(beat))
        except RingError:  # the main loop tells it; try again soon
            return False
        return True
