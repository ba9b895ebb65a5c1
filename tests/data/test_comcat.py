from __future__ import annotations

from io import BytesIO

import pytest
from fdsn_servers import Center, Fault, Quake
from obspy import read_events
from synthetic_center import QUAKE

from ml_prediction.data.comcat import detail, product_url, quakeml
from ml_prediction.data.faults import DamagedError, NotOfferedError
from ml_prediction.data.fdsn import Server
from ml_prediction.data.retry import Patience

PICKS = Quake("p1", "2024-01-01T00:00:00", 1.0, 2.0, 3.0, 4.0, QUAKE.document())


def server(center: Center) -> Server:
    center.quakes[PICKS.id] = PICKS
    return Server(center.url, patience=Patience(attempts=2, first_wait=0.01))


def test_a_detail_document_has_the_event(center: Center) -> None:
    document = detail(server(center), QUAKE.id)
    assert document["properties"]["mag"] == QUAKE.magnitude
    assert product_url(document, "phase-data", "quakeml.xml") is None


def test_the_analysts_picks_are_taken_where_there_are_any(center: Center) -> None:
    assert quakeml(server(center), PICKS.id) == PICKS.quakeml
    assert len(center.requests("product")) == 1


def test_the_event_service_serves_else(center: Center) -> None:
    (event,) = read_events(BytesIO(quakeml(server(center), QUAKE.id)), format="QUAKEML")
    assert event.magnitudes[0].mag == QUAKE.magnitude
    assert not center.requests("product")


def test_the_preferred_product_counts_and_a_deleted_one_does_not() -> None:
    def product(weight: int, url: str, status: str = "UPDATE") -> dict[str, object]:
        contents = {"quakeml.xml": {"url": url}}
        return {"preferredWeight": weight, "status": status, "contents": contents}

    products = [product(1, "a"), product(7, "b"), product(9, "c", "DELETE")]
    document = {"properties": {"products": {"phase-data": products}}}
    assert product_url(document, "phase-data", "quakeml.xml") == "b"
    assert product_url(document, "phase-data", "other") is None


def test_an_unknown_event(center: Center) -> None:
    with pytest.raises(NotOfferedError):
        detail(server(center), "nonsense")


@pytest.mark.parametrize("kind", ["html", "truncate", "drop"])
def test_a_damaged_detail_document_is_an_error_or_asked_for_again(
    center: Center, kind: str
) -> None:
    center.faults = [Fault("event", kind)]
    assert detail(server(center), QUAKE.id)["id"] == QUAKE.id
    center.faults = [Fault("event", kind, times=9)]
    with pytest.raises(DamagedError):
        detail(server(center), QUAKE.id)


@pytest.mark.parametrize("kind", ["html", "truncate", "drop"])
def test_a_damaged_product_is_asked_for_again(center: Center, kind: str) -> None:
    center.faults = [Fault("product", kind)]
    assert quakeml(server(center), PICKS.id) == PICKS.quakeml
