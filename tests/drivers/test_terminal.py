from __future__ import annotations

import errno
import io
import sys

import pytest

from ml_prediction.drivers.terminal import complain, remarks_console, results_console


class Broken(io.StringIO):
    """A stream that can't be written."""

    def __init__(self, code: int = errno.EIO) -> None:
        super().__init__()
        self._code = code

    def write(self, text: str) -> int:
        raise OSError(self._code, "broken")


def test_nobody_needs_to_read_the_remarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Broken())
    remarks_console().print("lost")
    complain("lost")


def test_results_that_can_not_be_printed_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Broken())
    with pytest.raises(OSError, match="broken"):
        results_console().print("lost")


def test_a_reader_that_has_gone_is_a_broken_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Broken(errno.EPIPE))
    with pytest.raises(BrokenPipeError):  # rich itself would exit with status 1
        results_console().print("lost")
