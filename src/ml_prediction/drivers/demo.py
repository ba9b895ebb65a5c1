"""The demonstration: a real earthquake that comes with ObsPy, by the same way as any file."""

from __future__ import annotations

import csv
from pathlib import Path
from tempfile import TemporaryDirectory

import obspy
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from ml_prediction.drivers import driver_local
from ml_prediction.drivers.run_config import RunConfig

FILE_NAME = "BW.RJOB_2009-08-24.mseed"


def run_demo(out: str, *, stdout: Console, stderr: Console) -> int:
    """Pick ObsPy's example earthquake into a folder; returns the exit status.

    The folder is the demonstration's own, so results of an earlier one are replaced.
    """
    stdout.print("BW.RJOB, 2009-08-24 00:20 UTC: a local earthquake, three components, 30 s.")
    with TemporaryDirectory() as folder:
        path = Path(folder) / FILE_NAME
        obspy.read().write(str(path), format="MSEED")
        config = RunConfig(out=out, plot=True, overwrite=True)
        status = driver_local.run([str(path)], config, out=stdout, err=stderr)
    if status == 0:
        _show_picks(Path(out) / "picks.csv", stdout)
        for picture in sorted(Path(out).glob("**/*.png")):
            stdout.print(f"Plot: {picture}", markup=False)
        stdout.print(f"Tables: {Path(out) / 'picks.csv'}, {Path(out) / 'summary.json'}")
    return status


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
