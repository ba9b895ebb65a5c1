r"""Trials of driver_ew on many stations: latency, load and memory, kill -9, a clock that steps.

    python tools/measure_live.py load SHARED --model PhaseNet --minutes 3 \
        --settings "Stride 100" "Horizon 2"
    python tools/measure_live.py load SHARED --model EQTransformer --speed 10 --ring 10240
    python tools/measure_live.py kill SHARED --kills 20
    python tools/measure_live.py clock SHARED --faketime /usr/lib/.../libfaketime.so.1

SHARED is a folder with `data/labelled_windows` (npz files of real earthquakes, 90 s each, E, N, Z
at 100 Hz) and `models/phasenet/original`. Each station plays windows in an order of its own, in
packets of one second whose ends differ from channel to channel, into real rings. With --speed 1 the
data's times are now, and latency is when a pick was seen in the ring minus the pick's time. The
clock that steps is that of the module's process, by the library libfaketime.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
from live_system import LiveSystem, live_system, picks_in

from ml_prediction.earthworm.messages import PickScnl, TraceBuf, encode_tracebuf2
from ml_prediction.util.codes import NSLC

WINDOW = 9000  # samples
RATE = 100
PAST = 1_700_000_000  # where data begin that are not now
CATCHING_UP = 12.0  # seconds without a pick, after which none is waited for
SETTLE = 30.0  # seconds at the beginning that are not counted
Samples = npt.NDArray[np.int32]
_STEPS = ("+0", "+3600", "+0", "-3600", "+0")  # of the clock, in equal parts of the time


def windows_of(shared: Path) -> list[Samples]:
    """Real earthquakes as counts, shape (sample, component)."""
    found = []
    for path in sorted((shared / "data" / "labelled_windows").rglob("*.npz")):
        data = np.load(path)["data"]
        if data.shape[0] >= WINDOW and np.isfinite(data).all() and data.any():
            scaled = data[:WINDOW] / np.abs(data).max() * 100_000
            found.append(np.round(scaled).astype(np.int32))
    if not found:
        raise SystemExit(f"{shared} has no labelled windows.")
    return found


def messages(
    windows: list[Samples], stations: int, seconds: int, start: float
) -> Iterator[tuple[float, bytes]]:
    """Waveforms of a network, in order of the packets' ends."""
    rng = np.random.default_rng(0)
    order = rng.integers(0, len(windows), (stations, seconds * RATE // WINDOW + 3))
    shift = rng.integers(0, WINDOW, stations)
    phases = sorted(
        (int(phase), station, component)
        for (station, component), phase in np.ndenumerate(rng.integers(0, RATE, (stations, 3)))
    )
    codes = [[NSLC("UW", f"S{s:03d}", "", f"HH{c}") for c in "ENZ"] for s in range(stations)]
    for second in range(seconds):
        for phase, station, component in phases:
            place = int(shift[station]) + second * RATE + phase
            samples = _cut(windows, order[station], place, component)
            begin = start + second + phase / RATE
            end = begin + (RATE - 1) / RATE
            buf = TraceBuf(codes[station][component], begin, end, RATE, samples, "i4")
            yield end, encode_tracebuf2(buf)


def _cut(windows: list[Samples], order: npt.NDArray[np.int64], at: int, component: int) -> Samples:
    number, first = divmod(at, WINDOW)
    part = windows[order[number]][first : first + RATE, component]
    if len(part) < RATE:
        more = windows[order[number + 1]][: RATE - len(part), component]
        part = np.concatenate([part, more])
    return np.ascontiguousarray(part)


def settings(arguments: argparse.Namespace, more: list[str]) -> str:
    """Lines for the module's file."""
    lines = [f"Model {arguments.model}", "StationFile stations", "PhaseToken 1", "Threads 2"]
    if arguments.model == "PhaseNet":
        folder = (arguments.shared / "models" / "phasenet" / "original").resolve()
        lines.append(f"Weights {folder}")
    return "\n".join([*lines, *more])


def processor_seconds(pid: int) -> float:
    """Processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mib(pid: int, what: str = "VmRSS") -> int:
    """Memory of a process in MiB: now, or the most so far (`VmHWM`)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what)) // 1024


