"""The commands that judge and improve picks, from the command line to their files."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ml_prediction import cli
from ml_prediction.config_toml import read_toml
from ml_prediction.drivers.run_config import RunConfig

HEADER = "network,station,location,channel,phase,time,sigma,probability,width,weights_sha256\n"


def write_pair(folder: Path, events: int = 12) -> tuple[str, str]:
    """Picks with long-tailed errors, and their reference: four stations, an event a minute."""
    generator = np.random.default_rng(5)
    picks, reference = [HEADER], ["network,station,phase,time,event\n"]
    for event in range(events):
        for station in ("A", "B", "C", "D"):
            for phase, delay in (("P", 5), ("S", 9)):
                time = pd.Timestamp("2023-10-09", tz="UTC") + pd.Timedelta(60 * event + delay, "s")
                error = pd.Timedelta(float(generator.normal(0, 0.05)), "s")
                reference.append(f"XX,{station},{phase},{time.isoformat()},e{event}\n")
                moved = (time + error).isoformat()
                picks.append(f"XX,{station},,HHZ,{phase},{moved},0.1,0.7,0.11,{'ab' * 32}\n")
    (folder / "picks.csv").write_text("".join(picks))
    (folder / "reference.csv").write_text("".join(reference))
    return str(folder / "picks.csv"), str(folder / "reference.csv")


def test_evaluate_prints_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pair = write_pair(tmp_path)
    assert cli.run(["evaluate", *pair, "--out", str(tmp_path / "report")]) == 0
    said = capsys.readouterr().out
    assert "tolerance 0.5 s" in said
    assert "95 %" in said
    document = json.loads((tmp_path / "report" / "evaluation.json").read_text())
    whole = document["statistics"][0]
    assert (whole["phase"], whole["arrivals"], whole["found"]) == ("P", 48, 48)
    assert cli.run(["evaluate", *pair, "--tolerance", "0.02"]) == 0
    assert cli.run(["evaluate", *pair, "--out", str(tmp_path / "report")]) == 2
    assert "--overwrite" in capsys.readouterr().err


def test_one_of_several_models_is_evaluated_and_calibrated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picks, reference = write_pair(tmp_path)
    header, *rows = Path(picks).read_text().splitlines()
    lines = [f"{header},model,weights", *(f"{row},EQTransformer,original" for row in rows)]
    lines += [f"{row.replace('ab' * 32, 'cd' * 32)},PhaseNet,original" for row in rows]
    Path(picks).write_text("\n".join(lines) + "\n")
    file, report = tmp_path / "calibration.json", tmp_path / "report"
    for command in (["evaluate"], ["calibrate", "--out", str(file)]):
        assert cli.run([*command, picks, reference]) == 2
        said = capsys.readouterr().err
        assert "2 models (EQTransformer:original, PhaseNet:original)" in said
        assert "--model" in said
    line = ["evaluate", picks, reference, "--model", "PhaseNet", "--out", str(report)]
    assert cli.run(line) == 0
    assert "They are picks of PhaseNet:original." in capsys.readouterr().out
    row = json.loads((report / "evaluation.json").read_text())["statistics"][0]
    assert (row["found"], row["false"], row["precision"]) == (48, 0, 1)
    assert cli.run(["calibrate", picks, reference, "--model", "PhaseNet", "--out", str(file)]) == 0
    assert set(json.loads(file.read_text())) == {"cd" * 32}


def test_calibrate_writes_what_pick_applies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair, file = write_pair(tmp_path), tmp_path / "calibration.json"
    assert cli.run(["calibrate", *pair, "--out", str(file)]) == 0
    said = capsys.readouterr().out
    assert "held out" in said
    entry = json.loads(file.read_text())["ab" * 32]
    assert set(entry) == {"P", "S"}
    sigma = entry["P"]["k"] * 0.11
    assert sigma == pytest.approx(0.05, rel=0.4)
    assert entry["P"]["measured"]["arrivals"] == 48


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("evaluate PICKS REFERENCE --from yesterday --to 2023-10-10", "--from yesterday"),
        ("evaluate PICKS REFERENCE --from 2023-10-09", "both --from and --to"),
        ("evaluate PICKS REFERENCE --by hour", "--by hour"),
        ("evaluate PICKS REFERENCE --inventory none.xml", "none.xml"),
        ("evaluate PICKS REFERENCE --out x --formats pdf", "--formats pdf"),
        ("evaluate none.csv REFERENCE", "none.csv"),
        ("tune . --out x", "no labelled set"),
        ("evaluate none.csv REFERENCE --formats xyz", "--formats xyz"),
        ("evaluate none.csv REFERENCE --out PICKS", "picks.csv is a file; name a folder"),
        ("evaluate none.csv REFERENCE --out PICKS/deeper", "picks.csv is a file; name a folder"),
        ("evaluate PICKS REFERENCE --seed -1", "--seed -1"),
        ("evaluate PICKS REFERENCE --around 1e300", "--around 1e+300"),
        ("evaluate PICKS REFERENCE --tolerance 1e300", "--tolerance 1e+300"),
        ("evaluate PICKS REFERENCE --from 0001-01-01 --to 9999-01-01", "--from 0001"),
        ("calibrate PICKS REFERENCE --out x --seed -1", "--seed -1"),
        ("tune . --tolerance 0", "--tolerance 0"),
        ("tune . --tolerance -1", "--tolerance -1"),
        ("tune . --tolerance nan", "--tolerance nan"),
        ("tune . --blinding 5", "--blinding 5"),
        ("tune . --stride 0", "--stride 0"),
        ("tune . --stacking sum", "--stacking sum"),
        ("tune . --1c up", "--1c up"),
        ("pick-labelled . --crops 0", "--crops 0"),
    ],
)
def test_wrong_use_is_one_sentence_and_status_2(
    line: str,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    picks, reference = write_pair(tmp_path)
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    filled = line.replace("PICKS", picks).replace("REFERENCE", reference)
    assert cli.run(filled.split()) == 2
    said = capsys.readouterr().err
    assert words in said
    assert len(said.splitlines()) == 1
    assert list(empty.iterdir()) == []


def small_set(shared: Path, folder: Path, count: int = 8) -> Path:
    """A few windows of the shared labelled set, by links."""
    source = shared / "data" / "labelled_windows"
    rows = (source / "labels.csv").read_text().splitlines()
    chosen = [row for row in rows[1:] if row.split(",")[2]][:count]
    folder.mkdir()
    (folder / "labels.csv").write_text("\n".join([rows[0], *chosen]) + "\n")
    for name in ("phasenet", "deepdenoiser"):
        (folder / name).symlink_to(source / name)
    return folder


def test_a_labelled_set_is_tuned_picked_and_evaluated(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labelled, tuned = small_set(shared, tmp_path / "set"), tmp_path / "tuned"
    line = ["tune", str(labelled), "--crops", "1", "--stride", "3000", "--out", str(tuned)]
    assert cli.run([*line, "--blinding", "500,500", "--1c", "zero,clone"]) == 0
    assert "Best: stride 3000" in capsys.readouterr().out
    table = pd.read_csv(tuned / "trials.csv")
    assert set(table["stacking"]) == {"max", "mean"}
    assert {str(value) for value in table["components"]} == {"3", "Z"}
    found = RunConfig.from_tables(read_toml(tuned / "tuned.toml"))
    assert found.pipeline.stride == 3000
    assert set(found.pipeline.thresholds) == {"P", "S"}
    assert tomllib.loads((tuned / "tuned.toml").read_text())["model"] == "EQTransformer"
    config = ["--config", str(tuned / "tuned.toml"), "--crops", "1"]
    out = tmp_path / "picked"
    assert cli.run(["pick-labelled", str(labelled), *config, "--out", str(out)]) == 0
    assert cli.run(["evaluate", str(out), str(out / "labels.csv")]) == 0
    said = capsys.readouterr().out
    assert "SeisBench labels" in said
    assert "8 stations" in said


def test_tuning_needs_five_events(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labelled, out = small_set(shared, tmp_path / "set", 3), tmp_path / "tuned"
    assert cli.run(["tune", str(labelled), "--out", str(out)]) == 1
    said = capsys.readouterr().err
    assert "Too little to tune with: the cuts have P of 3 and S of 3 events; label 5" in said
    assert len(said.splitlines()) == 1
    assert not out.exists()


def test_an_empty_file_of_a_labelled_set_is_no_interrupt(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.npz").write_bytes(b"")
    (tmp_path / "labels.csv").write_text("file,p_sample,s_sample,event_group\na.npz,1,,7\n")
    assert cli.run(["pick-labelled", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert "line 2: " in capsys.readouterr().err


def test_evaluation_needs_neither_torch_nor_seisbench(tmp_path: Path) -> None:
    code = (
        "import sys; from ml_prediction import cli; "
        f"assert cli.run({['evaluate', *write_pair(tmp_path)]!r}) == 0; "
        "sys.exit(bool({'torch', 'seisbench'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert done.returncode == 0, done.stderr
