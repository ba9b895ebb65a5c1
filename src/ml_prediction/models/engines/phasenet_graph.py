"""PhaseNet (Zhu and Beroza 2019, doi 10.1093/gji/ggy423) as an OpenVINO graph.

The same computation as ``seisbench.models.PhaseNet``, from its state dictionary.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import openvino
from openvino import opset13 as ops

from ml_prediction.models.engines.convolutions import (
    batch_norm,
    convolution,
    transposed_convolution,
)
from ml_prediction.models.engines.nodes import Array, Node, Weights

_SAMPLES: Final = 3001
_DEPTH: Final = 5
_STRIDE: Final = 4
_DOWN_PADDING: Final = ((3, 3), (2, 3), (1, 3), (2, 3))  # as TensorFlow pads to these lengths
_CROP: Final = (1, 2)  # of every transposed convolution
_NORM_EPSILON: Final = 1e-3


def build(weights: Weights, arguments: Mapping[str, Any], windows: int) -> openvino.Model:
    """Graph for batches of a fixed number of windows.

    Parameters
    ----------
    weights
        State dictionary.
    arguments
        ``model_args`` of SeisBench's description; nothing of them is needed.
    windows
        Windows in a batch.

    Returns
    -------
    openvino.Model
        From shape (window, component, sample) to (window, label, sample).
    """
    del arguments
    weight, bias = _folded(weights, "inc", "in_bn")
    source = ops.parameter([windows, weight.shape[1], _SAMPLES], np.float32)
    signal = _same(source, weight, bias)
    skips: list[tuple[Node, int]] = []
    length = _SAMPLES
    for level in range(_DEPTH):
        name = f"down_branch.{level}"
        signal = _same(signal, *_folded(weights, f"{name}.0", f"{name}.1"))
        if level < _DEPTH - 1:
            skips.append((signal, length))
            weight, bias = _folded(weights, f"{name}.2", f"{name}.3")
            padding = _DOWN_PADDING[level]
            signal = ops.relu(convolution(signal, weight, bias, padding=padding, stride=_STRIDE))
            length = (length + sum(padding) - weight.shape[2]) // _STRIDE + 1
    for level, (skip, wanted) in enumerate(reversed(skips)):
        signal = _up(signal, skip, weights, f"up_branch.{level}", length, wanted)
        length = wanted
    logits = convolution(signal, weights["out.weight"], weights["out.bias"])
    return openvino.Model([ops.softmax(logits, 1)], [source], "PhaseNet")


def _up(signal: Node, skip: Node, weights: Weights, name: str, length: int, wanted: int) -> Node:
    """Widen a signal to the length of a skip connection, and join them."""
    weight, bias = _folded(weights, f"{name}.0", f"{name}.1", transposed=True)
    whole = _STRIDE * (length - 1) + weight.shape[2] - sum(_CROP)
    wide = transposed_convolution(
        signal,
        weight,
        bias,
        length,
        stride=_STRIDE,
        skip=_CROP[0] + (whole - wanted) // 2,
        wanted=wanted,
    )
    weight, bias = _folded(weights, f"{name}.2", f"{name}.3")
    half, channels = weight.shape[2] // 2, weight.shape[1] // 2
    # The sum of two convolutions, instead of one of the two signals put together: less copying.
    joined = ops.add(
        convolution(skip, weight[:, :channels], padding=(half, half)),
        convolution(wide, weight[:, channels:], bias, padding=(half, half)),
    )
    return ops.relu(joined)


def _same(signal: Node, weight: Array, bias: Array) -> Node:
    """ReLU of a convolution that keeps the length."""
    half = weight.shape[2] // 2
    return ops.relu(convolution(signal, weight, bias, padding=(half, half)))


def _folded(
    weights: Weights, layer: str, norm: str, *, transposed: bool = False
) -> tuple[Array, Array]:
    """Weight and bias of a convolution with its batch normalisation."""
    gain, offset = batch_norm(weights, norm, _NORM_EPSILON)
    scale = gain[None, :, None] if transposed else gain[:, None, None]
    bias = weights.get(f"{layer}.bias")
    return weights[f"{layer}.weight"] * scale, offset if bias is None else bias * gain + offset
