"""Models by name, by path and from an object; without a network."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch

from ml_prediction.errors import ConfigurationError
from ml_prediction.models import Model, from_seisbench, list_models, load_model, seisbench_home
from ml_prediction.models.weight_files import find_all, find_named, find_path

OFFLINE = """
import socket, sys

def refuse(*args, **kwargs):
    raise OSError("no network in this test")

socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
import ml_prediction.models
assert "torch" not in sys.modules and "seisbench" not in sys.modules
assert ml_prediction.models.load_model(device="cpu").spec.id == "EQTransformer:original"
"""


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise OSError("no network in this test")

    for name in ("getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty SeisBench cache: its root, which does not exist yet."""
    seisbench_home.import_seisbench()
    import seisbench

    root = tmp_path / "cache"
    monkeypatch.setattr(seisbench, "cache_root", root)
    monkeypatch.setattr(seisbench, "cache_model_root", root / "models" / "v3")
    return root


def save_phasenet(folder: Path, name: str, version: str, **arguments: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    module = seisbench_home.find_class("PhaseNet")(**arguments)
    module.save(folder / name, weights_docstring=f"version {version}", version_str=version or None)


def test_default_needs_neither_network_nor_home(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "SEISBENCH_CACHE_ROOT"}
    environment["HOME"] = str(tmp_path)
    environment["MPLCONFIGDIR"] = str(tmp_path / "matplotlib")
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / ".seisbench").exists()


@pytest.mark.usefixtures("no_network")
def test_default_in_this_process(eqt: Model, cache: Path) -> None:
    assert load_model(device="cpu").spec == eqt.spec
    assert not cache.exists()


@pytest.mark.usefixtures("no_network")
def test_missing_weights_say_what_to_do(cache: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_model("PhaseNet", "stead")
    message = str(caught.value)
    assert "\n" not in message
    for part in (
        "'stead' of PhaseNet",
        str(cache),
        "connect to the network",
        "path of such a pair",
    ):
        assert part in message
    assert not cache.exists()


@pytest.mark.usefixtures("no_network", "cache")
def test_unknown_model_lists_known_ones() -> None:
    for wrong in ("phasenet", "Nonsense", "PickBlue", "SeisBenchModel"):
        with pytest.raises(ConfigurationError, match=r"known are .*EQTransformer.*PhaseNet"):
            load_model(wrong)


@pytest.mark.usefixtures("cache")
def test_server_without_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    phasenet = seisbench_home.find_class("PhaseNet")
    monkeypatch.setattr(seisbench_home, "_require_server", lambda *_: None)
    monkeypatch.setattr(phasenet, "list_versions", lambda *_, **__: [])
    monkeypatch.setattr(phasenet, "list_pretrained", lambda **_: ["geofon", "stead"])
    with pytest.raises(ConfigurationError, match=r"no weights 'steed'.*geofon, stead"):
        load_model("PhaseNet", "steed")


def test_download_fills_the_cache(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    phasenet = seisbench_home.find_class("PhaseNet")
    monkeypatch.setattr(seisbench_home, "_require_server", lambda *_: None)
    monkeypatch.setattr(phasenet, "list_versions", lambda *_, **__: ["2", "10"])

    def fetch(name: str, version: str, weights: Path, *_: object, **__: object) -> None:
        save_phasenet(weights.parent, name, version)

    monkeypatch.setattr(phasenet, "_ensure_weight_files", fetch)
    model = load_model("PhaseNet", "stead", device="cpu")
    assert model.spec.docstring == "version 10"
    assert [files.version for files in find_all(cache / "models" / "v3" / "phasenet")] == ["10"]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ConnectionResetError("connection reset"), r"server \(connection reset\).*path of such"),
        (ValueError("status code 503"), r"server \(status code 503\).*path of such"),
        (PermissionError(13, "denied", "/home/x"), "can't be stored .* SEISBENCH_CACHE_ROOT"),
    ],
)
@pytest.mark.usefixtures("cache")
def test_failed_download(monkeypatch: pytest.MonkeyPatch, error: Exception, message: str) -> None:
    phasenet = seisbench_home.find_class("PhaseNet")

    def fail(*_: object, **__: object) -> NoReturn:
        raise error

    monkeypatch.setattr(seisbench_home, "_require_server", lambda *_: None)
    monkeypatch.setattr(phasenet, "list_versions", fail)
    with pytest.raises(ConfigurationError, match=message):
        load_model("PhaseNet", "stead")


@pytest.mark.usefixtures("no_network")
def test_cached_weights_are_found(cache: Path) -> None:
    folder = cache / "models" / "v3" / "phasenet"
    for version in ("2", "10"):
        save_phasenet(folder, "mine", version)
    newest = load_model("PhaseNet", "mine", device="cpu")
    assert newest.spec.docstring == "version 10"
    assert newest.spec.weights == "mine"
    older = load_model("PhaseNet", "mine", version="2", device="cpu")
    assert older.spec.docstring == "version 2"
    assert older.spec.weights_sha256 != newest.spec.weights_sha256
    cached = [model for model in list_models() if model.status == "cached"]
    assert [(model.name, model.weights, model.version) for model in cached] == [
        ("PhaseNet", "mine", "2"),
        ("PhaseNet", "mine", "10"),
    ]
    assert cached[1].sha256 == newest.spec.weights_sha256
    assert "Zhu" in cached[1].citation


