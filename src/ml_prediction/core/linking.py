"""Picks joined with the detections that they belong to."""

from __future__ import annotations

from dataclasses import replace

from ml_prediction.core.outcome import Result
from ml_prediction.core.results import Detection, Pick, pick_order
from ml_prediction.util.times import to_ns


class DetectionLinker:
    """Holds picks back until the detection they belong to is known, and puts its id on them.

    For files and tables, where a complete row is worth more than a quick one. A detection lasts
    at most 300 s, so that little is held.
    """

    def __init__(self) -> None:
        self._held: list[Pick] = []
        self._links: dict[str, str] = {}
        self._limits: dict[tuple[str, str], int] = {}

    def add(self, result: Result) -> tuple[list[Pick], list[Detection]]:
        """Take a result; the picks that are settled now, in order of time, and its detections."""
        self._links.update(result.links)
        self._limits.update(result.linked_until)
        ready: list[Pick] = []
        held: list[Pick] = []
        for pick in [*self._held, *result.picks]:
            key = (str(pick.instrument), pick.model_id)
            limit_ns = self._limits.get(key, 0)
            settled = pick.id in self._links or to_ns(pick.peak_time) < limit_ns
            (ready if settled else held).append(pick)
        self._held = held
        return self._linked(ready), result.detections

    def close(self) -> list[Pick]:
        """The picks that are left when no more results come."""
        left, self._held = self._held, []
        return self._linked(left)

    def _linked(self, picks: list[Pick]) -> list[Pick]:
        linked = [replace(pick, detection_id=self._links.pop(pick.id, None)) for pick in picks]
        return sorted(linked, key=pick_order)
