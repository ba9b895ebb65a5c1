"""The synthetic archive and the data centre that serves it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fdsn_servers import Center, dataselect_server
from synthetic_center import QUAKE, SCENARIO, Archive, make_archive


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """Three stations, twenty minutes; XX.GAPS has gaps in all channels."""
    return make_archive(tmp_path_factory.mktemp("archive"))


@pytest.fixture(scope="session")
def dataselect(archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Port of portable-fdsnws-dataselect with the archive."""
    pytest.importorskip(
        "portable_fdsnws_dataselect", reason="portable-fdsnws-dataselect is not installed"
    )
    with dataselect_server(tmp_path_factory.mktemp("dataselect"), archive.spans) as port:
        yield port


@pytest.fixture
def center(dataselect: int, archive: Archive) -> Iterator[Center]:
    """Data centre without faults yet, and without an availability service."""
    with Center(dataselect, archive.inventory, [QUAKE]) as center:
        yield center


@pytest.fixture
def scenario_file(tmp_path: Path) -> str:
    """The synthetic scenario's TOML file."""
    path = tmp_path / "synthetic.toml"
    path.write_text(SCENARIO, encoding="utf-8")
    return str(path)
