"""One event of a QuakeML document, as ObsPy reads it."""

from __future__ import annotations

from io import BytesIO

from obspy.core.event import Catalog, Event

from ml_prediction.errors import ConfigurationError, DataError
from ml_prediction.explore.arrivals import Origin
from ml_prediction.explore.quakeml_arrivals import magnitude_of
from ml_prediction.explore.quakeml_documents import read_catalogue
from ml_prediction.util.times import to_ns


def one_event(body: bytes, name: str, event_id: str | None = None) -> tuple[Event, bool]:
    """Event of a document, and whether it is the only one.

    Parameters
    ----------
    body
        QuakeML.
    name
        What to call it in errors.
    event_id
        Which, where there are several: `event_name` of it.

    Raises
    ------
    ConfigurationError
        If there are several, and it is not said which.
    DataError
        If it is no QuakeML, or has no such event.
    """
    catalogue = read_catalogue(body, name)
    if len(catalogue) == 1:
        return catalogue[0], True
    names = [event_name(event) for event in catalogue]
    if event_id in names:
        return catalogue[names.index(event_id)], False
    listed = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    if event_id is None and names:
        raise ConfigurationError(
            f"{name} has {len(names)} events ({listed}): say which with event_id."
        )
    raise DataError(f"{name}: no event {event_id or ''} in it; it has {listed or 'none'}.")


def event_name(event: Event) -> str:
    """ComCat's identifier where the event has one, else the end of its public id."""
    extra = getattr(event, "extra", {})
    if "eventsource" in extra and "eventid" in extra:
        return f"{extra['eventsource']['value']}{extra['eventid']['value']}"
    end = str(event.resource_id).rsplit("/", 1)[-1]
    if "eventid=" in end:
        return end.partition("eventid=")[2].partition("&")[0]
    return end


def origin_of(event: Event) -> Origin | None:
    """Preferred origin, else the first; None if it has no time or place."""
    origin = event.preferred_origin() or next(iter(event.origins), None)
    if origin is None or None in (origin.time, origin.latitude, origin.longitude):
        return None
    return Origin(
        to_ns(origin.time), float(origin.latitude), float(origin.longitude), magnitude_of(event)
    )


def place(origin: Origin) -> str:
    """Coordinates as people write them: ``48.040 N 122.731 W``."""
    north, east = "NS"[origin.latitude < 0], "EW"[origin.longitude < 0]
    return f"{abs(origin.latitude):.3f} {north} {abs(origin.longitude):.3f} {east}"


def to_quakeml(event: Event) -> bytes:
    """QuakeML document with this event alone."""
    body = BytesIO()
    Catalog([event]).write(body, format="QUAKEML")
    return body.getvalue()
