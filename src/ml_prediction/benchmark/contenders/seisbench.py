"""SeisBench's `classify` and `annotate`, on all stations in one call."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from obspy import Stream

from ml_prediction.benchmark.contenders.base import Contender, Found, Job, Setup
from ml_prediction.benchmark.contenders.rivals import Rival, load_seisbench, read_stream
from ml_prediction.util.times import to_ns


@dataclass(frozen=True, slots=True)
class Outcome:
    """What `classify` or `annotate` gave, and the seconds that reading took."""

    output: Any
    reading_s: float


@dataclass(frozen=True, slots=True)
class SeisBench(Rival):
    """A SeisBench model; ``classifies`` or else only annotates."""

    model: Any
    window: int
    classifies: bool

    def run(self, job: Job) -> Outcome:
        """From files to picks, or to probability traces."""
        started = time.perf_counter()
        stream = read_stream(job.folder)
        read = time.perf_counter() - started
        options = self._options(job)
        function = self.model.classify if self.classifies else self.model.annotate
        return Outcome(function(stream, **options), read)

    def picks(self, result: Outcome, job: Job) -> list[Found]:
        """Peaks of the picks; from traces they are made as `classify` would make them."""
        output = result.output
        if isinstance(output, Stream):
            output = self.model.classify_aggregate(output, self._options(job))
        return [
            Found(pick.trace_id, pick.phase, to_ns(pick.peak_time), float(pick.peak_value))
            for pick in output.picks
        ]

    def _options(self, job: Job) -> dict[str, Any]:
        thresholds = {f"{phase}_threshold": value for phase, value in job.thresholds.items()}
        batch = {} if job.batch_size is None else {"batch_size": job.batch_size}
        return {"overlap": self.window - job.stride, **batch, **thresholds}


def build_classify(setup: Setup) -> Contender:
    """`classify`: picks."""
    return SeisBench(load_seisbench(setup), setup.window, classifies=True)


def build_annotate(setup: Setup) -> Contender:
    """`annotate`: probability traces."""
    return SeisBench(load_seisbench(setup), setup.window, classifies=False)
