"""Convolutions as OpenVINO graphs, none of which repeats a sample or computes a lane for nothing.

Weights are folded in float64 and rounded once. Shapes are PyTorch's: (window, channel, sample).
"""

from __future__ import annotations

import numpy as np
from openvino import opset13 as ops

from ml_prediction.models.engines.nodes import (
    Array,
    Node,
    Weights,
    constant,
    cut,
    integers,
    regroup,
    transpose,
)


def convolution(
    signal: Node,
    weight: Array,
    bias: Array | None = None,
    *,
    padding: tuple[int, int] = (0, 0),
    stride: int = 1,
) -> Node:
    """Convolution as in PyTorch.

    Parameters
    ----------
    signal
        Shape (window, input channel, sample).
    weight
        Shape (output channel, input channel, tap).
    bias
        Shape (output channel,).
    padding
        Zeros before and after.
    stride
        Samples from one output to the next.
    """
    before, after = padding
    result = ops.convolution(signal, constant(weight), [stride], [before], [after], [1])
    return result if bias is None else ops.add(result, constant(bias[None, :, None]))


def batch_norm(weights: Weights, name: str, epsilon: float) -> tuple[Array, Array]:
    """Gain and offset, each of shape (channel,), that a batch normalisation comes to."""
    variance = weights[f"{name}.running_var"].astype(np.float64)
    gain = weights[f"{name}.weight"] / np.sqrt(variance + epsilon)
    return gain, weights[f"{name}.bias"] - gain * weights[f"{name}.running_mean"]


def upsampled_convolution(
    signal: Node,
    weight: Array,
    bias: Array,
    length: int,
    *,
    crop: tuple[int, int] = (0, 0),
    windows: int,
) -> Node:
    """Every sample twice, then ReLU of a convolution of the same length ("same" padding).

    No sample is repeated: the even and the odd outputs are two convolutions of the signal itself,
    each with the taps summed that fall on the same sample.

    Parameters
    ----------
    signal
        Shape (window, input channel, sample).
    weight, bias
        Of the convolution, shapes (output channel, input channel, tap), taps odd, and
        (output channel,).
    length
        Samples of the signal.
    crop
        Samples cut off before and after, between the doubling and the convolution; at most 2.
    windows
        Windows in the batch.

    Returns
    -------
    Node
        Shape (window, output channel, 2 length - crop).
    """
    outputs, inputs, taps = weight.shape
    half = taps // 2
    places = np.array([[(tap - half + odd) // 2 for tap in range(taps)] for odd in (0, 1)])
    first, last = int(places.min()), int(places.max())
    folded = np.zeros((2, outputs, inputs, last - first + 1))
    for odd in (0, 1):
        for tap, place in enumerate(places[odd]):
            folded[odd, :, :, place - first] += weight[:, :, tap]
    result = convolution(
        signal, folded.reshape(2 * outputs, inputs, -1), np.tile(bias, 2), padding=(-first, last)
    )
    if crop != (0, 0):
        edges = _share_of_cropped(signal, weight, length, crop, windows)
        result = ops.add(result, edges)
    doubled = regroup(ops.relu(result), outputs, 2 * length)
    return cut(doubled, crop[0], 2 * length - crop[1], 2 * length)


def _share_of_cropped(
    signal: Node, weight: Array, length: int, crop: tuple[int, int], windows: int
) -> Node:
    """What the cropped samples would add near the ends, negative: shape (window, 2 O, sample).

    The convolution sees zeros in their place, not them.
    """
    outputs, inputs, taps = weight.shape
    half = taps // 2
    pairs = min((half + max(crop) + 1) // 2, length // 2)  # outputs they reach, in pairs
    ends = []
    for cropped, sample, begin in (
        (range(crop[0]), 0, 0),
        (range(2 * length - crop[1], 2 * length), length - 1, 2 * (length - pairs)),
    ):
        share = np.zeros((inputs, 2 * pairs, outputs))
        for output in range(2 * pairs):
            for place in cropped:
                tap = place - (begin + output) + half
                if 0 <= tap < taps:
                    share[:, output] -= weight[:, :, tap].T
        row = ops.reshape(cut(signal, sample, sample + 1, length), integers(-1, inputs), False)
        product = ops.matmul(row, constant(share.reshape(inputs, -1)), False, False)
        ends.append(ops.reshape(product, integers(-1, pairs, 2 * outputs), False))
    between = constant(np.zeros((windows, length - 2 * pairs, 2 * outputs)))
    return transpose(ops.concat([ends[0], between, ends[1]], 1))


def narrow_convolution(signal: Node, weight: Array, bias: Array, length: int) -> Node:
    """Convolution to one or a few channels, of the same length.

    Several neighbouring outputs are computed as channels of one, because vector units are wider
    than the few channels.

    Parameters
    ----------
    signal
        Shape (window, input channel, sample).
    weight, bias
        Shapes (output channel, input channel, tap), taps odd, and (output channel,).
    length
        Samples of the signal.

    Returns
    -------
    Node
        Shape (window, block * output channel, length / block), to be regrouped after an
        activation.
    """
    outputs, inputs, taps = weight.shape
    half = taps // 2
    block = block_of(length)
    reach = -(-half // block)
    blocked = np.zeros((block, outputs, block, inputs, 2 * reach + 1))
    for output in range(block):
        for tap in range(taps):
            place = output + tap - half
            blocked[output, :, place % block, :, place // block + reach] += weight[:, :, tap]
    return convolution(
        regroup(signal, block * inputs, length // block),
        blocked.reshape(block * outputs, block * inputs, -1),
        np.tile(bias, block),
        padding=(reach, reach),
    )


def block_of(length: int) -> int:
    """Neighbouring outputs that `narrow_convolution` computes as one."""
    return next(block for block in (16, 8, 4, 2, 1) if length % block == 0)


def transposed_convolution(
    signal: Node,
    weight: Array,
    bias: Array,
    length: int,
    *,
    stride: int,
    skip: int,
    wanted: int,
) -> Node:
    """ReLU of a transposed convolution, of which some outputs are taken.

    Each output is a plain convolution of the signal; those of a stride are computed as channels.

    Parameters
    ----------
    signal
        Shape (window, input channel, sample).
    weight, bias
        As in PyTorch: shapes (input channel, output channel, tap) and (output channel,).
    length
        Samples of the signal.
    stride
        Outputs for a sample of the signal.
    skip, wanted
        Outputs ``skip`` to ``skip + wanted`` (exclusive) of the whole are taken.

    Returns
    -------
    Node
        Shape (window, output channel, wanted).
    """
    inputs, outputs, taps = weight.shape
    places = {
        (phase, tap): (phase + skip - tap) // stride
        for phase in range(stride)
        for tap in range(taps)
        if (phase + skip - tap) % stride == 0
    }
    first, last = min(places.values()), max(places.values())
    plain = np.zeros((stride, outputs, inputs, last - first + 1))
    for (phase, tap), place in places.items():
        plain[phase, :, :, place - first] = weight[:, :, tap].T
    blocks = -(-wanted // stride)
    # Block b needs the samples b + first to b + last.
    before, after = max(-first, 0), blocks - 1 + last - (length - 1)
    source = cut(signal, max(first, 0), length + min(after, 0), length)
    result = convolution(
        source,
        plain.reshape(stride * outputs, inputs, -1),
        np.tile(bias, stride),
        padding=(before, max(after, 0)),
    )
    return cut(regroup(ops.relu(result), outputs, stride * blocks), 0, wanted, stride * blocks)
