"""Measure what gaps cost: picks found again, picks invented, processor time.

    python tools/measure_gaps.py FILE [--model EQTransformer] [--weights original]

FILE holds an hour or so of one three-component station. It is picked as it is; with one sample
missing every 30 s on all components; and with 1,000 gaps of 50 ms at random places on each
component. Prints the figures of docs/accuracy.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import obspy
from obspy import Stream

from ml_prediction import Pick, Result, load_model, pick
from ml_prediction.models import Model

TOLERANCE = 0.1  # seconds
REPEATS = 3
masked_where: Any = np.ma.masked_where  # NumPy's annotations of it are incomplete
Flags = npt.NDArray[np.bool_]


def with_holes(stream: Stream, holes: Callable[[int], Flags]) -> Stream:
    """A copy of a stream, its samples masked where ``holes(length)`` says."""
    result = stream.copy()
    for trace in result:
        trace.data = masked_where(holes(len(trace)), trace.data)
    return result


def every_half_minute(length: int) -> Flags:
    """One sample in 3,000."""
    missing = np.zeros(length, dtype=np.bool_)
    missing[1500::3000] = True
    return missing


def thousand_short(rng: np.random.Generator) -> Callable[[int], Flags]:
    """1,000 gaps of five samples."""

    def holes(length: int) -> Flags:
        missing = np.zeros(length, dtype=np.bool_)
        for start in rng.integers(5, length - 10, 1000):
            missing[start : start + 5] = True
        return missing

    return holes


def timed(stream: Stream, model: Model) -> tuple[Result, float]:
    """Result, and the least processor time of some runs."""
    seconds = []
    for _ in range(REPEATS):
        before = time.process_time()
        result = pick(stream, model)
        seconds.append(time.process_time() - before)
    return result, min(seconds)


def again(reference: Sequence[Pick], picks: Sequence[Pick]) -> int:
    """How many of the reference's picks are among the others."""
    return sum(
        any(p.phase == q.phase and abs(p.time - q.time) < TOLERANCE for q in picks)
        for p in reference
    )


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    parser.add_argument("--model", default="EQTransformer")
    parser.add_argument("--weights", default="original")
    arguments = parser.parse_args()
    model = load_model(arguments.model, arguments.weights, threads=1)
    stream = obspy.read(arguments.file).merge()
    whole, base = timed(stream, model)
    print(f"{model.spec.id}, whole: {len(whole.picks)} picks, {base:.2f} s of processor time")
    gappy = {
        "one sample every 30 s": every_half_minute,
        "1,000 gaps of 50 ms": thousand_short(np.random.default_rng(1)),
    }
    for name, holes in gappy.items():
        result, seconds = timed(with_holes(stream, holes), model)
        found = again(whole.picks, result.picks)
        new = len(result.picks) - again(result.picks, whole.picks)
        print(
            f"{name}: {found} of {len(whole.picks)} found again, {new} others, "
            f"{seconds:.2f} s ({seconds / base:.2f} times)"
        )


if __name__ == "__main__":
    main()
