"""Which stride, blinding, stacking, 1-C policy and thresholds are best, on a labelled set.

Each combination is picked once, at a low threshold; higher thresholds come from those picks. The
thresholds are chosen and judged on different events (5-fold cross-validation), so that trying many
does not flatter; intervals are from the bootstrap over events, differences paired.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml_prediction.config import PipelineConfig
from ml_prediction.core.packets import to_packets
from ml_prediction.core.pipeline import Pipeline
from ml_prediction.core.results import Pick
from ml_prediction.errors import ConfigurationError, DataError
from ml_prediction.explore.arrivals import PHASES, Arrivals, to_table
from ml_prediction.explore.bootstrap import Interval, Resampling, ratio
from ml_prediction.explore.calibration import FOLDS, folds_of
from ml_prediction.explore.evaluation import Scope, prepare
from ml_prediction.explore.labelled import Crop, in_batches, reference_of
from ml_prediction.explore.processed import Processed
from ml_prediction.explore.sweep import THRESHOLDS, judge_above
from ml_prediction.models import Ensemble, Model
from ml_prediction.models.spec import ModelSpec
from ml_prediction.util.times import to_ns

Counts = npt.NDArray[np.int64]
LOWEST: Final = 0.05
"""Threshold that everything is picked at."""

OWN: Final = "own"
"""In tables: what each model has."""

_KINDS: Final = ("found", "missed", "false")


@dataclass(frozen=True, slots=True)
class Setting:
    """One combination of what a sweep varies.

    Attributes
    ----------
    stride, blinding, stacking
        Of the pipeline; None: each model's own.
    vertical_only
        Picked on the vertical component alone, to compare the 1-C policies.
    """

    stride: int | None = None
    blinding: tuple[int, int] | None = None
    stacking: Literal["max", "mean"] | None = None
    one_component: Literal["zero", "clone", "skip"] = "zero"
    horizon: float = float("inf")
    vertical_only: bool = False

    @property
    def options(self) -> dict[str, Any]:
        """As options of the pipeline."""
        return {
            "stride": self.stride,
            "blinding": self.blinding,
            "stacking": self.stacking,
            "one_component": self.one_component,
            "horizon": self.horizon,
        }


@dataclass(frozen=True, slots=True)
class Trial:
    """What one setting gave.

    Attributes
    ----------
    setting
        What was tried.
    thresholds
        Best by phase, on all events; the model's own of phases that are not tuned.
    f1
        Of each tuned phase and of their ``mean``: held out, with its interval.
    recall, precision
        Of each phase, held out.
    gain
        Mean F1 minus that of the model's own setting, paired; None for that one itself.
    at_defaults
        Mean F1 at the model's own thresholds.
    seconds
        That picking took.
    """

    setting: Setting
    thresholds: dict[str, float]
    f1: dict[str, Interval]
    recall: dict[str, float]
    precision: dict[str, float]
    gain: Interval | None
    at_defaults: float
    seconds: float


def own_setting(model: Model | Ensemble) -> Setting:
    """What the model does by default; members of an ensemble differ, and keep their own."""
    if isinstance(model, Ensemble):
        return Setting()
    return Setting(model.spec.stride, model.spec.blinding, model.spec.stacking)


def settings_around(
    model: Model | Ensemble,
    *,
    strides: Sequence[int] = (),
    blindings: Sequence[tuple[int, int]] = (),
    stackings: Sequence[Literal["max", "mean"]] = (),
    one_component: Sequence[Literal["zero", "clone", "skip"]] = (),
    horizon: float = float("inf"),
    full: bool = False,
) -> list[Setting]:
    """Combinations to try, the model's own first.

    Parameters
    ----------
    model
        Or ensemble.
    strides, blindings, stackings, one_component
        Values of each; empty: the model's own and the usual alternatives, of an ensemble only
        what each member has.
    horizon
        Seconds, of all of them.
    full
        All combinations; else one thing is varied at a time.

    Raises
    ------
    ConfigurationError
        If none of the combinations can cover the data.
    """
    own = replace(own_setting(model), horizon=horizon)
    usual = {} if isinstance(model, Ensemble) else _usual(model.spec)
    axes: dict[str, list[Any]] = {
        "stride": list(strides) or usual.get("stride", [None]),
        "blinding": list(blindings) or usual.get("blinding", [None]),
        "stacking": list(stackings) or usual.get("stacking", [None]),
    }
    first = replace(own, **{name: values[0] for name, values in axes.items()})
    base = own if all(getattr(own, name) in values for name, values in axes.items()) else first
    found = [base]
    if full:
        found += [
            replace(base, **dict(zip(axes, values, strict=True)))
            for values in product(*axes.values())
        ]
    else:
        found += [replace(base, **{n: v}) for n, values in axes.items() for v in values]
    specs = [member.spec for member in model.members]
    useful = [s for s in dict.fromkeys(found) if all(_covers(spec, s) for spec in specs)]
    if not useful:
        lengths = " and ".join(f"{spec.name} have {spec.in_samples}" for spec in specs)
        raise ConfigurationError(
            f"No combination covers the data: windows of {lengths} samples; stride plus both "
            "blindings must not be longer, nor stride plus right blinding than the horizon."
        )
    policies = one_component or ("zero", "clone")
    policies = policies if len(policies) > 1 else ()
    vertical = [replace(useful[0], one_component=p, vertical_only=True) for p in policies]
    return useful + vertical


def pick_crops(
    model: Model | Ensemble,
    cut: Sequence[Crop],
    setting: Setting,
    thresholds: dict[str, float],
    progress: Callable[[int], None] = lambda _: None,
) -> tuple[list[Pick], Processed]:
    """Pick crops, each as a station of its own.

    Parameters
    ----------
    model
        Ready to run.
    cut
        From `ml_prediction.explore.labelled.crops`.
    setting
        Of the pipeline.
    thresholds
        By label.
    progress
        Called with the number of crops that are done.
    """
    config = PipelineConfig.make(**setting.options, thresholds=thresholds)
    picks: list[Pick] = []
    done = 0
    for batch in in_batches(cut):
        packets = to_packets(
            trace
            for crop in batch
            for trace in crop.stream
            if not setting.vertical_only or trace.stats.channel.endswith("Z")
        )
        channels = {packet.nslc for packet in packets}
        pipeline = Pipeline(model, config, expected=channels, probabilities=False)
        picks += [*pipeline.push(packets).picks, *pipeline.flush().picks]
        done += len(batch)
        progress(done)
    return picks, processed_of(cut)


def processed_of(cut: Sequence[Crop]) -> Processed:
    """Stations and span of crops."""
    spans = [crop.span for crop in cut]
    stations = frozenset(("XX", crop.station) for crop in cut)
    start, end = min(s for s, _ in spans), max(e for _, e in spans)
    return Processed(stations, start, end, "the labelled set")


def picks_as_arrivals(picks: Iterable[Pick], path: Path) -> Arrivals:
    """Picks as a table."""
    rows = [
        {
            **{n: getattr(pick, n) for n in ("network", "station", "location", "channel", "phase")},
            "time_ns": to_ns(pick.time),
            "uncertainty_s": pick.sigma,
            "width_s": pick.width,
            "probability": pick.probability,
            "quality": pick.quality,
            "model": pick.model,
            "weights_sha256": pick.weights_sha256,
        }
        for pick in picks
    ]
    return Arrivals(path, "picks of crops", to_table(rows))


@dataclass(frozen=True, slots=True)
class Score:
    """Counts of one setting: shape (threshold, event, 3) by phase; found, missed, false."""

    counts: dict[str, Counts]
    thresholds: tuple[float, ...]


def score(
    picks: Arrivals,
    processed: Processed,
    cut: Sequence[Crop],
    events: Sequence[str],
    tolerance_s: float,
    thresholds: Sequence[float],
) -> Score:
    """Count what is found, missed and false, for each event, at each threshold."""
    reference = reference_of(cut, Path("labels"))
    ready = prepare(picks, reference, tolerance_s, Scope(), processed)
    number = {event: row for row, event in enumerate(events)}
    counts = {p: np.zeros((len(thresholds), len(events), 3), dtype=np.int64) for p in PHASES}
    for row, threshold in enumerate(thresholds):
        outcomes = judge_above(
            ready.picks, ready.reference, ready.coverage, threshold, tolerance_s
        ).outcomes
        columns = (outcomes[name] for name in ("phase", "event", "kind"))
        for phase, event, kind in zip(*columns, strict=True):
            counts[phase][row, number[event], _KINDS.index(kind)] += 1
    return Score(counts, tuple(thresholds))


def tunable(cut: Sequence[Crop]) -> tuple[str, ...]:
    """Phases with arrivals of so many events that each fold can hold some out.

    Raises
    ------
    DataError
        If there is none.
    """
    events = {p: {crop.event for crop in cut if p in crop.arrivals} for p in PHASES}
    found = tuple(phase for phase, names in events.items() if len(names) >= FOLDS)
    if not found:
        has = " and ".join(f"{phase} of {len(names)}" for phase, names in events.items())
        raise DataError(
            f"Too little to tune with: the cuts have {has} events; label {FOLDS} or more, so that "
            "thresholds can be judged on events that did not choose them."
        )
    return found


def held_out(result: Score, events: Sequence[str], seed: int = 0) -> dict[str, Counts]:
    """Counts (event, 3) of each phase, at thresholds that the other folds have chosen."""
    folds = folds_of(events, seed)
    chosen: dict[str, Counts] = {}
    for phase, counts in result.counts.items():
        part = np.zeros(counts.shape[1:], dtype=np.int64)
        for fold in range(FOLDS):
            best = int(np.argmax(_f1(counts[:, folds != fold].sum(axis=1))))
            part[folds == fold] = counts[best, folds == fold]
        chosen[phase] = part
    return chosen


def compare(
    scores: dict[Setting, Score],
    seconds: dict[Setting, float],
    events: Sequence[str],
    defaults: dict[str, float],
    replicates: int = 1000,
    seed: int = 0,
    phases: Sequence[str] = PHASES,
) -> list[Trial]:
    """Judge all settings on the same bootstrap samples, the best first.

    Parameters
    ----------
    scores, seconds
        Of each setting; the first is the one to compare with.
    events
        Names, in the order of the counts.
    defaults
        The model's own threshold of each phase.
    replicates, seed
        Of the bootstrap.
    phases
        Those that are tuned, from `tunable`; others keep the model's own threshold.
    """
    resampling = Resampling(len(events), replicates, seed)
    trials = []
    base_of: dict[bool, npt.NDArray[np.float64]] = {}
    for setting, result in scores.items():
        judged = [p for p in phases if p in defaults and result.counts[p].any()]
        own = {p: n for p, n in held_out(result, events, seed).items() if p in judged}
        f1, replicas = {}, []
        for phase, counts in own.items():
            drawn = _f1(np.einsum("bu,uk->bk", resampling.weights, counts))
            f1[phase] = resampling.interval(float(_f1(counts.sum(axis=0))), drawn, len(events))
            replicas.append(drawn)
        mean = np.mean(replicas, axis=0)
        value = float(np.mean([interval.value for interval in f1.values()]))
        f1["mean"] = resampling.interval(value, mean, len(events))
        gain = None
        if setting.vertical_only in base_of:
            base = base_of[setting.vertical_only]
            gain = resampling.interval(value - base[0], mean - base[1:], len(events))
        else:
            base_of[setting.vertical_only] = np.array([value, *mean])
        totals = {phase: counts.sum(axis=0) for phase, counts in own.items()}
        trials.append(
            Trial(
                setting,
                {
                    phase: result.thresholds[int(np.argmax(_f1(result.counts[phase].sum(axis=1))))]
                    if phase in judged
                    else threshold
                    for phase, threshold in defaults.items()
                },
                f1,
                {p: float(ratio(n[0], n[0] + n[1])) for p, n in totals.items()},
                {p: float(ratio(n[0], n[0] + n[2])) for p, n in totals.items()},
                gain,
                float(
                    np.mean(
                        [
                            _f1(
                                result.counts[phase][
                                    _index(result.thresholds, defaults[phase])
                                ].sum(axis=0)
                            )
                            for phase in judged
                        ]
                    )
                ),
                seconds[setting],
            )
        )
    return sorted(trials, key=lambda trial: (trial.setting.vertical_only, -trial.f1["mean"].value))


def table_of(trials: Sequence[Trial]) -> pd.DataFrame:
    """One row for each setting."""
    rows = []
    for trial in trials:
        setting = trial.setting
        row: dict[str, Any] = {
            "components": "Z" if setting.vertical_only else "3",
            "stride": setting.stride or OWN,
            "blinding": in_words(setting.blinding),
            "stacking": setting.stacking or OWN,
            "one_component": setting.one_component,
        }
        for name, interval in trial.f1.items():
            row |= {f"f1_{name}": interval.value}
            row |= {f"f1_{name}_low": interval.low, f"f1_{name}_high": interval.high}
        for phase in trial.recall:
            row |= {
                f"recall_{phase}": trial.recall[phase],
                f"precision_{phase}": trial.precision[phase],
                f"threshold_{phase}": trial.thresholds[phase],
            }
        gain = trial.gain or Interval(0.0, 0.0, 0.0)
        row |= {"gain": gain.value, "gain_low": gain.low, "gain_high": gain.high}
        row |= {"f1_at_defaults": trial.at_defaults, "seconds": round(trial.seconds, 1)}
        rows.append(row)
    return pd.DataFrame(rows)


def threshold_grid(defaults: dict[str, float]) -> tuple[float, ...]:
    """Thresholds that are tried: the usual ones from the lowest on, and the model's own."""
    return tuple(sorted({LOWEST, *(t for t in THRESHOLDS if t > LOWEST), *defaults.values()}))


