"""ModelSpecs say what SeisBench does."""

from __future__ import annotations

import copy
import logging
import pickle
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
import torch

from ml_prediction.errors import ConfigurationError
from ml_prediction.models import Model, bundled_files, from_seisbench
from ml_prediction.models.seisbench_filters import filters_of
from ml_prediction.models.seisbench_home import ARCHITECTURES, find_class
from ml_prediction.models.seisbench_spec import (
    Origin,
    blinded_output,
    normalisation_of,
    spec_of,
)
from ml_prediction.models.spec import FilterSpec, ModelSpec, Normalisation


def make(architecture: str, **arguments: Any) -> Any:
    return find_class(architecture)(**arguments)


def spec(module: Any) -> ModelSpec:
    return spec_of(module, Origin("test", "0" * 64))


def test_a_spec_is_a_value(eqt: Model) -> None:
    """What a process, a cache or a set needs of it."""
    found = eqt.spec
    assert pickle.loads(pickle.dumps(found)) == copy.deepcopy(found) == found
    assert hash(copy.deepcopy(found)) == hash(found)
    assert dict(asdict(found)["thresholds"]) == dict(found.thresholds)


def test_eqtransformer(eqt: Model) -> None:
    found = eqt.spec
    assert (found.name, found.weights, found.id) == (
        "EQTransformer",
        "original",
        "EQTransformer:original",
    )
    assert (found.sampling_rate, found.in_samples, found.components) == (100.0, 6000, "ENZ")
    assert found.labels == ("Detection", "P", "S")
    assert (found.blinding, found.stacking, found.stride) == ((500, 500), "max", 3000)
    assert dict(found.thresholds) == {"Detection": 0.3, "P": 0.1, "S": 0.1}
    assert found.normalisation == Normalisation("std", "window", taper=6)
    assert found.filters == (FilterSpec("bandpass", 1.0, 45.0, 2),)
    assert set(found.sigma_scale) == {"P", "S"}
    assert set(found.versions) == {"openvino", "seisbench", "torch"}


def test_phasenet(phasenet: Model) -> None:
    found = phasenet.spec
    assert (found.in_samples, found.components, found.labels) == (3001, "ENZ", ("N", "P", "S"))
    assert (found.blinding, found.stacking, found.stride) == ((0, 0), "mean", 1500)
    assert dict(found.thresholds) == {"P": 0.3, "S": 0.3}
    assert found.normalisation == Normalisation("std", "component")
    assert found.filters == ()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_known_architecture_can_be_run(architecture: str) -> None:
    model = from_seisbench(make(architecture), device="cpu")
    assert model.spec.name == architecture
    assert 0 < model.spec.stride <= model.spec.in_samples - sum(model.spec.blinding)
    assert model.spec.citation
    windows = np.zeros((1, 3, model.spec.in_samples), dtype=np.float32)
    before, after = model.spec.blinding
    used = model.engine(windows)[:, :, before : model.spec.in_samples - after]
    assert np.isfinite(used).all()


@pytest.mark.parametrize(
    ("architecture", "arguments", "expected"),
    [
        ("EQTransformer", {"norm": "peak"}, Normalisation("peak", "component", taper=6)),
        (
            "EQTransformer",
            {"norm_amp_per_comp": True, "norm_detrend": True},
            Normalisation("peak", "component", detrend=True, taper=6),
        ),
        ("OBSTransformer", {}, Normalisation("std", "window", taper=6)),
        ("PhaseNet", {"norm": "peak"}, Normalisation("peak", "component")),
        ("PhaseNet", {"norm_amp_per_comp": True}, Normalisation("peak", "component")),
        ("PhaseNetLight", {"norm_detrend": True}, Normalisation("std", "component", detrend=True)),
        ("VariableLengthPhaseNet", {}, Normalisation("peak", "component")),
        (
            "VariableLengthPhaseNet",
            {"norm": "std", "norm_axis": (-1, -2)},
            Normalisation("std", "window"),
        ),
        ("VariableLengthPhaseNet", {"norm_axis": (-2,)}, Normalisation("model")),
        ("Skynet", {"norm": "std"}, Normalisation("std", "mean")),
        ("Skynet", {"norm": "peak"}, Normalisation("peak", "window")),
        ("BasicPhaseAE", {}, Normalisation("model")),
        ("EQCCTP", {}, Normalisation("model")),
    ],
)
def test_normalisation(
    architecture: str, arguments: dict[str, Any], expected: Normalisation
) -> None:
    assert normalisation_of(make(architecture, **arguments)) == expected


def apply(how: Normalisation, raw: np.ndarray[Any, np.dtype[np.float64]]) -> Any:
    """The documented meaning of a Normalisation, in plain NumPy, for windows of 64 bits."""
    x = raw - raw.mean(axis=-1, keepdims=True)
    if how.detrend:
        t = np.linspace(-1, 1, x.shape[-1])
        x = x - (x * t).sum(axis=-1, keepdims=True) / (t * t).sum() * t
    axes: Any = (-1, -2) if how.scope == "window" else -1
    if how.method == "std":
        scale = x.std(axis=axes, keepdims=True, ddof=1)
    else:
        scale = np.abs(x).max(axis=axes, keepdims=True)
    if how.scope == "mean":
        scale = scale.mean(axis=-2, keepdims=True)
    x = x / (scale + how.epsilon)
    if how.taper:
        ramp = 0.5 * (1 + np.cos(np.linspace(np.pi, 2 * np.pi, how.taper)))
        x[..., : how.taper] *= ramp
        x[..., -how.taper :] *= ramp[::-1]
    return x


