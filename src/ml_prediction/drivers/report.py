"""What a run says at its end: a table for people, summary.json for programs."""

from __future__ import annotations

import math
import platform
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from ml_prediction import __version__
from ml_prediction.core.summary import Summary
from ml_prediction.drivers.run_config import RunConfig
from ml_prediction.models import Ensemble, Model
from ml_prediction.models.engine import EngineName
from ml_prediction.models.spec import ModelSpec
from ml_prediction.sources.problems import OF_NAMES, Problem
from ml_prediction.util.codes import NSLC
from ml_prediction.util.times import isoformat, to_utc

MOST_LINES: Final = 20
"""Problems named on stderr; all are in summary.json."""

_LIBRARIES: Final = ("numpy", "obspy", "openvino", "pymseed", "scipy", "seisbench", "torch")


@dataclass(slots=True)
class Report:
    """Everything worth telling about a run.

    ``wall_s`` is its length in seconds, ``picking_s`` that without loading and looking at files;
    ``covered_s`` are the seconds that the data cover.
    """

    run_id: str
    inputs: Sequence[str]
    config: RunConfig
    models: Sequence[Model | Ensemble]
    span: tuple[int, int]
    covered_s: float
    channels: Sequence[NSLC]
    summary: Summary
    problems: list[Problem]
    warnings: list[str]
    picks_by_phase: dict[str, int]
    detections: int
    picking_s: float
    wall_s: float
    outputs: list[str] = field(default_factory=list)

    @property
    def instruments(self) -> int:
        """How many there were."""
        return len({channel.instrument for channel in self.channels})

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values: the contents of summary.json."""
        start_ns, end_ns = self.span
        return {
            "run_id": self.run_id,
            "inputs": list(self.inputs),
            "span": {"start": isoformat(to_utc(start_ns)), "end": isoformat(to_utc(end_ns))},
            "covered_seconds": round(self.covered_s, 3),
            "instruments": self.instruments,
            "channels": [str(channel) for channel in self.channels],
            "picks": self.picks_by_phase,
            "detections": self.detections,
            "counts": self.summary.to_dict(),
            "picking_seconds": round(self.picking_s, 3),
            "wall_seconds": round(self.wall_s, 3),
            "problems": [
                {
                    "path": str(problem.path),
                    "reason": problem.reason,
                    "count": problem.count,
                    "unit": problem.unit,
                    "message": problem.message,
                }
                for problem in self.problems
            ],
            "warnings": self.warnings,
            "skipped_inputs": sorted({str(p.path) for p in self.problems if p.unit == "file"}),
            "outputs": sorted(self.outputs),
            "models": [describe_model(each) for each in self.models],
            "config": json_values(self.config.model_dump(mode="python")),
            "config_hash": self.config.pipeline.hash,
            "versions": versions(),
        }


def describe_model(model: Model | Ensemble) -> dict[str, Any]:
    """What a model is, or an ensemble and its members."""
    spec = model.spec
    known = {"name": spec.name, "weights": spec.weights, "sha256": spec.weights_sha256}
    if isinstance(model, Ensemble):
        return {
            **known,
            "combine": model.rule,
            "shares": list(model.shares),
            "members": [describe_model(each) for each in model.members],
        }
    return {
        **known,
        "engine": _engine(spec),
        "licence": spec.licence,
        "citation": spec.citation,
    }


def _engine(spec: ModelSpec) -> EngineName:
    version = spec.versions.get("openvino")
    if version is None:
        return "torch"
    return "openvino-bf16" if version.endswith(" bf16") else "openvino"


def versions() -> dict[str, str]:
    """Versions of everything that a pick depends on."""
    found = {}
    for name in _LIBRARIES:
        with suppress(PackageNotFoundError):  # not every engine has to be installed
            found[name] = version(name)
    return {"ml_prediction": __version__, "python": platform.python_version(), **found}


def name_problems(problems: Sequence[Problem], err: Console, most: int | None = MOST_LINES) -> None:
    """Name what could not be used, on stderr; of those that are worth it, so many at most."""
    loud = [problem for problem in problems if not problem.quiet]
    for problem in loud[:most]:
        more = f" ({problem.count} {problem.unit}s)" if problem.count > 1 else ""
        word = "misnamed" if problem.reason in OF_NAMES else "skipped"
        err.print(f"{word}: {problem.message}{more}", markup=False)
    if most is not None and len(loud) > most:
        err.print(f"skipped: {len(loud) - most} more; all are in summary.json")
    quiet = [problem.path.name for problem in problems if problem.quiet]
    if quiet:  # a folder holds other things too: one line is enough
        names = ", ".join(quiet[:MOST_LINES]) + (", ..." if len(quiet) > MOST_LINES else "")
        err.print(f"skipped: no waveform data in {len(quiet)} files: {names}", markup=False)


def show(report: Report, folder: Path, out: Console) -> None:
    """Print what came out, what did not, and where it is."""
    seconds = report.covered_s
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    table.add_column(overflow="fold")
    for phase, count in sorted(report.picks_by_phase.items()):
        table.add_row(f"{phase} picks", f"{count:,}", "")
    table.add_row("detections", f"{report.detections:,}", "")
    table.add_row("instruments", f"{report.instruments:,}", f"{len(report.channels):,} channels")
    rate = f"{seconds / max(report.picking_s, 1e-6):,.0f} x real time"
    table.add_row("data", f"{seconds:,.0f} s", f"in {report.picking_s:,.1f} s: {rate}")
    counts = report.summary
    for label, counter in (("skipped", counts.skipped), ("noted", counts.notes)):
        for reason, count in sorted(counter.items()):
            example = counts.examples.get(reason)
            table.add_row(f"{label}: {reason}", f"{count:,}", f"e.g. {example}" if example else "")
    out.print(table)
    out.print(f"In {folder}/: {', '.join(sorted(report.outputs))}", markup=False)


def json_values(value: Any) -> Any:
    """JSON has no infinity: such numbers become text."""
    if isinstance(value, dict):
        return {key: json_values(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_values(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
