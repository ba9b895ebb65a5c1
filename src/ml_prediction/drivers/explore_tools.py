"""What `evaluate`, `calibrate`, `pick-labelled` and `tune` do: files in, files out."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd
from obspy import UTCDateTime
from rich.console import Console
from rich.table import Table

from ml_prediction.config_toml import to_toml
from ml_prediction.drivers.driver_local import SUMMARY, read_inventory
from ml_prediction.drivers.run_config import RunConfig
from ml_prediction.drivers.share import load_one
from ml_prediction.drivers.warning_log import WarningLog, listening
from ml_prediction.errors import ConfigurationError, DataError
from ml_prediction.explore.calibration import FOLDS, calibrate, quality_table
from ml_prediction.explore.evaluation import Evaluation, Scope, evaluate
from ml_prediction.explore.judging import By
from ml_prediction.explore.labelled import Crop, crops, labels_of, read_labelled
from ml_prediction.explore.one_model import of_one_model
from ml_prediction.explore.processed import Processed
from ml_prediction.explore.readers import read_arrivals, read_run
from ml_prediction.explore.report import check_report, compact, write_report
from ml_prediction.explore.tuning import (
    LOWEST,
    OWN,
    Score,
    Setting,
    Trial,
    compare,
    in_words,
    pick_crops,
    picks_as_arrivals,
    score,
    table_of,
    threshold_grid,
    tunable,
)
from ml_prediction.models.calibration import write_calibration
from ml_prediction.models.sigma import USUAL_WIDTH, SigmaMap
from ml_prediction.models.spec import PICK_LABELS, ModelSpec
from ml_prediction.sinks.folder import OutputFolder
from ml_prediction.sinks.tables import CsvSink
from ml_prediction.util.times import isoformat, to_utc

LABELS: Final = "labels.csv"
TRIALS: Final = "trials.csv"
TUNED: Final = "tuned.toml"


@dataclass(frozen=True, slots=True)
class Comparison:
    """What `evaluate` and `calibrate` are told about picks and reference."""

    picks: str
    reference: str
    tolerance: float
    scope: Scope
    by: By
    inventory: str | None
    replicates: int
    seed: int
    model: str | None = None

    def run(self) -> Evaluation:
        """Read both, and compare them."""
        return evaluate(
            read_arrivals(self.picks),
            read_arrivals(self.reference),
            self.tolerance,
            scope=self.scope,
            by=self.by,
            model=self.model,
            processed=read_run(self.picks),
            inventory=read_inventory(self.inventory),
            replicates=self.replicates,
            seed=self.seed,
        )


def run_evaluate(
    comparison: Comparison,
    folder: str | None,
    formats: Sequence[str],
    overwrite: bool,
    out: Console,
) -> int:
    """Compare, print the table, and write the report; returns the exit status."""
    check_report(None if folder is None else Path(folder), formats, overwrite=overwrite)
    evaluation = comparison.run()
    show_evaluation(evaluation, out)
    if folder is not None:
        names = write_report(evaluation, Path(folder), formats, overwrite=overwrite)
        out.print(f"In {folder}/: {', '.join(names)}", markup=False)
    return 0


def run_calibrate(comparison: Comparison, file: str, out: Console) -> int:
    """Fit sigma to real errors, print what is held out, and write the file."""
    picks = of_one_model(read_arrivals(comparison.picks), comparison.model)
    weights = sorted(set(picks.table["weights_sha256"]) - {""})
    if len(weights) != 1:
        raise DataError(
            f"{picks.path}: its picks are of {len(weights)} weights; a calibration is of one. Give "
            "the picks.csv of one run of `ml-prediction pick`."
        )
    evaluation = comparison.run()
    for sentence in evaluation.statement[:-1]:
        out.print(sentence, markup=False)
    found = calibrate(evaluation.outcomes, comparison.seed)
    for phase, calibration in found.items():
        out.print(
            f"\n{phase}: {calibration.arrivals} arrivals of {calibration.events} events; held out "
            f"(5-fold, by event):",
            markup=False,
        )
        _print(calibration.forms.round(3), out)
        out.print(f"chosen: {calibration.form}: {_formula(calibration.fit.scale)}", markup=False)
        _print(quality_table(calibration, RunConfig().pipeline.quality).round(3), out)
    for phase in sorted(set(PICK_LABELS) - found.keys()):
        out.print(f"\n{phase}: too few arrivals; it keeps what the package has.", markup=False)
    write_calibration(
        file,
        weights[0],
        {phase: calibration.fit.scale for phase, calibration in found.items()},
        {phase: calibration.measured for phase, calibration in found.items()},
    )
    out.print(f"\nWritten: {file}. Use it: ml-prediction pick --calibration {file}", markup=False)
    return 0


def run_pick_labelled(
    labelled: str, config: RunConfig, count: int, out: Console, err: Console
) -> int:
    """Pick random cuts of a labelled set as they are, and write picks and labels."""
    cut = _cut(labelled, count, err)
    with OutputFolder(config.out, overwrite=config.overwrite) as folder:
        log = WarningLog()
        with listening(log):
            model = load_one(config, config.threads)
            pipeline = config.pipeline
            setting = Setting(
                pipeline.stride,
                pipeline.blinding,
                pipeline.stacking,
                pipeline.one_component,
                pipeline.horizon,
            )
            picks, processed = pick_crops(model, cut, setting, dict(pipeline.thresholds))
        _tell(log, err)
        sink = CsvSink(folder)
        sink.write(picks, [])
        sink.close()
        folder.part(LABELS).write_text(labels_of(cut).to_csv(index=False), encoding="utf-8")
        folder.part(SUMMARY).write_text(_summary(cut, processed), encoding="utf-8")
    out.print(
        f"{len(picks)} picks of {len(cut)} cuts. Now: ml-prediction evaluate {config.out} "
        f"{Path(config.out) / LABELS}",
        markup=False,
    )
    return 0


def run_tune(
    labelled: str,
    config: RunConfig,
    settings: Sequence[Setting],
    count: int,
    tolerance: float,
    out: Console,
    err: Console,
) -> int:
    """Try settings on a labelled set; write a table of all, and the best as a configuration."""
    cut = _cut(labelled, count, err)
    phases = tunable(cut)
    events = sorted({crop.event for crop in cut})
    with OutputFolder(config.out, overwrite=config.overwrite) as folder:
        log = WarningLog()
        scores: dict[Setting, Score] = {}
        seconds: dict[Setting, float] = {}
        with listening(log):
            model = load_one(config, config.threads)
            defaults = own_thresholds(model.spec)
            grid = threshold_grid(defaults)
            for number, setting in enumerate(settings, 1):
                err.print(f"{number} of {len(settings)}: {describe(setting)}", markup=False)
                started = time.perf_counter()
                picks, processed = pick_crops(model, cut, setting, dict.fromkeys(defaults, LOWEST))
                seconds[setting] = time.perf_counter() - started
                found = picks_as_arrivals(picks, Path("picks"))
                scores[setting] = score(found, processed, cut, events, tolerance, grid)
        _tell(log, err)
        trials = compare(scores, seconds, events, defaults, phases=phases)
        table = table_of(trials)
        folder.part(TRIALS).write_text(
            table.to_csv(index=False, float_format="%.4f"), encoding="utf-8"
        )
        kept = [
            f"{phase}: labelled in fewer than {FOLDS} events; it keeps the model's own threshold."
            for phase in defaults
            if phase not in phases
        ]
        lines, text = tuned(config, trials, len(events), kept)
        folder.part(TUNED).write_text(text, encoding="utf-8")
    _print(_for_people(table), out)
    for line in lines:
        out.print(line, markup=False)
    out.print(f"In {config.out}/: {TRIALS}, {TUNED}", markup=False)
    return 0


def own_thresholds(spec: ModelSpec) -> dict[str, float]:
    """The model's own threshold of each phase."""
    return {label: float(spec.thresholds[label]) for label in PICK_LABELS if label in spec.labels}