@pytest.mark.parametrize(
    ("architecture", "arguments"),
    [
        ("EQTransformer", {}),
        ("EQTransformer", {"norm": "peak"}),
        ("EQTransformer", {"norm_amp_per_comp": True, "norm_detrend": True}),
        ("PhaseNet", {"norm_detrend": True}),
        ("PhaseNet", {"norm": "peak"}),
        ("VariableLengthPhaseNet", {"norm": "std", "norm_axis": [-1, -2]}),
        ("Skynet", {"norm": "std"}),
        ("Skynet", {"norm": "peak"}),
    ],
)
def test_normalisation_means_what_seisbench_does(
    architecture: str, arguments: dict[str, Any]
) -> None:
    module = make(architecture, **arguments)
    raw = np.random.default_rng(3).normal(10.0, [[[1.0], [50.0], [7.0]]], (2, 3, 3001))
    raw += np.linspace(0, 30, 3001)
    expected = module.annotate_batch_pre(torch.from_numpy(raw.copy()), argdict={}).numpy()
    assert np.allclose(apply(normalisation_of(module), raw), expected, atol=1e-6)


def test_weights_own_defaults_win() -> None:
    module = make(
        "EQTransformer",
        default_args={
            "P_threshold": 0.2,
            "detection_threshold": 0.6,
            "blinding": [200, 100],
            "overlap": 0.9,
            "stacking": "avg",
        },
    )
    found = spec(module)
    assert dict(found.thresholds) == {"Detection": 0.6, "P": 0.2, "S": 0.1}
    assert (found.blinding, found.stacking, found.stride) == ((200, 100), "mean", 600)


def test_stride_leaves_no_hole() -> None:
    assert spec(make("EQTransformer", default_args={"overlap": 100})).stride == 5000
    assert spec(make("EQTransformer", default_args={"overlap": 0})).stride == 3000


def test_calibrated_sigma(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundled_files, "read_sigma_scale", lambda _: {"P": 0.31})
    assert dict(spec(make("PhaseNet")).sigma_scale) == {"P": 0.31, "S": 0.45}


@pytest.mark.parametrize(
    ("arguments", "options", "expected"),
    [
        (["bandpass"], {"freqmin": 1, "freqmax": 20}, FilterSpec("bandpass", 1.0, 20.0, 4)),
        (["bandpass"], {"freqmin": 1, "freqmax": 50}, FilterSpec("highpass", 1.0, None, 4)),
        (["highpass"], {"freq": 0.5, "corners": 1}, FilterSpec("highpass", 0.5, None, 1)),
        (["lowpass"], {"freq": 20}, FilterSpec("lowpass", None, 20.0, 4)),
        (None, {"type": "highpass", "freq": 2}, FilterSpec("highpass", 2.0, None, 4)),
    ],
)
def test_filters(arguments: Any, options: dict[str, Any], expected: FilterSpec) -> None:
    module = make("PhaseNet", filter_args=arguments, filter_kwargs=options)
    assert filters_of(module, "PhaseNet") == ((expected,), False)


def test_filters_by_channel() -> None:
    module = make(
        "PhaseNet",
        filter_args={"??Z": ["highpass"], "??H": ["lowpass"]},
        filter_kwargs={"??Z": {"freq": 1.0}, "??H": {"freq": 50.0}},
    )
    assert spec(module).filters == (FilterSpec("highpass", 1.0, None, 4, "??Z"),)


def test_zero_phase_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    module = make(
        "PhaseNet", filter_args=["highpass"], filter_kwargs={"freq": 1.0, "zerophase": True}
    )
    with caplog.at_level(logging.WARNING, logger="ml_prediction"):
        assert spec(module).filters == spec(module).filters
    assert len(caplog.records) == 1
    assert "causally" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (["bandstop"], {"freqmin": 1, "freqmax": 2}, "bandstop"),
        (["highpass"], {}, "without 'freq'"),
        (["highpass"], {"freq": 60}, "above 50 Hz"),
        (["highpass"], {"freq": 1, "ripple": 3}, "ripple"),
        ({"??Z": ["highpass"]}, {}, "no options"),
    ],
)
def test_unsupported_filters(arguments: Any, options: dict[str, Any], message: str) -> None:
    module = make("PhaseNet", filter_args=arguments, filter_kwargs=options)
    with pytest.raises(ConfigurationError, match=message):
        spec(module)


@pytest.mark.parametrize("architecture", ["CRED", "DKPN", "DeepDenoiser", "GPD", "PhaseTEAM"])
def test_models_that_cannot_be_run(architecture: str) -> None:
    with pytest.raises(ConfigurationError, match="can't be run here"):
        from_seisbench(make(architecture), device="cpu")


@pytest.mark.parametrize(
    ("attribute", "value", "message"),
    [
        ("in_samples", None, "no window length"),
        ("sampling_rate", None, "no sampling rate"),
        ("labels", None, "no fixed labels"),
        ("pred_sample", (500, 2500), "doesn't cover"),
    ],
)
def test_incomplete_models(attribute: str, value: Any, message: str) -> None:
    module = make("PhaseNet")
    setattr(module, attribute, value)
    with pytest.raises(ConfigurationError, match=message):
        spec(module)


def test_unknown_stacking() -> None:
    with pytest.raises(ConfigurationError, match="median"):
        spec(make("PhaseNet", default_args={"stacking": "median"}))


def test_blinded_output() -> None:
    outputs = np.zeros((1, 2, 11), dtype=np.float32)
    assert blinded_output(outputs, "X") == (0, 0)
    outputs[0, 0, [2, 10]] = np.nan
    assert blinded_output(outputs, "X") == (3, 1)
    outputs[:] = np.nan
    with pytest.raises(ConfigurationError, match="not a number"):
        blinded_output(outputs, "X")
