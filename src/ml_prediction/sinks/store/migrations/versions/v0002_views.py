"""Views for people: every field under the name that it has in Python, and no numbers to join."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_VIEWS = {
    "picks": """
        SELECT run.run_id, pick.network, pick.station, pick.location, pick.channel, pick.phase,
               pick.time, pick.sigma, pick.probability, pick.quality, pick.polarity,
               pick.polarity_confidence, pick.amplitude, pick.amplitude_physical,
               pick.amplitude_unit, pick.snr, pick.scale, pick.misfit, pick.width, pick.mu_error,
               pick.fit_ok, pick.coverage, pick.members, pick.detection_id, pick.id,
               pick.time_ns, pick.peak_time_ns, pick.onset_ns, pick.end_ns,
               method.model, method.weights, method.weights_sha256, method.versions,
               method.config_hash
        FROM pick JOIN run ON run.key = pick.run JOIN method ON method.key = pick.method
        """,
    "detections": """
        SELECT run.run_id, detection.network, detection.station, detection.location,
               detection.channel, detection.onset, detection.probability, detection.pick_ids,
               detection.id, detection.onset_ns, detection.end_ns, detection.peak_time_ns,
               method.model, method.weights, method.weights_sha256, method.versions,
               method.config_hash
        FROM detection JOIN run ON run.key = detection.run
             JOIN method ON method.key = detection.method
        """,
    "units": """
        SELECT run.run_id, unit.network, unit.station, unit.day, unit.state, unit.attempts,
               unit.reason, unit.picks, unit.detections, unit.seconds, unit.finished
        FROM unit JOIN run ON run.key = unit.run
        """,
    "station_days": """
        SELECT run.run_id, unit.network, unit.station, station_day.location, station_day.prefix,
               unit.day, station_day.samples, station_day.covered_s, station_day.gaps,
               station_day.windows, station_day.picks, station_day.detections, station_day.skipped
        FROM station_day JOIN unit ON unit.key = station_day.unit JOIN run ON run.key = unit.run
        """,
}


def upgrade() -> None:
    """Make the views."""
    for name, query in _VIEWS.items():
        op.execute(f"CREATE VIEW {name} AS {query}")
