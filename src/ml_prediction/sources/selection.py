"""What the user wants of the input: channels and a time range."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Self

import numpy as np
import numpy.typing as npt

from ml_prediction.core.packets import Packet, samples_before
from ml_prediction.errors import ConfigurationError
from ml_prediction.util.codes import NSLC

Times = npt.NDArray[np.int64]


class Selection:
    """Channels and time range that are wanted.

    Parameters
    ----------
    channels
        Patterns with ``*``, ``?`` and ``[]`` for the channel code (``HH?``) or the full code
        (``UW.GNW..HH?``; a location of ``--`` is the empty one).
    start_ns, end_ns
        First and last time wanted, both inclusive, in nanoseconds; None is open.

    Raises
    ------
    ConfigurationError
        If the range is empty or there are no patterns.
    """

    def __init__(
        self,
        channels: Iterable[str] = ("*",),
        start_ns: int | None = None,
        end_ns: int | None = None,
    ) -> None:
        patterns = [channels] if isinstance(channels, str) else list(channels)
        self.patterns = tuple(p.strip().replace(".--.", "..") for p in patterns if p.strip())
        if not self.patterns:
            raise ConfigurationError("No channel pattern was given: use '*' for all channels.")
        if start_ns is not None and end_ns is not None and end_ns < start_ns:
            raise ConfigurationError("The end time lies before the start time: swap them.")
        self.start_ns = start_ns
        self.end_ns = end_ns
        self.all_times = start_ns is None and end_ns is None
        self._only: frozenset[NSLC] | None = None
        self._wanted: dict[NSLC, bool] = {}

    def only(self, channels: Iterable[NSLC]) -> Self:
        """Return the same time range with exactly these channels, whatever their codes."""
        chosen = copy.copy(self)
        chosen._only = frozenset(channels)
        chosen._wanted = {}
        return chosen

    def wants(self, nslc: NSLC) -> bool:
        """Whether the channel is wanted."""
        if self._only is not None:
            return nslc in self._only
        wanted = self._wanted.get(nslc)
        if wanted is None:
            code = str(nslc)
            wanted = any(
                fnmatchcase(code if "." in pattern else nslc.channel, pattern)
                for pattern in self.patterns
            )
            self._wanted[nslc] = wanted
        return wanted

    def overlaps(self, start_ns: int, end_ns: int) -> bool:
        """Whether an interval has a part in the time range."""
        return (self.end_ns is None or start_ns <= self.end_ns) and (
            self.start_ns is None or end_ns >= self.start_ns
        )

    def overlapping(self, starts_ns: Times, ends_ns: Times) -> npt.NDArray[np.bool_]:
        """The same for each of several intervals; shape (interval,)."""
        found = np.ones(len(starts_ns), dtype=np.bool_)
        if self.end_ns is not None:
            found &= starts_ns <= self.end_ns
        if self.start_ns is not None:
            found &= ends_ns >= self.start_ns
        return found

    def trim(self, packet: Packet) -> Packet | None:
        """Samples of a packet within the range; None if there are none."""
        start, stop = 0, len(packet)
        if self.start_ns is not None and packet.start_ns < self.start_ns:
            start = samples_before(packet, self.start_ns)
        if self.end_ns is not None:
            stop = samples_before(packet, self.end_ns + 1)
        if stop <= start:
            return None
        return packet if (start, stop) == (0, len(packet)) else packet.slice(start, stop)
