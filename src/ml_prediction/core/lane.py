"""The four stages of one or several models, set up to work together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from obspy import Inventory

from ml_prediction import __version__
from ml_prediction.config import PipelineConfig
from ml_prediction.core.combining import Combiner
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
from ml_prediction.util.codes import NSLC, Instrument

TOGETHER = 32  # picks that are described at once where nobody waits for each


@dataclass(frozen=True, slots=True)
class Finder:
    """What is found in probability traces: those of one model, or several models' merged ones.

    Attributes
    ----------
    spec
        The model, or the combination as one.
    combiner
        Merges the members' traces; None where there is one model.
    extractor
        Stage 4.
    waveforms
        Where the data are: stage 1 of the (first) model.
    """

    spec: ModelSpec
    combiner: Combiner | None
    extractor: FeatureExtractor
    waveforms: Preprocessor

    def forget(self, instrument: Instrument) -> None:
        """Forget an instrument."""
        self.extractor.forget(instrument)
        if self.combiner is not None:
            self.combiner.forget(instrument)

    def snapshot(self) -> dict[str, Any]:
        """State as plain values and arrays."""
        merged = None if self.combiner is None else self.combiner.snapshot()
        return {"extractor": self.extractor.snapshot(), "combiner": merged}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot's state."""
        self.extractor.restore(state["extractor"])
        if self.combiner is not None:
            self.combiner.restore(state["combiner"])

    def fragments(self, chunk: Chunk) -> list[Fragment]:
        """A chunk of probabilities, cut at gaps and where the sub-sample offset changes."""
        spec, instrument = self.spec, chunk.instrument
        result = []
        for start, stop in data_runs(chunk):
            changes = self.waveforms.offset_changes(instrument, start, stop)
            edges = [start, *changes, stop]
            for first, last in pairwise(edges):
                offset = self.waveforms.offset_ns(instrument, first)
                values = chunk.values[:, first - chunk.start : last - chunk.start]
                start_ns = time_of(first, spec.rate) + offset
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


@dataclass(frozen=True, slots=True)
class Member:
    """Stages 2 and 3 of one model.

    Attributes
    ----------
    number
        Its place in the combination.
    finder
        Where its traces go.
    """

    model: Model
    predictor: Predictor
    stacker: Stacker
    number: int
    finder: Finder


@dataclass(frozen=True, slots=True)
class Family:
    """Stage 1, and the models that see the same windows.

    Attributes
    ----------
    finders
        Those that ask the preprocessor for data.
    """

    preprocessor: Preprocessor
    summary: Summary
    members: list[Member] = field(default_factory=list)
    finders: list[Finder] = field(default_factory=list)

    def release(self, instrument: Instrument, finder: Finder) -> None:
        """Let go what no finder needs any more, after one of them went on."""
        needed = finder.extractor.needed_from(instrument)
        if finder.combiner is not None:
            finder.combiner.release(instrument, needed)
        for other in self.finders:
            if other is not finder:
                needed = min(needed, other.extractor.needed_from(instrument))
        self.preprocessor.release(instrument, needed)


def families(
    models: Sequence[Model],
    config: PipelineConfig,
    expected: Sequence[NSLC],
    inventory: Inventory | None,
    run_id: str,
    overlap: bool,
    queue: int | None,
) -> list[Family]:
    """Stages for some models; those that want the same windows share them.

    Raises
    ------
    ConfigurationError
        If settings don't fit a model, or the models don't fit together.
    """
    remove = inventory is not None and config.response == "remove"
    response = Response(inventory) if remove else None
    combiner = _combiner([model.spec for model in models], config)
    families: dict[object, Family] = {}
    common: Finder | None = None
    for number, model in enumerate(models):
        spec = model.spec
        stride, blinding = _placing(spec, config)
        check_windows(spec, stride, blinding, config.horizon)
        key = (stride, *(getattr(spec, name) for name in PREPARATION))
        family = families.get(key)
        summary = Summary() if family is None else family.summary
        predictor = Predictor(
            model, config.batch_size, overlap=overlap, queue=queue, summary=summary
        )
        if family is None:
            preprocessor = Preprocessor(
                spec,
                stride=stride,
                lateness=config.lateness,
                one_component=config.one_component,
                resampling=config.resampling,
                expected=expected,
                response=response,
                dips=channel_dips(inventory),
                keep=common is None,
                batch_size=predictor.batch_size,
                summary=summary,
            )
            family = families[key] = Family(preprocessor, summary)
        if common is None:
            finder = Finder(
                spec if combiner is None else combiner.spec,
                combiner,
                _extractor(
                    [model] if combiner is None else models,
                    config,
                    combiner,
                    family.preprocessor,
                    response,
                    run_id,
                    TOGETHER if overlap else 1,
                ),
                family.preprocessor,
            )
            family.finders.append(finder)
            common = None if combiner is None else finder
        else:
            finder = common
        endless = math.isinf(config.horizon)
        stacker = Stacker(
            spec,
            stride=stride,
            stacking=config.stacking or spec.stacking,
            blinding=blinding,
            horizon=None if endless else samples_in(config.horizon, spec.rate),
            summary=summary,
        )
        family.members.append(Member(model, predictor, stacker, number, finder))
    return list(families.values())


PREPARATION = ("sampling_rate", "in_samples", "components", "normalisation", "filters")
"""What of a model's description decides how its windows are made, besides the stride."""


def _placing(spec: ModelSpec, config: PipelineConfig) -> tuple[int, tuple[int, int]]:
    """Stride and blinding of a model's windows."""
    return config.stride or spec.stride, config.blinding or spec.blinding


def _combiner(specs: Sequence[ModelSpec], config: PipelineConfig) -> Combiner | None:
    if config.combine is None or len(specs) == 1:
        return None
    return Combiner(specs, config.combine, shares=config.shares, thresholds=config.thresholds)


def _extractor(
    models: Sequence[Model],
    config: PipelineConfig,
    combiner: Combiner | None,
    waveforms: Preprocessor,
    response: Response | None,
    run_id: str,
    together: int,
) -> FeatureExtractor:
    """Stage 4 of one model, or of the combination of several."""
    spec = models[0].spec if combiner is None else combiner.spec
    versions = {"ml_prediction": __version__, **spec.versions}
    after = math.inf
    for model in models:
        stride, blinding = _placing(model.spec, config)
        after = min(after, config.horizon - (stride + blinding[1]) / spec.sampling_rate)
    return FeatureExtractor(
        spec,
        thresholds={**spec.thresholds, **config.thresholds},
        quality=config.quality,
        waveforms=waveforms,
        response=response,
        provenance=Provenance(
            config.hash,
            run_id,
            "; ".join(f"{name} {version}" for name, version in versions.items()),
        ),
        agreeing=None if combiner is None else combiner.agreeing,
        after=after,
        together=together,
        summary=waveforms.summary,
    )


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
