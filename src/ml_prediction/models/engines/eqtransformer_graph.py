"""EQTransformer (Mousavi et al. 2020, doi 10.1038/s41467-020-17591-w) as an OpenVINO graph.

The same computation as ``seisbench.models.EQTransformer``, from its state dictionary.
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
    narrow_convolution,
    upsampled_convolution,
)
from ml_prediction.models.engines.nodes import Node, Weights, integers, transpose
from ml_prediction.models.engines.sequences import (
    Cell,
    additive_attention,
    cell_of,
    layer_norm,
    linear,
    two_lstms,
)

_NORM_EPSILON: Final = 1e-3  # batch normalisation, as in Keras
_LAYER_EPSILON: Final = 1e-14
_CROPPED_STAGE: Final = 3  # where the original decoder cuts one sample at each end


def build(weights: Weights, arguments: Mapping[str, Any], windows: int) -> openvino.Model:
    """Graph for batches of a fixed number of windows.

    Parameters
    ----------
    weights
        State dictionary.
    arguments
        ``model_args`` of SeisBench's description.
    windows
        Windows in a batch.

    Returns
    -------
    openvino.Model
        From shape (window, component, sample) to (window, label, sample).
    """
    samples = int(arguments.get("in_samples") or 6000)
    original = arguments.get("original_compatible", False)
    hard = original == "conservative"
    epsilon = 1e-7 if original else 1e-5
    first = weights["encoder.convs.0.weight"]
    signal = ops.parameter([windows, first.shape[1], samples], np.float32)
    encoded, lengths = _encoder(signal, weights, samples)
    steps = lengths[-1]
    sequence = transpose(_residual_stack(encoded, weights))
    for block in range(_count(weights, "bi_lstm_stack.members.")):
        sequence = _lstm_block(sequence, weights, block, steps, windows, hard)
    for name in ("transformer_d0", "transformer_d"):
        sequence = _transformer(sequence, weights, name, steps, epsilon)
    crops = _crops(lengths, bool(original))

    def head(features: Node, decoder: str, last: str) -> Node:
        return _head(features, weights, decoder, last, lengths, crops, windows)

    outputs = [head(sequence, "decoder_d", "conv_d")]
    for branch, states in enumerate(_branches(sequence, weights, steps, windows, hard)):
        near = additive_attention(
            states, weights, f"pick_attentions.{branch}", steps, epsilon=epsilon, width=3
        )
        outputs.append(head(near, f"pick_decoders.{branch}", f"pick_convs.{branch}"))
    return openvino.Model([ops.concat(outputs, 1)], [signal], "EQTransformer")


def _count(weights: Weights, prefix: str) -> int:
    """Members of a list of modules."""
    return len({key[len(prefix) :].split(".")[0] for key in weights if key.startswith(prefix)})


def _encoder(signal: Node, weights: Weights, samples: int) -> tuple[Node, list[int]]:
    """Convolve and pool; the features, and the length before, between and after the stages."""
    lengths = [samples]
    for stage in range(_count(weights, "encoder.convs.")):
        name = f"encoder.convs.{stage}"
        weight = weights[f"{name}.weight"]
        half = weight.shape[2] // 2
        signal = ops.relu(
            convolution(signal, weight, weights[f"{name}.bias"], padding=(half, half))
        )
        odd = lengths[-1] % 2  # padded at the end with what is never the largest
        signal = ops.max_pool(signal, [2], [1], [0], [odd], [2], "floor").output(0)
        lengths.append((lengths[-1] + 1) // 2)
    return signal, lengths


def _residual_stack(signal: Node, weights: Weights) -> Node:
    for member in range(_count(weights, "res_cnn_stack.members.")):
        name = f"res_cnn_stack.members.{member}"
        gain, offset = batch_norm(weights, f"{name}.norm1", _NORM_EPSILON)
        normal = ops.add(ops.multiply(signal, _channels(gain)), _channels(offset))
        weight, bias = weights[f"{name}.conv1.weight"], weights[f"{name}.conv1.bias"]
        padding = (1, 1) if weight.shape[2] == 3 else (0, 1)
        gain, offset = batch_norm(weights, f"{name}.norm2", _NORM_EPSILON)
        inner = convolution(
            ops.relu(normal),
            weight * gain[:, None, None],
            bias * gain + offset,
            padding=padding,
        )
        outer = convolution(
            ops.relu(inner),
            weights[f"{name}.conv2.weight"],
            weights[f"{name}.conv2.bias"],
            padding=padding,
        )
        signal = ops.add(signal, outer)
    return signal


def _channels(values: np.ndarray[Any, Any]) -> Node:
    return ops.constant(values[None, :, None].astype(np.float32))


def _lstm_block(
    sequence: Node, weights: Weights, block: int, steps: int, windows: int, hard: bool
) -> Node:
    name = f"bi_lstm_stack.members.{block}"
    cells = _both_ways(weights, f"{name}.lstm")
    states = two_lstms(sequence, cells, steps, windows, both_ways=True, hard=hard)
    gain, offset = batch_norm(weights, f"{name}.norm", _NORM_EPSILON)
    mix = weights[f"{name}.conv.weight"][:, :, 0] * gain[:, None]
    return linear(states, mix.T, weights[f"{name}.conv.bias"] * gain + offset)


def _both_ways(weights: Weights, name: str) -> tuple[Cell, Cell]:
    """Cells of SeisBench's own LSTM or of torch's."""
    if f"{name}.cell_f.weight_ih" in weights:
        return cell_of(weights, f"{name}.cell_f."), cell_of(weights, f"{name}.cell_b.")
    return cell_of(weights, f"{name}.", "_l0"), cell_of(weights, f"{name}.", "_l0_reverse")


def _branches(sequence: Node, weights: Weights, steps: int, windows: int, hard: bool) -> list[Node]:
    """Hidden states of the LSTM of each phase, two phases at a time."""
    names = [f"pick_lstms.{branch}" for branch in range(_count(weights, "pick_lstms."))]
    cells = [
        cell_of(weights, f"{name}.cell_f.")
        if f"{name}.cell_f.weight_ih" in weights
        else cell_of(weights, f"{name}.", "_l0")
        for name in names
    ]
    states: list[Node] = []
    for first in range(0, len(cells), 2):
        pair = (cells[first], cells[min(first + 1, len(cells) - 1)])
        both = two_lstms(sequence, pair, steps, windows, both_ways=False, hard=hard)
        halves = ops.split(both, ops.constant(np.int64(2)), 2)
        states += [halves.output(0), halves.output(1)]
    return states[: len(cells)]


def _transformer(sequence: Node, weights: Weights, name: str, steps: int, epsilon: float) -> Node:
    attended = additive_attention(
        sequence, weights, f"{name}.attention", steps, epsilon=epsilon, width=None
    )
    mixed = _normal(ops.add(sequence, attended), weights, f"{name}.norm1")
    wide = ops.relu(
        linear(mixed, weights[f"{name}.ff.lin1.weight"].T, weights[f"{name}.ff.lin1.bias"])
    )
    narrow = linear(wide, weights[f"{name}.ff.lin2.weight"].T, weights[f"{name}.ff.lin2.bias"])
    return _normal(ops.add(mixed, narrow), weights, f"{name}.norm2")


def _normal(sequence: Node, weights: Weights, name: str) -> Node:
    return layer_norm(sequence, weights[f"{name}.gamma"], weights[f"{name}.beta"], _LAYER_EPSILON)


def _crops(lengths: list[int], original: bool) -> list[tuple[int, int]]:
    """Samples cut off after each doubling of the decoder, so that the lengths come out right."""
    stages = list(zip(lengths[::-1], lengths[-2::-1], strict=False))
    if original:  # which cuts them one stage late
        return [(1, 1) if stage == _CROPPED_STAGE else (0, 0) for stage in range(len(stages))]
    return [(0, 2 * short - long) for short, long in stages]


def _head(
    sequence: Node,
    weights: Weights,
    decoder: str,
    last: str,
    lengths: list[int],
    crops: list[tuple[int, int]],
    windows: int,
) -> Node:
    """Probabilities of one label: shape (window, 1, sample)."""
    signal, length = transpose(sequence), lengths[-1]
    for stage, crop in enumerate(crops):
        signal = upsampled_convolution(
            signal,
            weights[f"{decoder}.convs.{stage}.weight"],
            weights[f"{decoder}.convs.{stage}.bias"],
            length,
            crop=crop,
            windows=windows,
        )
        length = 2 * length - sum(crop)
    logits = narrow_convolution(signal, weights[f"{last}.weight"], weights[f"{last}.bias"], length)
    return ops.reshape(transpose(ops.sigmoid(logits)), integers(-1, 1, length), False)
