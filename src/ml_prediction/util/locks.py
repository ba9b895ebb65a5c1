"""Locks on files and folders, which end with the process that has them."""

from __future__ import annotations

import fcntl
import logging
from pathlib import Path
from typing import Literal

_log = logging.getLogger(__name__)

Outcome = Literal["ours", "another's", "impossible"]


def take(descriptor: int) -> Outcome:
    """Try to lock an open file or folder for this process, without waiting.

    Parameters
    ----------
    descriptor
        Of the file or folder; the lock ends when it is closed.

    Returns
    -------
    str
        "ours"; "another's", if another process has it; "impossible", where the file system has no
        locks, as some on the network.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return "another's"
    except OSError:
        return "impossible"
    return "ours"


def warn_of_none(path: Path) -> None:
    """Tell that others can't be kept from a file, and who has to see to it."""
    _log.warning(
        "%s: its file system has no locks, so see to it that one process alone writes this run.",
        path,
    )
