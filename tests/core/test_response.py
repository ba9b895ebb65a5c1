"""Response removal, against ObsPy's on real data."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from obspy import Inventory, Stream, Trace, read, read_inventory

from ml_prediction.core.response import Response, channel_dips, inventory_channels
from ml_prediction.errors import DataError
from ml_prediction.util.codes import NSLC
from ml_prediction.util.times import to_ns

Floats = npt.NDArray[np.float64]

PASS = (0.1, 0.2, 40.0, 47.5)  # Hz
HANS = [NSLC("UW", "HANS", "", code) for code in ("HHZ", "HHN", "HHE", "ENZ", "ENN", "ENE")]
OTHERS = [
    NSLC("UO", "BUCK", "", "HHZ"),
    NSLC("UW", "MCW", "", "EHZ"),
    NSLC("UW", "PUPY", "", "ENN"),
]


@pytest.fixture(scope="module")
def inventory(shared: Path) -> Inventory:
    return read_inventory(shared / "data" / "Full_Array" / "uw61965081_Example_Stations.xml")


@pytest.fixture(scope="module")
def stream(shared: Path) -> Stream:
    found = read(shared / "data" / "Full_Array" / "uw61965081_PortTownsend_M4.3.mseed")
    for trace in found:
        trace.stats.location = ""
    return found


def trace_of(stream: Stream, nslc: NSLC) -> Trace:
    (trace,) = (trace for trace in stream if trace.id == str(nslc))
    return trace


def removed(response: Response, trace: Trace, nslc: NSLC) -> Floats:
    samples = np.asarray(trace.data, dtype=np.float64)
    return response.remove(nslc, to_ns(trace.stats.starttime), samples, trace.stats.sampling_rate)


def band(samples: Floats, rate: float = 100.0) -> Floats:
    """0.5 to 30 Hz, zero phase, without 20 s at each end."""
    trace = Trace(samples.copy(), {"sampling_rate": rate})
    trace.filter("bandpass", freqmin=0.5, freqmax=30.0, corners=4, zerophase=True)
    return np.asarray(trace.data[2000:-2000])


@pytest.mark.parametrize("nslc", [*HANS, *OTHERS], ids=str)
def test_equals_obspy_in_the_pass_band(inventory: Inventory, stream: Stream, nslc: NSLC) -> None:
    trace = trace_of(stream, nslc)
    reference = trace.copy()
    output = "ACC" if nslc.channel[1] == "N" else "VEL"
    reference.remove_response(inventory, output=output, water_level=60, pre_filt=PASS)
    found, expected = band(removed(Response(inventory), trace, nslc)), band(reference.data)
    assert np.abs(found - expected).max() <= 0.03 * np.abs(expected).max()
    assert np.std(found - expected) <= 0.03 * np.std(expected)


def test_units_are_told(inventory: Inventory) -> None:
    response = Response(inventory)
    assert [response.unit(nslc) for nslc in HANS] == ["m/s"] * 3 + ["m/s**2"] * 3
    assert response.unit(NSLC("UW", "X", "", "hnz")) == "m/s**2"


def test_counts_times_ten_are_motion_times_ten(inventory: Inventory, stream: Stream) -> None:
    trace = trace_of(stream, HANS[0])
    tenfold = trace.copy()
    tenfold.data = trace.data * 10.0 + 1e6
    response = Response(inventory)
    one, ten = removed(response, trace, HANS[0]), removed(response, tenfold, HANS[0])
    np.testing.assert_allclose(ten, 10 * one, atol=1e-9 * np.abs(ten).max())


def test_the_block_is_left_alone(inventory: Inventory, stream: Stream) -> None:
    trace = trace_of(stream, HANS[0])
    samples = np.asarray(trace.data, dtype=np.float64)
    before = samples.copy()
    Response(inventory).remove(HANS[0], to_ns(trace.stats.starttime), samples, 100.0)
    np.testing.assert_array_equal(samples, before)


@pytest.mark.parametrize("nslc", [NSLC("XX", "NONE", "", "HHZ"), NSLC("UW", "HANS", "", "BHZ")])
def test_an_unknown_channel_is_a_data_error_that_names_it(inventory: Inventory, nslc: NSLC) -> None:
    with pytest.raises(DataError, match=f"{nslc}.*inventory has no response"):
        Response(inventory).remove(nslc, 1_696_818_000 * 10**9, np.arange(1000.0), 100.0)


def test_a_time_before_the_station_is_a_data_error(inventory: Inventory) -> None:
    with pytest.raises(DataError, match="1970-01-01"):
        Response(inventory).remove(HANS[0], 0, np.arange(1000.0), 100.0)


def test_a_channel_without_a_response_is_a_data_error(inventory: Inventory, stream: Stream) -> None:
    bare = copy.deepcopy(inventory.select(station="HANS", channel="HHZ"))
    bare[0][0][0].response = None
    with pytest.raises(DataError, match="HANS"):
        removed(Response(bare), trace_of(stream, HANS[0]), HANS[0])


@pytest.mark.filterwarnings("ignore")
def test_a_response_without_stages_is_a_data_error(inventory: Inventory, stream: Stream) -> None:
    """As many servers give it: a sensitivity and nothing else."""
    empty = copy.deepcopy(inventory.select(station="HANS", channel="HHZ"))
    empty[0][0][0].response.response_stages = []
    with pytest.raises(DataError, match="HANS"):
        removed(Response(empty), trace_of(stream, HANS[0]), HANS[0])


def test_one_object_serves_several_rates(inventory: Inventory, stream: Stream) -> None:
    samples = np.asarray(trace_of(stream, HANS[0]).data[:4000], dtype=np.float64)
    time_ns = to_ns(trace_of(stream, HANS[0]).stats.starttime)
    shared_object = Response(inventory)
    shared_object.remove(HANS[0], time_ns, samples, 100.0)
    found = shared_object.remove(HANS[0], time_ns, samples, 50.0)
    np.testing.assert_array_equal(
        found, Response(inventory).remove(HANS[0], time_ns, samples, 50.0)
    )


def test_a_change_of_response_within_a_day_counts_from_its_moment(
    inventory: Inventory, stream: Stream
) -> None:
    trace = trace_of(stream, HANS[0])
    changed = copy.deepcopy(inventory.select(station="HANS", channel="HHZ"))
    station = changed[0][0]
    later = copy.deepcopy(station[0])
    moment = trace.stats.starttime + 1000
    station[0].end_date = moment
    later.start_date = moment
    later.response.instrument_sensitivity.value *= 2
    for stage in later.response.response_stages[:1]:
        stage.stage_gain *= 2
    station.channels.append(later)
    response = Response(changed)
    before = removed(response, trace, HANS[0])
    moved = trace.copy()
    moved.stats.starttime += 2000
    after = removed(response, moved, HANS[0])
    np.testing.assert_allclose(after, before / 2, atol=0.01 * np.abs(before).max())


def test_inventory_channels_are_named_without_dashes(inventory: Inventory) -> None:
    channels = inventory_channels(inventory)
    assert set(HANS) <= set(channels)
    assert len(set(channels)) == 27
    assert {nslc.location for nslc in channels} == {""}
    assert inventory_channels(None) == []


def test_dips_are_those_of_the_inventory(inventory: Inventory) -> None:
    dips = channel_dips(inventory)
    assert len(dips) == 27
    for nslc, dip in dips.items():
        assert abs(dip) == (90.0 if nslc.component == "Z" else 0.0)
    assert channel_dips(None) == {}


def test_a_missing_dip_is_left_out(inventory: Inventory) -> None:
    some = copy.deepcopy(inventory.select(station="MCW"))
    for channel in some[0][0]:
        channel.dip = None if channel.code == "EHZ" else channel.dip
    assert {nslc.channel for nslc in channel_dips(some)} == {"ENZ", "ENN", "ENE"}
