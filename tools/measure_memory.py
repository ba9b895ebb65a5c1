"""Measure the peak memory of `ml-prediction pick` for an hour and for a day of one station.

    python tools/measure_memory.py FILE [--model EQTransformer] [--weights original]

FILE holds an hour or more of one three-component station; the day is its first hour, 24 times.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import obspy
from obspy import Stream, Trace

HOUR = 3600  # seconds


def repeat(stream: Stream, hours: int, folder: Path) -> Path:
    """Write the first hour of each channel so many times in a row; the folder."""
    folder.mkdir()
    for trace in stream:
        count = round(HOUR * trace.stats.sampling_rate)
        samples = np.tile(np.asarray(trace.data[:count], dtype=np.int32), hours)
        whole = Trace(samples, trace.stats.copy())
        whole.write(str(folder / f"{trace.id}.mseed"), format="MSEED", encoding="STEIM2")
    return folder


def peak_of(command: list[str]) -> float:
    """Peak resident memory of a process in MiB."""
    code = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command], check=True, capture_output=True, text=True
    )
    unit = 2**20 if sys.platform == "darwin" else 2**10  # macOS counts bytes, Linux KiB
    return float(done.stdout.split()[-1]) / unit


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    parser.add_argument("--model", default="EQTransformer")
    parser.add_argument("--weights", default="original")
    arguments = parser.parse_args()
    stream = obspy.read(arguments.file).merge()
    peaks = {}
    with TemporaryDirectory() as name:
        for hours in (1, 24):
            data = repeat(stream, hours, Path(name) / f"{hours}h")
            command = [sys.executable, "-m", "ml_prediction.cli", "pick", str(data)]
            command += ["--model", arguments.model, "--weights", arguments.weights]
            peaks[hours] = peak_of([*command, "--out", str(Path(name) / f"out{hours}")])
            print(f"{hours} h: {peaks[hours]:.1f} MiB")
    print(f"difference: {peaks[24] / peaks[1] - 1:+.1%}")


if __name__ == "__main__":
    main()
