"""ml_prediction, as `ml-prediction pick` runs it: files, pipeline, sorted picks on disk."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, cast

import numpy as np

from ml_prediction import __version__
from ml_prediction.benchmark.contenders.base import Contender, Found, Job, Setup, station_of
from ml_prediction.core.results import Pick
from ml_prediction.drivers.run_config import RunConfig
from ml_prediction.drivers.share import Share, run_share
from ml_prediction.drivers.spool import items_of
from ml_prediction.models import Model, load_model
from ml_prediction.models.engine import EngineName
from ml_prediction.sources.files import open_files
from ml_prediction.util.times import to_ns

_FORWARD_WINDOWS: Final = 64


@dataclass(frozen=True, slots=True)
class Outcome:
    """Picks, and seconds by stage."""

    picks: list[Pick]
    seconds: dict[str, float]


def build(setup: Setup) -> Contender:
    """Load the model."""
    engine = cast("EngineName", setup.engine)
    model = load_model(
        setup.model, setup.for_ours, device="cpu", threads=setup.threads, engine=engine
    )
    return Ours(model)


@dataclass(frozen=True, slots=True)
class Ours:
    """The path of driver_local, without the report at its end."""

    model: Model

    def run(self, job: Job) -> Outcome:
        """From files to sorted picks on disk, and these read back."""
        pipeline: dict[str, object] = {"stride": job.stride, "thresholds": dict(job.thresholds)}
        if job.batch_size is not None:
            pipeline["batch_size"] = job.batch_size
        config = RunConfig.from_tables({"model": self.model.spec.name, "pipeline": pipeline})
        started = time.perf_counter()
        source = open_files(str(job.folder))
        scanned = time.perf_counter() - started
        with TemporaryDirectory() as scratch:
            share = Share(config, "bench", Path(scratch))
            result = run_share(source, [self.model], share, lambda _: None)
            picks = [pick for path in result.picks for pick in items_of(path)]
        return Outcome(picks, {"looking at files": scanned, **result.summary.seconds})

    def picks(self, result: Outcome, job: Job) -> list[Found]:
        """Peaks of the picks."""
        return [
            Found(
                station_of(pick.instrument),
                pick.phase,
                to_ns(pick.peak_time),
                pick.probability,
            )
            for pick in result.picks
        ]

    def stages(self, result: Outcome) -> dict[str, float]:
        """Wall seconds by stage; prediction is what the pipeline waited for."""
        return {stage: seconds for stage, seconds in result.seconds.items() if seconds > 0}

    def measure(self, seconds: float) -> dict[str, float]:
        """Windows per second of forward passes alone."""
        spec = self.model.spec
        shape = (_FORWARD_WINDOWS, len(spec.components), spec.in_samples)
        batch = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
        self.model.engine(batch)
        rates: list[float] = []
        started = time.perf_counter()
        while time.perf_counter() - started < seconds or len(rates) < 3:
            before = time.perf_counter()
            self.model.engine(batch)
            rates.append(_FORWARD_WINDOWS / (time.perf_counter() - before))
        return {"forward_windows_per_s": float(np.median(rates))}

    @property
    def versions(self) -> dict[str, str]:
        """Ours, and of what computes the model."""
        return {"ml_prediction": __version__, **self.model.spec.versions}
