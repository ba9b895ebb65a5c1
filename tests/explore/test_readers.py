"""Every kind of file becomes the same table; what is wrong with one is told by name and line."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from factories import TIME, make_detection, make_pick
from hypothesis import given
from hypothesis import strategies as st
from obspy import UTCDateTime

from ml_prediction.errors import ConfigurationError, DataError
from ml_prediction.explore.arrivals import COLUMNS, Arrivals, phase_of
from ml_prediction.explore.readers import read_arrivals, read_run
from ml_prediction.sinks.folder import OutputFolder
from ml_prediction.sinks.markers import MarkersSink
from ml_prediction.sinks.parquet import ParquetSink
from ml_prediction.sinks.quakeml import QuakemlSink
from ml_prediction.sinks.tables import CsvSink
from ml_prediction.util.times import to_ns

SINKS: dict[str, Any] = {
    "picks.csv": CsvSink,
    "picks.xml": QuakemlSink,
    "picks.parquet": ParquetSink,
    "picks.markers": MarkersSink,
}


def written(folder: Path, name: str) -> Arrivals:
    p = make_pick(quality=1)
    s = make_pick(phase="S", time=TIME + 0.96, channel="EHN", sigma=0.07, quality=2)
    with OutputFolder(folder) as output:
        sink = SINKS[name](output)
        sink.write([p, s], [make_detection(pick_ids=(p.id,))])
        sink.close()
    return read_arrivals(folder / name)


@pytest.mark.parametrize("name", sorted(SINKS))
def test_what_our_sinks_write_is_read_back(name: str, tmp_path: Path) -> None:
    table = written(tmp_path / "out", name).table
    assert tuple(table.columns) == COLUMNS
    assert table["phase"].tolist() == ["P", "S"]
    assert table["channel"].tolist() == ["EHZ", "EHN"]
    assert set(table["station"]) == {"RJOB"}
    times = [to_ns(TIME), to_ns(TIME + 0.96)]
    np.testing.assert_allclose(table["time_ns"] - times, 0, atol=1000)
    np.testing.assert_allclose(table["uncertainty_s"], [0.0321, 0.07], atol=1e-4)
    if name != "picks.markers":  # which has no room for more
        np.testing.assert_allclose(table["probability"], 0.8765)
        np.testing.assert_allclose(table["width_s"], 0.1)
        assert table["quality"].tolist() == [1, 2]
        assert set(table["weights_sha256"]) == {"00" * 32}


def test_markers_of_pyrocko_are_read(tmp_path: Path) -> None:
    marker = pytest.importorskip("pyrocko.gui.snuffler.marker")
    model = pytest.importorskip("pyrocko.model")
    time = float(TIME.timestamp)
    event = model.Event(lat=47.7, lon=12.9, time=time - 3, magnitude=2.1, name="small one")
    nslc = [("BW", "RJOB", "", "EHZ")]
    markers = [
        marker.EventMarker(event),
        marker.PhaseMarker(nslc, time, time, phasename="Pg", event=event),
        marker.PhaseMarker(nslc, time + 0.9, time + 1.1, phasename="S"),
        marker.PhaseMarker(nslc, time, time, phasename="Lg"),
        marker.PhaseMarker([("BW", "*", "", "EHZ")], time, time, phasename="P"),
        marker.PhaseMarker([], time, time, phasename="P"),
        marker.Marker(nslc, time, time + 2),
    ]
    path = tmp_path / "mine.pf"
    marker.save_markers(markers, str(path), fdigits=6)
    found = read_arrivals(path)
    assert found.table["phase"].tolist() == ["P", "S"]
    np.testing.assert_allclose(found.table["time_ns"] - to_ns(TIME), [0, 1e9], atol=2000)
    assert math.isnan(found.table["uncertainty_s"][0])
    assert found.table["uncertainty_s"][1] == pytest.approx(0.1, abs=1e-5)
    assert found.table["magnitude"][0] == pytest.approx(2.1)
    assert sum(found.not_judged.values()) == 4
    assert list(found.origins) == [event.get_hash()]


def test_analysts_quakeml_is_read(shared: Path) -> None:
    folder = shared / "data" / "Full_Array"
    found = read_arrivals(folder / "uw61965081_Origin_Quake.xml")
    table = read_arrivals(folder / "picks.csv").table
    assert len(found.table) == len(table) == 428
    same = found.table[["network", "station", "phase", "time_ns"]]
    assert same.equals(table[["network", "station", "phase", "time_ns"]])
    assert found.table["magnitude"].eq(4.3).all()
    assert found.table["distance_km"].between(4, 310).all()
    assert set(found.table["event"]) == set(found.origins) == {"61965081"}


QUAKEML = """<?xml version="1.0"?><q:quakeml xmlns:q="http://quakeml.org/xmlns/quakeml/1.2"
 xmlns="http://quakeml.org/xmlns/bed/1.2"><eventParameters publicID="smi:a/b">
 <event publicID="smi:a/e1">{}</event></eventParameters></q:quakeml>"""
PICK = """<pick publicID="smi:a/{}"><time><value>2023-10-09T02:21:0{}Z</value></time>
 <waveformID networkCode="UW" stationCode="HANS" channelCode="HHZ"/><phaseHint>{}</phaseHint>
 <evaluationMode>{}</evaluationMode><evaluationStatus>{}</evaluationStatus></pick>"""


def test_automatic_and_rejected_picks_beside_manual_ones_are_counted_only(tmp_path: Path) -> None:
    picks = [
        PICK.format(1, 1, "Pn", "manual", "reviewed"),
        PICK.format(2, 2, "P", "automatic", "preliminary"),
        PICK.format(3, 3, "P", "manual", "rejected"),
        PICK.format(4, 4, "PmP", "manual", "reviewed"),
    ]
    path = tmp_path / "q.xml"
    path.write_text(QUAKEML.format("".join(picks)))
    found = read_arrivals(path)
    assert len(found.table) == 1
    assert found.not_judged == {
        "automatic, in an event with manual picks": 1,
        "rejected": 1,
        "phase PmP": 1,
    }
    path.write_text(QUAKEML.format(picks[1]))
    assert len(read_arrivals(path).table) == 1  # where nobody looked, they are all there is


def test_seisbench_labels_know_what_they_do_not_know(tmp_path: Path) -> None:
    path = tmp_path / "metadata.csv"
    path.write_text(
        "trace_name,station_code,trace_start_time,trace_sampling_rate_hz,trace_npts,"
        "trace_Pn_arrival_sample,trace_Pg_arrival_sample,trace_s_arrival_sample,"
        "trace_Lg_arrival_sample,source_magnitude\n"
        "a,HANS,2023-10-09T02:21:00Z,100,3000,500,450,,7,1.5\n"
        "b,MCW,2023-10-09T02:21:00Z,50,3000,,,4000,nan,\n"
    )
    found = read_arrivals(path)
    (row,) = found.table.to_dict("records")
    assert (row["station"], row["phase"], row["event"]) == ("HANS", "P", "a")
    assert row["time_ns"] == to_ns(UTCDateTime("2023-10-09T02:21:04.5"))  # the first P
    assert row["magnitude"] == 1.5
    assert found.not_judged == {
        "phase Lg": 1,
        "traces without P, which is taken as unknown": 1,
        "traces without S, which is taken as unknown": 1,
        "outside of its trace": 1,
    }
    assert found.spans is not None
    assert list(zip(found.spans["station"], found.spans["phase"], strict=True)) == [
        ("HANS", "P"),
        ("MCW", "S"),  # its S lies outside, which is known
    ]
    assert (found.spans["end_ns"] - found.spans["start_ns"]).tolist() == [30e9, 60e9]


def test_what_is_no_arrival_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text(
        "station,phase,time,uncertainty_s\nA,P*,2023-10-09T00:00:00,0.1\nA,PKP,2023-10-09,\n"
        "A,,2023-10-09,\nA,S,,\nA,Sg,2023-10-09 00:00:05,NaN\n"
    )
    found = read_arrivals(path)
    assert found.table["phase"].tolist() == ["P", "S"]
    assert math.isnan(found.table["uncertainty_s"][1])
    assert found.not_judged == {"phase PKP": 1, "without phase": 1, "without time": 1}


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("2023-10", "9999-10", "P at UW.HANS has the time 9999-10-09"),
        ("</value>", "</value><uncertainty>-1</uncertainty>", "the uncertainty -1 s"),
    ],
)
def test_senseless_quakeml_is_an_error_that_names_the_station(
    old: str, new: str, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "q.xml"
    pick = PICK.format(1, 1, "Pn", "manual", "reviewed")
    path.write_text(QUAKEML.format(pick.replace(old, new)))
    with pytest.raises(DataError, match=r"q\.xml") as caught:
        read_arrivals(path)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("station,time\nA,2023\n", "line 1: no column phase"),
        ("station,phase,time\nA,P,2023-10-09\nA,P,yesterday\n", "line 3: 'yesterday' is no time"),
        ("station,phase,time,sigma\nA,P,2023-10-09,wide\n", "line 2: 'wide' is no number"),
        ("station,phase,time,sigma\nA,P,2023-10-09,inf\n", "line 2: 'inf' is no number"),
        (
            "station,phase,time,sigma\nA,P,2023,\nA,P,2023,-1\n",
            "line 3: '-1' is no sigma, which is 0 s",
        ),
        ("station,phase,time,sigma\nA,P,2023-10-09,NaN\n", "line 2: 'NaN' is no number for sig"),
        ("station,phase,time,uncertainty_s\nA,P,2023-10-09,-.1\n", "'-.1' is no uncertainty_s"),
        ("station,phase,time,probability\nA,P,2023-10-09,90\n", "'90' is no probability"),
        ("station,phase,time,probability\nA,P,2023-10-09,1.7\n", "percent, divide by 100"),
        ("station,phase,time,probability\nA,P,2023-10-09,-0.5\n", "line 2: '-0.5' is no prob"),
        ("station,phase,time,probability\nA,P,2023-10-09,nan\n", "leave the cell empty"),
        ("station,phase,time\nA,P,2023-10-09\nA,P,9999-12-31\n", "line 3: '9999-12-31' is no"),
        ("station,phase,time\nA,P,1500-01-01T00:00:00\n", "from the years 1700 to 2199"),
        ("station;phase;time\nA;P;2023-10-09\n", "line 1: its cells are separated by semicolons"),
        ("station\tphase\ttime\nA\tP\t2023-10-09\n", "separated by tabs"),
        (
            "# Snuffler Markers File Version 0.2\n"
            "phase: 9999-10-09 02:21:00 0 A.B..C None None None P None False\n",
            "line 2: no marker (times are from the years 1700",
        ),
        (
            "trace_p_arrival_sample,station_code,trace_start_time,trace_sampling_rate_hz\n"
            "1e300,A,2023-10-09,100\n",
            "line 2: '1e300' is a trace_p_arrival_sample more than a year",
        ),
        ("station,phase,time\nA,P,2023,4,5\n", "no CSV"),
        ("# Snuffler Markers File Version 0.2\nphase: 2023-10-09 02:21\n", "line 2: no marker"),
        ("# Snuffler Markers File Version 0.1\n", "version 0.2"),
        ("<quakeml>", "can't be read as QuakeML"),
        (
            "<html><body>Please log in</body></html>",
            "XML (html) without eventParameters: give a QuakeML file",
        ),
        ('<FDSNStationXML xmlns="x"><Source/></FDSNStationXML>', "XML (FDSNStationXML)"),
        ("<quakeml/>", "XML (quakeml) without"),
        ("PAR1 and nothing more", "no Parquet file"),
        ("hello", "neither QuakeML"),
        ("", "neither QuakeML"),
        ("trace_p_arrival_sample,station_code\n1,A\n", "no column trace_start_time"),
    ],
)
def test_a_wrong_file_is_an_error_that_names_it(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.txt"
    path.write_text(text)
    with pytest.raises(DataError, match=r"wrong\.txt") as caught:
        read_arrivals(path)
    assert words in str(caught.value)


def test_a_missing_file_and_an_empty_folder_are_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="Can't read"):
        read_arrivals(tmp_path / "none.csv")
    with pytest.raises(ConfigurationError, match="has none of"):
        read_arrivals(tmp_path)


def test_what_a_run_looked_at_is_known_from_its_summary(tmp_path: Path) -> None:
    assert read_run(tmp_path) is None
    summary = tmp_path / "summary.json"
    summary.write_text(
        '{"channels": ["UW.HANS..HHZ", "UW.HANS..HHN"],'
        ' "span": {"start": "2023-10-09T02:21:00Z", "end": "2023-10-09T02:22:00Z"}}'
    )
    found = read_run(tmp_path / "picks.csv")
    assert found is not None
    assert found.stations == {("UW", "HANS")}
    assert found.end_ns - found.start_ns == 60e9
    summary.write_text("{}")
    with pytest.raises(DataError, match=r"summary.json: not the summary"):
        read_run(tmp_path)


@given(st.text(max_size=5))
def test_a_phase_is_p_or_s_or_not_judged(name: str) -> None:
    found = phase_of(name)
    assert found is None or found == name.strip().lstrip("ieIE")[0].upper()


@pytest.mark.parametrize("name", ["P", "Pn", "Pg", "P*", "Pb", "iP", "p"])
def test_first_arrivals_are_p(name: str) -> None:
    assert phase_of(name) == "P"
    assert phase_of(name.replace("P", "S").replace("p", "s")) == "S"


def test_csv_of_a_spreadsheet_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file).writerows([["station", "phase", "time"], ["A", "P", "2023-10-09"]])
    assert read_arrivals(path).table["station"].tolist() == ["A"]
