"""Sinks stream, and what they write reads back."""

from __future__ import annotations

import csv
import io
import math
import subprocess
import sys
import warnings
from pathlib import Path
from types import ModuleType

import numpy as np
import obspy
import pandas as pd
import pyarrow.parquet
import pytest
from factories import TIME, make_detection, make_pick
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from obspy import Stream, Trace, UTCDateTime

from ml_prediction.core.results import Detection, Pick
from ml_prediction.errors import ConfigurationError
from ml_prediction.sinks.base import SINKS, files_of, make_sinks
from ml_prediction.sinks.folder import OutputFolder
from ml_prediction.sinks.quakeml import PATIENCE_NS, QuakemlSink, resource_id
from ml_prediction.sinks.tables import PICK_COLUMNS

ISSUE_COLUMNS = (
    *("network", "station", "location", "channel", "phase", "time", "sigma", "probability"),
    *("scale", "quality", "onset", "end", "misfit", "polarity", "amplitude", "snr", "model"),
    "weights",
)
MORE_COLUMNS = (
    *("peak_time", "width", "mu_error", "fit_ok", "coverage", "members", "detection_id"),
    *("config_hash", "run_id", "id", "polarity_confidence", "weights_sha256", "versions"),
)

P = make_pick()
S = make_pick(phase="S", channel="EHN", time=TIME + 0.98, polarity="unknown", snr=math.nan)
LONELY = make_pick(time=TIME + 100, polarity="down", amplitude_physical=1e-6, amplitude_unit="m/s")
ELSEWHERE = make_pick(network="", station="X<&>", location="00", channel="Z", id="odd id/1")
EVENT = make_detection(pick_ids=(P.id, S.id, "unknown"))
Parts = list[tuple[list[Pick], list[Detection], Stream | None]]
PARTS: Parts = [
    ([P], [], None),
    ([S, LONELY], [], None),
    ([], [EVENT], None),
    ([ELSEWHERE], [], None),
]


def write(path: Path, name: str, parts: Parts) -> Path:
    with OutputFolder(path) as folder:
        (sink,) = make_sinks([name], folder)
        for part in parts:
            sink.write(*part)
        sink.close()
    return path


def test_formats_are_checked_and_made_once(tmp_path: Path) -> None:
    with OutputFolder(tmp_path) as folder:
        with pytest.raises(ConfigurationError, match="xlsx"):
            make_sinks(["csv", "xlsx"], folder)
        sinks = make_sinks([" CSV", "csv", "markers"], folder)
        assert len(sinks) == 2
        for sink in sinks:
            sink.abort()


@pytest.mark.parametrize("name", SINKS)
def test_files_are_those_that_the_sink_says(tmp_path: Path, name: str) -> None:
    assert {path.name for path in write(tmp_path, name, PARTS).iterdir()} == set(files_of(name))


