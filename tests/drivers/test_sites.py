"""Sites in files: in one process or several, with instruments that begin late, pause and end."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import obspy
import pytest
from core.packetise import (
    START_NS,
    Outcome,
    assert_same,
    assert_same_picks,
    fake_model,
    in_time_order,
    three_components,
)
from core.packetise import run as run_core
from core.test_sites import EN, HH, renamed
from rich.console import Console
from small_archive import MIDNIGHT, station, write_sds

import ml_prediction as mlp
from ml_prediction.core.packets import Packet
from ml_prediction.core.pipeline import Pipeline
from ml_prediction.drivers import driver_local, share, site_time
from ml_prediction.drivers.archive.picking import pick_unit
from ml_prediction.drivers.archive.plan import plan_units
from ml_prediction.drivers.jobs import split
from ml_prediction.drivers.run_config import RunConfig
from ml_prediction.drivers.site_time import SiteTime
from ml_prediction.models import Model
from ml_prediction.sources.file_info import Extent, FileInfo
from ml_prediction.util.codes import NSLC
from ml_prediction.util.times import NANOSECONDS

WIDTH = 5.0


def test_split_keeps_sites_whole() -> None:
    channels = [
        NSLC("UW", f"S{number}", "", prefix + letter)
        for number in range(5)
        for prefix in ("EN", "HH")
        for letter in "ENZ"
    ]
    parts = split(channels, 3, sites=True)
    assert sorted(channel for part in parts for channel in part) == sorted(channels)
    stations = [{channel.station for channel in part} for part in parts]
    assert sum(map(len, stations)) == len(set().union(*stations)) == 5
    assert len(split(channels[:6], 3, sites=True)) == 1


# -- time -----------------------------------------------------------------------------------------


def broken_off() -> list[Packet]:
    """Two minutes; the accelerometer has them from 40 s to 60 s and from 85 s to 100 s."""
    rng = np.random.default_rng(5)
    strong = renamed(three_components(rng, 120.0), "EN")
    parts = [part for p in strong for part in (p.slice(4000, 6000), p.slice(8500, 10_000))]
    return three_components(rng, 120.0) + parts


def file_of(packets: list[Packet]) -> FileInfo:
    extents = [Extent(p.nslc, p.start_ns, p.end_ns, len(p)) for p in packets]
    return FileInfo(Path("some"), "MSEED", tuple(extents), START_NS)


@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("never", [False, True])
def test_telling_the_time_spares_memory_and_changes_nothing(
    overlap: bool, never: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site_time, "PATIENCE_NS", 10 * NANOSECONDS)
    packets = broken_off()
    if never:
        packets = [p for p in packets if p.nslc.instrument == HH]
    options: dict[str, Any] = {"expected": {p.nslc for p in broken_off()}, "site": "max"}
    whole = run_core(fake_model(), [packets], **options)
    pipeline, outcome = Pipeline(fake_model(), overlap=overlap, **options), Outcome()
    clock = SiteTime(pipeline, [file_of(packets)], WIDTH)
    sizes = []
    for batch in in_time_order(packets, WIDTH):
        outcome.add(pipeline.push(batch))
        for result in clock.after(batch):
            outcome.add(result)
        sizes.append(len(pipeline.snapshot()))
    assert overlap or max(p.time.timestamp for p in outcome.picks) > START_NS / 1e9 + 90.0
    assert max(sizes[12:]) < 1.5 * max(sizes[3:12])
    outcome.add(pipeline.flush())
    assert_same(whole, outcome)
    assert never or {p.instrument for p in whole.picks} == {HH, EN}


# -- whole runs -----------------------------------------------------------------------------------


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "picks.csv").open(newline="") as handle:
        return list(csv.DictReader(handle))


def run(inputs: list[Path], **options: Any) -> None:
    config = RunConfig.from_tables(options)
    quiet = {"out": Console(file=io.StringIO()), "err": Console(file=io.StringIO())}
    assert driver_local.run([str(path) for path in inputs], config, **quiet) == 0


def pair(path: Path, stations: int) -> list[Path]:
    """The example earthquake four times at some stations, and seen by an accelerometer as well."""
    rng = np.random.default_rng(1)
    stream = obspy.Stream()
    for number in range(stations):
        for trace in (trace for _ in range(4) for trace in obspy.read()):
            for prefix, noise in (("EH", 5), ("EN", 20)):
                other = trace.copy()
                other.stats.station = f"S{number}"
                other.stats.channel = prefix + trace.stats.channel[-1]
                repeats = sum(each.id == other.id for each in stream)
                other.stats.starttime += 30.0 * repeats + 1.37 * number
                other.data = other.data + rng.normal(0, noise, other.stats.npts)
                stream.append(other)
    stream.merge(1).write(str(path), format="MSEED")
    return [path]


def test_an_arrival_is_picked_once(
    eqt: Model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(share, "load_models", lambda *args, **kwargs: [eqt])
    paths = pair(tmp_path / "in.mseed", 1)
    run(paths, out=str(tmp_path / "each"))
    formats = ["csv", "mseed"]
    run(paths, out=str(tmp_path / "site"), pipeline={"site": "mean"}, formats=formats, plot=True)
    each, site = rows(tmp_path / "each"), rows(tmp_path / "site")
    assert len(site) == len(each) / 2 == 8
    assert {row["members"] for row in site} == {
        "EQTransformer:original@EH;EQTransformer:original@EN"
    }
    traces = obspy.read(tmp_path / "site" / "predictions.mseed")
    assert {trace.stats.channel for trace in traces} == {"EHP", "EHS", "EHD"}
    summary = json.loads((tmp_path / "site" / "summary.json").read_text())
    assert any(name.endswith(".png") for name in summary["outputs"])


@pytest.mark.slow
def test_jobs_give_the_same(tmp_path: Path) -> None:
    paths = pair(tmp_path / "in.mseed", 3)
    for jobs in (1, 2):
        out = str(tmp_path / str(jobs))
        run(paths, out=out, jobs=jobs, device="cpu", pipeline={"site": "max"})
    one, two = (
        [(r["id"], r["time"][:22], r["detection_id"], r["members"]) for r in rows(tmp_path / jobs)]
        for jobs in ("1", "2")
    )
    assert one == two
    assert len(one) == 3 * 8


def test_days_of_an_archive_are_what_they_are_in_one_stream(tmp_path: Path, eqt: Model) -> None:
    quakes = [MIDNIGHT + at for at in (-900.0, -5.2, 40.0, 700.0)]
    whole = station("AAA", MIDNIGHT - 1000, 2000.0, quakes)
    for trace in station("AAA", MIDNIGHT - 980, 1010.0, quakes[:2]):
        trace.stats.channel = f"EN{trace.stats.channel[-1]}"
        whole.append(trace)
    write_sds(tmp_path, whole)
    reference = mlp.pick(whole, eqt, site="max")
    config = RunConfig.from_tables({"pipeline": {"site": "max"}})
    first = (MIDNIGHT - 86_400).date
    units = plan_units(tmp_path, first, (MIDNIGHT + 86_400).date)
    parts = [pick_unit(unit, [eqt], config, None, "") for unit in units]
    assert_same_picks(reference.picks, [pick for part in parts for pick in part.picks])
    assert {pick.members for pick in reference.picks} >= {
        ("EQTransformer:original@HH",),
        ("EQTransformer:original@HH", "EQTransformer:original@EN"),
    }
