"""ComCat, the catalogue of the USGS: one event's detail document and its products."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from obspy import UTCDateTime

from ml_prediction.data.faults import BadRequestError, NoDataError, TooLargeError
from ml_prediction.data.fdsn import Server
from ml_prediction.errors import DataError
from ml_prediction.util.times import NANOSECONDS

PHASES: Final = "phase-data"
"""Product that has an event's origins and analyst picks."""


def detail(server: Server, event_id: str, *, superseded: bool = False) -> dict[str, Any]:
    """Detail document (GeoJSON) of an event.

    Parameters
    ----------
    server
        Of the event service: USGS, or what stands in for it.
    event_id
        ComCat's identifier, e.g. uw61965081.
    superseded
        With all earlier versions of its products, too.

    Raises
    ------
    ServiceError
        If the server doesn't give it; NoDataError if it knows no such event.
    """
    words = {"eventid": event_id, "format": "geojson", "nodata": "204"}
    if superseded:
        words["includesuperseded"] = "true"
    query = urlencode(words)
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
    newest: dict[tuple[str, str], dict[str, Any]] = {}
    for number, each in enumerate(sorted(products, key=_updated)):
        # The document may have earlier versions, too. Without a code each is a product of its own.
        newest[str(each.get("source")), str(each.get("code", number))] = each
    ranked = sorted(
        newest.values(), key=lambda each: (-int(each.get("preferredWeight") or 0), -_updated(each))
    )
    for each in ranked:
        if str(each.get("status", "")).upper() == "DELETE":
            continue
        address = ((each.get("contents") or {}).get(content) or {}).get("url")
        if address:
            return str(address)
    return None


def _updated(product: dict[str, Any]) -> int:
    return int(product.get("updateTime") or 0)


def quakeml(server: Server, event_id: str) -> bytes:
    """QuakeML of an event, with its analyst picks where ComCat has them; raises as `detail`."""
    return quakeml_of(server, detail(server, event_id), event_id)


def quakeml_of(server: Server, document: dict[str, Any], event_id: str) -> bytes:
    """As `quakeml`, of an event whose detail document is there."""
    address = product_url(document, PHASES, "quakeml.xml")
    if address is None:
        return server.events(eventid=event_id)
    return server.quakeml_at(address)


@dataclass(frozen=True, slots=True)
class Summary:
    """One event that a search has found; NaN where the catalogue says nothing."""

    event_id: str
    time_ns: int
    latitude: float
    longitude: float
    depth_km: float
    magnitude: float
    magnitude_type: str
    place: str


def search(server: Server, start: UTCDateTime, end: UTCDateTime, **query: object) -> list[Summary]:
    """Events of a time span, in order of time.

    Where the server finds more than it gives at once, the time span is halved.

    Parameters
    ----------
    server
        Of ComCat.
    start, end
        Of the origin times.
    **query
        Further parameters of its event service (minmagnitude, latitude, maxradiuskm, ...).

    Raises
    ------
    ServiceError
        If the server doesn't answer.
    """
    found: dict[str, Summary] = {}
    for each in _search(server, start, end, {k: v for k, v in query.items() if v is not None}):
        found[each.event_id] = each
    return sorted(found.values(), key=lambda each: (each.time_ns, each.event_id))


def _search(
    server: Server, start: UTCDateTime, end: UTCDateTime, query: dict[str, object]
) -> list[Summary]:
    times = {"starttime": str(start).rstrip("Z"), "endtime": str(end).rstrip("Z")}
    words = urlencode({"format": "geojson", "nodata": 204, "orderby": "time-asc", **times, **query})
    try:
        document = server.json_at(f"{server.url}/fdsnws/event/1/query?{words}", _check_list)
    except NoDataError:
        return []
    except (TooLargeError, BadRequestError) as error:
        if end - start < 1 or not (isinstance(error, TooLargeError) or "exceed" in str(error)):
            raise
        middle = start + (end - start) / 2
        return _search(server, start, middle, query) + _search(server, middle, end, query)
    return [_summary(feature) for feature in document["features"]]


def _check_list(document: object) -> None:
    try:
        for feature in document["features"]:  # type: ignore[index]
            _summary(feature)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"it is no list of ComCat's events ({error!r})") from error


def _summary(feature: dict[str, Any]) -> Summary:
    properties = feature["properties"]
    longitude, latitude, depth = (
        float("nan") if value is None else float(value)
        for value in feature["geometry"]["coordinates"]
    )
    magnitude = properties.get("mag")
    return Summary(
        str(feature["id"]),
        int(properties["time"]) * (NANOSECONDS // 1000),
        latitude,
        longitude,
        depth,
        float("nan") if magnitude is None else float(magnitude),
        str(properties.get("magType") or ""),
        str(properties.get("place") or ""),
    )