def test_files_of_an_unknown_format_and_without_large_libraries() -> None:
    with pytest.raises(ConfigurationError, match="xlsx"):
        files_of("xlsx")
    code = (
        "import sys, warnings; warnings.simplefilter('ignore');"
        "from ml_prediction.sinks.base import files_of; print(files_of('parquet'));"
        "assert not {'pyarrow', 'matplotlib.figure', 'torch'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "picks.parquet" in done.stdout


@pytest.mark.parametrize("name", SINKS)
def test_nothing_picked_gives_readable_files_and_abort_leaves_none(
    tmp_path: Path, name: str
) -> None:
    assert list(write(tmp_path / "out", name, []).iterdir())
    folder = OutputFolder(tmp_path / "aborted")
    (sink,) = make_sinks([name], folder)
    sink.write([P], [EVENT], None)
    sink.abort()
    folder.abort()
    assert not (tmp_path / "aborted").exists()


def test_csv_columns_are_those_of_the_issue_then_the_rest() -> None:
    assert PICK_COLUMNS == ISSUE_COLUMNS + MORE_COLUMNS


def test_csv_reads_back(tmp_path: Path) -> None:
    out = write(tmp_path, "csv", PARTS)
    with (out / "picks.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["station"] for row in rows] == ["RJOB", "RJOB", "RJOB", "X<&>"]
    first, second = rows[0], rows[1]
    assert first["time"] == "2009-08-24T00:20:07.720000Z"
    assert (first["sigma"], first["probability"], first["quality"]) == ("0.0321", "0.8765", "1")
    assert (first["fit_ok"], first["members"], first["detection_id"]) == (
        "true",
        "EQTransformer",
        "",
    )
    assert second["snr"] == ""
    detections = pd.read_csv(out / "detections.csv")
    assert detections["pick_ids"][0].split(";") == list(EVENT.pick_ids)
    assert detections["probability"][0] == 0.95


def test_csv_takes_numpy_values(tmp_path: Path) -> None:
    pick = make_pick(sigma=np.float32(0.01), fit_ok=np.bool_(False), quality=np.int64(2))
    row = pd.read_csv(write(tmp_path, "csv", [([pick], [], None)]) / "picks.csv").iloc[0]
    assert (row["sigma"], bool(row["fit_ok"]), row["quality"]) == (0.01, False, 2)


@settings(max_examples=50, deadline=None)
@given(nanoseconds=st.integers(0, 4_000_000_000 * 10**9))
def test_times_keep_their_microsecond(nanoseconds: int) -> None:
    from ml_prediction.sinks.markers import marker_line
    from ml_prediction.sinks.tables import _cell

    time = UTCDateTime(ns=nanoseconds)
    cell = _cell("time", time)
    assert len(cell) == 27
    assert abs(UTCDateTime(cell).ns - nanoseconds) <= 500
    stamp = " ".join(marker_line(make_pick(time=time, sigma=0.0)).split()[1:3])
    assert abs(UTCDateTime(stamp).ns - nanoseconds) <= 500


def test_parquet_has_every_field_with_its_type(tmp_path: Path) -> None:
    out = write(tmp_path, "parquet", PARTS)
    table = pyarrow.parquet.read_table(out / "picks.parquet")
    assert table.column_names == [*PICK_COLUMNS, "amplitude_physical", "amplitude_unit"]
    assert str(table.schema.field("time").type) == "timestamp[us, tz=UTC]"
    rows = table.to_pylist()
    assert rows[0]["time"] == pd.Timestamp("2009-08-24T00:20:07.720", tz="UTC")
    assert (rows[0]["sigma"], rows[0]["quality"], rows[0]["fit_ok"]) == (0.0321, 1, True)
    assert rows[0]["members"] == ["EQTransformer"]
    assert rows[1]["snr"] is None
    assert (rows[2]["amplitude_physical"], rows[2]["amplitude_unit"]) == (1e-6, "m/s")


def test_parquet_writes_row_groups(tmp_path: Path) -> None:
    out = write(tmp_path, "parquet", [([P] * 6000, [], None)] * 3)
    meta = pyarrow.parquet.ParquetFile(out / "picks.parquet").metadata
    assert (meta.num_rows, meta.num_row_groups) == (18_000, 2)


def test_quakeml_reads_back_with_everything(tmp_path: Path) -> None:
    path = write(tmp_path, "quakeml", PARTS) / "picks.xml"
    catalog = obspy.read_events(str(path))
    assert [len(event.picks) for event in catalog] == [2, 1, 1]
    first = catalog[0].picks[0]
    assert first.time == P.time
    assert first.time_errors.uncertainty == 0.0321
    assert first.waveform_id.get_seed_string() == "BW.RJOB..EHZ"
    assert (first.phase_hint, first.polarity) == ("P", "positive")
    assert (first.evaluation_mode, first.evaluation_status) == ("automatic", "preliminary")
    assert str(first.method_id).endswith("EQTransformer/original")
    assert any("probability=0.8765" in comment.text for comment in first.comments)
    assert catalog[0].picks[1].polarity is None
    assert catalog[1].picks[0].polarity == "negative"
    assert catalog[2].picks[0].waveform_id.station_code == "X<&>"
    assert "not one earthquake" in catalog[1].comments[0].text


def test_quakeml_is_valid(tmp_path: Path) -> None:
    from obspy.io.quakeml.core import _validate

    path = write(tmp_path, "quakeml", PARTS) / "picks.xml"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert _validate(io.BytesIO(path.read_bytes()))


def test_quakeml_lets_old_picks_go(tmp_path: Path) -> None:
    """Memory must not grow with time where there are no detections."""
    hours = [make_pick(time=TIME + PATIENCE_NS / 1e9 * 1.1 * hour) for hour in range(5)]
    with OutputFolder(tmp_path) as folder:
        sink = QuakemlSink(folder)
        for pick in hours:
            sink.write([pick], [], None)
            assert [len(held) for held in sink._held.values()] == [1]
        sink.close()
    catalog = obspy.read_events(str(tmp_path / "picks.xml"))
    assert [event.picks[0].time for event in catalog] == [pick.time for pick in hours]
    assert len({str(event.resource_id) for event in catalog}) == 5


def test_resource_ids_are_made_legal() -> None:
    assert resource_id("a b", "UW.GNW..HH/P") == "smi:local/ml_prediction/a_b/UW.GNW..HH/P"


ODD = make_pick(station="A\x00 B\x1f", location="\ud800", channel="H,.Z", phase="P\n")


def test_quakeml_with_any_codes_reads_back(tmp_path: Path) -> None:
    odd = make_detection(station=ODD.station, location=ODD.location, channel="H,.")
    path = write(tmp_path, "quakeml", [([ODD, P], [odd], None)]) / "picks.xml"
    catalog = obspy.read_events(str(path))
    picks = {event.picks[0].waveform_id.get_seed_string() for event in catalog if event.picks}
    assert picks == {"BW.A__B_._.H,.Z", "BW.RJOB..EHZ"}
    assert "BW.A_ B_._.H,." in " ".join(c.text for event in catalog for c in event.comments)


def pyrocko_markers() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module: ModuleType = pytest.importorskip("pyrocko.gui.snuffler.marker")
    return module


def test_markers_with_any_codes_are_read_by_pyrocko(tmp_path: Path) -> None:
    marker = pyrocko_markers()
    path = write(tmp_path, "markers", [([ODD, P], [], None)]) / "picks.markers"
    loaded = marker.load_markers(str(path))
    assert [m.nslc_ids for m in loaded] == [
        (("BW", "A__B_", "_", "H__Z"),),
        (("BW", "RJOB", "", "EHZ"),),
    ]
    assert [m.get_phasename() for m in loaded] == ["P_", "P"]


def test_markers_are_read_by_pyrocko(tmp_path: Path) -> None:
    marker = pyrocko_markers()
    sharp = make_pick(sigma=math.nan)
    path = write(tmp_path, "markers", [*PARTS, ([sharp], [], None)]) / "picks.markers"
    loaded = marker.load_markers(str(path))
    assert len(loaded) == 5
    assert loaded[0].tmin == pytest.approx(P.time.timestamp - P.sigma, abs=1e-5)
    assert loaded[0].tmax == pytest.approx(P.time.timestamp + P.sigma, abs=1e-5)
    assert loaded[0].nslc_ids == (("BW", "RJOB", "", "EHZ"),)
    assert [m.get_phasename() for m in loaded] == ["P", "S", "P", "P", "P"]
    assert [m.get_polarity() for m in loaded] == [1, None, -1, 1, 1]
    assert loaded[4].tmin == loaded[4].tmax == pytest.approx(P.time.timestamp, abs=1e-5)


def test_codes_that_miniseed_would_cut_are_left_out_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stream = Stream(
        Trace(np.zeros(500, np.float32), {"station": station, "channel": "EHP"})
        for station in ("STATION1", "RJOB", "STATION2")
    )
    out = write(tmp_path / "out", "mseed", [([], [], stream), ([], [], stream)])
    found = obspy.read(str(out / "predictions.mseed"))
    assert {trace.stats.station for trace in found} == {"RJOB"}
    assert [r.getMessage().split(" ")[0] for r in caplog.records] == [
        ".STATION1..EHP",
        ".STATION2..EHP",
    ]


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_probabilities_read_back_however_they_come(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    samples = np.random.default_rng(0).random(data.draw(st.integers(1, 30_000)), dtype=np.float32)
    for _ in range(data.draw(st.integers(0, 3))):
        start = data.draw(st.integers(0, len(samples)))
        samples[start : start + data.draw(st.integers(1, 500))] = np.nan
    cuts = sorted(data.draw(st.lists(st.integers(0, len(samples)), max_size=6)))
    start = UTCDateTime(2020, 1, 1) + data.draw(st.sampled_from([0, 0.0037, 0.123456]))
    parts = []
    for a, b in zip([0, *cuts], [*cuts, len(samples)], strict=True):
        header = {"network": "BW", "station": "RJOB", "channel": "EHP", "sampling_rate": 100.0}
        parts.append(Stream([Trace(samples[a:b], header=header | {"starttime": start + a / 100})]))
    folder = tmp_path_factory.mktemp("mseed")
    out = write(folder / "out", "mseed", [([], [], part) for part in parts])
    path = out / "predictions.mseed"
    got = np.full(len(samples), np.nan, dtype=np.float32)
    for trace in obspy.read(str(path)) if path.stat().st_size else ():
        offset = (trace.stats.starttime - start) * 100
        assert abs(offset - round(offset)) < 1e-3
        assert trace.data.dtype == np.float32
        got[round(offset) : round(offset) + len(trace)] = trace.data
    np.testing.assert_array_equal(got, samples)
