from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from bundle_center import PICKS, TIME, quakeml
from obspy import UTCDateTime

from ml_prediction import EventBundle
from ml_prediction.errors import ConfigurationError, DataError
from ml_prediction.explore.readers import read_arrivals
from ml_prediction.models import Model
from ml_prediction.util.times import to_ns

marker = pytest.importorskip("pyrocko.gui.snuffler.marker", reason="pyrocko is not installed")


@pytest.fixture(scope="module")
def picked(bundle: EventBundle, eqt: Model) -> EventBundle:
    return bundle.pick(eqt)


def phases(markers: list[Any]) -> list[Any]:
    return [each for each in markers if isinstance(each, marker.PhaseMarker)]


def find(markers: list[Any], station: str, phase: str, automatic: bool = False) -> Any:
    return next(
        m
        for m in phases(markers)
        if m.nslc_ids[0][1] == station
        and m.get_phasename() == phase
        and bool(m._automatic) == automatic
    )


def test_every_pick_is_a_marker_and_sigma_half_its_span(picked: EventBundle) -> None:
    shown = picked.to_markers()
    assert isinstance(shown[0], marker.EventMarker)
    assert shown[0].get_event().time == pytest.approx(TIME.timestamp)
    assert shown[0].get_event().depth == 20_000
    assert len(phases(shown)) == len(PICKS) + len(picked.picks)
    near = find(shown, "NEAR", "P")
    assert (near.tmin + near.tmax) / 2 == pytest.approx((TIME + 4.1).timestamp, abs=1e-6)
    assert near.tmax - near.tmin == pytest.approx(0.06, abs=1e-6)
    assert (near.get_polarity(), near.kind) == (1, 1)
    assert near.get_event() is shown[0].get_event()
    assert find(shown, "FAR", "P").tmin == find(shown, "FAR", "P").tmax  # sigma unknown
    for pick, each in zip(picked.picks, [m for m in phases(shown) if m._automatic], strict=True):
        assert (each.tmax - each.tmin) / 2 == pytest.approx(pick.sigma, abs=1e-6)
        assert each.nslc_ids == [(pick.network, pick.station, pick.location, pick.channel)]
        assert each.kind == {"P": 3, "S": 4}[pick.phase]


@pytest.mark.parametrize("digits", [3, 6])
def test_markers_that_snuffler_saves_unchanged_change_nothing(
    tmp_path: Path, picked: EventBundle, digits: int
) -> None:
    path = tmp_path / "picks.markers"
    marker.save_markers(picked.to_markers(), str(path), fdigits=digits)
    assert picked.from_markers(path) is picked
    assert picked.from_markers(picked.to_markers()) is picked
    assert picked.from_markers(list(reversed(picked.to_markers()))) is picked


def test_the_projects_own_reader_finds_the_same_times(tmp_path: Path, picked: EventBundle) -> None:
    path = tmp_path / "picks.markers"
    picked.save_markers(path)
    table = read_arrivals(path).table
    assert len(table) == len(PICKS) + len(picked.picks)
    times = sorted(
        [to_ns(TIME + s) for s, _ in PICKS.values()] + [to_ns(p.time) for p in picked.picks]
    )
    assert abs(table["time_ns"] - times).max() <= 1000


def test_a_moved_marker_moves_its_pick_and_keeps_the_rest(picked: EventBundle) -> None:
    shown = picked.to_markers()
    near = find(shown, "NEAR", "P")
    near.tmin, near.tmax = near.tmin + 0.20, near.tmax + 0.30
    edited = picked.from_markers(shown)
    old, new = picked.event.picks[0], edited.event.picks[0]
    assert new.time - old.time == pytest.approx(0.25, abs=1e-6)
    assert new.time_errors.uncertainty == pytest.approx(0.08, abs=1e-6)
    assert (new.resource_id, new.onset, new.polarity) == (old.resource_id, old.onset, old.polarity)
    residuals = [bundle.event.origins[0].arrivals[0].time_residual for bundle in (picked, edited)]
    assert residuals[1] - residuals[0] == pytest.approx(0.25, abs=1e-6)
    assert [str(p) for p in edited.event.picks[1:]] == [str(p) for p in picked.event.picks[1:]]
    assert repr(edited.picks) == repr(picked.picks)
    assert "1 moved, 0 renamed or confirmed, 0 added, 0 removed" in edited.notes[-1]
    assert edited.from_markers(edited.to_markers()) is edited
    assert picked.event.picks[0].time == TIME + 4.1  # the old bundle is what it was


def test_a_removed_marker_rejects_its_pick(picked: EventBundle) -> None:
    shown = picked.to_markers()
    shown.remove(find(shown, "MIDD", "S"))
    edited = picked.from_markers(shown)
    assert [p.evaluation_status for p in edited.event.picks].count("rejected") == 1
    assert len(edited.event.picks) == len(PICKS)  # still known
    assert len(edited.arrivals) == len(PICKS) - 1
    assert len(phases(edited.to_markers())) == len(phases(shown))
    assert "removed: XX.MIDD..HHE S" in edited.notes[-1]


def test_an_added_marker_is_a_manual_pick(picked: EventBundle) -> None:
    time = (TIME + 33.25).timestamp
    new = marker.PhaseMarker(
        [("YY", "FAR", "", "EHZ")], time - 0.1, time + 0.1, phasename="S", polarity=-1
    )
    edited = picked.from_markers([*picked.to_markers(), new])
    pick = edited.event.picks[-1]
    assert pick.time == TIME + 33.25
    assert pick.time_errors.uncertainty == pytest.approx(0.1, abs=1e-6)
    assert (pick.phase_hint, pick.polarity) == ("S", "negative")
    assert (pick.evaluation_mode, pick.waveform_id.get_seed_string()) == ("manual", "YY.FAR..EHZ")
    assert len(edited.arrivals) == len(PICKS) + 1
    assert edited.from_markers(edited.to_markers()) is edited