def describe(setting: Setting) -> str:
    """A setting in words."""
    return (
        f"stride {setting.stride or OWN}, blinding {in_words(setting.blinding)}, "
        f"stacking {setting.stacking or OWN}"
        + (f", vertical only, 1-C {setting.one_component}" if setting.vertical_only else "")
    )


def choose(trials: Sequence[Trial]) -> Trial:
    """The trial with the best F1 that beats the first by more than chance; else the first.

    What costs more, or differs from the model's own setting, must show that it is worth it.
    """
    better = (trial for trial in trials if trial.gain is not None and trial.gain.low > 0)
    return next(better, _first(trials))


def verdict(trials: Sequence[Trial]) -> list[str]:
    """What was found, one sentence each."""
    best, first, highest = choose(trials), _first(trials), trials[0]
    f1 = best.f1["mean"]
    phases = [name for name in best.f1 if name != "mean"]
    what = f"{'mean ' if len(phases) > 1 else ''}F1 of {' and '.join(phases)}"
    words = ", ".join(f"{phase} {value:g}" for phase, value in best.thresholds.items())
    lines = [
        f"Best: {describe(best.setting)}, thresholds {words}: {what} {f1.value:.3f} "
        f"({f1.low:.3f} to {f1.high:.3f}), held out.",
        f"With {describe(first.setting)} and the model's own thresholds it is "
        f"{first.at_defaults:.3f}.",
    ]
    if highest.gain is not None:
        sure = "more than" if highest.gain.low > 0 else "no more than"
        lines.append(
            f"The highest F1 has {describe(highest.setting)}: {highest.gain.value:+.3f} "
            f"({highest.gain.low:+.3f} to {highest.gain.high:+.3f}) against the first setting at "
            f"its own best thresholds, {sure} chance explains."
        )
    return lines


