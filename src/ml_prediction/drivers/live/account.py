"""What a live run has done, and how it is: plain values for the status file and the metrics."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from ml_prediction.core.packets import Packet
from ml_prediction.core.results import Pick
from ml_prediction.core.summary import Summary
from ml_prediction.drivers.live.clock_guard import Station
from ml_prediction.drivers.live.latency import Latencies
from ml_prediction.util.times import NANOSECONDS, to_ns

RATE_SECONDS: Final = 60.0
"""Span over which the rate of windows is measured."""

MOST_STATIONS: Final = 2000
"""Stations whose age is told."""


class Account:
    """Counts of one live run, and its latencies.

    Attributes
    ----------
    dropped
        What never reached the pipeline, by reason.
    picks
        Picks sent, by phase.
    detections
        Number of detections.
    data, processing, pick
        Latencies in seconds: when a packet came, minus its end; a pick's sending, minus the coming
        of the packet that made it possible; a pick's sending, minus its time.
    """

    def __init__(self) -> None:
        self.dropped: Counter[str] = Counter()
        self.picks: Counter[str] = Counter()
        self.detections = 0
        self.data = Latencies()
        self.processing = Latencies()
        self.pick = Latencies()
        self._started = time.monotonic()
        self._rates: list[tuple[float, int]] = []

    def note_packets(self, packets: Iterable[Packet], now_ns: int) -> None:
        """Note how old packets are that have just come."""
        for packet in packets:
            self.data.add((now_ns - packet.end_ns) / NANOSECONDS)

    def note_picks(self, picks: Iterable[Pick], now_ns: int, processing: float) -> None:
        """Note picks that have just been sent."""
        for pick in picks:
            self.picks[pick.phase] += 1
            self.pick.add((now_ns - to_ns(pick.time)) / NANOSECONDS)
            self.processing.add(processing)

    def status(
        self,
        summary: Summary,
        newest: Mapping[Station, int],
        more: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Everything as plain JSON values.

        Parameters
        ----------
        summary
            Of the pipeline.
        newest
            End of each station's newest packet in nanoseconds.
        more
            What others know of the run; goes in as it is.
        """
        now = time.time()
        steady = time.monotonic()
        skipped = {**summary.skipped, **self.dropped}
        ages = sorted(
            (round(now - end_ns / NANOSECONDS, 2), ".".join(station))
            for station, end_ns in newest.items()
        )
        return {
            "time": round(now, 3),
            "uptime_s": round(steady - self._started, 1),
            "packets": summary.packets,
            "samples": summary.samples,
            "gaps": {key: summary.notes.get(key, 0) for key in ("short gap", "slip")},
            "late_samples": summary.skipped.get("samples: late", 0),
            "dropped": dict(sorted(skipped.items())),
            "notes": dict(sorted(summary.notes.items())),
            "examples": dict(sorted(summary.examples.items())),
            "windows": summary.windows,
            "windows_per_s": self._windows_per_second(steady, summary.windows),
            "picks": dict(sorted(self.picks.items())),
            "detections": self.detections,
            "latency_s": {
                name: {str(q): value for q, value in each.quantiles().items()}
                for name, each in (
                    ("data", self.data),
                    ("processing", self.processing),
                    ("pick", self.pick),
                )
            },
            "stations": len(ages),
            "station_age_s": {name: age for age, name in ages[-MOST_STATIONS:]},
            **more,
        }

    def _windows_per_second(self, now: float, windows: int) -> float:
        self._rates.append((now, windows))
        while len(self._rates) > 2 and self._rates[1][0] < now - RATE_SECONDS:
            del self._rates[0]
        (then, before), (_, after) = self._rates[0], self._rates[-1]
        return round((after - before) / (now - then), 2) if now > then else 0.0
