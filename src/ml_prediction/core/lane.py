"""The four stages of one or several models, set up to work together."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from obspy import Inventory

from ml_prediction import __version__
from ml_prediction.config import PipelineConfig
from ml_prediction.core.combining import Combiner
from ml_prediction.core.description import Describer, Provenance
from ml_prediction.core.feature_extraction import FeatureExtractor
from ml_prediction.core.grid import index_from, samples_in, time_of
from ml_prediction.core.postprocessing import Chunk, Stacker
from ml_prediction.core.prediction import Predictor
from ml_prediction.core.preprocessing import Preprocessor
from ml_prediction.core.response import Response, channel_dips, inventory_channels
from ml_prediction.core.sites import Site, SiteMerger
from ml_prediction.core.summary import Summary
from ml_prediction.core.traces import Fragment, data_runs
from ml_prediction.errors import ConfigurationError
from ml_prediction.models.engine import Model
from ml_prediction.models.ensemble import Ensemble
from ml_prediction.models.spec import ModelSpec
from ml_prediction.util.codes import NSLC, Instrument

TOGETHER = 32  # picks that are described at once where nobody waits for each


@dataclass(frozen=True, slots=True, repr=False)
class Finder:
    """What is found in probability traces: those of one model, or an ensemble's merged ones.

    Attributes
    ----------
    spec
        The model, or the ensemble as one.
    combiner
        Merges the members' traces; None where there is one model.
    sites
        Merges the traces of instruments; None where each picks for itself.
    extractor
        Stage 4.
    family
        Whose data describe the picks: that of the (first) model.
    """

    spec: ModelSpec
    combiner: Combiner | None
    sites: SiteMerger | None
    extractor: FeatureExtractor
    family: Family

    def add(self, member: int, chunks: list[Chunk]) -> list[Chunk]:
        """Take final traces of one model; those that picks are found in that are final by them."""
        if self.combiner is not None:
            chunks = self.combiner.add(member, chunks)
        return chunks if self.sites is None else self.sites.add(chunks)

    def pass_over(self, instrument: Instrument, time_ns: int) -> list[Chunk]:
        """Don't let a site wait for an instrument of which nothing is there before a time."""
        if self.sites is None or self.family.preprocessor.knows(instrument):
            return []
        index = index_from(time_ns, self.spec.rate) - 1  # a sample may be up to 0.75 off its index
        return self.sites.pass_over(instrument, index)

    def finish(self, instrument: Instrument) -> list[Chunk]:
        """What is left of an instrument, of which the models' own ends are in already."""
        chunks = [] if self.combiner is None else self.combiner.flush(instrument)
        if self.sites is None:
            return chunks
        return self.sites.add(chunks) + self.sites.pass_over(instrument)

    def flush(self) -> list[Chunk]:
        """What is left of all."""
        chunks = [] if self.combiner is None else self.combiner.flush()
        return chunks if self.sites is None else self.sites.add(chunks) + self.sites.flush()

    def reset(self) -> None:
        """Forget all traces."""
        for merger in (self.combiner, self.sites):
            if merger is not None:
                merger.reset()

    def members(self, instrument: Instrument) -> Site:
        """Instruments of which the traces are merged under one's name: itself, or a site's."""
        return (instrument,) if self.sites is None else self.sites.members(instrument)

    def forget(self, instrument: Instrument) -> None:
        """Forget an instrument, and what is under way at its site."""
        self.extractor.forget(self.members(instrument)[0])
        for merger in (self.combiner, self.sites):
            if merger is not None:
                merger.forget(instrument)

    def release(self, instrument: Instrument) -> None:
        """Let go what no finder needs any more, after this one went on."""
        needed = self.extractor.needed_from(instrument)
        if self.sites is not None:
            self.sites.release(instrument, needed)
        members = self.members(instrument)
        if self.combiner is not None:
            for member in members:
                self.combiner.release(member, needed)
        for other in self.family.finders:
            if other is not self:
                needed = min(needed, other.extractor.needed_from(instrument))
        for member in filter(self.family.preprocessor.knows, members):
            self.family.preprocessor.release(member, needed)

    def snapshot(self) -> dict[str, Any]:
        """State as plain values and arrays."""
        return {
            "extractor": self.extractor.snapshot(),
            "combiner": None if self.combiner is None else self.combiner.snapshot(),
            "sites": None if self.sites is None else self.sites.snapshot(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot's state."""
        self.extractor.restore(state["extractor"])
        if self.combiner is not None:
            self.combiner.restore(state["combiner"])
        if self.sites is not None:
            self.sites.restore(state["sites"])

    def fragments(self, chunk: Chunk) -> list[Fragment]:
        """A chunk of probabilities, cut at gaps and where the sub-sample offset changes."""
        spec, preprocessor = self.spec, self.family.preprocessor
        result = []
        for instrument, start, stop in self._recorded(chunk):
            edges = [start, *preprocessor.offset_changes(instrument, start, stop), stop]
            for first, last in pairwise(edges):
                start_ns = time_of(first, spec.rate) + preprocessor.offset_ns(instrument, first)
                values = chunk.values[:, first - chunk.start : last - chunk.start]
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

    def _recorded(self, chunk: Chunk) -> list[tuple[Instrument, int, int]]:
        """Stretches with data, and whose name they have."""
        stretches = data_runs(chunk)
        if self.sites is None:
            return [(chunk.instrument, *stretch) for stretch in stretches]
        return [
            part
            for stretch in stretches
            for part in self.sites.recorded(chunk.instrument, *stretch)
        ]


@dataclass(frozen=True, slots=True, repr=False)
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


@dataclass(frozen=True, slots=True, repr=False)
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


def families(
    models: Sequence[Model | Ensemble],
    config: PipelineConfig,
    expected: Sequence[NSLC],
    sites: Sequence[Site],
    inventory: Inventory | None,
    run_id: str,
    overlap: bool,
    queue: int | None,
) -> list[Family]:
    """Stages for some models; those that want the same windows share them.

    Raises
    ------
    ConfigurationError
        If settings don't fit a model.
    """
    remove = inventory is not None and config.response == "remove"
    response = Response(inventory) if remove else None
    leads = {_windows_of(item.members[0].spec, config) for item in models}
    found: dict[Hashable, Family] = {}
    for item in models:
        finder: Finder | None = None
        for number, model in enumerate(item.members):
            spec = model.spec
            stride, blinding = _placing(spec, config)
            check_windows(spec, stride, blinding, config.horizon)
            key = _windows_of(spec, config)
            summary = found[key].summary if key in found else Summary()
            predictor = Predictor(
                model, config.batch_size, overlap=overlap, queue=queue, summary=summary
            )
            if key not in found:
                preprocessor = Preprocessor(
                    spec,
                    stride=stride,
                    lateness=config.lateness,
                    one_component=config.one_component,
                    resampling=config.resampling,
                    expected=expected,
                    response=response,
                    dips=channel_dips(inventory),
                    keep=key in leads,
                    batch_size=predictor.batch_size,
                    summary=summary,
                )
                found[key] = Family(preprocessor, summary)
            if finder is None:
                finder = _finder(item, config, sites, found[key], response, run_id, overlap)
            stacker = Stacker(
                spec,
                stride=stride,
                stacking=config.stacking or spec.stacking,
                blinding=blinding,
                horizon=_horizon(config, spec),
                summary=summary,
            )
            found[key].members.append(Member(model, predictor, stacker, number, finder))
    return list(found.values())


def _windows_of(spec: ModelSpec, config: PipelineConfig) -> Hashable:
    """What decides how a model's windows are made."""
    stride, _ = _placing(spec, config)
    preparation = (spec.components, spec.normalisation, spec.filters)
    return (stride, spec.sampling_rate, spec.in_samples, *preparation)


def _placing(spec: ModelSpec, config: PipelineConfig) -> tuple[int, tuple[int, int]]:
    """Stride and blinding of a model's windows."""
    return config.stride or spec.stride, config.blinding or spec.blinding


def _horizon(config: PipelineConfig, spec: ModelSpec) -> int | None:
    return None if math.isinf(config.horizon) else samples_in(config.horizon, spec.rate)


def _finder(
    item: Model | Ensemble,
    config: PipelineConfig,
    sites: Sequence[Site],
    family: Family,
    response: Response | None,
    run_id: str,
    overlap: bool,
) -> Finder:
    """Stage 4 of a model or an ensemble."""
    spec = item.spec
    thresholds = {**spec.thresholds, **config.thresholds}
    combiner = Combiner(item, config.thresholds) if isinstance(item, Ensemble) else None
    agreeing = None if combiner is None else combiner.agreeing
    merger: SiteMerger | None = None
    if config.site is not None:
        merger = SiteMerger(
            spec,
            config.site,
            sites,
            hold=max(model.spec.in_samples for model in item.members),
            thresholds=thresholds,
            counts=family.preprocessor,
            agreeing=agreeing,
            summary=family.summary,
        )
        agreeing = merger.agreeing
    versions = {"ml_prediction": __version__, **spec.versions}
    after = math.inf
    for model in item.members:
        stride, blinding = _placing(model.spec, config)
        after = min(after, config.horizon - (stride + blinding[1]) / spec.sampling_rate)
    describer = Describer(
        spec,
        quality=config.quality,
        waveforms=family.preprocessor,
        response=response,
        provenance=Provenance(
            config.hash,
            run_id,
            "; ".join(f"{name} {version}" for name, version in versions.items()),
        ),
        agreeing=agreeing,
        after=after,
    )
    extractor = FeatureExtractor(
        spec,
        thresholds=thresholds,
        describer=describer,
        lead=None if merger is None else merger.lead,
        together=TOGETHER if overlap else 1,
        summary=family.summary,
    )
    finder = Finder(spec, combiner, merger, extractor, family)
    family.finders.append(finder)
    return finder


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


def checked_models(model: Model | Ensemble | Sequence[Model | Ensemble]) -> list[Model | Ensemble]:
    """The models as a list.

    Raises
    ------
    ConfigurationError
        If there is none, or something else among them.
    """
    models = list(model) if isinstance(model, Sequence) else [model]
    strangers = [item for item in models if not isinstance(item, Model | Ensemble)]
    if strangers or not models:
        what = f"not {type(strangers[0]).__name__}" if strangers else "but there is none"
        raise ConfigurationError(
            f"The model must come from ml_prediction.load_model(), {what}; a SeisBench model "
            "that you have is wrapped by ml_prediction.models.from_seisbench()."
        )
    return models


def expected_channels(declared: Iterable[NSLC], inventory: Inventory | None) -> list[NSLC]:
    """Declared channels, and the inventory's for instruments that nobody declared."""
    channels = list(declared)
    named = {nslc.instrument for nslc in channels}
    return channels + [c for c in inventory_channels(inventory) if c.instrument not in named]
