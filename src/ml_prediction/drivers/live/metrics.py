"""The account of a live run for Prometheus, and as a file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ml_prediction.errors import ConfigurationError
from ml_prediction.util.files import write_whole

PREFIX: Final = "ml_prediction_"

_COUNTERS: Final = (
    ("packets", "packets", "Packets that came in.", ""),
    ("samples", "samples", "Samples that came in.", ""),
    ("windows", "windows", "Windows that the model has seen.", ""),
    ("detections", "detections", "Detections.", ""),
    ("late_samples", "late_samples", "Samples that came too late.", ""),
    ("gaps", "gaps", "Gaps that were bridged, by kind.", "kind"),
    ("dropped", "dropped", "What did not end in a result, by reason.", "reason"),
    ("notes", "notes", "What cost nothing, but is worth knowing, by kind.", "kind"),
    ("picks", "picks", "Picks sent, by phase.", "phase"),
    ("errors", "errors", "Errors by number in the .desc file.", "error"),
)
_GAUGES: Final = (
    ("windows_per_s", "windows_per_second", "Windows a second over the last minute.", ""),
    ("windows_waiting", "windows_waiting", "Windows in the queue and in the engine.", ""),
    ("input_bytes", "input_waiting_bytes", "Messages not taken by the main loop.", ""),
    ("picks_unsent", "picks_unsent", "Picks that wait for the ring.", ""),
    ("snapshot_bytes", "snapshot_bytes", "Size of the last snapshot.", ""),
    ("snapshot_age_s", "snapshot_age_seconds", "Age of the last snapshot.", ""),
    ("log_lines_lost", "log_lines_lost", "Lines that could not be written to the log.", ""),
    ("rings_missing", "rings_missing", "Rings that are not there now.", ""),
    ("station_age_s", "station_age_seconds", "Age of each station's newest sample.", "station"),
    ("stations", "stations", "Stations that have sent something.", ""),
    ("uptime_s", "uptime_seconds", "Time since the start.", ""),
)

Status = Mapping[str, Any]


class StatusCollector(Collector):
    """Gives Prometheus what the main loop said last.

    Parameters
    ----------
    status
        The newest status.
    """

    def __init__(self, status: Callable[[], Status]) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        """All metrics."""
        status = self._status()
        for name, metric, text, label in _COUNTERS:
            counter = CounterMetricFamily(PREFIX + metric, text, labels=[label] if label else [])
            for labels, value in _values(status.get(name, {} if label else 0)):
                counter.add_metric(labels, value)
            yield counter
        for name, metric, text, label in _GAUGES:
            gauge = GaugeMetricFamily(PREFIX + metric, text, labels=[label] if label else [])
            for labels, value in _values(status.get(name, {} if label else 0)):
                gauge.add_metric(labels, value)
            yield gauge
        latency = GaugeMetricFamily(
            PREFIX + "latency_seconds",
            "Latency of data (packet end to arrival), processing (arrival to pick), and picks.",
            labels=["kind", "quantile"],
        )
        for kind, quantiles in status.get("latency_s", {}).items():
            for quantile, value in quantiles.items():
                latency.add_metric([kind, quantile], value)
        yield latency


def _values(value: Any) -> Iterator[tuple[list[str], float]]:
    if isinstance(value, Mapping):
        for label, number in value.items():
            yield [str(label)], float(number)
    else:
        yield [], float(value)


def serve(status: Callable[[], Status], port: int, address: str) -> Callable[[], None]:
    """Serve metrics by HTTP under ``/metrics``; returns what ends it.

    Raises
    ------
    ConfigurationError
        If the port is taken.
    """
    registry = CollectorRegistry()
    registry.register(StatusCollector(status))
    try:
        server, thread = start_http_server(port, address, registry)
    except OSError as error:
        raise ConfigurationError(
            f"MetricsPort {port} on {address} can't be used ({error.strerror}): choose another."
        ) from error

    def end() -> None:
        server.shutdown()
        server.server_close()
        thread.join(1.0)

    return end


def write_status(path: Path, status: Status) -> None:
    """Write a status as JSON: whole or not at all.

    Raises
    ------
    OSError
        If the disk is full or the like.
    """
    write_whole(path, (json.dumps(status, indent=1) + "\n").encode())