def started(system: LiveSystem) -> subprocess.Popen[str]:
    """The module, once its main loop runs."""
    path = system.params / "status.json"
    path.unlink(missing_ok=True)
    process = system.start()
    while not path.exists():
        if process.poll() is not None:
            raise SystemExit(f"The module has ended: {process.communicate()[1]}")
        time.sleep(0.05)
    return process


def load(arguments: argparse.Namespace, system: LiveSystem) -> None:
    """Play a network; say how fast, how late and how large."""
    system.configure(settings(arguments, arguments.settings))
    process = started(system)
    speed = arguments.speed
    begun = time.time() + 1
    start = begun if speed == 1 else PAST
    seconds = round(arguments.minutes * 60 * speed)
    seen: list[tuple[float, PickScnl]] = []
    memory, lag = [], 0.0
    used, since = processor_seconds(process.pid), time.monotonic()
    looked = 0.0

    def look() -> None:
        now = time.time()
        seen.extend((now, pick) for pick in picks_in(system.messages()))

    feed = messages(windows_of(arguments.shared), arguments.stations, seconds, start)
    for count, (end, payload) in enumerate(feed):
        due = begun + (end - start) / speed
        while (wait := due - time.time()) > 0:
            look()
            time.sleep(min(wait, 0.02))
        lag = max(lag, time.time() - due)
        system.put([payload])
        if count % 50 == 0 and time.monotonic() - looked > 1:
            looked = time.monotonic()
            memory.append(memory_mib(process.pid))
    until = time.time() + 5
    while time.time() < until:
        look()
        time.sleep(0.02)
    cores = (processor_seconds(process.pid) - used) / (time.monotonic() - since)
    status = json.loads((system.params / "status.json").read_text())
    peak = memory_mib(process.pid, "VmHWM")
    stopped = system.stop()
    told = ", ".join([arguments.model, *arguments.settings])
    print(f"{told}: {arguments.stations} stations, {seconds} s at {speed:g} times real time")
    print(f"  {cores:.2f} cores, stopped in {stopped:.2f} s, player at most {lag:.2f} s behind")
    print("  memory in MiB by sixths of the time, least, median, most:", end="")
    for part in np.array_split(np.array(memory), 6):
        print(f" {part.min()} {np.median(part):.0f} {part.max()},", end="")
    print(f" at any moment at most {peak}")
    print(f"  {len(seen)} picks; {status['windows']} windows; dropped {status['dropped']}")
    print(f"  errors {status['errors']}, late samples {status['late_samples']}")
    print(f"  by its own account: {status['latency_s']}")
    if speed == 1:
        late = np.array([now - p.time_ns / 1e9 for now, p in seen if now > begun + SETTLE])
        p50, p95, p99 = np.quantile(late, [0.5, 0.95, 0.99])
        print(f"  picks seen after p50 {p50:.2f}, p95 {p95:.2f}, p99 {p99:.2f} s ({len(late)})")


def kill(arguments: argparse.Namespace, system: LiveSystem) -> None:
    """Kill the module again and again while data come; compare with an undisturbed run."""
    calm_picks = _calm(arguments, system)
    picks = _played(arguments, system, arguments.kills)
    _compare(f"{arguments.kills} kills", calm_picks, picks)


def clock(arguments: argparse.Namespace, system: LiveSystem) -> None:
    """Let the host's clock step by an hour, forth and back, while data come."""
    if not arguments.faketime.is_file():
        raise SystemExit(f"There is no {arguments.faketime}: apt-get install libfaketime.")
    calm_picks = _calm(arguments, system)
    with TemporaryDirectory() as folder:
        steps = Path(folder) / "steps"
        steps.write_text("+0")
        os.environ |= {
            "LD_PRELOAD": str(arguments.faketime),
            "FAKETIME_TIMESTAMP_FILE": str(steps),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }
        picks = _played(arguments, system, 0, steps=steps)
    _compare("clock an hour ahead, right, an hour behind, right", calm_picks, picks)


def _calm(arguments: argparse.Namespace, system: LiveSystem) -> list[PickScnl]:
    """Picks of an undisturbed run, in a system of its own."""
    with (
        TemporaryDirectory() as folder,
        live_system(Path(folder), [key + 8 for key in system.keys], 65_536) as calm,
    ):
        return _played(arguments, calm, 0)


