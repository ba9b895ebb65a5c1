"""Other processes that send under our logo: their picks have the numbers of ours."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from ml_prediction.drivers.live.alarms import Alarm, Alarms
from ml_prediction.earthworm.logo import Logo
from ml_prediction.earthworm.messages import MessageError, decode_heartbeat
from ml_prediction.earthworm.reader import messages_now
from ml_prediction.earthworm.ring import Ring

BEATS: Final = 3
"""A heart that has beaten within so many intervals may beat still."""

ENDING_SECONDS: Final = 15.0
"""An earlier process of ours may still be ending for so long."""


def other_hearts(ring: Ring, logo: Logo, interval: float, now: float) -> list[int]:
    """Processes, other than this one, whose recent heartbeats of our logo are in a ring.

    Parameters
    ----------
    ring, logo
        Where, and that of our own heartbeats.
    interval
        Seconds between two of them.
    now
        Seconds since 1970.
    """
    found: dict[int, None] = {}
    for message in messages_now(ring, [logo]):
        try:
            beat = decode_heartbeat(message.payload)
        except MessageError:
            continue
        if beat.pid and beat.pid != os.getpid() and abs(now - beat.time) <= BEATS * interval:
            found[beat.pid] = None
    return list(found)


class Twins:
    """Tells of processes that send under our logo, if they do not end soon.

    Parameters
    ----------
    processes
        Those that had a heartbeat when we began.
    what
        Our module and ring, for people.
    alarms
        Where it is told.
    clock
        Monotonic seconds.
    """

    def __init__(
        self,
        processes: Iterable[int],
        what: str,
        alarms: Alarms,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._processes = [each for each in processes if is_running(each)]
        self._what = what
        self._alarms = alarms
        self._clock = clock
        self._due = clock() + ENDING_SECONDS

    def check(self) -> None:
        """Tell of those that are still there, once, when it is time to."""
        if not self._processes or self._clock() < self._due:
            return
        for process in filter(is_running, self._processes):
            self._alarms.tell(
                Alarm.TWIN,
                f"process {process} sends as {self._what}, too, and picks of both have the same "
                "numbers: stop one of them, or give it another MyModuleId",
            )
        self._processes = []


def is_running(process: int) -> bool:
    """Whether there is such a process here; one that has ended and waits for its parent is none."""
    try:
        state = Path(f"/proc/{process}/stat").read_text(encoding="latin-1").rpartition(")")[2]
    except OSError:
        return False
    return state.split()[:1] not in (["Z"], ["X"])