def _index(thresholds: Sequence[float], wanted: float) -> int:
    return int(np.argmin(np.abs(np.array(thresholds) - wanted)))


def _f1(counts: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """F1 of counts whose last axis is found, missed, false; 0 where there is nothing."""
    found, missed, false = counts[..., 0], counts[..., 1], counts[..., 2]
    return np.nan_to_num(ratio(2 * found, 2 * found + missed + false))


def in_words(blinding: tuple[int, int] | None) -> str:
    """A blinding as users write it."""
    return OWN if blinding is None else f"{blinding[0]},{blinding[1]}"


def _usual(spec: ModelSpec) -> dict[str, list[Any]]:
    """What is tried of each, the model's own first."""
    blindings = [spec.blinding, (0, 0), (spec.in_samples // 12, spec.in_samples // 12)]
    return {
        "stride": [spec.stride, max(spec.stride // 2, 1), max(spec.stride // 4, 1)],
        "blinding": list(dict.fromkeys(blindings)),
        "stacking": [spec.stacking, "mean" if spec.stacking == "max" else "max"],
    }


def _covers(spec: ModelSpec, setting: Setting) -> bool:
    stride, blinding = setting.stride or spec.stride, setting.blinding or spec.blinding
    least = (stride + blinding[1]) / spec.sampling_rate
    return stride + sum(blinding) <= spec.in_samples and setting.horizon >= least
