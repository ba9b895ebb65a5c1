"""Rivals have the same weights, and windows are merged as SeisBench does."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path

import numpy as np
import pytest

from ml_prediction.benchmark.contenders.rivals import found_peaks, stack
from ml_prediction.benchmark.weights import lay_out
from ml_prediction.errors import ConfigurationError
from ml_prediction.models import Model


def test_stacking_takes_the_highest_or_the_mean_of_what_is_there() -> None:
    nan = np.nan
    windows = np.array([[nan, 1.0, 2.0, nan], [nan, 5.0, 1.0, 4.0]])[..., None]
    highest = stack(windows, [0, 1], 6, "max")[:, 0]
    np.testing.assert_array_equal(highest, [nan, 1.0, 5.0, 1.0, 4.0, nan])
    mean = stack(windows, [0, 1], 6, "mean")[:, 0]
    np.testing.assert_array_equal(mean, [nan, 1.0, 3.5, 1.0, 4.0, nan])


def test_peaks_are_the_highest_samples_of_triggers() -> None:
    trace = np.array([np.nan, 0.0, 0.2, 0.6, 0.9, 0.4, 0.0, 0.2, 0.29, 0.0])
    (pick,) = found_peaks("XX.A.", 10**18, trace[:, None], ["P"], {"P": 0.3})
    assert pick == ("XX.A.", "P", 10**18 + 40_000_000, 0.9)


def test_bundled_weights_are_laid_out_as_seisbench_keeps_them(tmp_path: Path, eqt: Model) -> None:
    weights = lay_out("EQTransformer", None, tmp_path)
    assert weights.for_ours == "original"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import seisbench.models as sbm

        module = sbm.EQTransformer.load(weights.base, version_str="1").eval()
    assert tmp_path / "models" / "v3" / "eqtransformer" / "original" == weights.base
    import torch

    windows = np.random.default_rng(0).standard_normal((2, 3, 6000), dtype=np.float32)
    with torch.no_grad():
        outputs = torch.stack(module(torch.from_numpy(windows)), dim=1).numpy()
    np.testing.assert_allclose(eqt.engine(windows), outputs, atol=1e-5)


def test_weights_by_path_are_copied(tmp_path: Path) -> None:
    source = tmp_path / "mine"
    source.mkdir()
    (source / "w.pt").write_bytes(b"tensors")
    (source / "w.json").write_text("{}")
    weights = lay_out("PhaseNet", source / "w", tmp_path / "cache")
    copied = tmp_path / "cache" / "models" / "v3" / "phasenet" / "original.pt.v1"
    assert hashlib.sha256(copied.read_bytes()).digest() == hashlib.sha256(b"tensors").digest()
    assert weights.for_ours == str(copied.with_name("original.json.v1"))


def test_only_some_weights_are_bundled(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="give a path with --weights"):
        lay_out("PhaseNet", None, tmp_path)
