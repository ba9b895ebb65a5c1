"""Peak memory of this process."""

from __future__ import annotations

import ctypes
import gc
import re
import resource
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc/self")


def reset_peak() -> None:
    """Give back what is free, and let the peak begin anew, as far as the system can."""
    gc.collect()
    if sys.platform != "linux":
        return
    with suppress(OSError, AttributeError):  # not glibc
        ctypes.CDLL(None).malloc_trim(0)
    with suppress(OSError):  # not allowed in some containers
        (_PROC / "clear_refs").write_text("5")


def peak_mib() -> float:
    """Largest resident memory in MiB since `reset_peak`, or ever where that is impossible."""
    with suppress(OSError):
        found = re.search(r"VmHWM:\s+(\d+) kB", (_PROC / "status").read_text())
        if found:
            return int(found[1]) / 1024
    unit = 2**20 if sys.platform == "darwin" else 2**10  # macOS counts bytes, Linux KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
