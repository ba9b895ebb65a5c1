"""Counts of everything that went in, came out, or did not."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from ml_prediction.util.codes import NSLC, Instrument

OF_PACKETS: Final = frozenset(
    {"slip", "short gap", "orientation assumed", "waits for undeclared components"}
)
"""Notes on packets and their channels; the others are on what a model made of them."""

OF_INPUT: Final = ("samples: ", "packets: ")
"""What is skipped before a model sees anything begins so."""


@dataclass(slots=True)
class Summary:
    """Running totals of one pipeline.

    Attributes
    ----------
    packets, samples, windows
        What came in, and the windows that models saw: one that two see counts twice.
    skipped
        What did not end in a result, by ``kind: reason``, e.g. ``samples: late``.
    notes
        Things worth knowing that cost nothing, e.g. ``slip``, ``orientation assumed``.
    examples
        For each reason, a channel or instrument that it happened to: the first by name.
    seconds
        Wall time by stage, filled in by whoever has a clock.
    places
        ``windows`` and what was skipped, of each instrument; None where nobody asks for it. Not
        copied nor added.
    """

    packets: int = 0
    samples: int = 0
    windows: int = 0
    picks: int = 0
    detections: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    places: dict[Instrument, Counter[str]] | None = None

    def saw(self, instrument: Instrument) -> None:
        """Count a window."""
        self.windows += 1
        if self.places is not None:
            self.places.setdefault(instrument, Counter())["windows"] += 1

    def skip(self, kind: str, reason: str, count: int, where: Instrument | NSLC) -> None:
        """Count something that does not end in a result."""
        if count > 0:
            key = f"{kind}: {reason}"
            self.skipped[key] += count
            self._exemplify(key, str(where))
            if self.places is not None:
                instrument = where.instrument if isinstance(where, NSLC) else where
                self.places.setdefault(instrument, Counter())[key] += count

    def note(self, what: str, count: int, where: object) -> None:
        """Count something that is worth knowing."""
        if count > 0:
            self.notes[what] += count
            self._exemplify(what, str(where))

    def copy(self) -> Summary:
        """The totals as they are now."""
        return Summary(
            self.packets,
            self.samples,
            self.windows,
            self.picks,
            self.detections,
            self.skipped.copy(),
            self.notes.copy(),
            self.examples.copy(),
            self.seconds.copy(),
        )

    def add(self, other: Summary, *, same_packets: bool = False) -> None:
        """Add the totals of another process, or of another model that saw the same packets."""
        names = ["windows", "picks", "detections"]
        for name in names if same_packets else [*names, "packets", "samples"]:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for key, count in other.skipped.items():
            if not (same_packets and key.startswith(OF_INPUT)):
                self.skipped[key] += count
        for key, count in other.notes.items():
            if not (same_packets and key in OF_PACKETS):
                self.notes[key] += count
        for key, example in other.examples.items():
            self._exemplify(key, example)
        for stage, seconds in other.seconds.items():
            self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    def _exemplify(self, key: str, example: str) -> None:
        self.examples[key] = min(self.examples.get(key, example), example)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "packets": self.packets,
            "samples": self.samples,
            "windows": self.windows,
            "picks": self.picks,
            "detections": self.detections,
            "skipped": dict(sorted(self.skipped.items())),
            "notes": dict(sorted(self.notes.items())),
            "examples": dict(sorted(self.examples.items())),
            "seconds": {k: round(v, 3) for k, v in sorted(self.seconds.items())},
        }
