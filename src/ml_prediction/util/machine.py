"""What there is of the machine for this process."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_OF_PYTHON: Final = gc.get_freeze_count()
"""Objects that the interpreter has frozen by itself: a few hundred in Python 3.12."""


def cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def collections_spared() -> Iterator[None]:
    """Let Python's garbage collections pass over everything that is there by now.

    Models and libraries are a quarter of a million objects, and next to none of them is garbage.
    """
    if gc.get_freeze_count() > _OF_PYTHON:  # somebody else sees to it
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
