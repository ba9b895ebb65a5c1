"""Picks and detections for tests: valid ones, with what a test cares about changed."""

from __future__ import annotations

from typing import Any

from obspy import UTCDateTime

from ml_prediction.core.results import Detection, Pick

TIME = UTCDateTime(2009, 8, 24, 0, 20, 7, 720_000)


def make_pick(**changes: Any) -> Pick:
    """A P pick of BW.RJOB; times follow ``time`` unless given."""
    time = changes.get("time", TIME)
    phase = changes.get("phase", "P")
    values: dict[str, Any] = {
        "network": "BW",
        "station": "RJOB",
        "location": "",
        "channel": "EHZ",
        "phase": phase,
        "time": time,
        "sigma": 0.0321,
        "probability": 0.8765,
        "scale": 0.87,
        "quality": 1,
        "onset": time - 0.2,
        "end": time + 0.3,
        "misfit": 0.012,
        "polarity": "up",
        "amplitude": 1234.5,
        "snr": 12.3,
        "model": "EQTransformer",
        "weights": "original",
        "peak_time": time,
        "width": 0.1,
        "mu_error": 0.002,
        "fit_ok": True,
        "coverage": 1.0,
        "members": ("EQTransformer",),
        "detection_id": None,
        "config_hash": "0123456789ab",
        "run_id": "run",
        "id": f"BW.RJOB..EH/{phase}/EQTransformer/{time.ns // 10_000_000}",
        "polarity_confidence": 0.5,
        "weights_sha256": "00" * 32,
        "versions": "ml_prediction 0",
    }
    return Pick(**(values | changes))


def make_detection(**changes: Any) -> Detection:
    """A detection of BW.RJOB..EH around TIME."""
    onset = changes.get("onset", TIME - 1)
    values: dict[str, Any] = {
        "network": "BW",
        "station": "RJOB",
        "location": "",
        "channel": "EH",
        "onset": onset,
        "end": onset + 12,
        "probability": 0.95,
        "peak_time": onset + 2,
        "pick_ids": (),
        "model": "EQTransformer",
        "weights": "original",
        "config_hash": "0123456789ab",
        "run_id": "run",
        "id": f"BW.RJOB..EH/Detection/EQTransformer/{onset.ns // 10_000_000}",
        "weights_sha256": "00" * 32,
        "versions": "ml_prediction 0",
    }
    return Detection(**(values | changes))
