"""What was measured on, and with what."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

from ml_prediction.drivers.report import versions
from ml_prediction.util.machine import cores


def describe_machine() -> dict[str, Any]:
    """Processor, cores, memory and system; not the machine's name."""
    return {
        "processor": processor(),
        "cores": cores(),
        "memory_gib": _memory_gib(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def processor() -> str:
    """Model of the processor."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    with suppress(OSError, subprocess.SubprocessError):
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    return platform.machine() or "unknown processor"


def slug(text: str) -> str:
    """Text as part of a file's name."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40]


def describe_software() -> dict[str, str]:
    """Versions of everything, and the commit if the package lies in a git checkout."""
    found = versions()
    folder = Path(__file__).parent
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=10"]
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(
            [*command, "--exclude=*"], check=True, capture_output=True, text=True
        ).stdout.strip()
        tracked = subprocess.run(
            ["git", "-C", str(folder), "ls-files", "--error-unmatch", "../errors.py"],
            check=False,
            capture_output=True,
        )
        if tracked.returncode == 0:  # else a checkout of something else, around an environment
            found["commit"] = done
    return found


def _memory_gib() -> float | None:
    with suppress(OSError, ValueError, AttributeError):
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    return None
