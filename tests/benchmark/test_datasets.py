"""Data are the same each time, lie on the grid of windows, and look like an archive."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import obspy
import pytest
from obspy import Stream, Trace, UTCDateTime

from ml_prediction.benchmark.datasets import (
    Dataset,
    Span,
    make_real,
    make_synthetic,
    real_files,
)
from ml_prediction.benchmark.plan import MODELS, WORKLOADS, ModelPlan, Workload
from ml_prediction.benchmark.waveforms import arrivals_of, seismogram

EQT, PHASENET = MODELS
TINY = Workload("tiny", 2, 130)
LONE = Workload("lone", 2, lone=True)


@pytest.mark.parametrize("workload", [TINY, LONE], ids=["tiny", "lone"])
@pytest.mark.parametrize("model", MODELS, ids=lambda plan: str(plan.name))
def test_files_are_whole_windows_on_the_grid(
    tmp_path: Path, model: ModelPlan, workload: Workload
) -> None:
    dataset = make_synthetic(workload, model, tmp_path)
    stride = workload.stride_for(model)
    assert (dataset.window, dataset.stride) == (model.window, stride)
    files = sorted(tmp_path.rglob("*.mseed"))
    assert [path.name for path in files][:3] == [f"XX.S0000..HH{c}.mseed" for c in "ENZ"]
    assert len(files) == 6
    for path in files:
        (trace,) = obspy.read(path)
        assert trace.stats.mseed.encoding == "STEIM2"
        assert trace.stats.mseed.record_length == 512
        first = round(trace.stats.starttime.timestamp * 100)
        assert first % stride == 0
        assert (len(trace) - model.window) % stride == 0
        assert len(trace) == dataset.spans[0].samples
        assert trace.stats.starttime.ns == dataset.spans[0].start_ns
    assert dataset.windows == 2 * ((len(trace) - model.window) // stride + 1)


def test_the_same_bytes_each_time(tmp_path: Path) -> None:
    for name in ("one", "two"):
        make_synthetic(TINY, EQT, tmp_path / name)
    contents = [
        [path.read_bytes() for path in sorted((tmp_path / name).rglob("*.mseed"))]
        for name in ("one", "two")
    ]
    assert contents[0] == contents[1]
    assert len(set(contents[0])) == 6  # stations and components differ


def test_files_hold_what_was_made(tmp_path: Path) -> None:
    make_synthetic(TINY, EQT, tmp_path)
    (trace,) = obspy.read(tmp_path / "S0001" / "XX.S0001..HHN.mseed")
    np.testing.assert_array_equal(trace.data, seismogram(1, "N", len(trace)))


def test_a_longer_record_begins_in_the_same_way() -> None:
    # More than one block of noise: the filters' states must be handed on.
    samples = 2**20 + 500
    long = seismogram(0, "Z", samples)
    assert abs(float(long[2**20]) - float(long[2**20 - 1])) < 100
    assert 150 < long[:20_000].std() < 2000


def test_seismograms_have_earthquakes_over_noise() -> None:
    (arrivals, *_) = arrivals_of(3, 600)
    assert 2 <= arrivals.s_s - arrivals.p_s <= 20
    high = np.diff(seismogram(3, "Z", 60_000).astype(float), 2)  # microseism is slow
    onset = round(arrivals.p_s * 100)
    before, after = high[onset - 1000 : onset - 10], high[onset : onset + 200]
    assert after.std() > 2 * before.std()


def test_they_begin_in_silence_and_have_no_offset() -> None:
    data = seismogram(0, "E", 60_000)
    assert np.abs(data[:10]).max() <= 1
    assert abs(data.mean()) < 0.1 * data.std()


@pytest.mark.parametrize("seconds", [30.01, 60, 600])
def test_even_a_short_record_has_an_earthquake(seconds: float) -> None:
    for station in range(20):
        found = arrivals_of(station, seconds)
        assert found
        assert all(2 <= item.p_s < item.s_s < seconds for item in found)


def recorded(folder: Path) -> list[Path]:
    """A site with two instruments, one with a vertical alone, one that is too short."""
    start = UTCDateTime(2023, 10, 9, 2, 20, 10, 981_600)
    random = np.random.default_rng(1)
    stream = Stream()
    for station, channels, samples in (
        ("SIX", ("ENE", "ENN", "ENZ", "HHE", "HHN", "HHZ"), 15_000),
        ("ONE", ("EHZ",), 15_000),
        ("SHORT", ("HHE", "HHN", "HHZ"), 6_500),
    ):
        for channel in channels:
            header = {
                "network": "UW",
                "station": station,
                "location": "--",
                "channel": channel,
                "starttime": start,
                "sampling_rate": 100.0,
            }
            data = random.integers(-1000, 1000, samples).astype(np.int32)
            stream.append(Trace(data, header))
    path = folder / "recorded.mseed"
    stream.write(str(path), format="MSEED")
    return [path]


def test_recorded_data_are_cut_to_windows_on_the_grid(tmp_path: Path) -> None:
    files = recorded(tmp_path)
    dataset = make_real(files, Workload("real-hour"), EQT, tmp_path / "out")
    start = UTCDateTime(2023, 10, 9, 2, 20, 30)
    assert dataset.spans == (Span("UW.SIX.", start.ns, 12_000),)
    written = sorted(path.name for path in (tmp_path / "out").rglob("*.mseed"))
    assert written == [f"UW.SIX..HH{c}.mseed" for c in "ENZ"]  # one instrument of the two
    (trace,) = obspy.read(tmp_path / "out" / "SIX" / written[0])
    (original,) = obspy.read(files[0]).select(station="SIX", channel="HHE")
    skip = round((start - original.stats.starttime) * 100)
    np.testing.assert_array_equal(trace.data, original.data[skip : skip + 12_000])


def test_missing_recorded_data_are_no_error(tmp_path: Path) -> None:
    (hour,) = [workload for workload in WORKLOADS if workload.key == "real-hour"]
    assert real_files(hour, None) == []
    assert real_files(hour, tmp_path) == []


def test_spans_add_up() -> None:
    spans = (Span("XX.A.", 0, 6000), Span("XX.B.", 0, 12_000))
    dataset = Dataset(Path("x"), 6000, 3000, spans)
    assert dataset.windows == 1 + 3
    assert dataset.station_seconds == 180
    assert dataset.seconds == 120
