"""How busy the whole machine is: other processes spoil a measurement."""

from __future__ import annotations

import os
from pathlib import Path

_BUSY = slice(0, 3)  # user, nice, system


def busy_seconds() -> float | None:
    """Seconds that all cores were busy since the start; None where the system does not tell."""
    try:
        line = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0]
    except OSError:
        return None
    ticks = [int(word) for word in line.split()[1:]]
    return sum(ticks[_BUSY]) / os.sysconf("SC_CLK_TCK")


def others_cores(
    before: float | None, after: float | None, own_s: float, seconds: float
) -> float | None:
    """Cores that other processes kept busy.

    Parameters
    ----------
    before, after
        `busy_seconds` at both ends of an interval.
    own_s
        Processor seconds of this process in it.
    seconds
        Its length.
    """
    if before is None or after is None or seconds <= 0:
        return None
    return max(0.0, (after - before - own_s) / seconds)
