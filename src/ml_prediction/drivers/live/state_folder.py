"""The folder for what outlives a live run, which one process has at a time."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ml_prediction.earthworm.config import LiveConfig
from ml_prediction.errors import ConfigurationError
from ml_prediction.util import locks

LOCK_PATIENCE: Final = 5.0
"""Seconds for an earlier process to end that still has the state folder."""


def state_folder(config: LiveConfig, environment: Mapping[str, str], params: Path) -> Path:
    """Folder for what outlives the process: StateDir, or one below EW_DATA_DIR or EW_LOG."""
    if config.state_dir is not None:
        return config.state_dir
    above = environment.get("EW_DATA_DIR") or environment.get("EW_LOG") or str(params)
    return Path(above) / f"{config.name}.state"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep a folder for this process alone.

    Raises
    ------
    ConfigurationError
        If it can't be made, or another process has it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise ConfigurationError(
            f"StateDir {folder} can't be used ({error.strerror}): name another."
        ) from error
    try:
        until = time.monotonic() + LOCK_PATIENCE
        while (outcome := locks.take(descriptor)) == "another's":
            if time.monotonic() > until:
                raise ConfigurationError(
                    f"Another ml-prediction uses the folder {folder}: stop it, or give this one a "
                    "configuration file of another name, or another StateDir, and another "
                    "MyModuleId: else both send picks of one number."
                )
            time.sleep(0.1)
        if outcome == "impossible":
            raise ConfigurationError(
                f"StateDir {folder} is on a file system without locks, where two of us could send "
                "picks of one number: name another."
            )
        yield
    finally:
        os.close(descriptor)
