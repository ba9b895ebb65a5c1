"""ComCat, the catalogue of the USGS: one event's detail document and its products."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlencode

from ml_prediction.data.fdsn import Server
from ml_prediction.errors import DataError

PHASES: Final = "phase-data"
"""Product that has an event's origins and analyst picks."""


def detail(server: Server, event_id: str) -> dict[str, Any]:
    """Detail document (GeoJSON) of an event.

    Parameters
    ----------
    server
        Of the event service: USGS, or what stands in for it.
    event_id
        ComCat's identifier, e.g. uw61965081.

    Raises
    ------
    ServiceError
        If the server doesn't give it; NoDataError if it knows no such event.
    """
    query = urlencode({"eventid": event_id, "format": "geojson", "nodata": 204})
    return server.json_at(f"{server.url}/fdsnws/event/1/query?{query}", _check_detail)


def _check_detail(document: object) -> None:
    if not isinstance(document, dict) or not isinstance(document.get("properties"), dict):
        raise DataError("it is no detail document of ComCat")


def product_url(document: dict[str, Any], product: str, content: str) -> str | None:
    """Address of a file of the preferred product of a kind; None if there is none.

    Parameters
    ----------
    document
        Of `detail`.
    product
        Kind, e.g. phase-data.
    content
        File, e.g. quakeml.xml.
    """
    products = (document["properties"].get("products") or {}).get(product) or []
    ranked = sorted(products, key=lambda each: -int(each.get("preferredWeight") or 0))
    for each in ranked:
        if str(each.get("status", "")).upper() == "DELETE":
            continue
        address = ((each.get("contents") or {}).get(content) or {}).get("url")
        if address:
            return str(address)
    return None


def quakeml(server: Server, event_id: str) -> bytes:
    """QuakeML of an event, with its analyst picks where ComCat has them; raises as `detail`."""
    address = product_url(detail(server, event_id), PHASES, "quakeml.xml")
    if address is None:
        return server.events(eventid=event_id)
    return server.quakeml_at(address)
