"""Earthworm's log files: one a day (UTC), a line with the time for each record."""

from __future__ import annotations

import logging
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TextIO

from ml_prediction.earthworm.config import LiveConfig
from ml_prediction.errors import ConfigurationError

RETRY_SECONDS: Final = 10.0
"""After a failure, e.g. a full disk, nothing is tried for so long."""


class EarthwormLog(logging.Handler):
    """Writes ``YYYYMMDD_UTC_HH:MM:SS text`` to ``FOLDER/NAME_YYYYMMDD.log``.

    That a line can't be written, e.g. because the disk is full, stops nobody.

    Parameters
    ----------
    folder
        EW_LOG; None for no file.
    name
        Base name of the module's configuration file.
    console
        Where lines go besides, or None.

    Attributes
    ----------
    lost
        Lines that could not be written to the file.
    """

    def __init__(self, folder: Path | None, name: str, console: TextIO | None = None) -> None:
        super().__init__(logging.DEBUG)
        self.lost = 0
        self._folder = folder
        self._name = name
        self._console = console
        self._day = ""
        self._file: TextIO | None = None
        self._not_before = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record of the logging module."""
        now = datetime.fromtimestamp(record.created, UTC)
        try:
            text = " ".join(record.getMessage().split("\n"))
        except (TypeError, ValueError, KeyError):
            self.handleError(record)
            return
        if record.exc_info and record.exc_info[1] is not None:
            lines = "".join(traceback.format_exception(record.exc_info[1])).split("\n")
            text = " | ".join([text, *(line.strip() for line in lines if line.strip())])
        if record.levelno >= logging.WARNING:
            text = f"{record.levelname.lower()}: {text}"
        line = f"{now:%Y%m%d_UTC_%H:%M:%S} {text}\n"
        if self._console is not None:
            try:
                self._console.write(line)
                self._console.flush()
            except (OSError, ValueError):  # e.g. a terminal that was closed
                self._console = None
        if self._folder is not None:
            self._to_file(self._folder, f"{now:%Y%m%d}", line)

    def _to_file(self, folder: Path, day: str, line: str) -> None:
        if time.monotonic() < self._not_before:
            self.lost += 1
            return
        try:
            if self._file is None or day != self._day:
                self._close_file()
                self._file = (folder / f"{self._name}_{day}.log").open(
                    "a", encoding="utf-8", errors="backslashreplace"
                )
                self._day = day
            self._file.write(line)
            self._file.flush()
        except (OSError, ValueError):
            self.lost += 1
            self._not_before = time.monotonic() + RETRY_SECONDS
            self._close_file()

    def _close_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):  # the line in its buffer is counted already
                file.close()

    def close(self) -> None:
        """Close the file."""
        self._close_file()
        super().close()


def standard_error() -> TextIO | None:
    """Where the console's lines go; None if it is closed."""
    return sys.stderr


@contextmanager
def logging_to_earthworm(
    config: LiveConfig, environment: Mapping[str, str]
) -> Iterator[EarthwormLog]:
    """Let the package's log go where Earthworm's modules log.

    Raises
    ------
    ConfigurationError
        If there is to be a file, but EW_LOG is no folder.
    """
    folder = _log_folder(environment) if config.log_file else None
    if config.log_file and folder is None:
        raise ConfigurationError(
            f"EW_LOG = {environment.get('EW_LOG', '')!r} is no folder: source Earthworm's "
            "environment, or set LogFile 0."
        )
    console = None if config.log_file == 2 else standard_error()
    handler = EarthwormLog(folder, config.name, console)
    logger = logging.getLogger("ml_prediction")
    before, propagated = logger.level, logger.propagate
    logger.setLevel(logging.DEBUG if config.debug else logging.INFO)
    logger.propagate = False
    logger.addHandler(handler)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
        logger.propagate = propagated
        handler.close()


@contextmanager
def errors_logged(name: str, environment: Mapping[str, str]) -> Iterator[None]:
    """Write a wrong configuration to the day's log, too: startstop shows nobody our stderr.

    Parameters
    ----------
    name
        Base name of the configuration file: LogFile is not known yet.
    environment
        With EW_LOG; where it is no folder, nothing is written.
    """
    try:
        yield
    except ConfigurationError as error:
        folder = _log_folder(environment)
        if folder is not None and name:
            handler = EarthwormLog(folder, name)
            text, level = f"ends: {type(error).__name__}: {error}", logging.CRITICAL
            handler.emit(logging.LogRecord(__name__, level, __file__, 0, text, None, None))
            handler.close()
        raise


def _log_folder(environment: Mapping[str, str]) -> Path | None:
    name = environment.get("EW_LOG", "")
    return Path(name) if name and Path(name).is_dir() else None
