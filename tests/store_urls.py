"""Fixtures: URLs of stores of every kind, for the conftest.py of folders that want them."""

from __future__ import annotations

from pathlib import Path

import pytest
from postgres_server import PostgresServer

KINDS = ("sqlite", "postgresql", "parquet")


@pytest.fixture
def make_url(tmp_path: Path, request: pytest.FixtureRequest) -> MakeUrl:
    """Makes URLs of stores that don't exist yet."""
    return MakeUrl(tmp_path, request)


class MakeUrl:
    """Called with a kind of store, gives the URL of a new one."""

    def __init__(self, folder: Path, request: pytest.FixtureRequest) -> None:
        self._folder = folder
        self._request = request
        self._made = 0

    def __call__(self, kind: str) -> str:
        self._made += 1
        if kind == "postgresql":
            server: PostgresServer = self._request.getfixturevalue("postgres")
            return server.new_database()
        name = f"picks{self._made}.db" if kind == "sqlite" else f"picks{self._made}"
        return f"{kind}:///{self._folder / name}"


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, make_url: MakeUrl) -> str:
    """URL of a store that doesn't exist yet, one of each kind."""
    return make_url(request.param)
