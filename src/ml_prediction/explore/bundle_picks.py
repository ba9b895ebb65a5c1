"""What of a run of `pick` a bundle keeps besides the picks themselves."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np
from obspy import Stream

from ml_prediction.core.packets import runs
from ml_prediction.core.traces import Fragment, to_stream
from ml_prediction.models import Model
from ml_prediction.models.ensemble import Ensemble


def run_ids(
    model: Model | Ensemble | Sequence[Model | Ensemble], options: Mapping[str, Any]
) -> list[str]:
    """For each model its id, a blank, its weights' checksum and what it was told."""
    models = list(model) if isinstance(model, Sequence) else [model]
    told = json.dumps(dict(options), sort_keys=True, default=str)
    return [f"{each.spec.id} {each.spec.weights_sha256} {told}" for each in models]


def traces_by_model(fragments: Iterable[Fragment]) -> dict[str, bytes]:
    """Probability traces of each model as miniSEED, split where there are none."""
    groups: dict[str, list[Fragment]] = {}
    for fragment in fragments:
        groups.setdefault(fragment.model, []).append(fragment)
    written = {model: _miniseed(to_stream(group)) for model, group in groups.items()}
    return {model: body for model, body in written.items() if body}


def _miniseed(stream: Stream) -> bytes:
    whole = Stream()
    for trace in stream:
        valid = ~np.isnan(trace.data)
        for start, stop in runs(valid):
            part = trace.copy()
            part.data = trace.data[start:stop].copy()
            part.stats.starttime = trace.stats.starttime + start * trace.stats.delta
            whole.append(part)
    if not whole:
        return b""
    body = BytesIO()
    whole.write(body, format="MSEED", encoding="FLOAT32", reclen=4096)
    return body.getvalue()
