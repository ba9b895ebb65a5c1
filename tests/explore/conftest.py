"""The earthquake that bundles are made of."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from bundle_center import Archive, bundle_archive
from fdsn_servers import Center

from ml_prediction import EventBundle
from ml_prediction.data.fdsn import Server
from ml_prediction.data.retry import Patience


@pytest.fixture(scope="session")
def quake_archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """Waveforms of the earthquake, and the server that has them."""
    pytest.importorskip(
        "portable_fdsnws_dataselect", reason="portable-fdsnws-dataselect is not installed"
    )
    with bundle_archive(tmp_path_factory.mktemp("quake")) as archive:
        yield archive


@pytest.fixture
def quake_center(quake_archive: Archive) -> Iterator[Center]:
    """Data centre and ComCat in one, without faults yet."""
    with quake_archive.center() as center:
        yield center


@pytest.fixture
def server(quake_center: Center) -> Server:
    """Client of it that gives up soon."""
    return Server(quake_center.url, timeout=2.0, patience=Patience(attempts=2, first_wait=0.01))


@pytest.fixture(scope="session")
def bundle(quake_archive: Archive) -> EventBundle:
    """The earthquake with everything but picks of models."""
    with quake_archive.center() as center:
        made = EventBundle.from_comcat("xx1", center.url)
        return made.fetch_waveforms(center.url, 60.0).fetch_stations(center.url)
