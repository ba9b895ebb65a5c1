"""Measure recall, false picks, timing and sigma on labelled windows, beside SeisBench.

    python tools/measure_accuracy.py FOLDER [--model EQTransformer] [--weights original]
                                     [--stride N] [--horizon S] [--seisbench PATH] [--crops 6]
                                     [--json FILE]

FOLDER holds ``labels.csv`` (file, p_sample, s_sample, event_group; an empty s_sample: unknown) and
npz files with ``data`` of shape (sample, 3), components E, N, Z, 100 Hz. Each window is cut at
random ``--crops`` times; both programs get the same crops. Prints the tables of docs/accuracy.md;
``--json`` writes k of ``sigma = k x width`` for ``models/bundled/calibration.json``. k makes the
residuals of picks within 0.5 s of the analyst's most likely under a normal distribution; it is
judged by 5-fold cross-validation over events, against one constant sigma for each phase.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import seisbench.models
from obspy import Stream, Trace, UTCDateTime

from ml_prediction import load_model, pick

Floats = npt.NDArray[np.float64]

TOLERANCE = 0.5  # seconds
CROP = 7500  # samples
FOLDS = 5
PHASES = ("P", "S")


@dataclass(frozen=True)
class Crop:
    """A cut of a labelled window: its stream, arrival times by phase, and event."""

    stream: Stream
    arrivals: dict[str, UTCDateTime]
    judged: tuple[str, ...]
    event: str


@dataclass(frozen=True)
class Found:
    """One pick, whoever made it."""

    phase: str
    time: UTCDateTime
    width: float = float("nan")


@dataclass(frozen=True)
class Match:
    """One arrival: residual in seconds and width of the pick; NaN where it was missed."""

    phase: str
    event: str
    residual: float
    width: float


def read_crops(folder: Path, count: int) -> list[Crop]:
    """Random crops of every window; the same ones at every call."""
    rng = np.random.default_rng(20231009)
    crops = []
    for row in csv.DictReader((folder / "labels.csv").read_text().splitlines()):
        data = np.load(folder / row["file"])["data"].astype(np.float64)
        samples = {"P": row["p_sample"], "S": row["s_sample"]}
        judged = tuple(phase for phase in PHASES if samples[phase])
        for _ in range(count):
            begin = int(rng.integers(0, len(data) - CROP))
            start = UTCDateTime(2023, 10, 9) + int(rng.integers(0, 6000)) / 100
            header = {"network": "XX", "station": "W", "sampling_rate": 100.0, "starttime": start}
            stream = Stream(
                Trace(data[begin : begin + CROP, i].copy(), {**header, "channel": f"HH{letter}"})
                for i, letter in enumerate("ENZ")
            )
            arrivals = {p: start + (float(samples[p]) - begin) / 100 for p in judged}
            inside = {p: t for p, t in arrivals.items() if start < t < start + CROP / 100}
            crops.append(Crop(stream, inside, judged, row["event_group"]))
    return crops


def judge(crops: list[Crop], picker: Callable[[Stream], list[Found]]) -> tuple[list[Match], int]:
    """Arrivals found or missed, and the number of picks that are no labelled arrival."""
    matches, wrong = [], 0
    for crop in crops:
        picks = [found for found in picker(crop.stream) if found.phase in crop.judged]
        right: set[int] = set()
        for phase, time in crop.arrivals.items():
            near = [f for f in picks if f.phase == phase and abs(f.time - time) <= TOLERANCE]
            right.update(map(id, near))
            best = min(near, key=lambda found: abs(found.time - time), default=None)
            residual = float("nan") if best is None else best.time - time
            width = float("nan") if best is None else best.width
            matches.append(Match(phase, crop.event, residual, width))
        wrong += sum(id(found) not in right for found in picks)
    return matches, wrong


def arrays(matches: list[Match], phase: str) -> tuple[Floats, Floats, list[str], float]:
    """Residuals, widths and events of the arrivals found, and the recall."""
    of_phase = [m for m in matches if m.phase == phase]
    found = [m for m in of_phase if np.isfinite(m.residual)]
    residuals = np.array([m.residual for m in found])
    widths = np.array([m.width for m in found])
    return residuals, widths, [m.event for m in found], len(found) / len(of_phase)


def accuracy_row(name: str, matches: list[Match], wrong: int) -> str:
    """One line of the accuracy table."""
    cells = [name]
    for phase in PHASES:
        residuals, _, _, recall = arrays(matches, phase)
        median = float(np.median(residuals))
        spread = 1.4826 * float(np.median(np.abs(residuals - median)))
        cells += [f"{recall:.3f}", f"{median:+.3f}", f"{spread:.3f}"]
    return "| " + " | ".join([*cells, str(wrong)]) + " |"


def log_likelihood(residuals: Floats, sigma: Floats | float) -> float:
    """Mean log-likelihood of residuals under a normal distribution, without constants."""
    sigma = np.broadcast_to(sigma, residuals.shape)
    return float(np.mean(-0.5 * (residuals / sigma) ** 2 - np.log(sigma)))


def calibrate(residuals: Floats, widths: Floats, events: Sequence[str]) -> tuple[float, str]:
    """Fit k to all data, and make a table row of its cross-validation."""
    names = sorted(set(events))
    order = np.random.default_rng(0).permutation(len(names)) % FOLDS
    fold_of = dict(zip(names, order, strict=True))
    folds = np.array([fold_of[event] for event in events])
    scaled, constant, covered = [], [], []
    for fold in range(FOLDS):
        train, test = folds != fold, folds == fold
        k = float(np.sqrt(np.mean((residuals[train] / widths[train]) ** 2)))
        level = float(np.sqrt(np.mean(residuals[train] ** 2)))
        scaled.append(log_likelihood(residuals[test], k * widths[test]))
        constant.append(log_likelihood(residuals[test], level))
        covered.append(float(np.mean(np.abs(residuals[test]) <= k * widths[test])))
    k = float(np.sqrt(np.mean((residuals / widths) ** 2)))
    row = f"{k:.3f} | {np.mean(scaled):.3f} | {np.mean(constant):.3f} | {np.mean(covered):.2f}"
    return k, row


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
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    model = load_model(arguments.model, arguments.weights)
    stride = arguments.stride or model.spec.stride
    crops = read_crops(arguments.folder, arguments.crops)

    def ours(stream: Stream) -> list[Found]:
        result = pick(stream, model, stride=stride, horizon=arguments.horizon)
        return [Found(p.phase, p.time, p.width) for p in result.picks]

    matches, wrong = judge(crops, ours)
    print("| | P recall | median (s) | spread (s) | S recall | median (s) | spread (s) | other |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    print(accuracy_row(f"ml_prediction, {model.spec.id}", matches, wrong))
    if arguments.seisbench:
        other = getattr(seisbench.models, arguments.model).load(
            arguments.seisbench, version_str="1"
        )

        def theirs(stream: Stream) -> list[Found]:
            picks = other.classify(stream, overlap=model.spec.in_samples - stride).picks
            return [Found(p.phase, p.peak_time) for p in picks]

        print(accuracy_row("SeisBench classify, the same", *judge(crops, theirs)))
    print("\n| phase | k | k x width | constant | within one sigma |")
    print("| --- | --- | --- | --- | --- |")
    entry: dict[str, Any] = {}
    for phase in PHASES:
        residuals, widths, events, _ = arrays(matches, phase)
        entry[phase], row = calibrate(residuals, widths, events)
        print(f"| {phase} | {row} |")
    if arguments.json:
        rounded = {phase: round(k, 3) for phase, k in entry.items()}
        text = json.dumps({model.spec.weights_sha256: rounded}, indent=2)
        arguments.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
