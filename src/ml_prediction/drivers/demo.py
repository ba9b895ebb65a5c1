"""The demonstration: a real earthquake that comes with ObsPy, by the same way as any file."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import obspy
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from ml_prediction.drivers import driver_local
from ml_prediction.drivers.driver_local import SUMMARY
from ml_prediction.drivers.run_config import RunConfig
from ml_prediction.errors import ConfigurationError
from ml_prediction.sinks.folder import OUTPUT_NAMES

FILE_NAME = "BW.RJOB_2009-08-24.mseed"
_FOLDER_PREFIX = "ml-prediction-demo-"


def run_demo(out: str, *, stdout: Console, stderr: Console) -> int:
    """Pick ObsPy's example earthquake into a folder; returns the exit status.

    Raises
    ------
    ConfigurationError
        If the folder has results that are not those of an earlier demonstration.
    """
    folder = Path(out)
    again = _is_of_demo(folder / SUMMARY)
    if not again and any((folder / name).exists() for name in OUTPUT_NAMES):
        raise ConfigurationError(
            f"{out} has results of another run: choose another folder with --out."
        )
    stdout.print("BW.RJOB, 2009-08-24 00:20 UTC: a local earthquake, three components, 30 s.")
    with TemporaryDirectory(prefix=_FOLDER_PREFIX) as scratch:
        path = Path(scratch) / FILE_NAME
        obspy.read().write(str(path), format="MSEED")
        config = RunConfig(out=out, plot=True, overwrite=again)
        status = driver_local.run([str(path)], config, out=stdout, err=stderr)
    if status == 0:
        _show_picks(folder / "picks.csv", stdout)
        outputs = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))["outputs"]
        for name in outputs:
            if name.endswith(".png"):
                stdout.print(f"Plot: {folder / name}", markup=False)
        stdout.print(f"Tables: {folder / 'picks.csv'}, {folder / SUMMARY}", markup=False)
    return status


def _is_of_demo(summary: Path) -> bool:
    """Whether a summary is that of an earlier demonstration, by its only input."""
    try:
        inputs = json.loads(summary.read_text(encoding="utf-8"))["inputs"]
        (path,) = map(Path, inputs)
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return path.name == FILE_NAME and path.parent.name.startswith(_FOLDER_PREFIX)


def _show_picks(path: Path, stdout: Console) -> None:
    headings = ("channel", "phase", "time (UTC)", "sigma (s)", "probability", "quality")
    table = Table(box=SIMPLE)
    for heading in headings:
        table.add_column(heading, no_wrap=True)
    with path.open(newline="", encoding="utf-8") as handle:
        for row in csv.DictReader(handle):
            table.add_row(
                ".".join(row[name] for name in ("network", "station", "location", "channel")),
                row["phase"],
                row["time"].removesuffix("Z")[:-3],  # to the millisecond
                f"{float(row['sigma']):.3f}",
                f"{float(row['probability']):.2f}",
                row["quality"],
            )
    stdout.print(table)
