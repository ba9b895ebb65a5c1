"""Signals that end a run cleanly."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

_ENDINGS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_OF_TERMINAL: Final = (signal.SIGINT, signal.SIGHUP)


@contextmanager
def ending_signals_interrupt() -> Iterator[None]:
    """Let SIGTERM (batch systems) and SIGHUP (a closed terminal) interrupt like Ctrl-C.

    The first one counts; others are ignored while the run cleans up. A signal that is ignored,
    as under ``nohup``, stays so.
    """
    before: dict[signal.Signals, Any] = {}

    def interrupt(signum: int, frame: object) -> None:
        for ending in before:  # often both come: a second one would cut the cleaning up short
            signal.signal(ending, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in _ENDINGS:
        if signal.getsignal(number) not in (signal.SIG_IGN, None):
            before[number] = signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def children_spared() -> Iterator[None]:
    """Keep from children that start here what a terminal sends to every process.

    They inherit what is blocked, so that even their imports can't be interrupted: ending them
    is the parent's business. The parent itself hears such a signal a little later.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _OF_TERMINAL)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