def _compare(what: str, calm_picks: list[PickScnl], picks: list[PickScnl]) -> None:
    lost = [pick for pick in calm_picks if not _near(pick, picks)]
    more = [pick for pick in picks if not _near(pick, calm_picks)]
    twice = [pick for pick in picks if len(_near(pick, picks)) > 1]
    numbers = [pick.sequence for pick in picks]
    print(f"{what}: {len(calm_picks)} picks undisturbed, {len(picks)} disturbed; ")
    print(f"  {len(lost)} lost, {len(more)} more, {len(twice)} doubled, ", end="")
    print(f"{len(numbers) - len(set(numbers))} numbers used twice")


def _near(pick: PickScnl, picks: list[PickScnl]) -> list[PickScnl]:
    """Picks of the same channel and phase, no more than a millisecond away."""
    return [
        other
        for other in picks
        if (other.nslc, other.phase) == (pick.nslc, pick.phase)
        and abs(other.time_ns - pick.time_ns) <= 1_000_000
    ]


def _played(
    arguments: argparse.Namespace, system: LiveSystem, kills: int, steps: Path | None = None
) -> list[PickScnl]:
    """Play a network in quick motion; kill the module, or write clock steps into a file."""
    rng = random.Random(arguments.seed)
    names = [f"S{number:03d} HH{c} UW --" for number in range(arguments.stations) for c in "ZNE"]
    (system.params / "stations").write_text("\n".join(names))
    more = ["Stride 100", "Horizon 2"] if arguments.model == "PhaseNet" else []
    system.configure(settings(arguments, [*more, "SnapshotInt 2"]))
    started(system)
    picks: list[PickScnl] = []
    begun = time.time()
    next_kill = begun + rng.uniform(2, 5)
    seconds = round(arguments.minutes * 60 * arguments.speed)
    feed = messages(windows_of(arguments.shared), arguments.stations, seconds, PAST)
    for end, payload in feed:
        if steps is not None:
            part = int(len(_STEPS) * (end - PAST) / seconds)
            steps.write_text(_STEPS[min(part, len(_STEPS) - 1)])
        while time.time() < begun + (end - PAST) / arguments.speed:
            picks += picks_in(system.messages())
            time.sleep(0.01)
            if kills and time.time() > next_kill:
                kills -= 1
                system.stop(signal.SIGKILL)
                system.start()
                next_kill = time.time() + rng.uniform(1, 6)
        system.put([payload])
    while kills:
        kills -= 1
        time.sleep(rng.uniform(1, 6))
        system.stop(signal.SIGKILL)
        system.start()
    until = time.time() + CATCHING_UP
    while time.time() < until:
        if new := picks_in(system.messages()):
            until = time.time() + CATCHING_UP
        picks += new
        time.sleep(0.05)
    system.stop()
    return picks + picks_in(system.messages())


def main() -> None:
    """Parse, make the rings, run the trial."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("trial", choices=["load", "kill", "clock"])
    parser.add_argument("shared", type=Path)
    parser.add_argument("--model", default="PhaseNet", choices=["PhaseNet", "EQTransformer"])
    parser.add_argument("--stations", type=int, default=0, help="default: 200; to kill or step 20")
    parser.add_argument(
        "--minutes", type=float, default=0.0, help="default: 3; to kill or step 1.25"
    )
    parser.add_argument("--speed", type=float, default=0.0, help="default: 1; to kill or step 8")
    parser.add_argument("--settings", nargs="*", default=[], metavar="LINE")
    parser.add_argument("--ring", type=int, default=1024, help="kB of the wave ring")
    parser.add_argument(
        "--faketime",
        type=Path,
        default="/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
        help="library that lets a clock step",
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    trial = {"load": load, "kill": kill, "clock": clock}[arguments.trial]
    killing = trial is not load
    arguments.stations = arguments.stations or (20 if killing else 200)
    arguments.minutes = arguments.minutes or (1.25 if killing else 3.0)
    arguments.speed = arguments.speed or (8.0 if killing else 1.0)
    base = random.SystemRandom().randrange(0x6D600000, 0x6D6FFF00)
    size = 65_536 if killing else arguments.ring
    with (
        TemporaryDirectory() as folder,
        live_system(Path(folder), range(base, base + 4), size) as system,
    ):
        names = [f"S{n:03d} HH{c} UW --" for n in range(arguments.stations) for c in "ZNE"]
        (system.params / "stations").write_text("\n".join(names))
        trial(arguments, system)


if __name__ == "__main__":
    main()
