"""Fixtures that more than one folder of tests uses."""

from __future__ import annotations

import importlib
import os
import random
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from forbidden import forbid
from postgres_server import PostgresServer, binaries
from ring_keeper import destroy_key, make_ring

from ml_prediction.earthworm.sysv import library
from ml_prediction.errors import ConfigurationError
from ml_prediction.models import Model, load_model
from ml_prediction.models.engines.export_cache import VARIABLE

with warnings.catch_warnings():  # ObsPy's own import uses a deprecated interface of Python 3.11
    warnings.simplefilter("ignore", DeprecationWarning)
    importlib.import_module("obspy")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's "&"; children would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

__all__ = ["forbid"]

KEYS: Final = range(0x6D700000, 0x6D800000)
SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of shared data and weights beside the repository; skips where it is missing."""
    if not SHARED.is_dir():
        pytest.skip("the folder ../shared with data and weights is not here")
    return SHARED


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server; skips where PostgreSQL isn't installed."""
    folder = binaries()
    if folder is None:
        pytest.skip("PostgreSQL's server is not installed (Debian: apt-get install postgresql)")
    server = PostgresServer(folder)
    yield server
    server.close()


@pytest.fixture(scope="session", autouse=True)
def engine_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of exported models, one for all worker processes, instead of the user's own."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "ml_prediction"
    os.environ[VARIABLE] = str(folder)
    return folder


@pytest.fixture
def ring_keys() -> Iterator[Iterator[int]]:
    """Free keys of shared memory, one by one; what is made with them is destroyed afterwards."""
    given: list[int] = []

    def keys() -> Iterator[int]:
        while True:
            key = random.SystemRandom().choice(KEYS)  # two runs at once must not meet
            if key not in given and library().shmget(key, 0, 0) == -1:
                given.append(key)
                yield key

    free = keys()
    try:
        make_ring(next(free), 1).destroy()
    except (OSError, ConfigurationError) as error:
        pytest.skip(f"no System V shared memory here: {error}")
    yield free
    for key in given:
        destroy_key(key)


@pytest.fixture(scope="session")
def eqt() -> Model:
    """The bundled EQTransformer, on the CPU."""
    return load_model(device="cpu")


@pytest.fixture(scope="session")
def phasenet(shared: Path) -> Model:
    """PhaseNet with its original weights, on the CPU."""
    return load_model("PhaseNet", shared / "models" / "phasenet" / "original", device="cpu")