def tuned(
    config: RunConfig, trials: Sequence[Trial], events: int, kept: Sequence[str] = ()
) -> tuple[list[str], str]:
    """What was found, in sentences (also those of what was kept), and the file that says so."""
    three = [trial for trial in trials if not trial.setting.vertical_only]
    vertical = [trial for trial in trials if trial.setting.vertical_only]
    best, lines = choose(three), [*verdict(three), *kept]
    options = {**best.setting.options, "thresholds": best.thresholds}
    models = ("model", "weights", "combine", "shares", "engine", "calibration")
    if vertical:
        policy = choose(vertical)
        options["one_component"] = policy.setting.one_component
        lines.append(
            f"Verticals alone: {policy.setting.one_component}, {policy.f1['mean'].value:.3f}."
        )
    chosen = RunConfig.from_tables(
        {
            **{name: getattr(config, name) for name in models},
            "pipeline": {**config.pipeline.model_dump(exclude_unset=True), **options},
        }
    )
    comments = [*lines, f"{events} events; see {TRIALS}."]
    return lines, "".join(f"# {line}\n" for line in comments) + "\n" + to_toml(chosen)


def show_evaluation(evaluation: Evaluation, out: Console) -> None:
    """Print the statement, the statistics, and what was not judged."""
    for sentence in evaluation.statement:
        out.print(sentence, markup=False)
    out.print()
    if len(evaluation.statistics):
        _print(compact(evaluation.statistics), out)
    if len(evaluation.sigma):
        out.print("\nSigma: 68.3 % should lie within one", markup=False)
        _print(evaluation.sigma.round(4), out)
    for reason, number in sorted(evaluation.not_judged.items()):
        out.print(f"not judged: {reason}: {number:,}", markup=False)


def _formula(scale: SigmaMap) -> str:
    """A map of sigma as people write it."""
    parts = [f"sigma = {scale.k:.3f} x width"]
    if scale.width_power:
        parts.append(f"(width / {USUAL_WIDTH:g} s)^{scale.width_power:.3f}")
    if scale.odds_power:
        parts.append(f"(p / (1 - p))^{scale.odds_power:.3f}")
    return " x ".join(parts)


def _first(trials: Sequence[Trial]) -> Trial:
    """The one that the others are compared with."""
    return next(trial for trial in trials if trial.gain is None)


def _cut(labelled: str, count: int, err: Console) -> list[Crop]:
    if count < 1:
        raise ConfigurationError(f"--crops {count}: give 1 or more.")
    with listening(WarningLog()) as log:
        windows = read_labelled(Path(labelled))
    _tell(log, err)
    return list(crops(windows, count))


def _summary(cut: Sequence[Crop], processed: Processed) -> str:
    """What `evaluate` must know of a run: channels and span."""
    channels = [trace.id for crop in cut for trace in crop.stream]
    start, end = (isoformat(to_utc(t)) for t in (processed.start_ns, processed.end_ns))
    document = {"channels": channels, "span": {"start": start, "end": end}, "outputs": [LABELS]}
    return json.dumps(document, indent=2) + "\n"


def _tell(log: WarningLog, err: Console) -> None:
    if log.sentences:
        more = f" ({len(log.sentences) - 1} more of the set)" if len(log.sentences) > 1 else ""
        err.print(f"warning: {log.sentences[0]}{more}", markup=False)


def _for_people(table: pd.DataFrame) -> pd.DataFrame:
    hidden = [n for n in table.columns if str(n).startswith(("f1_P_", "f1_S_"))]
    return table.drop(columns=hidden).round(3)


def _print(table: pd.DataFrame, out: Console) -> None:
    drawn = Table(box=None, pad_edge=False)
    for name in table.columns:
        drawn.add_column(str(name), justify="right")
    for row in table.itertuples(index=False, name=None):
        drawn.add_row(*(_cell(value) for value in row))
    out.print(drawn)


def _cell(value: Any) -> str:
    return "" if isinstance(value, float) and value != value else str(value)


def parse_time(option: str, text: str | None) -> UTCDateTime | None:
    """Time of an option; None if it is not given.

    Raises
    ------
    ConfigurationError
        If it is no time.
    """
    if text is None:
        return None
    try:
        return UTCDateTime(text)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"{option} {text}: not a time; write it like 2009-08-24T00:20:00."
        ) from error
