"""Stores: where the picks of archive runs go. SQLite, PostgreSQL, or a folder of Parquet files."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ml_prediction.errors import ConfigurationError
from ml_prediction.sinks.store.base import (
    PickCounts,
    RunRecord,
    StationDay,
    Store,
    UnitKey,
    UnitResult,
    UnitState,
)
from ml_prediction.sinks.store.checks import without_password

__all__ = [
    "PickCounts",
    "RunRecord",
    "StationDay",
    "Store",
    "UnitKey",
    "UnitResult",
    "UnitState",
    "check_url",
    "open_store",
    "store_file",
    "without_password",
]

_FILES: Final = (".db", ".sqlite", ".sqlite3")
"""Suffixes of paths that are taken for files of SQLite."""


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
    scheme, rest = _parts(url)
    if scheme == "parquet":
        from ml_prediction.sinks.store.parquet import ParquetStore

        return ParquetStore(_folder(url, rest), create=create)
    from ml_prediction.sinks.store.sql import SqlStore

    return SqlStore(f"{scheme}://{rest}", create=create)


def check_url(url: str) -> None:
    """Whether a URL is one of a store; nothing is opened or made.

    Raises
    ------
    ConfigurationError
        If it can't be understood.
    """
    scheme, rest = _parts(url)
    if scheme == "parquet":
        _folder(url, rest)
    else:
        from ml_prediction.sinks.store.engines import parsed

        parsed(f"{scheme}://{rest}")


def store_file(url: str) -> Path | None:
    """Where a store is: its file, or folder; None for one on a server."""
    scheme, rest = _parts(url)
    if scheme == "parquet":
        return _folder(url, rest)
    from ml_prediction.sinks.store.engines import file_of, parsed

    return file_of(parsed(f"{scheme}://{rest}"))


def _parts(url: str) -> tuple[str, str]:
    """Kind of a store, and what follows ``://``."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, rest = ("sqlite" if Path(url).suffix in _FILES else "parquet"), f"/{url}"
    if scheme == "postgres":
        scheme = "postgresql"
    if scheme not in ("sqlite", "postgresql", "parquet"):
        raise ConfigurationError(
            f"{scheme}:// is no store: choose sqlite:///picks.db, postgresql://user@host/name, or "
            "parquet:///folder."
        )
    return scheme, rest


def _folder(url: str, rest: str) -> Path:
    """Folder of ``parquet:///folder``, by the same rule as for SQLite's files."""
    if not rest.startswith("/") or not rest[1:]:
        raise ConfigurationError(
            f"{url!r} names no folder: write parquet:///folder, or parquet:////path/to/folder."
        )
    return Path(rest[1:])
