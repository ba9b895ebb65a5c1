"""QuakeML documents as ObsPy reads them; what is no QuakeML is an error that says so."""

from __future__ import annotations

from io import BytesIO
from xml.etree import ElementTree

import obspy
from obspy.core.event import Catalog

from ml_prediction.errors import DataError


def read_catalogue(body: bytes, name: str) -> Catalog:
    """Events of a QuakeML document.

    Parameters
    ----------
    body
        The document.
    name
        What to call it in errors.

    Raises
    ------
    DataError
        If it is no QuakeML; the message has the name.
    """
    try:
        root = _root_of_another_kind(body)
        if root is None:
            return obspy.read_events(BytesIO(body), format="QUAKEML")
    except (SyntaxError, ValueError, TypeError, AttributeError, NotImplementedError) as error:
        raise DataError(f"{name}: can't be read as QuakeML ({error}).") from error
    raise DataError(
        f"{name}: can't be read as QuakeML, it is XML ({root}) without eventParameters: "
        "give a QuakeML file."
    )


def _root_of_another_kind(body: bytes) -> str | None:
    """Root of an XML document that is no QuakeML: ObsPy raises a bare `Exception` at it."""
    root, depth = "", 0
    for moment, element in ElementTree.iterparse(BytesIO(body), ("start", "end")):
        depth += 1 if moment == "start" else -1
        name = element.tag.rpartition("}")[2]
        if depth == 1 and moment == "start":
            root = name
        elif depth == 2 and moment == "start" and name == "eventParameters":
            return None
    return root
