"""Consoles on stdout and stderr, and what to do when one of them breaks."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import IO, Any, TextIO, cast

from rich.console import Console


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise  # the BrokenPipeError that is being handled; rich would exit with status 1


class _Forgiving:
    """A text stream whose failures cost nothing: a terminal that has gone, a full disk."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def results_console() -> Console:
    """Console on stdout."""
    return _console(sys.stdout, sys.stdout.isatty())


def remarks_console() -> Console:
    """Console on stderr. A run goes on when nobody can read its remarks."""
    return _console(cast("IO[str]", _Forgiving(sys.stderr)), sys.stderr.isatty())


def complain(message: str) -> None:
    """One line on stderr, if that is possible."""
    remarks = _Forgiving(sys.stderr)
    remarks.write(f"ml-prediction: {message}\n")
    remarks.flush()


def let_go_of_broken_streams() -> None:
    """Send what a broken stream still holds nowhere: else Python complains when it exits."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            with suppress(OSError):  # of a stream without a file
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _console(file: IO[str], is_terminal: bool) -> Console:
    # Without a terminal there is no width to keep to: lines stay whole for grep and logs.
    width = None if is_terminal else 400
    return _Console(file=file, width=width, highlight=False, soft_wrap=True)
