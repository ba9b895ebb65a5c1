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

HEEDING_SECONDS: Final = 1.5
"""From being told to end until the main loop must have begun to finish."""

FINISHING_SECONDS: Final = 8.0
"""From being told to end until the process is gone, however much there is to save."""

_log = logging.getLogger(__name__)


class Pulse:
    """What the main loop shows of itself.

    Parameters
    ----------
    clock
        Monotonic seconds.

    Attributes
    ----------
    starting
        Whether the loop is still to begin: nothing has been read, nothing is to be saved.
    finishing
        Whether the loop is over, and the state is being saved.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.starting = True
        self.finishing = False
        self._clock = clock
        self._good_until = clock() + STALLED_SECONDS

    def tick(self, seconds: float = STALLED_SECONDS) -> None:
        """Say that the loop has come round, and how long the next round may last."""
        self._good_until = self._clock() + seconds

    @property
    def alive(self) -> bool:
        """Whether the loop came round in time."""
        return self._clock() < self._good_until


def end_process(status: int) -> None:
    """End this process at once, whatever its other threads are doing."""
    os._exit(status)


class Heart(threading.Thread):
    """Puts heartbeats into a ring, and sees to it that the process ends when it is told to.

    When the main loop stalls, e.g. in the engine, the heartbeats stop, so that statmgr restarts us;
    and when we are told to end and the loop does not heed it, the process ends all the same. What
    it has found is safe: picks are in the journal, and the last snapshot is whole.

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
    told_to_end
        Whether Earthworm or a signal wants us to end.
    give_up
        Ends the process at once with an exit status; None for the real thing.
    """

    def __init__(
        self,
        put: Callable[[Logo, bytes], None],
        logo: Logo,
        seconds: float,
        pulse: Pulse,
        told_to_end: Callable[[], bool] = lambda: False,
        give_up: Callable[[int], None] | None = None,
    ) -> None:
        super().__init__(name="heart", daemon=True)
        self._put = put
        self._logo = logo
        self._seconds = seconds
        self._pulse = pulse
        self._told_to_end = told_to_end
        self._give_up = give_up or end_process
        self._told_at: float | None = None
        self._ending = threading.Event()

    def run(self) -> None:
        """Beat until :meth:`end`."""
        due = time.monotonic()
        stalled = False
        while not self._ending.wait(LOOK_SECONDS):
            self._watch()
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

    def _watch(self) -> None:
        """End the process if it was told to end and nobody does it."""
        now = time.monotonic()
        if self._told_at is None:
            self._told_at = now if self._told_to_end() else None
            return
        patience = FINISHING_SECONDS if self._pulse.finishing else HEEDING_SECONDS
        if now - self._told_at <= patience:
            return
        if self._pulse.starting:  # the model loads, and can't be interrupted
            _log.info("ended as it was told to, before it had begun")
            self._give_up(0)
        else:
            _log.critical("ends at once: the main loop did not heed that it was told to end")
            self._give_up(1)

    def _beat(self) -> bool:
        beat = Heartbeat(int(time.time()), os.getpid())
        try:
            self._put(self._logo, encode_heartbeat(beat))
        except RingError:  # the main loop tells it; try again soon
            return False
        return True
