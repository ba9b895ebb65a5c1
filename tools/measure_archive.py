r"""Trials of archive runs: a synthetic archive, runs that are killed again and again, throughput.

    python tools/measure_archive.py make SHARED ROOT --stations 50 --days 2
    python tools/measure_archive.py runs ROOT WORK --stores sqlite:///p.db parquet:///p --kills 20 \
        [-- --model PhaseNet --weights PATH]
    python tools/measure_archive.py workers ROOT WORK --counts 1 2 --confined [-- ...]

SHARED is a folder with `data/labelled_windows` (npz files of real earthquakes, 90 s each, E, N, Z
at 100 Hz). What stands after `--` is given to `ml-prediction archive`.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from obspy import Trace, UTCDateTime

from ml_prediction.sinks.store import open_store

FIRST = UTCDateTime(2017, 5, 1)
RATE = 100
DAY = 86_400 * RATE
NOISE = 2_500  # samples before the P of a window
EVERY_SECONDS = 600.0
"""From one earthquake of a station to the next, on average."""

Samples = npt.NDArray[np.int32]


def make(shared: Path, root: Path, stations: int, days: int) -> None:
    """Write an SDS archive: noise with real earthquakes, some of them just around midnights."""
    windows = windows_of(shared)
    for number in range(stations):
        rng = np.random.default_rng(number)
        quakes = rng.uniform(60, days * 86_400 - 150, round(days * 86_400 / EVERY_SECONDS))
        midnights = [day * 86_400 - 30 + rng.uniform(-15, 15) for day in range(1, days)]
        samples = record(windows, np.sort([*quakes, *midnights]), days * DAY, rng)
        for component, row in zip("ENZ", samples, strict=True):
            write_days(root, f"S{number:03d}", f"HH{component}", row)
        print(f"S{number:03d}: {len(quakes) + len(midnights)} earthquakes", flush=True)


def windows_of(shared: Path) -> list[Samples]:
    """Real earthquakes as counts, shape (component, sample)."""
    found = []
    for path in sorted((shared / "data" / "labelled_windows").rglob("*.npz")):
        data = np.load(path)["data"].T
        data = data - data[:, :NOISE].mean(axis=1, keepdims=True)
        if np.isfinite(data).all() and data[:, :NOISE].std(axis=1).min() > 0:
            scaled = data / data[:, :NOISE].std() * 100.0
            found.append(np.round(np.clip(scaled, -8e6, 8e6)).astype(np.int32))
    if not found:
        raise SystemExit(f"{shared} has no labelled windows.")
    return found


def record(
    windows: Sequence[Samples],
    quakes: npt.NDArray[np.float64],
    length: int,
    rng: np.random.Generator,
) -> Samples:
    """A station's samples, shape (component, sample): real noise, and real earthquakes on it.

    Pieces of noise overlap by halves, with weights whose squares add up to one.
    """
    weights = np.sin(np.pi * (np.arange(NOISE) + 0.5) / NOISE).astype(np.float32)
    pool = np.stack([window[:, :NOISE] for window in windows]).astype(np.float32) * weights
    samples = np.zeros((3, length + 2 * NOISE), dtype=np.float32)
    count = length // NOISE + 1
    for shift in (0, NOISE // 2):
        pieces = pool[rng.integers(len(pool), size=count)]
        pieces *= rng.choice(np.array([-1, 1], dtype=np.float32), size=(count, 1, 1))
        row = pieces.transpose(1, 0, 2).reshape(3, -1)
        samples[:, shift : shift + row.shape[1]] += row
    for second in quakes:
        window = windows[rng.integers(len(windows))]
        at = round(second * RATE)
        samples[:, at : at + window.shape[1]] += window
    counts: Samples = np.round(samples[:, NOISE // 2 :][:, :length]).astype(np.int32)
    return counts


def write_days(root: Path, station: str, channel: str, samples: Samples) -> None:
    """Write a channel's day files, which end at midnight to the sample."""
    for first in range(0, len(samples), DAY):
        start = FIRST + first / RATE
        stats: dict[str, object] = {"network": "XX", "station": station, "channel": channel}
        stats |= {"sampling_rate": float(RATE), "starttime": start}
        folder = root / f"{start.year}" / "XX" / station / f"{channel}.D"
        folder.mkdir(parents=True, exist_ok=True)
        name = f"XX.{station}..{channel}.D.{start.year}.{start.julday:03d}"
        trace = Trace(samples[first : first + DAY], stats)
        trace.write(str(folder / name), format="MSEED", encoding="STEIM2", reclen=4096)


def archive(root: Path, store: str, days: int, options: Sequence[str]) -> list[str]:
    """The command that picks an archive into a store."""
    end = (FIRST + days * 86_400).date
    span = ["--from", str(FIRST.date), "--to", str(end)]
    command = [sys.executable, "-m", "ml_prediction", "archive", str(root), *span]
    return [*command, "--store", store, *options]


