"""What models find in a bundle, beside what others have found before."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from obspy import Stream

from ml_prediction.core.packets import runs
from ml_prediction.core.run import pick
from ml_prediction.core.traces import Fragment, to_stream
from ml_prediction.errors import ConfigurationError
from ml_prediction.explore.bundle_tables import whole_microseconds
from ml_prediction.models import Model
from ml_prediction.models.ensemble import Ensemble
from ml_prediction.util.frozen import FrozenMap
from ml_prediction.util.times import to_ns

if TYPE_CHECKING:
    from ml_prediction.explore.bundle import EventBundle


def pick_bundle(
    bundle: EventBundle,
    model: Model | Ensemble | Sequence[Model | Ensemble],
    probabilities: bool,
    options: Mapping[str, Any],
) -> tuple[str, dict[str, Any]]:
    """What `EventBundle.pick` changes: a note, and the new fields by name."""
    if not bundle.miniseed:
        raise ConfigurationError(f"{bundle.event_id} has no waveforms to pick: fetch some first.")
    result = pick(bundle.stream, model, inventory=bundle.inventory, **options)
    ids = run_ids(model, options)
    models = {name.partition(" ")[0] for name in ids}
    picks = [whole_microseconds(each) for each in result.picks]
    detections = [whole_microseconds(each) for each in result.detections]
    kept = [each for each in bundle.picks if each.model_id not in models]
    seen = [d for d in bundle.detections if f"{d.model}:{d.weights}" not in models]
    others = [name for name in bundle.picked_by if name.partition(" ")[0] not in models]
    traces = {name: body for name, body in bundle.probabilities.items() if name not in models}
    if probabilities:
        traces |= traces_by_model(result.fragments)
    return f"{len(picks)} picks of {', '.join(sorted(models))}", {
        "picks": tuple(sorted([*kept, *picks], key=lambda each: (to_ns(each.time), each.id))),
        "detections": (*seen, *detections),
        "picked_by": tuple(sorted({*others, *ids})),
        "probabilities": FrozenMap(traces),
    }


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
