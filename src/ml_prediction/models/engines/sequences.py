"""Layers over sequences as OpenVINO graphs: shape (window, step, feature)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import openvino
from openvino import opset13 as ops
from openvino.op import tensor_iterator

from ml_prediction.models.engines.nodes import Array, Node, Weights, constant, integers


def linear(sequence: Node, weight: Array, bias: Array | None = None) -> Node:
    """Matrix product over the last axis; ``weight`` has shape (input, output)."""
    result = ops.matmul(sequence, constant(weight), False, False)
    return result if bias is None else ops.add(result, constant(bias[None, None, :]))


@dataclass(frozen=True, slots=True)
class Cell:
    """Weights of one LSTM cell, in PyTorch's order of gates: input, forget, cell, output.

    Shapes (4 hidden, input), (4 hidden, hidden) and (4 hidden,).
    """

    of_input: Array
    of_hidden: Array
    bias: Array

    def gates(self, hard: bool) -> list[tuple[Array, Array, Array]]:
        """Parts of each gate: input, forget, output, cell.

        The hard sigmoid is clip(0.2 x + 0.5, 0, 1), as in Keras; its line is folded in.
        """
        parts = [(np.split(part.astype(np.float64), 4)) for part in (self.of_input, self.of_hidden)]
        biases = np.split(self.bias.astype(np.float64), 4)
        rows = [(parts[0][gate], parts[1][gate], biases[gate]) for gate in (0, 1, 3, 2)]
        if not hard:
            return rows
        return [(0.2 * w, 0.2 * u, 0.2 * b + 0.5) for w, u, b in rows[:3]] + rows[3:]


def two_lstms(
    sequence: Node,
    cells: tuple[Cell, Cell],
    steps: int,
    windows: int,
    *,
    both_ways: bool,
    hard: bool,
) -> Node:
    """Two LSTMs over the same sequence, run as one of twice the size.

    Parameters
    ----------
    sequence
        Shape (window, step, feature).
    cells
        Of the same size.
    steps, windows
        Of the sequence.
    both_ways
        The second one runs backwards.
    hard
        Hard sigmoid gates instead of sigmoid ones.

    Returns
    -------
    Node
        Hidden states of the first, then of the second: shape (window, step, 2 hidden).
    """
    gates = [cell.gates(hard) for cell in cells]
    hidden, features = gates[0][0][0].shape
    of_input = np.zeros((2, features, 4, 2, hidden))  # which cell, feature, gate, which cell, unit
    of_hidden = np.zeros((2, hidden, 4, 2, hidden))
    bias = np.zeros((4, 2, hidden))
    for which, rows in enumerate(gates):
        for gate, (w, u, b) in enumerate(rows):
            of_input[which, :, gate, which] = w.T
            of_hidden[which, :, gate, which] = u.T
            bias[gate, which] = b
    ahead = ops.transpose(sequence, integers(1, 0, 2))  # step by step
    width = 8 * hidden
    if both_ways:
        inputs = ops.concat([ahead, _reversed(ahead, steps)], 2)
        projection = of_input.reshape(2 * features, width)
    else:
        inputs, projection = ahead, of_input.sum(axis=0).reshape(features, width)
    projected = linear(inputs, projection, bias.reshape(width))
    states = _iterate(projected, of_hidden.reshape(2 * hidden, width), windows, hard)
    if both_ways:
        halves = ops.split(states, ops.constant(np.int64(2)), 2)
        states = ops.concat([halves.output(0), _reversed(halves.output(1), steps)], 2)
    return ops.transpose(states, integers(1, 0, 2))


def _reversed(sequence: Node, steps: int) -> Node:
    """Steps in reverse; they are on the first axis."""
    return ops.gather(sequence, integers(*range(steps - 1, -1, -1)), ops.constant(np.int64(0)))


def _iterate(projected: Node, of_hidden: Array, windows: int, hard: bool) -> Node:
    """Hidden states, shape (step, window, unit), of an LSTM whose inputs have been projected.

    OpenVINO's own LSTM knows no hard sigmoid; a loop of its nodes is as fast.
    """
    units, width = of_hidden.shape
    step = ops.parameter([1, windows, width], np.float32)
    hidden = ops.parameter([windows, units], np.float32)
    cell = ops.parameter([windows, units], np.float32)
    gates = ops.add(
        ops.matmul(hidden, constant(of_hidden), False, False),
        ops.reshape(step, integers(windows, width), False),
    )
    parts = ops.variadic_split(gates, ops.constant(np.int64(1)), integers(*[units] * 4))
    squash: Callable[[Node], Node] = (lambda x: ops.clamp(x, 0.0, 1.0)) if hard else ops.sigmoid
    enter, keep, leave = (squash(parts.output(gate)) for gate in range(3))
    new_cell = ops.add(ops.multiply(keep, cell), ops.multiply(enter, ops.tanh(parts.output(3))))
    new_hidden = ops.multiply(leave, ops.tanh(new_cell))
    row = ops.reshape(new_hidden, integers(1, windows, units), False)
    results = [ops.result(node) for node in (new_hidden, new_cell, row)]
    loop = tensor_iterator()
    loop.set_body(openvino.Model(results, [step, hidden, cell], "lstm"))
    start = constant(np.zeros((windows, units)))
    loop.set_sliced_input(step, projected.output(0), 0, 1, 1, -1, 0)
    loop.set_merged_input(hidden, start.output(0), results[0].output(0))
    loop.set_merged_input(cell, start.output(0), results[1].output(0))
    return loop.get_concatenated_slices(results[2].output(0), 0, 1, 1, -1, 0)


_SATURATED = 40.0  # exp(2 * 40) is still a float32


def additive_attention(
    sequence: Node, weights: Weights, name: str, steps: int, *, epsilon: float, width: int | None
) -> Node:
    """Additive self-attention (Bahdanau), over all steps or over the nearest ``width``.

    ``tanh(q + k)`` is written as ``1 - 2 / (1 + exp(2 q) exp(2 k))``: exponentials of the steps
    instead of hyperbolic tangents of all pairs. The one cancels in the softmax.

    Parameters
    ----------
    sequence
        Shape (window, step, feature).
    weights, name
        Where the layer's Wx, Wt, bh and Wa are.
    steps
        Of the sequence.
    epsilon
        Added to the sum of the softmax.
    width
        None for all steps.

    Returns
    -------
    Node
        Shape (window, step, feature).
    """
    w = {key: weights[f"{name}.{key}"].astype(np.float64) for key in ("Wx", "Wt", "bh", "Wa")}
    query = ops.exp(_within(linear(sequence, 2 * w["Wt"]), _SATURATED))
    key = ops.exp(_within(linear(sequence, 2 * w["Wx"], 2 * w["bh"]), _SATURATED))
    pairs = ops.multiply(ops.unsqueeze(query, integers(2)), ops.unsqueeze(key, integers(1)))
    one = constant([1.0])
    share = ops.divide(one, ops.add(pairs, one))
    score = ops.squeeze(ops.matmul(share, constant(-2 * w["Wa"]), False, False), integers(3))
    score = ops.exp(ops.subtract(score, ops.reduce_max(score, integers(2), True)))
    if width is not None:
        lower = np.arange(steps) - width // 2
        row = np.arange(steps)[:, None]
        near = (lower <= row) & (row < lower + width)
        score = ops.multiply(score, constant(near[None]))
    total = ops.add(ops.reduce_sum(score, integers(2), True), constant([epsilon]))
    return ops.matmul(ops.divide(score, total), sequence, False, False)


def _within(node: Node, limit: float) -> Node:
    return ops.clamp(node, -limit, limit)


def layer_norm(sequence: Node, gain: Array, offset: Array, epsilon: float) -> Node:
    """Normalisation over features; ``gain`` and ``offset`` have one value for each."""
    centred = ops.subtract(sequence, ops.reduce_mean(sequence, integers(2), True))
    variance = ops.reduce_mean(ops.multiply(centred, centred), integers(2), True)
    scaled = ops.divide(centred, ops.sqrt(ops.add(variance, constant([epsilon]))))
    return ops.add(
        ops.multiply(scaled, constant(gain.reshape(1, 1, -1))),
        constant(offset.reshape(1, 1, -1)),
    )


def cell_of(weights: Weights, name: str, suffix: str = "") -> Cell:
    """LSTM cell of a state dictionary; ``suffix`` is that of torch's own LSTM (``_l0``)."""
    of_input, of_hidden, first, second = (
        weights[f"{name}{part}{suffix}"]
        for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    return Cell(of_input, of_hidden, first.astype(np.float64) + second)
