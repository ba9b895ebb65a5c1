"""Exports: made once, checked against torch, and never used where the check failed."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml_prediction.drivers.report import describe_model
from ml_prediction.errors import ConfigurationError
from ml_prediction.models import golden, load_model, reference
from ml_prediction.models.engines import comparison, compiled, export_cache
from ml_prediction.models.engines.openvino_engine import OpenVinoEngine, has_bfloat16
from ml_prediction.models.engines.torch_engine import TorchEngine
from ml_prediction.models.reference import Reference


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that is empty, and that nobody else uses."""
    monkeypatch.setenv(export_cache.VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def exports(cache: Path) -> list[Path]:
    return sorted(cache.rglob("*.safetensors"))


def test_an_export_is_made_once_and_gives_the_same_model(own_cache: Path) -> None:
    first = load_model(device="cpu")
    (path,) = exports(own_cache)
    made = path.stat().st_mtime_ns
    second = load_model(device="cpu")
    assert exports(own_cache) == [path]
    assert path.stat().st_mtime_ns == made
    assert second.spec == first.spec
    assert hash(second.spec) == hash(first.spec)
    assert repr(second.spec) == repr(first.spec)
    windows = golden.golden_input()
    assert np.array_equal(first.engine(windows), second.engine(windows))


def test_a_damaged_export_is_made_anew(own_cache: Path) -> None:
    windows = golden.golden_input()
    expected = load_model(device="cpu").engine(windows)
    (path,) = exports(own_cache)
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[-5000] ^= 0xFF
    for damaged in (bytes(flipped), whole[: len(whole) // 2], b"", whole[:8] + b"{" + whole[9:]):
        path.write_bytes(damaged)
        assert np.array_equal(load_model(device="cpu").engine(windows), expected)
        assert path.read_bytes() == whole


def test_an_engine_that_differs_from_torch_is_never_run(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for wrong in (2e-5, float("nan"), float("inf")):
        with monkeypatch.context() as patch:
            patch.setattr(comparison, "difference", lambda *_, wrong=wrong: wrong)
            with caplog.at_level(logging.WARNING, "ml_prediction"):
                assert isinstance(load_model(device="cpu").engine, TorchEngine)
        assert "torch computes instead" in caplog.text
        caplog.clear()
        with caplog.at_level(logging.WARNING, "ml_prediction"):  # it is remembered
            assert isinstance(load_model(device="cpu").engine, TorchEngine)
        assert "torch computes instead" in caplog.text
        with pytest.raises(ConfigurationError, match="differ from torch's"):
            load_model(device="cpu", engine="openvino")
        (path,) = exports(own_cache)
        path.unlink()


def test_bfloat16_needs_a_processor_that_has_it(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ml_prediction.models.engines.openvino_engine.has_bfloat16", lambda: False)
    with pytest.raises(ConfigurationError, match="this processor has no bfloat16"):
        load_model(device="cpu", engine="openvino-bf16")
    assert not exports(own_cache)


def test_less_precision_never_hides_a_wrong_graph(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ml_prediction.models.engines.openvino_engine.has_bfloat16", lambda: True)
    monkeypatch.setattr(comparison, "difference", lambda *_: 1e-3)
    with pytest.raises(ConfigurationError, match=r"differ from torch's by inf"):
        load_model(device="cpu", engine="openvino-bf16")


@pytest.mark.skipif(not has_bfloat16(), reason="this processor has no bfloat16")
def test_bfloat16_drifts_no_further_than_said(own_cache: Path) -> None:
    exact = load_model(device="cpu", engine="openvino")
    coarse = load_model(device="cpu", engine="openvino-bf16")
    again = load_model(device="cpu", engine="openvino-bf16")
    assert len(exports(own_cache)) == 2
    assert coarse.spec.versions["openvino"] == exact.spec.versions["openvino"] + " bf16"
    assert describe_model(coarse)["engine"] == "openvino-bf16"
    windows = golden.golden_input()
    outputs = coarse.engine(windows)
    assert np.array_equal(again.engine(windows), outputs)
    assert 1e-5 < np.abs(outputs - exact.engine(windows)).max() < compiled.TOLERANCES["bf16"]
    alone = np.concatenate([coarse.engine(window[None]) for window in windows])
    assert np.array_equal(alone, outputs)  # packets may come as they like


def test_a_graph_that_can_not_be_compiled_falls_back(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("no such instruction")

    monkeypatch.setattr(OpenVinoEngine, "_compile", refuse)
    with caplog.at_level(logging.WARNING, "ml_prediction"):
        assert isinstance(load_model(device="cpu").engine, TorchEngine)
    assert "no such instruction" in caplog.text


def test_a_cache_that_can_not_be_written_costs_time_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    occupied = tmp_path / "file"
    occupied.write_text("not a folder")
    monkeypatch.setenv(export_cache.VARIABLE, str(occupied))
    assert isinstance(load_model(device="cpu").engine, OpenVinoEngine)
    assert occupied.read_text() == "not a folder"


def test_the_key_depends_on_everything_that_the_check_depends_on() -> None:
    key = export_cache.key_of("PhaseNet", (b"a", b"b"), "processor")
    assert key == export_cache.key_of("PhaseNet", (b"a", b"b"), "processor")
    others = {
        export_cache.key_of("EQTransformer", (b"a", b"b"), "processor"),
        export_cache.key_of("PhaseNet", (b"a", b"c"), "processor"),
        export_cache.key_of("PhaseNet", (b"ab", b""), "processor"),
        export_cache.key_of("PhaseNet", (b"a", b"b"), "another"),
    }
    assert len({key, *others}) == 5


def test_warnings_about_weights_are_repeated_from_the_cache(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def warn_and_load(*arguments: Any) -> Reference:
        logging.getLogger("seisbench").warning("Weight version warning: beware")
        return reference.load_reference(*arguments)

    monkeypatch.setattr("ml_prediction.models.loading.load_reference", warn_and_load)
    load_model(device="cpu")
    caplog.clear()
    with caplog.at_level(logging.WARNING, "seisbench"):
        load_model(device="cpu")
    assert "beware" in caplog.text


def test_engines_that_can_not_be_used_are_refused_in_words() -> None:
    unknown: Any = "abacus"
    with pytest.raises(ConfigurationError, match="Unknown engine 'abacus'"):
        load_model(engine=unknown)
    with pytest.raises(ConfigurationError, match="computes on the CPU"):
        load_model(engine="openvino", device="cuda")
    with pytest.raises(ConfigurationError, match="only EQTransformer, PhaseNet can be compiled"):
        load_model("Skynet", "original", engine="openvino")


PICK_WITHOUT_TORCH = """
import pathlib, sys
import obspy
import ml_prediction
model = ml_prediction.load_model(device="cpu", threads=2)
result = ml_prediction.pick(obspy.read(), model)
assert [pick.phase for pick in result.picks] == ["P", "S"], result.picks
heavy = {"torch", "seisbench"} & set(sys.modules)
assert not heavy, heavy
status = pathlib.Path("/proc/self/status")
if status.exists():  # the peak in MB; getrusage would tell that of the process that started us
    text = status.read_text()
    peak = int(text.split("VmHWM:")[1].split()[0]) / 1024
    most = 400 if sys.version_info < (3, 13) else 430  # Numba and SciPy are larger there
    assert peak < most, peak
"""


def test_bundled_weights_need_neither_torch_nor_seisbench_nor_much_memory() -> None:
    load_model(device="cpu")  # the export is there
    command = [sys.executable, "-W", "ignore", "-c", PICK_WITHOUT_TORCH]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode == 0, done.stderr