def undisturbed(command: Sequence[str], cores: int | None = None) -> float:
    """Run to the end, on so many cores if given; the seconds that it took."""
    before = os.sched_getaffinity(0)
    begun = time.monotonic()
    try:
        if cores is not None:
            os.sched_setaffinity(0, sorted(before)[:cores])  # children inherit it
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    finally:
        os.sched_setaffinity(0, before)
    if done.returncode:
        raise SystemExit(f"Ended with {done.returncode}: {done.stderr}")
    return time.monotonic() - begun


def killed(command: Sequence[str], kills: int, pause: float, rng: random.Random) -> Counter[str]:
    """Run and resume until all is done, with kills of the driver or a worker on the way.

    Returns
    -------
    Counter
        What was killed how often; "runs" counts the starts.
    """
    told: Counter[str] = Counter()
    while True:
        process = subprocess.Popen([*command, "--resume"], stderr=subprocess.DEVNULL)
        told["runs"] += 1
        while told["driver"] + told["worker"] < kills:
            try:
                process.wait(rng.uniform(1, pause))
                break
            except subprocess.TimeoutExpired:
                pass
            workers = children(process.pid)
            if workers and rng.random() < 0.5:
                os.kill(rng.choice(workers), signal.SIGKILL)
                told["worker"] += 1
            else:
                process.kill()
                told["driver"] += 1
        if (status := process.wait()) >= 0:
            if status:
                raise SystemExit(f"Ended with {status}.")
            return told


def children(pid: int) -> list[int]:
    """Processes that a process has started and that hold a model."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    found = [int(child) for child in path.read_text().split()] if path.exists() else []
    return [child for child in found if "spawn_main" in _command_line(child)]


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def picks_of(store: str) -> tuple[list[str], list[str]]:
    """All that a store has, in words: what is no number is like itself there."""
    with open_store(store, create=False) as opened:
        return list(map(repr, opened.picks())), list(map(repr, opened.detections()))


def runs(arguments: argparse.Namespace) -> None:
    """Compare killed runs into each store with an undisturbed one, which is used again."""
    rng = random.Random(arguments.seed)
    calm = f"parquet:///{arguments.work.resolve() / 'calm'}"
    command = archive(arguments.root, calm, arguments.days, arguments.options)
    seconds = undisturbed([*command, "--resume"])
    wanted = picks_of(calm)
    print(
        f"undisturbed: {len(wanted[0])} picks, {len(wanted[1])} detections in {seconds:.0f} s",
        flush=True,
    )
    right = True
    for url in arguments.stores:
        command = archive(arguments.root, url, arguments.days, arguments.options)
        told = killed(command, arguments.kills, arguments.pause, rng)
        found = picks_of(url)
        same = found == wanted
        right = right and same
        print(f"{url}: {dict(told)}: {'the same' if same else 'NOT THE SAME'}", flush=True)
    sys.exit(0 if right else 1)


def workers(arguments: argparse.Namespace) -> None:
    """Throughput of one process and of more, in turn, each from nothing.

    A worker reads and prepares while its engine computes: alone it uses a second core, if there is
    one. Confined, so many workers have as many cores.
    """
    for number in range(arguments.rounds):
        for count in arguments.counts:
            url = f"parquet:///{arguments.work.resolve() / f'workers-{number}-{count}'}"
            command = archive(arguments.root, url, arguments.days, arguments.options)
            cores = count if arguments.confined else None
            seconds = undisturbed([*command, "--jobs", str(count)], cores)
            with open_store(url, create=False) as store:
                states = list(store.states())
            busy = sum(state.seconds or 0.0 for state in states)
            print(
                f"round {number}, {count} workers: {len(states)} station-days in {seconds:.1f} s,"
                f" {len(states) / seconds * 3600:.0f} an hour; {busy / len(states):.2f} s each",
                flush=True,
            )


def main() -> None:
    """Parse, and run the trial."""
    own, options = sys.argv[1:], []
    if "--" in own:
        own, options = own[: own.index("--")], own[own.index("--") + 1 :]
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    trials = parser.add_subparsers(dest="trial", required=True)
    making = trials.add_parser("make")
    making.add_argument("shared", type=Path)
    running, working = trials.add_parser("runs"), trials.add_parser("workers")
    for one in (making, running, working):
        one.add_argument("root", type=Path)
        one.add_argument("--days", type=int, default=2)
    making.add_argument("--stations", type=int, default=50)
    for one in (running, working):
        one.add_argument("work", type=Path)
    running.add_argument("--stores", nargs="+", required=True, metavar="URL")
    running.add_argument("--kills", type=int, default=20)
    running.add_argument("--pause", type=float, default=40.0, help="seconds between kills, at most")
    running.add_argument("--seed", type=int, default=1)
    working.add_argument("--counts", type=int, nargs="+", default=[1, 2])
    working.add_argument("--rounds", type=int, default=1)
    working.add_argument("--confined", action="store_true", help="as many cores as workers")
    arguments = parser.parse_args(own)
    arguments.options = options
    if arguments.trial == "make":
        make(arguments.shared, arguments.root, arguments.stations, arguments.days)
    elif arguments.trial == "runs":
        runs(arguments)
    else:
        workers(arguments)


if __name__ == "__main__":
    main()
