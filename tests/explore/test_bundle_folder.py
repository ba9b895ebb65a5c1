from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from obspy import read, read_events, read_inventory

from ml_prediction import EventBundle
from ml_prediction.data import store
from ml_prediction.errors import ConfigurationError, DataError
from ml_prediction.explore.bundle_folder import MANIFEST, plain_name, plain_names
from ml_prediction.models import Model


@pytest.fixture(scope="module")
def picked(bundle: EventBundle, eqt: Model) -> EventBundle:
    return bundle.pick(eqt, probabilities=True)


@pytest.fixture
def folder(tmp_path: Path, picked: EventBundle) -> Path:
    return picked.save(tmp_path / "xx1")


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_bundle_comes_back_the_same(folder: Path, picked: EventBundle) -> None:
    found = EventBundle.load(folder)
    assert found == picked
    assert found.files() == picked.files()
    assert (found.event_id, found.notes, found.asked) == (
        picked.event_id,
        picked.notes,
        picked.asked,
    )
    assert repr(found.contributions) == repr(picked.contributions)  # NaN is not NaN
    assert repr(found.picks) == repr(picked.picks)
    assert repr(found.detections) == repr(picked.detections)
    assert hash(found) == hash(picked)
    assert found != picked.with_event(picked.event, "another note")
    assert found != "a bundle"


def test_other_programs_can_read_it(folder: Path, picked: EventBundle) -> None:
    assert len(read_events(str(folder / "event.xml"))[0].picks) == 5
    assert len(read_inventory(str(folder / "stations.xml")).get_contents()["channels"]) == 10
    waves = read(str(folder / "waveforms" / "*.mseed"))
    assert sorted(trace.id for trace in waves.merge()) == sorted(picked.miniseed)
    exact, plain = (
        pd.read_parquet(folder / "picks.parquet"),
        pd.read_csv(folder / "picks.csv"),
    )
    assert exact["id"].tolist() == plain["id"].tolist() == [pick.id for pick in picked.picks]
    assert np.allclose(exact["sigma"], plain["sigma"], atol=1e-4)
    traces = read(str(folder / "probabilities" / "EQTransformer_original.mseed"))
    assert {trace.stats.channel[-1] for trace in traces} == {"P", "S", "D"}
    assert len(pd.read_csv(folder / "history.csv")) == len(picked.contributions) == 6


def test_the_manifest_has_every_file_with_its_checksum(folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    there = contents(folder)
    assert set(manifest["files"]) | {MANIFEST} == set(there)
    for name, entry in manifest["files"].items():
        assert entry["sha256"] == hashlib.sha256(there[name]).hexdigest()


def test_a_later_state_replaces_the_earlier_and_nothing_else(
    folder: Path, picked: EventBundle, bundle: EventBundle
) -> None:
    (folder / "my notes.txt").write_text("keep me", encoding="utf-8")
    before = (folder / "event.xml").stat().st_mtime_ns
    bundle.save(folder)
    assert EventBundle.load(folder) == bundle
    assert not list((folder / "probabilities").iterdir())
    assert (folder / "my notes.txt").read_text() == "keep me"
    assert (folder / "event.xml").stat().st_mtime_ns == before  # the same: left alone


@pytest.mark.parametrize("name", ["event.xml", "picks.parquet", "waveforms/XX.NEAR..HHZ.mseed"])
@pytest.mark.parametrize("harm", ["flip", "cut", "remove"])
def test_a_damaged_file_is_named(folder: Path, name: str, harm: str) -> None:
    path = folder / name
    body = bytearray(path.read_bytes())
    if harm == "flip":
        body[len(body) // 2] ^= 1
        path.write_bytes(body)
    elif harm == "cut":
        path.write_bytes(body[:-3])
    else:
        path.unlink()
    with pytest.raises(DataError, match=name):
        EventBundle.load(folder)


@pytest.mark.parametrize(
    "text", ["", "{}", "[1]", '{"format": "something else, 7", "files": {}}', "{"]
)
def test_a_damaged_manifest_is_named(folder: Path, text: str) -> None:
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=MANIFEST):
        EventBundle.load(folder)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "waveforms/../../outside"])
