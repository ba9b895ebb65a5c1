"""Stores: where the picks of archive runs go. SQLite, PostgreSQL, or a folder of Parquet files."""

from __future__ import annotations

from ml_prediction.errors import ConfigurationError
from ml_prediction.sinks.store.base import (
    RunRecord,
    StationDay,
    Store,
    UnitKey,
    UnitResult,
    UnitState,
)

__all__ = [
    "RunRecord",
    "StationDay",
    "Store",
    "UnitKey",
    "UnitResult",
    "UnitState",
    "open_store",
]


def open_store(url: str, *, create: bool = True) -> Store:
    """Open a store, and bring its schema up to date.

    Parameters
    ----------
    url
        ``sqlite:///picks.db`` (relative; four slashes: absolute), ``postgresql://user@host/name``,
        ``parquet:///folder`` (as with sqlite), or a path: of a file that ends in .db, .sqlite or
        .sqlite3, otherwise of a folder.
    create
        Make it where there is none.

    Raises
    ------
    ConfigurationError
        If the URL can't be understood, there is no store and ``create`` is False, what is there
        is something else or was made by a newer version, or the server refuses.
    ServiceError
        If the server can't be reached, or the file is locked.
    """
    raise ConfigurationError(f"{url}: not built yet ({create}).")
