"""How much data around a span of time its picks depend on."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ml_prediction.config import PipelineConfig
from ml_prediction.core.feature_extraction import LONGEST
from ml_prediction.core.postprocessing import GUARD
from ml_prediction.core.response import CONTEXT
from ml_prediction.models import Ensemble, Model


def context_of(
    models: Sequence[Model | Ensemble], config: PipelineConfig | None = None
) -> tuple[float, float]:
    """Seconds of data before and after a span with which it is picked as within one stream.

    For ``Pipeline(..., emit=(start, end))``: push the data from so long before the start until so
    long after the end. A detection that lasts longer than 300 s, and is cut, is cut elsewhere if
    it began before the context.

    Parameters
    ----------
    models, config
        As given to the pipeline.

    Returns
    -------
    before, after
        In seconds.
    """
    config = config or PipelineConfig()
    before = after = 0.0
    for spec in (member.spec for model in models for member in model.members):
        windows = (spec.in_samples + (config.stride or spec.stride)) / spec.sampling_rate
        longest = max(LONGEST.get(label, LONGEST["P"]) for label in spec.thresholds)
        before = max(before, CONTEXT + windows + longest + GUARD)
        after = max(after, windows + config.lateness + LONGEST["P"] + LONGEST["Detection"])
    return math.ceil(before), math.ceil(after)
