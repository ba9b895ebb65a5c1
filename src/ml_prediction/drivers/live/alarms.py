"""Errors that people should know of: into the log, and to statmgr through the ring."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from enum import IntEnum
from typing import Final

from ml_prediction.earthworm.logo import Logo
from ml_prediction.earthworm.messages import StatusError, encode_error
from ml_prediction.earthworm.ring import RingError

QUIET_SECONDS: Final = 60.0
"""From one message of a kind to the next; what comes between is counted."""

_log = logging.getLogger(__name__)


class Alarm(IntEnum):
    """Numbers of our errors, as in ``ml_prediction.desc``."""

    LAPPED = 0
    SEQUENCE_GAP = 1
    OVERLOAD = 2
    RING = 3
    DISK = 4
    MALFORMED = 5
    CLOCK = 6
    ENGINE = 7
    STATE = 8
    TWIN = 9


class Alarms:
    """Tells errors, each kind at most once a minute.

    Parameters
    ----------
    put
        Puts a message into the ring.
    logo
        Of error messages.
    clock
        Monotonic seconds.

    Attributes
    ----------
    counts
        How often each happened.
    """

    def __init__(
        self,
        put: Callable[[Logo, bytes], None],
        logo: Logo,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.counts: dict[Alarm, int] = dict.fromkeys(Alarm, 0)
        self._put = put
        self._logo = logo
        self._clock = clock
        self._not_before: dict[Alarm, float] = {}
        self._untold: dict[Alarm, tuple[str, int]] = {}

    def tell(self, alarm: Alarm, text: str, count: int = 1) -> None:
        """Tell an error, now or when its minute is over."""
        self.counts[alarm] += count
        _, before = self._untold.get(alarm, ("", 0))
        self._untold[alarm] = (text, before + count)
        self.repeat()

    def repeat(self) -> None:
        """Tell what was held back, if its time has come."""
        now = self._clock()
        for alarm in [a for a in self._untold if now >= self._not_before.get(a, 0.0)]:
            text, count = self._untold.pop(alarm)
            times = f" ({count} times)" if count > 1 else ""
            self._not_before[alarm] = now + QUIET_SECONDS
            _log.error("error %d: %s%s", alarm, text, times)
            try:
                self._put(
                    self._logo,
                    encode_error(StatusError(int(time.time()), int(alarm), text + times)),
                )
            except RingError:  # it is in the log
                continue
