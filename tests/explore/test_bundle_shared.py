"""The M4.3 of Port Townsend with its 428 analyst picks: nothing is lost, wherever it goes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from obspy import read, read_events, read_inventory
from obspy.core.event import Event
from pyrocko.gui.snuffler.marker import PhaseMarker, load_markers, save_markers
from shared_center import shared_center

from ml_prediction import EventBundle
from ml_prediction.models import Model

PICKS = 428
NAME = "uw61965081"


@pytest.fixture(scope="module")
def folder(shared: Path) -> Path:
    return shared / "data" / "Full_Array"


@pytest.fixture(scope="module")
def event(folder: Path) -> Event:
    """As ObsPy reads the catalogue's own file."""
    return read_events(str(folder / f"{NAME}_Origin_Quake.xml"))[0]


@pytest.fixture(scope="module")
def bundle(folder: Path) -> EventBundle:
    made = EventBundle.from_quakeml(folder / f"{NAME}_Origin_Quake.xml")
    made = made.with_waveforms(folder / f"{NAME}_PortTownsend_M4.3.mseed")
    return made.with_stations(folder / f"{NAME}_Example_Stations.xml")


@pytest.fixture(scope="module")
def picked(bundle: EventBundle, eqt: Model, phasenet: Model) -> EventBundle:
    return bundle.pick([eqt, phasenet], probabilities=True)


def described(event: Event) -> list[str]:
    """Every field of every pick and arrival."""
    arrivals = [arrival for origin in event.origins for arrival in origin.arrivals]
    return [*map(str, event.picks), *map(str, arrivals), *map(str, event.amplitudes)]


def test_a_folder_keeps_everything(
    tmp_path: Path, folder: Path, event: Event, picked: EventBundle
) -> None:
    saved = picked.save(tmp_path / NAME)
    found = EventBundle.load(saved)
    assert found == picked
    assert repr(found.picks) == repr(picked.picks)
    # ObsPy reads the folder's files as it reads the originals.
    (kept,) = read_events(str(saved / "event.xml"))
    assert len(kept.picks) == PICKS
    assert described(kept) == described(event)
    assert (saved / "event.xml").read_bytes() == (folder / f"{NAME}_Origin_Quake.xml").read_bytes()
    stations = read_inventory(str(folder / f"{NAME}_Example_Stations.xml"))
    assert read_inventory(str(saved / "stations.xml")) == stations
    original = read(str(folder / f"{NAME}_PortTownsend_M4.3.mseed"))
    again = read(str(saved / "waveforms" / "*.mseed"))
    assert len(again) == len(original) == 27
    for trace in original:
        (same,) = again.select(id=trace.id)
        assert np.array_equal(same.data, trace.data)
        assert same.stats.starttime == trace.stats.starttime


@pytest.mark.parametrize("digits", [3, 6])
def test_markers_keep_every_pick(
    tmp_path: Path, event: Event, picked: EventBundle, digits: int
) -> None:
    path = tmp_path / "picks.markers"
    save_markers(picked.to_markers(), str(path), fdigits=digits)
    shown = [each for each in load_markers(str(path)) if isinstance(each, PhaseMarker)]
    assert len(shown) == PICKS + len(picked.picks)
    assert picked.from_markers(path) is picked
    # Pyrocko has the times and uncertainties of ObsPy's picks.
    phase = {str(a.pick_id): a.phase for a in event.origins[0].arrivals}
    expected = Counter(
        (
            tuple(pick.waveform_id.get_seed_string().split(".")),
            phase[str(pick.resource_id)],
            round(pick.time.timestamp, 2),
            round(pick.time_errors.uncertainty, 2),
        )
        for pick in event.picks
    )
    found = Counter(
        (
            tuple(each.nslc_ids[0]),
            each.get_phasename(),
            round((each.tmin + each.tmax) / 2, 2),
            round((each.tmax - each.tmin) / 2, 2),
        )
        for each in shown
        if not each._automatic
    )
    assert found == expected


def test_an_edit_among_428_changes_one_pick(event: Event, picked: EventBundle) -> None:
    shown = picked.to_markers()
    hans = next(
        m
        for m in shown
        if isinstance(m, PhaseMarker)
        and m.nslc_ids[0][1] == "HANS"
        and m.get_phasename() == "P"
        and not m._automatic
    )
    hans.tmin, hans.tmax = hans.tmin + 0.05, hans.tmax + 0.05
    edited = picked.from_markers(shown)
    changed = [
        (old, new)
        for old, new in zip(event.picks, edited.event.picks, strict=True)
        if str(old) != str(new)
    ]
    ((old, new),) = changed
    assert new.time - old.time == pytest.approx(0.05, abs=1e-6)
    assert old.waveform_id.station_code == "HANS"
    assert described(edited.event)[PICKS:][0:3] == described(event)[PICKS:][0:3]
    assert len(edited.event.amplitudes) == len(event.amplitudes)


def test_the_section_has_all_six_stations(tmp_path: Path, picked: EventBundle) -> None:
    figure = picked.plot(tmp_path / "section.png")
    assert len(figure.axes[0].get_yticks()) == 6
    assert len(figure.axes) == 2  # and, beside it, how far the models are from the analysts


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Sample spacing read from SAC:UserWarning")
def test_from_the_servers_it_is_the_same_earthquake(
    shared: Path, tmp_path: Path, event: Event, bundle: EventBundle
) -> None:
    with shared_center(shared, tmp_path) as center:
        made = EventBundle.from_comcat(NAME, center.url)
        assert made.quakeml == bundle.quakeml
        assert len(made.event.picks) == PICKS
        (history,) = made.contributions
        assert (history.product, history.magnitude) == ("phase-data", 4.3)
        made = made.fetch_waveforms(center.url, radius_km=450.0).fetch_stations(center.url)
    assert {code.split(".")[1] for code in made.miniseed} >= {"HANS", "BUCK", "NATEM", "PUPY"}
    for trace in bundle.stream:
        (same,) = made.stream.select(id=trace.id).merge()
        cut = trace.slice(same.stats.starttime, same.stats.endtime)
        assert np.array_equal(same.data, cut.data)
    assert made.distances_km["UW", "HANS"] == pytest.approx(bundle.distances_km["UW", "HANS"])
