"""Whether a ring gives the picks of the files: every set of waveforms through `pick` and driver_ew.

    python tools/measure_parity.py SHARED [--sets Full_Array ...] [--models PhaseNet ...]

SHARED is a folder with `data/SET` (waveform files) and `models/phasenet/original`. Each set is
played into a real ring in packets of one second, in order, and late, shuffled and doubled
(`ring play`); what comes out of the PICK_RING is compared with what `pick` finds in the files.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
import obspy
from live_system import LiveSystem, live_system, picks_in

SETS: Final = ("Full_Array", "Bremerton_6C", "Gappy_Data", "Analogue_EQs")
WAYS: Final = {
    "in order": [],
    "late by up to 4 s": ["--jitter", "4"],
    "shuffled within 4 s": ["--shuffle", "4"],
    "30 % doubled": ["--duplicate", "0.3"],
}
MODELS: Final = ("EQTransformer", "PhaseNet")
QUIET_SECONDS: Final = 80.0
"""Without a pick, after which none is waited for: a silence and the longest window."""

WAVE_KILOBYTES: Final = 262_144

Key = tuple[str, str, int]
"""Channel, phase, and time in milliseconds."""


def run(*command: str) -> str:
    """Output of a command of ml-prediction."""
    done = subprocess.run(
        [sys.executable, "-m", "ml_prediction", *command],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 4):  # 4: some files can't be read
        raise SystemExit(f"{' '.join(command[:2])} ended with {done.returncode}: {done.stderr}")
    return done.stdout


def model_options(shared: Path, model: str) -> list[str]:
    """Name and weights, as `pick` wants them."""
    if model == "PhaseNet":
        weights = (shared / "models" / "phasenet" / "original").resolve()
        return ["--model", model, "--weights", str(weights)]
    return ["--model", model]


def picks_of_files(files: list[str], options: list[str], out: Path) -> tuple[list[Key], list[str]]:
    """What `pick` finds, and the channels that it was given."""
    run("pick", *files, *options, "--out", str(out), "--formats", "csv")
    channels = json.loads((out / "summary.json").read_text())["channels"]
    with (out / "picks.csv").open() as file:
        rows = list(csv.DictReader(file))
    keys = [
        (
            f"{row['network']}.{row['station']}.{row['location']}.{row['channel']}",
            row["phase"],
            round(datetime.fromisoformat(row["time"]).timestamp() * 1000),
        )
        for row in rows
    ]
    return sorted(keys), channels


def configured(system: LiveSystem, channels: list[str], model: str, shared: Path) -> None:
    """The module's files: the same channels and the same model."""
    codes = [channel.split(".") for channel in channels]
    lines = [f"{sta} {cha} {net} {loc or '--'}" for net, sta, loc, cha in codes if net and sta]
    (system.params / "stations").write_text("\n".join(lines))
    weights = (shared / "models" / "phasenet" / "original").resolve()
    system.configure(
        f"Model {model}\nStationFile stations\nPhaseToken 1\nThreads 2\n"
        "QueueWindows 1000000\nSilenceTimeout 10\n"
        + (f"Weights {weights}\n" if model == "PhaseNet" else "")
    )


def picks_of_ring(
    system: LiveSystem, files: list[str], way: list[str]
) -> tuple[list[Key], dict[str, object]]:
    """What comes out of the PICK_RING when the files are played, and what the module says."""
    system.start()
    status = system.params / "status.json"
    while not status.exists():
        if system.process is not None and system.process.poll() is not None:
            raise SystemExit(f"The module has ended: {system.process.communicate()[1]}")
        time.sleep(0.1)
    run("ring", "play", *files, f"WAVE_RING={system.keys[0]}", "--now", "--seed", "1", *way)
    found = []
    until = time.monotonic() + QUIET_SECONDS
    while time.monotonic() < until:
        if new := picks_in(system.messages()):
            until = time.monotonic() + QUIET_SECONDS
            found += new
        time.sleep(0.1)
    said = dict(json.loads(status.read_text()))
    system.stop()
    found += picks_in(system.messages())
    keys = [(str(p.nslc), p.phase or "", round(p.time_ns / 1e6)) for p in found]
    return sorted(keys), said


def unlike(these: list[Key], others: list[Key]) -> list[Key]:
    """Those without a fellow among the others within a millisecond; each serves once."""
    left = Counter(others)
    alone = []
    for channel, phase, milliseconds in these:
        fellows = [(channel, phase, milliseconds + d) for d in (0, -1, 1)]
        fellow = next((fellow for fellow in fellows if left[fellow]), None)
        if fellow is None:
            alone.append((channel, phase, milliseconds))
        else:
            left[fellow] -= 1
    return alone


def compare(shared: Path, name: str, model: str) -> bool:
    """One set with one model in all ways; whether all picks are the same."""
    folder = shared / "data" / name
    files = [str(path) for path in sorted(folder.rglob("*")) if is_playable(path)]
    base = random.SystemRandom().randrange(0x6D600000, 0x6D6FFF00)
    right = True
    with TemporaryDirectory() as scratch:
        wanted, channels = picks_of_files(
            files, model_options(shared, model), Path(scratch) / "files"
        )
        for number, (way, options) in enumerate(WAYS.items()):
            system_folder = Path(scratch) / str(number)
            with live_system(system_folder, range(base, base + 4), WAVE_KILOBYTES) as system:
                configured(system, channels, model, shared)
                found, said = picks_of_ring(system, files, options)
            lost, more = unlike(wanted, found), unlike(found, wanted)
            print(
                f"{name}, {model}, {way}: {len(wanted)} picks of files, {len(found)} of the ring, "
                f"{len(lost)} lost, {len(more)} more; late samples {said['late_samples']}, "
                f"dropped {said['dropped']}",
                flush=True,
            )
            for what, keys in (("lost", lost), ("more", more)):
                for channel, phase, milliseconds in keys[:10]:
                    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
                    print(f"    {what}: {channel} {phase} {moment:%Y-%m-%dT%H:%M:%S.%f}")
            right = right and not lost and not more
    return right


def is_playable(path: Path) -> bool:
    """Whether a file has waveforms of whole numbers: stock Earthworm refuses others."""
    if path.is_dir() or path.suffix in (".xml", ".csv", ".json", ".md", ".txt"):
        return False
    try:
        return all(np.issubdtype(trace.data.dtype, np.integer) for trace in obspy.read(path))
    except (TypeError, ValueError, OSError):  # what ObsPy can't read
        return True


def main() -> None:
    """Parse, play, compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("shared", type=Path)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    arguments = parser.parse_args()
    results = [
        compare(arguments.shared, name, model)
        for name in arguments.sets
        for model in arguments.models
    ]
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
