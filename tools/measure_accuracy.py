"""Measure recall, false picks, timing and k of sigma on labelled windows, beside SeisBench.

    python tools/measure_accuracy.py FOLDER [--model EQTransformer] [--weights original]
                                     [--stride N] [--horizon S] [--seisbench PATH] [--crops 6]
                                     [--engine openvino-bf16] [--json FILE]

FOLDER is a labelled set, as `ml-prediction tune` takes it. Each window is cut at random ``--crops``
times; both programs get the same crops. Prints the tables of docs/accuracy.md; ``--json`` writes
k of ``sigma = k x width`` for ``models/bundled/calibration.json``. This k makes the residuals of
picks within 0.5 s of the analyst's most likely under a normal distribution; it is judged by 5-fold
cross-validation over events, against one constant sigma for each phase. (What `ml-prediction
calibrate` fits has heavier tails and more forms.) With ``--engine``, its picks are also
compared with those of torch.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import numpy.typing as npt
import seisbench.models

from ml_prediction import Pick, load_model
from ml_prediction.explore.arrivals import PHASES, Arrivals, to_table
from ml_prediction.explore.calibration import FOLDS, Residuals, folds_of, residuals_of
from ml_prediction.explore.evaluation import Evaluation, evaluate
from ml_prediction.explore.labelled import Crop, crops, read_labelled, reference_of
from ml_prediction.explore.matching import Integers, match
from ml_prediction.explore.tuning import Setting, pick_crops, picks_as_arrivals, processed_of
from ml_prediction.models.engine import EngineName
from ml_prediction.util.times import NANOSECONDS, to_ns

Floats = npt.NDArray[np.float64]


def judge(picks: Arrivals, cut: Sequence[Crop]) -> Evaluation:
    """Picks of crops against their labels."""
    return evaluate(
        picks, reference_of(cut, Path("labels")), processed=processed_of(cut), replicates=1
    )


def picks_of_seisbench(
    other: seisbench.models.WaveformModel, cut: Sequence[Crop], overlap: int
) -> Arrivals:
    """What SeisBench's classify finds."""
    rows = [
        {
            "network": "XX",
            "station": crop.station,
            "channel": "HHZ",
            "phase": pick.phase,
            "time_ns": to_ns(pick.peak_time),
            "probability": float(pick.peak_value),
        }
        for crop in cut
        for pick in other.classify(crop.stream, overlap=overlap).picks
    ]
    return Arrivals(Path("seisbench"), "picks", to_table(rows))


def accuracy_row(name: str, evaluation: Evaluation) -> str:
    """One line of the accuracy table."""
    cells, wrong = [name], 0
    for phase in PHASES:
        row = evaluation.overall(phase)
        cells += [f"{row['recall']:.3f}", f"{row['median_s']:+.3f}", f"{row['spread_s']:.3f}"]
        wrong += int(row["false"])
    return "| " + " | ".join([*cells, str(wrong)]) + " |"


def log_likelihood(residuals: Floats, sigma: Floats | float) -> float:
    """Mean log-likelihood of residuals under a normal distribution, without constants."""
    sigma = np.broadcast_to(sigma, residuals.shape)
    return float(np.mean(-0.5 * (residuals / sigma) ** 2 - np.log(sigma)))


def normal_k(data: Residuals) -> tuple[float, str]:
    """Fit k to all data, and make a table row of its cross-validation."""
    folds = folds_of(data.events, seed=0)
    scaled, constant, covered = [], [], []
    for fold in range(FOLDS):
        train, test = data.select(folds != fold), data.select(folds == fold)
        k = float(np.sqrt(np.mean((train.residuals / train.widths) ** 2)))
        level = float(np.sqrt(np.mean(train.residuals**2)))
        scaled.append(log_likelihood(test.residuals, k * test.widths))
        constant.append(log_likelihood(test.residuals, level))
        covered.append(float(np.mean(np.abs(test.residuals) <= k * test.widths)))
    k = float(np.sqrt(np.mean((data.residuals / data.widths) ** 2)))
    row = f"{k:.3f} | {np.mean(scaled):.3f} | {np.mean(constant):.3f} | {np.mean(covered):.2f}"
    return k, row


