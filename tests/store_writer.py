"""A process that writes a run into a store, and is killed while it does.

It kills itself (SIGKILL: nothing is tidied up) at a numbered moment. A moment is every call that
the store makes, of Python or of C, the database's and the system's among them.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from multiprocessing.queues import SimpleQueue
from types import FrameType
from typing import Any, Final

import pyarrow
from store_results import make_result, make_run, make_units

from ml_prediction.sinks.store import open_store

STATIONS: Final = 3
_context: Final = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    [
        "store_writer",
        "ml_prediction.sinks.store.sql",
        "psycopg",
        "ml_prediction.sinks.store.parquet",
    ]
)
pyarrow.array([0])  # imports pandas, whose moments would be most of all


def count_moments(url: str) -> tuple[int, int]:
    """Write the whole run; returns how many moments there were until it had begun, and in all."""
    queue = _context.SimpleQueue()
    _run(url, None, queue)
    begun, whole = queue.get()
    return begun, whole


def kill_at(url: str, moment: int) -> bool:
    """Write the run, resuming it if it is there, and be killed at a moment of it.

    Returns whether there were so many moments, and the writer was killed.
    """
    code = _run(url, moment, _context.SimpleQueue())
    assert code in (-signal.SIGKILL, 0), code
    return code != 0


def _run(url: str, moment: int | None, queue: SimpleQueue[tuple[int, int]]) -> int | None:
    process = _context.Process(target=_write, args=(url, moment, queue))
    process.start()
    process.join(60)
    return process.exitcode


def _write(url: str, moment: int | None, queue: SimpleQueue[tuple[int, int]]) -> None:
    units = make_units(STATIONS, 1)
    results = {unit: make_result(unit) for unit in units}
    seen = 0

    def watch(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal seen
        if event in ("call", "c_call"):
            seen += 1
            if seen == moment:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(watch)
    with open_store(url) as store:
        store.begin(make_run(), units, resume=True)
        begun = seen
        for state in store.states():
            if state.state != "done":
                store.write(results[state.key])
    sys.setprofile(None)
    if moment is None:
        queue.put((begun, seen))
