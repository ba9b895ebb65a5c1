"""Asking again: how often, and how long to wait before."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from ml_prediction.data.faults import StoppedError, TransientError

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to go on with a server that fails.

    Attributes
    ----------
    attempts
        Requests in all, before giving up.
    first_wait
        Seconds before the second attempt; each further wait is twice as long.
    longest_wait
        Seconds; a server that asks for more is not waited for.
    """

    attempts: int = 6
    first_wait: float = 1.0
    longest_wait: float = 120.0

    def wait(self, attempt: int, retry_after: float | None) -> float | None:
        """Seconds to wait after an attempt (1 is the first); None: give up."""
        if attempt >= self.attempts or (retry_after or 0.0) > self.longest_wait:
            return None
        own: float = min(self.first_wait * 2 ** (attempt - 1), self.longest_wait)
        return own if retry_after is None else retry_after


class Gate:
    """Holds all requests to one server back while it asks for a pause.

    Parameters
    ----------
    clock
        Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._opens = float("-inf")
        self.stopped = threading.Event()

    def hold(self, seconds: float) -> None:
        """Let nobody through for so long."""
        with self._lock:
            self._opens = max(self._opens, self._clock() + seconds)

    def wait(self, seconds: float = 0.0) -> None:
        """Wait so long, and until the gate is open.

        Raises
        ------
        StoppedError
            If `stopped` is set meanwhile.
        """
        ready = self._clock() + seconds
        while True:
            with self._lock:
                left = max(ready, self._opens) - self._clock()
            if self.stopped.wait(max(left, 0.0)):
                raise StoppedError("stopped")
            if left <= 0:
                return


def patiently(
    call: Callable[[], R],
    patience: Patience,
    gate: Gate,
    told: Callable[[TransientError, float], None] | None = None,
) -> R:
    """Result of a request that is made again while it fails in passing.

    Parameters
    ----------
    call
        Makes the request once.
    patience
        When to give up.
    gate
        Of the server. A pause that the server asks for holds everybody.
    told
        Hears of each failure, and the seconds to the next attempt.

    Raises
    ------
    TransientError
        The last one.
    StoppedError
        If the gate is stopped.
    """
    attempt, wait = 1, 0.0
    while True:
        gate.wait(wait)
        try:
            return call()
        except TransientError as error:
            pause = patience.wait(attempt, error.retry_after)
            if pause is None:
                raise
            if error.retry_after is not None:
                gate.hold(error.retry_after)
            if told is not None:
                told(error, pause)
            attempt, wait = attempt + 1, pause
