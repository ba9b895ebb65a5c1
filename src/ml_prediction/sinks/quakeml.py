"""Picks as QuakeML 1.2, written event by event."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import ClassVar, Final
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement
from xml.sax.saxutils import quoteattr

from obspy import Stream

from ml_prediction.core.feature_extraction import LINK, LONGEST
from ml_prediction.core.results import Detection, Pick
from ml_prediction.sinks.folder import OutputFolder
from ml_prediction.sinks.plain import plain_code, plain_text
from ml_prediction.util.codes import Instrument
from ml_prediction.util.times import isoformat, seconds_to_ns, to_ns

PATIENCE_NS: Final = seconds_to_ns(2 * (LINK + LONGEST["Detection"] + LINK))
"""Event time after which a pick's detection can't come any more: twice the longest detection with
the time around it in which picks belong to it, because a detection leaves soon after its end."""

OPENING: Final = """<?xml version='1.0' encoding='utf-8'?>
<q:quakeml xmlns:q="http://quakeml.org/xmlns/quakeml/1.2" \
xmlns="http://quakeml.org/xmlns/bed/1.2">
<eventParameters publicID={}>
"""
CLOSING: Final = "</eventParameters>\n</q:quakeml>\n"
_POLARITIES: Final = {"up": "positive", "down": "negative"}
_NOT_IN_IDS: Final = re.compile(r"[^\w\-.*()~'/=,;#&+?]", re.ASCII)


class QuakemlSink:
    """Writes picks.xml: one event for each detection, with its picks.

    Picks that no detection claims are put together into events by instrument. A detection comes
    after its picks, so picks are held back for a while; memory grows with instruments only.
    """

    FILES: ClassVar[tuple[str, ...]] = ("picks.xml",)

    def __init__(self, folder: OutputFolder) -> None:
        self._file = folder.part(self.FILES[0]).open("w", encoding="utf-8")
        self._file.write(OPENING.format(quoteattr(resource_id("eventParameters"))))
        self._held: dict[Instrument, dict[str, Pick]] = {}

    def write(
        self,
        picks: Sequence[Pick],
        detections: Sequence[Detection],
        probabilities: Stream | None = None,
    ) -> None:
        """Take picks; write the events of detections."""
        newest: dict[Instrument, int] = {}
        for pick in picks:
            instrument = pick.instrument
            self._held.setdefault(instrument, {})[pick.id] = pick
            newest[instrument] = max(newest.get(instrument, 0), to_ns(pick.peak_time))
        for detection in detections:
            held = self._held.get(detection.instrument, {})
            claimed = [held.pop(i) for i in detection.pick_ids if i in held]
            self._put(detection_event(detection, claimed))
        for instrument, time_ns in newest.items():
            self._let_go(instrument, time_ns - PATIENCE_NS)

    def close(self) -> None:
        """Write the picks that no detection claimed, and finish the file."""
        for instrument in list(self._held):
            self._let_go(instrument, None)
        self._file.write(CLOSING)
        self._file.close()

    def abort(self) -> None:
        """Close the file."""
        self._file.close()

    def _let_go(self, instrument: Instrument, before_ns: int | None) -> None:
        held = self._held[instrument]
        old = [p for p in held.values() if before_ns is None or to_ns(p.peak_time) < before_ns]
        for pick in old:
            del held[pick.id]
        if not held:
            del self._held[instrument]
        if old:
            self._put(leftover_event(instrument, old))

    def _put(self, event: Element) -> None:
        ElementTree.indent(event)
        self._file.write(ElementTree.tostring(event, encoding="unicode") + "\n")


def resource_id(*parts: str) -> str:
    """Identifier in QuakeML's form; characters that it does not allow become ``_``."""
    return "smi:local/" + _NOT_IN_IDS.sub("_", "/".join(("ml_prediction", *parts)))


def detection_event(detection: Detection, picks: Iterable[Pick]) -> Element:
    """Event element of one detection and its picks."""
    event = Element("event", publicID=resource_id("event", detection.id))
    _comment(event, f"probability={detection.probability:.4f}")
    _comment(event, f"onset={isoformat(detection.onset)} end={isoformat(detection.end)}")
    for pick in picks:
        event.append(pick_element(pick))
    return event


def leftover_event(instrument: Instrument, picks: Sequence[Pick]) -> Element:
    """Event element of picks of one instrument that belong to no detection."""
    event = Element("event", publicID=resource_id("picks", str(instrument), picks[0].id))
    _comment(event, f"Picks of {instrument} outside of any detection; not one earthquake.")
    for pick in picks:
        event.append(pick_element(pick))
    return event


def pick_element(pick: Pick) -> Element:
    """Pick element: time and its uncertainty (sigma), channel, phase, polarity, model."""
    element = Element("pick", publicID=resource_id("pick", pick.id))
    time = SubElement(element, "time")
    _text(time, "value", isoformat(pick.time))
    if math.isfinite(pick.sigma):
        _text(time, "uncertainty", f"{pick.sigma:.4f}")
        _text(time, "confidenceLevel", "68.3")
    codes = {"networkCode": pick.network, "stationCode": pick.station}
    if pick.location:
        codes["locationCode"] = pick.location
    codes["channelCode"] = pick.channel
    # XML has no control characters, escaped or not.
    SubElement(element, "waveformID", {name: plain_code(code) for name, code in codes.items()})
    _text(element, "methodID", resource_id("method", pick.model, pick.weights))
    _text(element, "phaseHint", pick.phase)
    polarity = _POLARITIES.get(pick.polarity, "undecidable" if pick.phase == "P" else "")
    if polarity:
        _text(element, "polarity", polarity)
    _text(element, "evaluationMode", "automatic")
    _text(element, "evaluationStatus", "preliminary")
    _comment(element, f"probability={pick.probability:.4f}")
    _comment(element, f"quality={pick.quality} scale={pick.scale:.4f} width={pick.width:.4f}")
    _comment(element, f"model={pick.model} weights={pick.weights} sha256={pick.weights_sha256}")
    return element


def _text(parent: Element, tag: str, text: str) -> None:
    SubElement(parent, tag).text = plain_text(text)


def _comment(parent: Element, text: str) -> None:
    _text(SubElement(parent, "comment"), "text", text)
