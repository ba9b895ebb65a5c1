"""driver_ew: picks live, inside an Earthworm system."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Final

from ml_prediction import __version__
from ml_prediction.drivers.live.ew_log import errors_logged, logging_to_earthworm
from ml_prediction.drivers.live.setup import Surroundings, run_live
from ml_prediction.drivers.live.state_folder import locked, state_folder
from ml_prediction.drivers.signals import ending_signals_noted
from ml_prediction.earthworm.config import read_config
from ml_prediction.earthworm.syntax import params_folder
from ml_prediction.earthworm.tables import Tables, read_tables
from ml_prediction.errors import ConfigurationError, MLPredictionError
from ml_prediction.util.files import write_whole

SAMPLES: Final = ("ml_prediction.d", "ml_prediction.desc")

_log = logging.getLogger(__name__)


def run(path: str, environment: Mapping[str, str] = os.environ) -> int:
    """Pick what comes into a ring, until Earthworm or a signal says to end.

    Parameters
    ----------
    path
        The module's ``.d`` file.
    environment
        Earthworm's: EW_PARAMS, EW_LOG, EW_INSTALLATION.

    Returns
    -------
    int
        Exit status 0.

    Raises
    ------
    ConfigurationError
        If the environment, a file or a setting is wrong.
    RingError
        If a ring is not there, or no ring.
    """
    with errors_logged(Path(path).stem, environment):
        params = params_folder(environment)
        tables = read_tables(params, environment)
        config = read_config(Path(path), params, tables, environment)
        installation = _installation(tables, environment.get("EW_INSTALLATION", ""))
        folder = state_folder(config, environment, params)
    with logging_to_earthworm(config, environment) as log, ending_signals_noted() as ending:
        _log.info("ml_prediction %s: started with %s, pid %d", __version__, path, os.getpid())
        around = Surroundings(config, tables, installation, folder, log, ending.is_set)
        try:
            with locked(folder):
                run_live(around)
        except Exception as error:
            told = isinstance(error, MLPredictionError)
            _log.critical("ends: %s: %s", type(error).__name__, error, exc_info=not told)
            raise
        _log.info("ended as it was told to")
    return 0


def _installation(tables: Tables, name: str) -> int:
    """Number of our installation."""
    if not name:
        raise ConfigurationError(
            "EW_INSTALLATION is not set: source Earthworm's environment (ew_linux.bash) first."
        )
    number = tables.installation(name)
    if number == 0:
        raise ConfigurationError(
            f"EW_INSTALLATION = {name} stands for any installation: set it to your own."
        )
    return number


def install(params: str) -> list[Path]:
    """Copy the sample configuration into a folder; what is there already stays.

    Parameters
    ----------
    params
        EW_PARAMS.

    Returns
    -------
    list of Path
        Files that were written.

    Raises
    ------
    ConfigurationError
        If it is no folder, or something that is no file is in the way.
    OSError
        If it can't be written to; no file is left half-written.
    """
    if not params:  # would be the current folder
        raise ConfigurationError(
            "--install names no folder: EW_PARAMS is not set? Source Earthworm's environment "
            "(ew_linux.bash) first, or write the folder's name."
        )
    folder = Path(params)
    if not folder.is_dir():
        raise ConfigurationError(f"{params!r} is no folder: name the one in EW_PARAMS.")
    targets = [folder / name for name in SAMPLES]
    for target in targets:
        if not target.is_file() and os.path.lexists(target):
            raise ConfigurationError(f"{target} is there and is no file: move it away.")
    written = [target for target in targets if not target.exists()]
    for target in written:
        sample = files("ml_prediction.earthworm") / "params" / target.name
        write_whole(target, sample.read_bytes())
    return written


if __name__ == "__main__":  # the command under another name; no layer below the cli knows of it
    import_module("ml_prediction.cli").main(["earthworm", *sys.argv[1:]])
