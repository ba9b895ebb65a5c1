"""One process's share of a run: its instruments from the source to sorted runs on disk."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from obspy import Inventory

from ml_prediction.core.linking import DetectionLinker
from ml_prediction.core.outcome import Result
from ml_prediction.core.packets import Packet
from ml_prediction.core.pipeline import Pipeline
from ml_prediction.core.results import Detection, Pick, detection_order, pick_order
from ml_prediction.core.stopwatch import Stopwatch
from ml_prediction.core.summary import Summary
from ml_prediction.drivers.picture import PictureStore
from ml_prediction.drivers.probability_file import ProbabilityFile
from ml_prediction.drivers.run_config import RunConfig
from ml_prediction.drivers.site_time import SiteTime
from ml_prediction.drivers.spool import Spool
from ml_prediction.errors import ConfigurationError
from ml_prediction.models import Ensemble, Model, load_models
from ml_prediction.sources.files import FileSource
from ml_prediction.sources.problems import Problem
from ml_prediction.util.machine import collections_spared

BATCH: Final = 60.0
"""Seconds of data that are pushed together. What is in one push can't be late for each other, so
that the lateness sets no limit; more only takes memory, 70 kB for an instrument."""


@dataclass(frozen=True, slots=True)
class Share:
    """What one process needs to know.

    Attributes
    ----------
    config, run_id
        Of the whole run.
    scratch
        Folder for what is merged later.
    inventory
        Station metadata, or None.
    """

    config: RunConfig
    run_id: str
    scratch: Path
    inventory: Inventory | None = None


@dataclass(frozen=True, slots=True)
class ShareResult:
    """What one process leaves: files of sorted picks and detections, and its counts.

    Attributes
    ----------
    picks, detections
        Sorted runs.
    probabilities
        miniSEED file, or None where it was not asked for.
    pictures
        PNG files.
    summary
        Of the pipeline, with the driver's own times.
    problems
        Pictures that could not be drawn and, of a process of its own, what its source met.
    warnings
        Of a process of its own; what the parent logs, it hears itself.
    """

    picks: list[Path]
    detections: list[Path]
    probabilities: Path | None
    pictures: list[Path]
    summary: Summary
    problems: list[Problem]
    warnings: tuple[str, ...] = ()


def load_configured(config: RunConfig, threads: int | None) -> list[Model | Ensemble]:
    """Models of a run, each with so many CPU threads.

    Raises
    ------
    ConfigurationError
        As `load_models`.
    """
    return load_models(
        config.models,
        config.weights,
        rule=config.combine,
        shares=config.shares,
        device=config.device,
        threads=threads,
        engine=config.engine,
        calibration=config.calibration,
    )


def load_one(config: RunConfig, threads: int | None) -> Model | Ensemble:
    """The one model or ensemble of a run.

    Raises
    ------
    ConfigurationError
        As `load_models`, or if there are several that are not combined.
    """
    models = load_configured(config, threads)
    if len(models) > 1:
        raise ConfigurationError(
            f"{len(models)} models ({', '.join(config.models)}) can't be judged as one: combine "
            "them, or take one at a time."
        )
    return models[0]


def run_share(
    source: FileSource,
    models: Sequence[Model | Ensemble],
    share: Share,
    progress: Callable[[int], None],
) -> ShareResult:
    """Push everything that a source has through the pipeline.

    Parameters
    ----------
    source
        Where packets come from.
    models
        Ready to run.
    share
        Configuration and folders.
    progress
        Called after each batch with the number of samples that have gone in so far.
    """
    pipeline = Pipeline(
        models,
        share.config.pipeline,
        expected=source.channels,
        inventory=share.inventory,
        run_id=share.run_id,
        probabilities=share.config.plot or "mseed" in share.config.formats,
        overlap=True,
    )
    site_time = SiteTime(pipeline, source.files, BATCH)
    own = Summary()  # the driver's times
    watch = Stopwatch(own.seconds, time.perf_counter)
    with _Tray(share) as tray, collections_spared():
        done = 0
        for batch in watch.each("reading", source.batches(BATCH)):
            result = pipeline.push(batch)
            with watch.stage("writing"):
                tray.take(batch, result)
            for result in site_time.after(batch):
                tray.take([], result)
            done += sum(len(packet) for packet in batch)
            progress(done)
        result = pipeline.flush()
        with watch.stage("writing"):
            tray.take([], result)
            tray.close()
    with watch.stage("plots"):
        tray.draw({**models[0].spec.thresholds, **share.config.pipeline.thresholds})
    own.add(pipeline.summary)
    return ShareResult(
        tray.picks.runs,
        tray.detections.runs,
        tray.probability_path,
        tray.picture_paths,
        own,
        tray.problems,
    )


class _Tray:
    """Where a share's results are put down until the end."""

    def __init__(self, share: Share) -> None:
        config, scratch = share.config, share.scratch
        self.picks = Spool[Pick](scratch / "picks", pick_order)
        self.detections = Spool[Detection](scratch / "detections", detection_order)
        self.probability_path: Path | None = None
        self.picture_paths: list[Path] = []
        self.problems: list[Problem] = []
        self._linker = DetectionLinker()
        self._pictures = PictureStore(scratch / "pictures") if config.plot else None
        self._probabilities = ProbabilityFile(scratch) if "mseed" in config.formats else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and self._probabilities is not None:
            self._probabilities.abort()

    def take(self, packets: list[Packet], result: Result) -> None:
        """Put down what became final, and what pictures need of the waveforms."""
        picks, detections = self._linker.add(result)
        self.picks.add(picks)
        self.detections.add(detections)
        if self._pictures is None and self._probabilities is None:
            return
        probabilities = result.probabilities
        if self._probabilities is not None:
            self._probabilities.write(probabilities)
        if self._pictures is not None:
            self._pictures.add_packets(packets)
            self._pictures.add_result([*picks, *detections, *probabilities])

    def close(self) -> None:
        """Put down what was held back; the files are complete then."""
        picks = self._linker.close()
        self.picks.add(picks)
        self.picks.close()
        self.detections.close()
        if self._pictures is not None:
            self._pictures.add_result(picks)
        if self._probabilities is not None:
            self.probability_path = self._probabilities.close()

    def draw(self, thresholds: Mapping[str, float]) -> None:
        """Draw the pictures, if there are to be any."""
        if self._pictures is not None:
            self.picture_paths, self.problems = self._pictures.draw(thresholds)
