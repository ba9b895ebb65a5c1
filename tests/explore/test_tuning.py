"""Labelled sets, their cuts, and the sweep over settings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from core.packetise import fake_model

import ml_prediction as mlp
from ml_prediction.errors import ConfigurationError, DataError
from ml_prediction.explore.calibration import folds_of
from ml_prediction.explore.evaluation import evaluate
from ml_prediction.explore.labelled import (
    LabelledWindow,
    crops,
    labels_of,
    read_labelled,
    reference_of,
)
from ml_prediction.explore.readers import read_arrivals
from ml_prediction.explore.tuning import (
    Score,
    Setting,
    compare,
    held_out,
    own_setting,
    pick_crops,
    picks_as_arrivals,
    processed_of,
    settings_around,
    tunable,
)
from ml_prediction.models import Model


def window(event: str = "e1", length: int = 9001) -> LabelledWindow:
    data = np.random.default_rng(1).normal(size=(3, length))
    return LabelledWindow(event, data, 100.0, {"P": 3000.0})


def test_cuts_are_random_the_same_again_and_keep_their_labels() -> None:
    one, two = (list(crops([window()], 20)) for _ in range(2))
    assert [c.samples for c in one] == [c.samples for c in two]
    assert len({c.samples["P"] for c in one}) > 10
    for crop in one:
        vertical = crop.stream.select(channel="HHZ")[0]
        assert vertical.stats.npts == 7500
        place = round(crop.samples["P"])
        if 0 <= place < 7500:
            assert vertical.data[place] == window().data[2, 3000]


def test_a_short_window_is_taken_whole() -> None:
    (crop,) = crops([window(length=4000)], 1)
    assert crop.stream[0].stats.npts == 4000
    assert crop.samples == {"P": 3000.0}


def test_labels_that_are_written_are_the_reference(tmp_path: Path) -> None:
    cut = list(crops([window("a"), window("b")], 8, seconds=30))
    path = tmp_path / "labels.csv"
    path.write_text(labels_of(cut).to_csv(index=False))
    read, made = read_arrivals(path), reference_of(cut, path)
    names = ["station", "phase", "event", "time_ns"]
    pd.testing.assert_frame_equal(read.table[names], made.table[names], check_dtype=False)
    assert read.spans is not None
    assert made.spans is not None
    names = ["station", "phase", "event", "start_ns", "end_ns"]
    pd.testing.assert_frame_equal(read.spans[names], made.spans[names], check_dtype=False)


def write_npz_set(folder: Path, rows: str, shape: tuple[int, int] = (500, 3)) -> Path:
    np.savez(folder / "a.npz", data=np.zeros(shape, dtype=np.float32))
    (folder / "labels.csv").write_text("file,p_sample,s_sample,event_group\n" + rows)
    return folder


def test_a_phase_without_a_sample_is_unknown(tmp_path: Path) -> None:
    found = read_labelled(write_npz_set(tmp_path, "a.npz,100,,7\na.npz,,,8\n"))
    assert [(w.event, dict(w.samples), w.data.shape) for w in found] == [
        ("7", {"P": 100.0}, (3, 500))
    ]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("a.npz,soon,,7\n", "line 2"),
        ("b.npz,100,,7\n", r"line 2: .*/b.npz can't be read"),
        ("a.npz,,,7\n", "no window with a labelled"),
        ("a.npz,100,,7\na.npz\n", "line 3: 1 cells, but the header has 4"),
        ("a.npz,100,,7,8\n", "line 2: 5 cells, but the header has 4"),
        ("a.npz,100,,7\na.npz,-5,,7\n", "line 3: p_sample -5 is outside of a.npz.* 0 to 499"),
        ("a.npz,1,30000000,7\n", "line 2: s_sample 3e[+]07 is outside"),
        ("a.npz,inf,,7\n", "line 2: p_sample 'inf'"),
        ("empty.npz,1,,7\n", r"labels.csv, line 2: .*/empty.npz can't be read"),
        ("short.npz,1,,7\n", r"labels.csv, line 2: .*/short.npz can't be read"),
        ("array.npy,1,,7\n", r"labels.csv, line 2: .*/array.npy can't be read"),
    ],
)
def test_a_wrong_set_is_an_error_that_names_the_line(rows: str, words: str, tmp_path: Path) -> None:
    write_npz_set(tmp_path, rows)
    whole = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "empty.npz").write_bytes(b"")
    (tmp_path / "short.npz").write_bytes(whole[: len(whole) // 2])
    np.save(tmp_path / "array.npy", np.zeros((500, 3)))
    with pytest.raises(DataError, match=words):
        read_labelled(tmp_path)


def test_labels_in_another_encoding_are_an_error_that_names_the_line(tmp_path: Path) -> None:
    write_npz_set(tmp_path, "a.npz,100,,7\n")
    with (tmp_path / "labels.csv").open("ab") as file:
        file.write("a.npz,100,,Z\xfcrich\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"labels\.csv, line 3: no text in UTF-8"):
        read_labelled(tmp_path)


def test_a_sampling_rate_that_is_none_is_an_error(tmp_path: Path) -> None:
    write_npz_set(tmp_path, "")
    text = "file,p_sample,s_sample,event_group,sampling_rate_hz\na.npz,100,,7,{}\n"
    (tmp_path / "labels.csv").write_text(text.format(""))
    assert read_labelled(tmp_path)[0].sampling_rate == 100
    (tmp_path / "labels.csv").write_text(text.format(0))
    with pytest.raises(DataError, match="line 2: sampling_rate_hz 0: give Hz"):
        read_labelled(tmp_path)


def test_windows_without_labels_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    read_labelled(write_npz_set(tmp_path, "a.npz,100,,7\na.npz,,,8\n"))
    assert "1 of 2 windows have neither P nor S" in caplog.text


def test_a_wrong_shape_and_a_wrong_folder_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no labelled set"):
        read_labelled(tmp_path)
    with pytest.raises(DataError, match="shape"):
        read_labelled(write_npz_set(tmp_path, "a.npz,100,,7\n", shape=(3, 500)))


def test_seisbench_datasets_are_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "waveforms.hdf5", "w") as file:
        file["data/one"] = np.arange(30, dtype=np.float32).reshape(3, 10)
        file["data_format/component_order"] = "ZNE"
        file["data_format/dimension_order"] = "CW"
    (tmp_path / "metadata.csv").write_text(
        "trace_name,trace_sampling_rate_hz,trace_Pg_arrival_sample,trace_Pn_arrival_sample,"
        "trace_S_arrival_sample,source_id\none,50,4,3,99,quake\n"
    )
    (found,) = read_labelled(tmp_path)
    assert (found.event, found.sampling_rate) == ("quake", 50.0)
    assert dict(found.samples) == {"P": 3.0, "S": 99.0}
    assert "1 labels lie outside of their windows" in caplog.text
    assert found.data[:, 0].tolist() == [20.0, 10.0, 0.0]  # E, N, Z


def test_a_seisbench_trace_without_waveforms_is_named(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "waveforms.hdf5", "w") as file:
        file["data/one"] = np.zeros((3, 10), dtype=np.float32)
        file["data_format/component_order"] = "ZNE"
        file["data_format/dimension_order"] = "CW"
    (tmp_path / "metadata.csv").write_text(
        "trace_name,trace_sampling_rate_hz,trace_P_arrival_sample\none,50,4\ntwo,50,4\n"
    )
    with pytest.raises(DataError, match=r"metadata\.csv, row 2: its waveforms can't be read"):
        read_labelled(tmp_path)


def test_one_thing_is_varied_at_a_time_and_the_own_setting_comes_first() -> None:
    model = fake_model()
    found = settings_around(model)
    own = own_setting(model)
    assert found[0] == own
    assert len(set(found)) == len(found)
    for setting in found:
        if setting.vertical_only:
            assert replace(setting, vertical_only=False, one_component="zero") == own
        else:
            changed = sum(
                getattr(setting, name) != getattr(own, name)
                for name in ("stride", "blinding", "stacking")
            )
            assert changed <= 1
    full = settings_around(model, full=True, one_component=["zero"])
    assert len(full) > len(found) - 2
    with pytest.raises(ConfigurationError, match="No combination covers"):
        settings_around(model, strides=[10**6])


def test_thresholds_are_judged_on_events_that_did_not_choose_them() -> None:
    events = [f"e{n:02d}" for n in range(20)]
    counts = np.zeros((2, 20, 3), dtype=np.int64)
    counts[0] = [1, 0, 1]  # a low threshold: all found, and as many false
    counts[1] = [1, 0, 0]  # a high one is better
    counts[:, 0] = [[50, 0, 0], [0, 50, 0]]  # but not for one event, which outweighs the others
    result = Score({"P": counts, "S": np.zeros_like(counts)}, (0.1, 0.5))
    chosen = held_out(result, events)["P"]
    with_first = folds_of(events, 0) == folds_of(events, 0)[0]
    assert chosen[with_first].tolist() == counts[1][with_first].tolist()
    assert chosen[~with_first].tolist() == counts[0][~with_first].tolist()
    settings = [Setting(100, (0, 0), "mean"), Setting(50, (0, 0), "mean")]
    perfect = np.zeros_like(counts)
    perfect[:, :, 0] = 1
    scores = {settings[0]: result, settings[1]: Score({"P": perfect, "S": perfect}, (0.1, 0.5))}
    best, base = compare(scores, dict.fromkeys(settings, 1.0), events, {"P": 0.5, "S": 0.5})
    assert best.setting == settings[1]
    assert best.f1["mean"].value == 1
    assert base.gain is None
    assert best.gain is not None
    assert 0 < best.gain.low <= best.gain.value <= best.gain.high


@pytest.mark.parametrize("events", [1, 3, 4])
def test_too_few_events_to_hold_any_out_are_refused(events: int) -> None:
    cut = list(crops([window(f"e{n}", 4000) for n in range(events)], 3))
    with pytest.raises(DataError, match=rf"P of {events} and S of 0 events; label 5 or more"):
        tunable(cut)


def test_a_phase_that_few_events_have_keeps_the_models_threshold() -> None:
    cut = list(crops([window(f"e{n}", 4000) for n in range(5)], 1))
    assert tunable(cut) == ("P",)
    counts = np.zeros((2, 5, 3), dtype=np.int64)
    counts[:, :, 0] = 1
    few = np.zeros_like(counts)
    few[0, 0, 0] = few[1, 0, 1] = 1  # one event has S, found at the lowest threshold only
    result = Score({"P": counts, "S": few}, (0.05, 0.3))
    names, own = [f"e{n}" for n in range(5)], Setting(100, (0, 0), "mean")
    (trial,) = compare({own: result}, {own: 1.0}, names, {"P": 0.3, "S": 0.3}, phases=("P",))
    assert trial.thresholds == {"P": 0.05, "S": 0.3}
    assert set(trial.f1) == {"P", "mean"}
    assert trial.at_defaults == 1
    assert not np.isnan(trial.f1["mean"]).any()


def test_cuts_picked_together_have_the_picks_of_each_alone(eqt: Model, shared: Path) -> None:
    windows = read_labelled(shared / "data" / "labelled_windows")[:3]
    cut = list(crops(windows, 2))
    together, processed = pick_crops(eqt, cut, own_setting(eqt), {})
    alone = [p for crop in cut for p in mlp.pick(crop.stream, eqt).picks]
    assert processed == processed_of(cut)
    assert sorted(p.id for p in together) == sorted(p.id for p in alone)
    sigma = {p.id: p.sigma for p in alone}
    for p in together:
        assert p.sigma == pytest.approx(sigma[p.id], rel=1e-3)
    found = evaluate(
        picks_as_arrivals(together, Path("x")), reference_of(cut, Path("y")), processed=processed
    )
    assert found.overall("P")["recall"] > 0.5
