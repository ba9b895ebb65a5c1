"""Picks of several models at once: one of them is judged, and nobody has to guess which."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from explore.tables import arrival, arrivals
from factories import TIME, make_pick

from ml_prediction.errors import ConfigurationError
from ml_prediction.explore.arrivals import MARKERS
from ml_prediction.explore.evaluation import evaluate
from ml_prediction.explore.one_model import makers, of_one_model
from ml_prediction.explore.processed import read_processed
from ml_prediction.explore.readers import read_arrivals
from ml_prediction.sinks.folder import OutputFolder
from ml_prediction.sinks.parquet import ParquetSink
from ml_prediction.sinks.quakeml import QuakemlSink
from ml_prediction.sinks.tables import CsvSink

EQT = {"model": "EQTransformer", "weights": "original", "weights_sha256": "ab" * 32}
PHASENET = {"model": "PhaseNet", "weights": "original", "weights_sha256": "cd" * 32}
BOTH = {
    "model": "semblance(EQTransformer+PhaseNet)",
    "weights": "original+original",
    "weights_sha256": "ef" * 32,
}
PICKS = arrivals(
    arrival(10.1, **EQT), arrival(10.2, **PHASENET), arrival(10.0, **BOTH), arrival(14, **PHASENET)
)


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("EQTransformer", (1, 0)),
        ("EQTransformer:original", (1, 0)),
        ("PhaseNet", (1, 1)),
        ("cdcdcdcd", (1, 1)),
        ("semblance", (1, 0)),
        ("semblance(EQTransformer+PhaseNet):original+original", (1, 0)),
    ],
)
def test_one_of_several_models_is_judged(name: str, counts: tuple[int, int]) -> None:
    found = evaluate(PICKS, arrivals(arrival(10)), model=name)
    row = found.overall("P")
    assert (row["found"], row["false"]) == counts
    assert found.not_judged["picks: of another model"] == 4 - sum(counts)
    assert found.settings["model"] == name
    assert found.statement[1].startswith("They are picks of ")


def test_markers_of_a_run_of_several_models_are_refused() -> None:
    nobodys = replace(arrivals(arrival(10), arrival(10.1)), kind=MARKERS)
    summary: dict[str, Any] = {
        "channels": ["UW.HANS..HHZ"],
        "span": {"start": "2023-10-09T02:21:00Z", "end": "2023-10-09T02:22:00Z"},
        "models": [{"name": name, "weights": "original"} for name in ("EQTransformer", "PhaseNet")],
    }
    with pytest.raises(ConfigurationError, match=r"EQTransformer:original, .*picks.csv and --mod"):
        evaluate(nobodys, arrivals(arrival(10)), processed=read_processed(summary))
    summary["models"] = summary["models"][:1]
    one = evaluate(nobodys, arrivals(arrival(10)), processed=read_processed(summary))
    assert one.overall("P")["found"] == 1


def test_several_models_without_a_choice_are_refused_and_listed() -> None:
    with pytest.raises(ConfigurationError) as caught:
        evaluate(PICKS, arrivals(arrival(10)))
    said = str(caught.value)
    assert "made.csv has picks of 3 models (EQTransformer:original, PhaseNet:original, sem" in said
    assert "--model EQTransformer:original" in said


def test_one_model_needs_no_choice_nor_do_picks_of_nobody() -> None:
    mixed = arrivals(arrival(10, **EQT), arrival(20))
    assert of_one_model(mixed) is mixed
    assert len(of_one_model(mixed, "EQTransformer").table) == 1


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("GPD", "has picks of EQTransformer:original, PhaseNet:original"),
        ("EQTransformer:stead", "name one of these"),
    ],
)
def test_a_model_that_has_not_picked_is_wrong_use(name: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=f"--model {name}") as caught:
        of_one_model(PICKS, name)
    assert words in str(caught.value)


def test_weights_of_one_name_are_told_apart_by_their_checksum() -> None:
    twins = arrivals(arrival(1, **EQT), arrival(2, **{**EQT, "weights_sha256": "12" * 32}))
    with pytest.raises(ConfigurationError, match=r"--model 121212121212\."):
        of_one_model(twins)
    with pytest.raises(ConfigurationError, match="or their checksum"):
        of_one_model(twins, "EQTransformer")
    assert len(of_one_model(twins, "121212121212").table) == 1
    with pytest.raises(ConfigurationError, match="leave --model out"):
        of_one_model(arrivals(arrival(1)), "EQTransformer")


@pytest.mark.parametrize(
    ("sink", "name"),
    [(CsvSink, "picks.csv"), (QuakemlSink, "picks.xml"), (ParquetSink, "picks.parquet")],
)
def test_files_of_a_run_say_whose_the_picks_are(
    sink: type[CsvSink | QuakemlSink | ParquetSink], name: str, tmp_path: Path
) -> None:
    picks = [make_pick(**EQT), make_pick(time=TIME + 0.1, id="two", **PHASENET)]
    with OutputFolder(tmp_path / "out") as folder:
        written = sink(folder)
        written.write(picks, [])
        written.close()
    found = read_arrivals(tmp_path / "out" / name)
    assert [maker.id for maker in makers(found)] == ["EQTransformer:original", "PhaseNet:original"]