@pytest.mark.usefixtures("no_network")
def test_listing_survives_a_broken_description(cache: Path) -> None:
    folder = cache / "models" / "v3" / "phasenet"
    save_phasenet(folder, "mine", "1")
    (folder / "mine.json.v1").write_text("{")
    models = list_models()
    assert not [model for model in models if model.status == "cached"]
    assert {model.name for model in models if model.status == "known"} == set(
        seisbench_home.ARCHITECTURES
    )


@pytest.mark.parametrize("ending", ["", ".pt", ".json", ".pt.v1", ".json.v1"])
def test_every_way_to_name_a_pair(shared: Path, phasenet: Model, ending: str) -> None:
    folder = shared / "models" / "phasenet"
    model = load_model("PhaseNet", f"{folder}/original{ending}", device="cpu")
    assert model.spec == phasenet.spec
    content = (folder / "original.pt.v1").read_bytes()
    assert model.spec.weights_sha256 == hashlib.sha256(content).hexdigest()
    assert model.spec.weights == "original"


def test_pairs_in_a_folder(tmp_path: Path) -> None:
    for name in (
        "a.pt",
        "a.json",
        "a.pt.v2",
        "a.json.v2",
        "b.json",
        "c.d.pt.v1.2",
        "c.d.json.v1.2",
    ):
        (tmp_path / name).touch()
    (tmp_path / "config.jsonl").touch()
    found = [(files.base.name, files.version) for files in find_all(tmp_path)]
    assert found == [("a", ""), ("a", "2"), ("c.d", "1.2")]
    assert find_path(f"{tmp_path}/a").version == "2"
    assert find_path(f"{tmp_path}/a.pt.v2").version == "2"
    assert find_path(f"{tmp_path}/c.d").version == "1.2"
    newest = find_named(tmp_path, "a", "1")  # files without version are version 1
    assert newest is not None
    assert newest.version == ""
    assert find_all(tmp_path / "nowhere") == []
    with pytest.raises(ConfigurationError, match=r"must hold b\.pt and b\.json"):
        find_path(f"{tmp_path}/b")


def test_pickled_code_is_never_run(tmp_path: Path) -> None:
    save_phasenet(tmp_path, "bad", "1")
    target = tmp_path / "run"

    class Attack:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (target,)

    torch.save({"out.bias": Attack()}, tmp_path / "bad.pt.v1")
    with pytest.raises(ConfigurationError, match="not a file of plain PyTorch weights"):
        load_model("PhaseNet", tmp_path / "bad")
    assert not target.exists()


def test_broken_files_are_named(tmp_path: Path, shared: Path) -> None:
    save_phasenet(tmp_path, "bad", "1")
    description = tmp_path / "bad.json.v1"
    good = json.loads(description.read_text())
    for text, message in (
        ("{", "can't be read as JSON"),
        ("[]", "no JSON object"),
        (json.dumps(good | {"model_args": {"wheels": 4}}), "doesn't describe a PhaseNet"),
        (json.dumps(good | {"seisbench_requirement": "99.0"}), "doesn't describe"),
        (json.dumps(good | {"model_args": {"classes": 5, "phases": "NPSXY"}}), "don't fit"),
    ):
        description.write_text(text)
        with pytest.raises(ConfigurationError, match=message):
            load_model("PhaseNet", tmp_path / "bad")
    with pytest.raises(ConfigurationError, match=r"don't fit a EQTransformer|doesn't describe"):
        load_model("EQTransformer", shared / "models" / "phasenet" / "original")


def test_wrapping_leaves_the_object_alone() -> None:
    module = seisbench_home.find_class("PhaseNet")()
    module.train()
    model = from_seisbench(module, weights="mine", device="cpu", licence="MIT")
    assert module.training
    assert all(parameter.requires_grad for parameter in module.parameters())
    assert (model.spec.weights, model.spec.licence) == ("mine", "MIT")
    windows = np.random.default_rng(0).normal(size=(1, 3, 3001)).astype(np.float32)
    before = model.engine(windows)
    module.out.bias.data += 1.0
    assert np.array_equal(model.engine(windows), before)
    assert from_seisbench(module, device="cpu").spec.weights_sha256 != model.spec.weights_sha256
    assert from_seisbench(module).spec.weights_sha256 == from_seisbench(module).spec.weights_sha256


def test_only_seisbench_models_are_wrapped() -> None:
    for wrong in (None, torch.nn.Linear(1, 1)):
        with pytest.raises(ConfigurationError, match="not a SeisBench WaveformModel"):
            from_seisbench(wrong)
