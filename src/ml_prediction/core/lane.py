"""The four stages of one model, set up to work together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from obspy import Inventory

from ml_prediction import __version__
from ml_prediction.config import PipelineConfig
from ml_prediction.core.feature_extraction import FeatureExtractor, Provenance
from ml_prediction.core.grid import samples_in, time_of
from ml_prediction.core.postprocessing import Chunk, Stacker
from ml_prediction.core.prediction import Predictor
from ml_prediction.core.preprocessing import Preprocessor
from ml_prediction.core.response import Response, channel_dips
from ml_prediction.core.summary import Summary
from ml_prediction.core.traces import Fragment, data_runs
from ml_prediction.errors import ConfigurationError
from ml_prediction.models.engine import Model
from ml_prediction.models.spec import ModelSpec
from ml_prediction.util.codes import NSLC

TOGETHER = 32  # picks that are described at once where nobody waits for each


class Lane:
    """The stages of one model."""

    def __init__(
        self,
        model: Model,
        config: PipelineConfig,
        expected: Sequence[NSLC],
        inventory: Inventory | None,
        run_id: str,
        summary: Summary,
        overlap: bool,
        queue: int | None,
    ) -> None:
        spec = model.spec
        self.model = model
        self.rate = spec.rate
        stride = config.stride or spec.stride
        blinding = config.blinding or spec.blinding
        check_windows(spec, stride, blinding, config.horizon)
        versions = {"ml_prediction": __version__, **spec.versions}
        remove = inventory is not None and config.response == "remove"
        response = Response(inventory) if remove else None
        self.predictor = Predictor(
            model, config.batch_size, overlap=overlap, queue=queue, summary=summary
        )
        self.preprocessor = Preprocessor(
            spec,
            stride=stride,
            lateness=config.lateness,
            one_component=config.one_component,
            resampling=config.resampling,
            expected=expected,
            response=response,
            dips=channel_dips(inventory),
            keep=True,
            batch_size=self.predictor.batch_size,
            summary=summary,
        )
        endless = math.isinf(config.horizon)
        self.stacker = Stacker(
            spec,
            stride=stride,
            stacking=config.stacking or spec.stacking,
            blinding=blinding,
            horizon=None if endless else samples_in(config.horizon, self.rate),
            summary=summary,
        )
        self.extractor = FeatureExtractor(
            spec,
            thresholds={**spec.thresholds, **config.thresholds},
            quality=config.quality,
            waveforms=self.preprocessor,
            response=response,
            provenance=Provenance(
                config.hash,
                run_id,
                "; ".join(f"{name} {version}" for name, version in versions.items()),
            ),
            after=config.horizon - (stride + blinding[1]) / spec.sampling_rate,
            together=TOGETHER if overlap else 1,
            summary=summary,
        )

    def fragments(self, chunk: Chunk) -> list[Fragment]:
        """A chunk of probabilities, cut at gaps and where the sub-sample offset changes."""
        spec, instrument = self.model.spec, chunk.instrument
        result = []
        for start, stop in data_runs(chunk):
            changes = self.preprocessor.offset_changes(instrument, start, stop)
            edges = [start, *changes, stop]
            for first, last in pairwise(edges):
                offset = self.preprocessor.offset_ns(instrument, first)
                values = chunk.values[:, first - chunk.start : last - chunk.start]
                start_ns = time_of(first, self.rate) + offset
                result.append(
                    Fragment(
                        instrument,
                        spec.id,
                        spec.labels,
                        spec.sampling_rate,
                        first,
                        start_ns,
                        values,
                    )
                )
        return result


def check_windows(spec: ModelSpec, stride: int, blinding: tuple[int, int], horizon: float) -> None:
    """Check that windows so placed can cover the data in time.

    Raises
    ------
    ConfigurationError
        If the stride leaves samples uncovered, or the horizon is too short for any window.
    """
    useful = spec.in_samples - sum(blinding)
    if stride > useful:
        raise ConfigurationError(
            f"Stride {stride} leaves samples without a prediction: {spec.name} has windows of "
            f"{spec.in_samples} samples with blinding {blinding}; use at most {max(useful, 1)}."
        )
    least = (stride + blinding[1]) / spec.sampling_rate
    if horizon < least:
        raise ConfigurationError(
            f"Horizon {horizon:g} s is too short for stride {stride} and blinding {blinding[1]} "
            f"of {spec.name}: the smallest is {least:g} s."
        )