@pytest.mark.parametrize("what", ["phase", "polarity"])
def test_another_name_or_polarity_changes_just_that(picked: EventBundle, what: str) -> None:
    shown = picked.to_markers()
    near = find(shown, "NEAR", "P")
    if what == "phase":
        near.set_phasename("Pg")
    else:
        near.set_polarity(-1)
    old, new = picked.event.picks[0], picked.from_markers(shown).event.picks[0]
    assert (new.time, new.time_errors.uncertainty) == (old.time, old.time_errors.uncertainty)
    assert (new.phase_hint, new.polarity) == (
        ("Pg", "positive") if what == "phase" else (None, "negative")
    )


@pytest.mark.parametrize("how", ["moved", "confirmed"])
def test_an_ml_pick_that_a_person_changed_is_that_persons(picked: EventBundle, how: str) -> None:
    shown = picked.to_markers()
    each = find(shown, "NEAR", "P", automatic=True)
    if how == "moved":
        each.tmin, each.tmax = each.tmin + 0.1, each.tmax + 0.1
    else:
        each._automatic = False
    edited = picked.from_markers(shown)
    assert len(edited.picks) == len(picked.picks) - 1
    new = edited.event.picks[-1]
    assert new.evaluation_mode == "manual"
    assert "EQTransformer:original's pick XX.NEAR." in new.comments[0].text
    assert len(phases(edited.to_markers())) == len(phases(shown))


def test_an_ml_pick_whose_marker_is_gone_is_left_out(picked: EventBundle) -> None:
    shown = picked.to_markers()
    shown.remove(find(shown, "NEAR", "P", automatic=True))
    edited = picked.from_markers(shown)
    assert len(edited.picks) == len(picked.picks) - 1
    assert len(edited.arrivals) == len(PICKS)


def test_markers_of_no_one_channel_are_counted(picked: EventBundle) -> None:
    time = TIME.timestamp
    strange = [
        marker.Marker([("XX", "NEAR", "", "HHZ")], time, time + 1),
        marker.PhaseMarker([("XX", "*", "*", "*")], time, time, phasename="P"),
        marker.PhaseMarker([("YY", "FAR", "", "EHZ")], time + 33, time + 33, phasename="S"),
    ]
    edited = picked.from_markers([*picked.to_markers(), *strange])
    assert "1 added" in edited.notes[-1]
    assert "2 that are no phase of one channel left out" in edited.notes[-1]


def foreign(picked: EventBundle, what: str) -> list[Any]:
    """Markers of which none is a pick of the bundle."""
    shown = picked.to_markers()
    if what == "none":
        return shown[:1]
    for each in phases(shown):
        if what == "station":
            each.nslc_ids = [("ZZ", f"S{each.nslc_ids[0][1]}", "", "HHZ")]
        else:
            each.tmin, each.tmax = each.tmin + 3600, each.tmax + 3600
    return shown


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("none", "has no phase markers"),
        ("station", r"has markers of ZZ\.SFAR, ZZ\.SMIDD, ZZ\.SNEAR, where xx1 has no picks"),
        ("time", "has no marker of the phase, channel and time of any pick of xx1"),
    ],
)
def test_markers_that_would_remove_every_pick_are_refused(
    picked: EventBundle, what: str, words: str, tmp_path: Path
) -> None:
    shown, path = foreign(picked, what), tmp_path / "other.markers"
    marker.save_markers(shown, str(path))
    for given, name in ((shown, "what was given"), (path, r"other\.markers")):
        with pytest.raises(DataError, match=f"{name} {words}: all .* --remove-all"):
            picked.from_markers(given)
    edited = picked.from_markers(shown, remove_all=True)
    assert not edited.picks
    rejected = [pick for pick in edited.event.picks if pick.evaluation_status == "rejected"]
    assert len(rejected) == len(PICKS)


def test_several_edits_at_once_are_told_apart(picked: EventBundle) -> None:
    """All P later by a second, but each stays with its own channel and maker."""
    shown = picked.to_markers()
    for each in phases(shown):
        if each.get_phasename() == "P":
            each.tmin, each.tmax = each.tmin + 1, each.tmax + 1
    edited = picked.from_markers(shown)
    old = {str(p.resource_id): p.time for p in picked.event.picks}
    later = [
        p.time - old[str(p.resource_id)] for p in edited.event.picks if str(p.resource_id) in old
    ]
    assert [round(seconds, 5) for seconds in later] == [1, 0, 1, 0, 1]
    assert all(pick.phase == "S" for pick in edited.picks)


def test_what_is_no_marker_file_is_named(tmp_path: Path, picked: EventBundle) -> None:
    path = tmp_path / "notes.txt"
    with pytest.raises(ConfigurationError, match=r"notes\.txt"):
        picked.from_markers(path)
    path.write_text("not at all\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"notes\.txt"):
        picked.from_markers(path)


def test_without_pyrocko_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, picked: EventBundle
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyrocko.gui.snuffler", None)
    with pytest.raises(ConfigurationError, match=r"ml-prediction\[snuffler\]"):
        picked.to_markers()


def test_a_bundle_without_sigma_or_magnitude_has_markers_too() -> None:
    bundle = EventBundle.from_quakeml(quakeml())
    assert len(bundle.to_markers()) == len(PICKS) + 1
    assert isinstance(bundle.event.picks[0].time, UTCDateTime)
