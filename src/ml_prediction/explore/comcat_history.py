"""How an earthquake's entry in ComCat grew: who contributed which origin and magnitude, and when.

The fields are those of libcomcat's ``get_history_data_frame``, split, and not rounded. They come
from libcomcat where it is installed, else from the same detail document by the code here.
"""

from __future__ import annotations

import importlib.util
import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
import pandas as pd
from obspy import UTCDateTime

from ml_prediction.errors import ConfigurationError, DataError
from ml_prediction.util.times import NANOSECONDS, to_ns

PRODUCTS: Final = ("origin", "phase-data", "moment-tensor")
"""Products of ComCat that have an origin or a magnitude."""

TIMES: Final = ("update_ns", "origin_ns")
TEXTS: Final = (
    "product",
    "event_id",
    "code",
    "source",
    "url",
    "magnitude_type",
    "method",
    "review_status",
)
_MILLISECOND: Final = NANOSECONDS // 1000
_MECHANISM: Final = (
    "derived-magnitude",
    "derived-depth",
    "percent-double-couple",
    "nodal-plane-1-strike",
    "nodal-plane-1-dip",
    "nodal-plane-1-rake",
)
"""Without these libcomcat leaves a moment tensor out, or downloads it to look them up."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Contribution:
    """One version of one origin, phase list or moment tensor.

    Attributes
    ----------
    product
        ``origin``, ``phase-data`` or ``moment-tensor``.
    event_id
        ComCat's authoritative identifier.
    code
        The contributor's own identifier, e.g. uw61965081; empty if unknown.
    source
        Network that contributed it.
    version
        1, 2, ... in order of time, for each product and sender.
    update_ns
        When it was contributed: nanoseconds since 1970.
    elapsed_min
        Minutes from the authoritative origin time to the contribution, to 0.1.
    url
        QuakeML, if there is one.
    magnitude, magnitude_type
        NaN and empty if it has none.
    origin_ns
        Origin time; None if it has none.
    latitude, longitude, depth_km
        NaN if unknown.
    method
        Location method, or that of the moment tensor.
    review_status
        ``reviewed`` or ``automatic``; empty if unknown.
    weight
        ComCat's preferred weight: the highest is authoritative.
    """

    product: str
    event_id: str
    code: str
    source: str
    version: int
    update_ns: int
    elapsed_min: float
    url: str
    magnitude: float
    magnitude_type: str
    origin_ns: int | None
    latitude: float
    longitude: float
    depth_km: float
    method: str
    review_status: str
    weight: int


COLUMNS: Final = tuple(field.name for field in fields(Contribution))


def libcomcat_is_installed() -> bool:
    """Whether usgs-libcomcat can be imported."""
    return importlib.util.find_spec("libcomcat") is not None


def history_of(
    document: Mapping[str, Any], *, libcomcat: bool | None = None
) -> tuple[Contribution, ...]:
    """Contributions of a detail document, in order of time.

    Parameters
    ----------
    document
        Detail document, asked for with ``includesuperseded``, else it has the newest versions only.
    libcomcat
        Whether to go through usgs-libcomcat; None: if it is installed.

    Raises
    ------
    ConfigurationError
        If libcomcat is wanted and not installed.
    DataError
        If the document has not what every detail document has.
    """
    if libcomcat and not libcomcat_is_installed():
        raise ConfigurationError(
            "usgs-libcomcat is not installed: pip install 'ml-prediction[comcat]', or leave it to "
            "this package to read ComCat."
        )
    try:
        plain = _offline(document)
        if libcomcat or (libcomcat is None and libcomcat_is_installed()):
            rows = list(_by_libcomcat(plain))
        else:
            rows = list(_by_us(plain))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise DataError(
            f"ComCat's detail document of {document.get('id')!r} can't be read "
            f"({type(error).__name__}: {error}). Read the event's QuakeML instead "
            "(EventBundle.from_quakeml)."
        ) from error
    return tuple(sorted(rows, key=lambda row: (row.update_ns, row.product, row.code, row.version)))


def history_frame(contributions: Iterable[Contribution]) -> pd.DataFrame:
    """Table of contributions; the times are UTC in columns ``update_time`` and ``origin_time``."""
    rows = list(contributions)
    columns: dict[str, Any] = {}
    for name in COLUMNS:
        values = [getattr(row, name) for row in rows]
        if name in TIMES:
            times = [np.datetime64("NaT" if t is None else t, "ns") for t in values]
            made = pd.Series(np.array(times, dtype="datetime64[ns]")).dt.tz_localize("UTC")
            columns[name.replace("_ns", "_time")] = made
        else:
            columns[name] = values
    return pd.DataFrame(columns)


def _offline(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with nothing in it that would make libcomcat download more."""
    properties = dict(document["properties"])
    given = properties.get("products") or {}
    products = {
        name: [_settled(name, product) for product in given[name] if _usable(name, product)]
        for name in PRODUCTS
        if name in given
    }
    properties["products"] = {name: found for name, found in products.items() if found}
    return {**document, "properties": properties}


def _usable(name: str, product: Mapping[str, Any]) -> bool:
    if str(product["status"]).upper() == "DELETE":
        return False
    has = product.get("properties") or {}
    return name != "moment-tensor" or all(key in has for key in (*_MECHANISM, "eventsource"))


