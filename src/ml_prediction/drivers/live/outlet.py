"""A ring that is put into, through its destructions and returns."""

from __future__ import annotations

import logging
import math
import threading
import time
from typing import Final

from ml_prediction.earthworm.logo import Logo
from ml_prediction.earthworm.ring import Ring, RingBusyError, RingError, RingName

CHECK_SECONDS: Final = 1.0
"""How often it is looked whether a ring is still the one that its key stands for."""

LOCKED_SECONDS: Final = 5.0
"""When nobody let go of a ring's lock, it is not waited for again for so long."""

_log = logging.getLogger(__name__)


class Outlet:
    """Puts messages into a ring by its name. Any thread may use it.

    Parameters
    ----------
    name
        The ring.
    patience
        Seconds to wait for other writers at most; may be changed. None for the usual two.

    Raises
    ------
    RingError
        If it is not there, or is no ring.
    """

    def __init__(self, name: RingName, patience: float | None = None) -> None:
        self.name = name
        self.patience = patience
        self._guard = threading.Lock()
        self._ring: Ring | None = Ring(name)
        self._checked = time.monotonic()
        self._not_before = 0.0

    @property
    def ring(self) -> Ring | None:
        """The ring, if it is attached."""
        return self._ring

    def put(self, logo: Logo, payload: bytes) -> None:
        """Put one message.

        Raises
        ------
        RingError
            If it can't be put now.
        """
        if time.monotonic() < self._not_before:
            raise RingBusyError(f"Ring {self.name} was locked a moment ago.")
        try:
            self._attached().put(logo, payload, self.patience)
        except RingBusyError:
            self._not_before = time.monotonic() + LOCKED_SECONDS
            raise
        except RingError:
            self._checked = -math.inf  # it may have been destroyed: look before the next message
            raise

    def check(self) -> None:
        """Attach anew if the ring was destroyed.

        Raises
        ------
        RingError
            If there is no ring now.
        """
        self._attached()

    def close(self) -> None:
        """Detach."""
        with self._guard:
            if self._ring is not None:
                self._ring.close()
                self._ring = None

    def _attached(self) -> Ring:
        with self._guard:
            now = time.monotonic()
            ring = self._ring
            if ring is not None and now - self._checked > CHECK_SECONDS:
                self._checked = now
                if not ring.is_current():
                    _log.warning("ring %s was destroyed", self.name)
                    ring.close()
                    ring = self._ring = None
            if ring is None:
                ring = self._ring = Ring(self.name)
                self._checked = now
                _log.info("attached to ring %s", self.name)
            return ring
