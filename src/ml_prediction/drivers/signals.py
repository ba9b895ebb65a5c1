"""Signals that end a run cleanly."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

_ENDINGS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_OF_TERMINAL: Final = (signal.SIGINT, signal.SIGHUP)

Handler = Callable[[int, Any], None]


@contextmanager
def ending_signals_interrupt() -> Iterator[None]:
    """Let SIGTERM (batch systems) and SIGHUP (a closed terminal) interrupt like Ctrl-C.

    The first one counts; others are ignored while the run cleans up. A signal that is ignored,
    as under ``nohup``, stays so.
    """
    heard = [number for number in _ENDINGS if not _ignored(number)]

    def interrupt(number: int, frame: object) -> None:
        for ending in heard:  # often both come: a second one would cut the cleaning up short
            signal.signal(ending, signal.SIG_IGN)
        raise KeyboardInterrupt

    with _handled(heard, interrupt):
        yield


@contextmanager
def ending_signals_noted() -> Iterator[threading.Event]:
    """Let the same signals set an event, and do nothing else; SIGTERM also where it is ignored."""
    ending = threading.Event()
    heard = [n for n in _ENDINGS if n is signal.SIGTERM or not _ignored(n)]
    with _handled(heard, lambda number, frame: ending.set()):
        yield ending


def _ignored(number: signal.Signals) -> bool:
    return signal.getsignal(number) in (signal.SIG_IGN, None)


@contextmanager
def _handled(numbers: Sequence[signal.Signals], handler: Handler) -> Iterator[None]:
    before: dict[signal.Signals, Any] = {}
    try:
        for number in numbers:
            before[number] = signal.signal(number, handler)
        yield
    finally:
        for number, old in before.items():
            if old is not None:  # not one of Python's
                signal.signal(number, old)


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
