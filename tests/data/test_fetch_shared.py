"""Every scenario of the plan, offline, with the shared data."""

from __future__ import annotations

import json
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path

import obspy
import pytest
from fdsn_servers import Center
from kill_and_resume import checksums, fetch, fetch_and_end
from shared_center import shared_center

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:Sample spacing read from SAC")]

STATIONS = {
    "Full_Array": {"uw61965081": {"BUCK", "HANS", "MCW", "NATEM", "PAT2", "PUPY"}},
    "Bremerton_6C": {"sequence": set(), "uw61251926": {"SP2"}},
    "Gappy_Data": {"northwest": set(), "iv_bdi": {"BDI"}, "bw_bgld": {"BGLD"}},
    "Analogue_EQs": {
        "anchorage_2018": {"8040", "CKT"},
        "maule_2010": {"HUALA", "LLOLL", "MATAN", "PAPUD", "VALPA"},
        "tohoku_2011": set(),
        "tohoku_2011_far": {"PFO", "TLY"},
    },
}
"""What the shared data have of the scenarios' parts; there are more in California and for 2001."""
REQUESTS = {"Full_Array": 18, "Bremerton_6C": 60, "Gappy_Data": 13, "Analogue_EQs": 28}
"""Of a whole run, about."""


@pytest.fixture(scope="module")
def center(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Center]:
    """Data centre with everything in ../shared/data."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sample spacing read from SAC")
        with shared_center(shared, tmp_path_factory.mktemp("shared")) as center:
            yield center


@pytest.fixture(scope="module")
def whole(center: Center, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All scenarios, undisturbed."""
    folder = tmp_path_factory.mktemp("whole")
    done = fetch("all", "--out", str(folder), "--client", center.url)
    assert done.returncode == 4, done.stderr  # the shared data are a small part of the scenarios
    assert "expected but missing: " in done.stdout
    return folder


def test_all_is_every_scenario(whole: Path) -> None:
    assert {path.name for path in whole.iterdir()} == set(STATIONS)


@pytest.mark.parametrize("name", STATIONS)
def test_a_scenario_has_what_the_shared_data_have(whole: Path, name: str) -> None:
    manifest = json.loads((whole / name / "manifest.json").read_text("utf-8"))
    assert manifest["complete"] is False
    for part in manifest["parts"]:
        found = {file["channel"].split(".")[1] for file in part["files"] if "channel" in file}
        if part["name"] in STATIONS[name]:
            assert found == STATIONS[name][part["name"]]
        else:
            assert found


@pytest.mark.parametrize("moment", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("name", STATIONS)
def test_a_killed_run_continues_with_the_same_result(
    center: Center, whole: Path, name: str, moment: float, tmp_path: Path
) -> None:
    center.delay = 0.01
    arguments = name, "--out", str(tmp_path), "--client", center.url
    status, _ = fetch_and_end(center, max(round(moment * REQUESTS[name]), 1), *arguments)
    assert status == -signal.SIGKILL or moment > 0.5  # near its end, it may be over before
    assert fetch(*arguments).returncode == 4
    assert checksums(tmp_path / name) == checksums(whole / name)


def test_the_analysts_picks_come_with_the_event(whole: Path) -> None:
    path = whole / "Full_Array" / "uw61965081" / "events" / "uw61965081.xml"
    (event,) = obspy.read_events(str(path))
    assert len(event.picks) == 428


def test_waveforms_are_those_of_the_shared_file(whole: Path, shared: Path) -> None:
    original = obspy.read(str(shared / "data/Full_Array/uw61965081_PortTownsend_M4.3.mseed"))
    got = obspy.Stream()
    for file in (whole / "Full_Array" / "uw61965081" / "sds").rglob("*.2023.282"):
        got += obspy.read(str(file), format="MSEED")
    assert len(got) == len(original) == 27
    for trace in original:
        trace.stats.location = ""
        (same,) = got.select(id=trace.id)
        assert same.stats.starttime >= obspy.UTCDateTime("2023-10-09T02:20:08")
        assert (same.data == trace.data).all()