def drift_row(phase: str, picks: Sequence[Pick], exact: Sequence[Pick]) -> str:
    """One line of the table of drift: picks of a phase, matched with the exact ones."""
    ours, theirs = ([pick for pick in some if pick.phase == phase] for some in (picks, exact))
    number = {pick.station: n for n, pick in enumerate((*ours, *theirs))}

    def keyed(some: Sequence[Pick]) -> tuple[Integers, Integers]:
        keys = [number[pick.station] for pick in some]
        return np.asarray(keys, np.int64), np.asarray([to_ns(p.time) for p in some], np.int64)

    found, wanted = match(*keyed(ours), *keyed(theirs), NANOSECONDS // 2)
    pairs = [(ours[i], theirs[j]) for i, j in zip(found, wanted, strict=True)]
    seconds = [abs(one.time - other.time) for one, other in pairs]
    probabilities = [abs(one.probability - other.probability) for one, other in pairs]
    lost, new = len(theirs) - len(pairs), len(ours) - len(pairs)
    moved = " | ".join(f"{np.quantile(seconds, q):.3f}" for q in (0.5, 0.95, 1.0))
    changed = f"{np.median(probabilities):.4f} | {max(probabilities):.3f}"
    return f"{phase} | {len(theirs)} | {lost} | {new} | {moved} | {changed}"


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="EQTransformer")
    parser.add_argument("--weights", default="original")
    parser.add_argument("--seisbench", type=Path, help="the same weights as a .pt/.json pair")
    parser.add_argument("--stride", type=int, help="samples; by default the model's own")
    parser.add_argument("--horizon", type=float, default=math.inf, help="seconds")
    parser.add_argument("--crops", type=int, default=6)
    parser.add_argument("--engine", choices=get_args(EngineName), default="auto")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    model = load_model(arguments.model, arguments.weights, engine=arguments.engine)
    spec = model.spec
    stride = arguments.stride or spec.stride
    cut = list(crops(read_labelled(arguments.folder), arguments.crops))
    setting = Setting(stride, spec.blinding, spec.stacking, horizon=arguments.horizon)
    picks, _ = pick_crops(model, cut, setting, {})
    ours = judge(picks_as_arrivals(picks, Path("picks")), cut)
    print("| | P recall | median (s) | spread (s) | S recall | median (s) | spread (s) | other |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    print(accuracy_row(f"ml_prediction, {spec.id}", ours))
    if arguments.seisbench:
        other = getattr(seisbench.models, arguments.model).load(
            arguments.seisbench, version_str="1"
        )
        theirs = judge(picks_of_seisbench(other, cut, spec.in_samples - stride), cut)
        print(accuracy_row("SeisBench classify, the same", theirs))
    print("\n| phase | k | k x width | constant | within one sigma |")
    print("| --- | --- | --- | --- | --- |")
    rounded: dict[str, float] = {}
    for phase in PHASES:
        k, row = normal_k(residuals_of(ours.outcomes, phase))
        rounded[phase] = round(k, 3)
        print(f"| {phase} | {row} |")
    if arguments.engine != "auto":
        exact, _ = pick_crops(
            load_model(arguments.model, arguments.weights, engine="torch"), cut, setting, {}
        )
        print("\n| phase | torch's picks | lost | new | s moved, median | 95 % | largest ", end="")
        print("| probability changed, median | largest |")
        for phase in PHASES:
            print(f"| {drift_row(phase, picks, exact)} |")
    if arguments.json:
        text = json.dumps({spec.weights_sha256: rounded}, indent=2)
        arguments.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
