"""The bundled weights are the authors', and give the authors' outputs."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt
import pytest

from ml_prediction.errors import ConfigurationError
from ml_prediction.models import Model, bundled_files, golden, load_model, verify_bundled
from ml_prediction.models.registry import list_models

REPOSITORY = Path(__file__).resolve().parents[2]
STEM = "eqtransformer_original"


def test_verification_passes() -> None:
    result = verify_bundled()
    assert result.ok
    assert "ok" in str(result)


def test_verification_sees_a_damaged_file(monkeypatch: pytest.MonkeyPatch) -> None:
    read = bundled_files.read_bytes

    def damaged(name: str) -> bytes:
        content = read(name)
        if not name.endswith(".safetensors"):
            return content
        return content[:-1] + bytes([content[-1] ^ 1])

    monkeypatch.setattr(bundled_files, "read_bytes", damaged)
    result = verify_bundled()
    assert not result.ok
    assert "DAMAGED" in str(result)
    with pytest.raises(ConfigurationError, match="reinstall"):
        load_model()


def test_verification_sees_other_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = golden.from_document(bundled_files.read_bytes(f"{STEM}_golden.json").decode())
    monkeypatch.setattr(golden, "from_document", lambda _: expected + 2e-5)
    assert not verify_bundled().ok


def test_a_missing_file_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"nothing\.json is missing"):
        bundled_files.read_bytes("nothing.json")


def test_golden_input_never_changes() -> None:
    windows = golden.golden_input()
    assert windows.shape == (2, 3, 6000)
    thousandths = np.rint(windows.astype(np.float64) * 1000).astype("<i8")
    digest = hashlib.sha256(thousandths.tobytes()).hexdigest()
    assert digest == "0461db6945a86c948beba7b5c19b367d4cda37e68cccd33313e0c2fa426a0409"


def test_golden_outputs_have_arrivals(eqt: Model) -> None:
    outputs = eqt.engine(golden.golden_input())
    assert outputs[:, 1].argmax(axis=1) == pytest.approx([1800, 900], abs=3)
    assert outputs[:, 2].argmax(axis=1) == pytest.approx([2600, 2500], abs=3)
    assert (outputs[:, 0].max(axis=1) > 0.9).all()


def test_agrees_with_an_independent_conversion(eqt: Model, shared: Path) -> None:
    other = load_model(
        "EQTransformer", shared / "models" / "eqtransformer" / "original", device="cpu"
    )
    windows = np.concatenate([golden.golden_input(), real_windows(shared)])
    difference = np.abs(eqt.engine(windows) - other.engine(windows)).max()
    assert difference <= 1e-5
    assert eqt.spec.filters == other.spec.filters
    assert eqt.spec.normalisation == other.spec.normalisation
    assert eqt.spec.components == other.spec.components == "ENZ"


def real_windows(shared: Path) -> npt.NDArray[np.float32]:
    """Four real records, standardised, shape (window, component, sample)."""
    windows = []
    for path in sorted((shared / "data" / "labelled_windows" / "phasenet").glob("*.npz"))[:4]:
        with np.load(path) as record:
            data = np.asarray(record["data"][:6000], dtype=np.float64).T
        window = np.zeros((3, 6000))
        window[:, : data.shape[1]] = data - data.mean(axis=1, keepdims=True)
        windows.append(window / window.std(ddof=1))
    return np.asarray(np.stack(windows), dtype=np.float32)


def test_hash_is_that_of_the_file(eqt: Model) -> None:
    content = bundled_files.read_bytes(f"{STEM}.safetensors")
    assert eqt.spec.weights_sha256 == hashlib.sha256(content).hexdigest()
    assert len(content) < 1_700_000


def test_provenance_is_complete(eqt: Model) -> None:
    metadata = bundled_files.read_metadata(STEM)
    notice = (REPOSITORY / "NOTICE").read_text(encoding="utf-8")
    assert bundled_files.read_bytes("NOTICE").decode() == notice
    assert metadata["source_sha256"] in notice
    assert "Permission is hereby granted" in notice
    assert eqt.spec.licence == "MIT"
    assert "Mousavi" in eqt.spec.citation
    bundled = list_models()[0]
    assert (bundled.name, bundled.weights, bundled.status) == (
        "EQTransformer",
        "original",
        "bundled",
    )
    assert bundled.sha256 == eqt.spec.weights_sha256


def test_calibration_is_keyed_by_weights(monkeypatch: pytest.MonkeyPatch, eqt: Model) -> None:
    digest = eqt.spec.weights_sha256
    monkeypatch.setattr(
        bundled_files, "read_bytes", lambda _: json.dumps({digest: {"P": 0.3, "S": 0.5}}).encode()
    )
    assert bundled_files.read_sigma_scale(digest) == {"P": 0.3, "S": 0.5}
    assert bundled_files.read_sigma_scale("0" * 64) == {}


def load_tool() -> ModuleType:
    pytest.importorskip("h5py", reason="h5py is only needed to convert weights")
    path = REPOSITORY / "tools" / "convert_eqtransformer.py"
    spec = importlib.util.spec_from_file_location("convert_eqtransformer", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_conversion_refuses_another_file(tmp_path: Path) -> None:
    tool = load_tool()
    wrong = tmp_path / "EqT_model.h5"
    wrong.write_bytes(b"something else")
    with pytest.raises(SystemExit, match="neither"):
        tool.main([str(wrong), "--out", str(tmp_path)])


def test_description_is_the_tools() -> None:
    weights = bundled_files.read_bytes(f"{STEM}.safetensors")
    assert load_tool().description(weights) == bundled_files.read_metadata(STEM)