def test_a_manifest_does_not_lead_out_of_its_folder(folder: Path, name: str) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"][name] = {"bytes": 0, "sha256": ""}
    (folder / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(DataError, match="file name"):
        EventBundle.load(folder)


def test_a_manifest_does_not_lead_out_through_a_link(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (folder / "waveforms").rename(elsewhere)
    (folder / "waveforms").symlink_to(elsewhere)
    with pytest.raises(DataError, match="leads out of the folder"):
        EventBundle.load(folder)


EDITS: list[dict[str, object]] = [
    {"asked": None},
    {"asked": [{"code": ["a"]}]},
    {"files": ["event.xml"]},
    {"files": {"event.xml": "x"}},
    {"files": {"event.xml": {"bytes": 1}}},
    {"files": {}},
    {"replaces": 3},
    {"event_id": None},
    {"event_id": 3},
    {"waveforms": None},
    {"waveforms": []},
    {"waveforms": {"waveforms/XX.NEAR..HHZ.mseed": "foo"}},
    {"notes": 3},
]


@pytest.mark.parametrize("edit", EDITS, ids=str)
def test_a_manifest_that_was_edited_is_an_error_with_a_remedy(
    folder: Path, picked: EventBundle, edit: dict[str, object]
) -> None:
    manifest = json.loads((folder / MANIFEST).read_text()) | edit
    manifest = {key: value for key, value in manifest.items() if value is not None}
    (folder / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(DataError, match=r"(damaged|don't fit together).*make the bundle again"):
        EventBundle.load(folder)
    if "event_id" in edit:
        with pytest.raises(DataError, match="damaged"):
            picked.save(folder)


def test_a_folder_that_is_no_bundle(tmp_path: Path, picked: EventBundle) -> None:
    with pytest.raises(ConfigurationError, match="no such folder"):
        EventBundle.load(tmp_path / "nothing")
    (tmp_path / "thesis.tex").write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="not the folder of an event bundle"):
        EventBundle.load(tmp_path)
    with pytest.raises(ConfigurationError, match=r"other files \(thesis\.tex\)"):
        picked.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_in_the_way_is_named_without_options_of_a_command(
    tmp_path: Path, bundle: EventBundle
) -> None:
    (tmp_path / "mine").write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"mine can't be made .*choose another\.$"):
        bundle.save(tmp_path / "mine")


def test_another_events_folder_is_refused(folder: Path, picked: EventBundle) -> None:
    other = EventBundle("xx2", picked.quakeml)
    with pytest.raises(ConfigurationError, match="has the bundle of xx1"):
        other.save(folder)
    assert EventBundle.load(folder) == picked


class Killed(BaseException):
    """As by the system: nothing is tidied up."""


def test_a_run_killed_at_any_moment_leaves_the_old_or_the_new_state(
    tmp_path: Path,
    bundle: EventBundle,
    picked: EventBundle,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each write, rename and removal is the last one, once."""
    states = set()
    original = {name: getattr(Path, name) for name in ("open", "replace", "unlink")}
    for moment in range(200):
        folder = tmp_path / str(moment)
        bundle.save(folder)
        left = [moment]

        def killer(name: str, left: list[int] = left) -> object:
            def step(self: Path, *args: object, **kwargs: object) -> object:
                writes = name != "open" or "w" in str(args[:1])
                if writes and left[0] <= 0:
                    raise Killed
                left[0] -= writes
                return original[name](self, *args, **kwargs)

            return step

        with monkeypatch.context() as patch:
            for name in original:
                patch.setattr(Path, name, killer(name))
            try:
                picked.save(folder)
            except Killed:
                ended = False
            else:
                ended = True
        found = EventBundle.load(folder)
        assert found in (bundle, picked), moment
        states.add(found == picked)
        picked.save(folder)  # goes on from whatever there is
        assert EventBundle.load(folder) == picked
        assert not [path for path in folder.rglob(".*") if path.is_file()]
        shutil.rmtree(folder)
        if ended:
            break
    else:
        pytest.fail("never ended")
    assert states == {False, True}


def test_two_runs_do_not_write_at_once(folder: Path, picked: EventBundle) -> None:
    with (
        store.alone(folder),
        pytest.raises(ConfigurationError, match="Another run is writing"),
    ):
        picked.save(folder)


def test_names_of_files_are_plain_and_differ() -> None:
    codes = ["UW.HANS..HHZ", "UW.HA/NS..HHZ", "UW.HA_NS..HHZ", "../x", ".x", "a:b", "a_b", "ä", ""]
    for names in ([plain_name(code) for code in codes], [*plain_names(codes).values()]):
        assert "UW.HANS..HHZ" in names
        assert len(set(names)) == len(names) == len(codes)
        assert not any(name.startswith(".") or "/" in name or not name for name in names)
    assert plain_names(["PhaseNet:original"])["PhaseNet:original"] == "PhaseNet_original"
