"""Locks on files and folders, which end with the process that has them."""

from __future__ import annotations

import fcntl
from typing import Literal

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