def _settled(name: str, product: Mapping[str, Any]) -> dict[str, Any]:
    """A product as libcomcat wants it: it stumbles over what some contributors leave out."""
    properties = dict(product.get("properties") or {})
    if "eventtime" in properties:
        time = UTCDateTime(str(properties["eventtime"]))
        properties["eventtime"] = time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    if name == "moment-tensor":
        return {**product, "properties": properties}
    if "latitude" not in properties or "longitude" not in properties:
        properties.pop("latitude", None)
        return {**product, "properties": properties, "contents": {}}
    return {**product, "properties": {"depth": "nan", **properties}}


def _by_us(document: Mapping[str, Any]) -> Iterator[Contribution]:
    for name, products in document["properties"]["products"].items():
        for product, version in _versions(products):
            yield _contribution(document, name, product, version, _url(name, product))


def _by_libcomcat(document: Mapping[str, Any]) -> Iterator[Contribution]:
    """The rows of libcomcat's table; its description, which rounds, gives way to the products."""
    from libcomcat.classes import DetailEvent
    from libcomcat.dataframes import get_history_data_frame

    names = [name for name in PRODUCTS if name in document["properties"]["products"]]
    if not names:
        return
    # Its constructor downloads the document, and takes an error page for one.
    event: Any = DetailEvent.__new__(DetailEvent)
    event._jdict = document
    event._actual_url = ""
    products = {
        (product.name, int(product.version), int(product.product_timestamp), _code(product)): (
            product
        )
        for name in names
        for product in event.getProducts(name, source="all", version="all")
    }
    frame, _ = get_history_data_frame(event, products=names)
    for row in frame.to_dict("records"):
        update_ms = round(row["Update Time"].timestamp() * 1000)
        code = str(row["Code"])
        found = products[str(row["Product"]), int(row["Product Version"]), update_ms, code]
        yield Contribution(
            product=str(row["Product"]),
            event_id=str(row["Authoritative Event ID"]),
            code=_known(code),
            source=str(row["Product Source"]),
            version=int(row["Product Version"]),
            update_ns=update_ms * _MILLISECOND,
            elapsed_min=float(row["Elapsed (min)"]),
            url=str(row["URL"] or ""),
            weight=int(found.preferred_weight),
            **_measured(found.name, {key: found[key] for key in found.properties}),
        )


def _code(product: Any) -> str:
    if not product.hasProperty("eventsource"):
        return "unknown"
    return f"{product['eventsource']}{product['eventsourcecode']}"


def _versions(products: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Mapping[str, Any], int]]:
    """Products with their number, counted for each sender in order of time."""
    counted: dict[str, int] = {}
    for product in sorted(products, key=lambda each: int(each["updateTime"])):
        source = str(product["source"])
        counted[source] = counted.get(source, 0) + 1
        yield product, counted[source]


def _contribution(
    document: Mapping[str, Any], name: str, product: Mapping[str, Any], version: int, url: str
) -> Contribution:
    properties = product.get("properties") or {}
    sender = str(properties.get("eventsource", product["source"]))
    code = sender + str(properties["eventsourcecode"]) if "eventsource" in properties else ""
    elapsed_ms = int(product["updateTime"]) - int(document["properties"]["time"])
    return Contribution(
        product=name,
        event_id=str(document["id"]),
        code=code,
        source=sender,
        version=version,
        update_ns=int(product["updateTime"]) * _MILLISECOND,
        elapsed_min=float(np.round(elapsed_ms / 60_000, 1)),
        url=url,
        weight=int(product["preferredWeight"]),
        **_measured(name, properties),
    )


def _measured(name: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    """What the properties of a product say of the earthquake."""
    derived = "derived-" if name == "moment-tensor" else ""
    method = f"{derived}magnitude-type" if derived else "cube-location-method"
    when = properties.get("derived-eventtime" if derived else "eventtime")
    return {
        "magnitude": _number(properties, f"{derived}magnitude"),
        "magnitude_type": _known(properties.get(f"{derived}magnitude-type")),
        "origin_ns": None if when is None else to_ns(UTCDateTime(str(when))),
        "latitude": _number(properties, f"{derived}latitude"),
        "longitude": _number(properties, f"{derived}longitude"),
        "depth_km": _number(properties, f"{derived}depth"),
        "method": _known(properties.get(method)),
        "review_status": _known(properties.get("review-status")),
    }


def _number(properties: Mapping[str, Any], name: str) -> float:
    return float(properties.get(name, math.nan))


def _known(text: object) -> str:
    return "" if text is None or text == "unknown" else str(text)


def _url(name: str, product: Mapping[str, Any]) -> str:
    """Address of its QuakeML; libcomcat takes the shortest of several names."""
    contents = product.get("contents") or {}
    kinds = ("quakeml.xml",) if name == "moment-tensor" else ("quakeml.xml", "eqxml.xml")
    for kind in kinds:
        urls = [
            str(content["url"])
            for key, content in contents.items()
            if key.endswith(kind) and "url" in content
        ]
        if urls:
            return min(urls, key=lambda url: len(url.rpartition("/")[2]))
    return ""
