"""OpenVINO graph nodes: constants, and views of signals.

Signals are nodes of shape (window, channel, sample), as in PyTorch. On a CPU, OpenVINO's
convolutions keep the channels of a sample together in memory. So a signal whose samples are to be
regrouped is seen as (window, sample, channel) around the reshape: then neither the transposition
nor the reshape moves a byte.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from openvino import opset13 as ops

Array = npt.NDArray[Any]
Weights = Mapping[str, Array]
Node = Any  # openvino's Node, or one of its outputs; its stubs don't agree with each other


def constant(values: npt.ArrayLike) -> Node:
    """Constant float32 node."""
    return ops.constant(np.ascontiguousarray(values, dtype=np.float32))


def integers(*values: int) -> Node:
    """Constant node of integers, shape (len(values),)."""
    return ops.constant(np.array(values, dtype=np.int64))


def transpose(signal: Node) -> Node:
    """(window, channel, sample) to (window, sample, channel), and back."""
    return ops.transpose(signal, integers(0, 2, 1))


def regroup(signal: Node, channels: int, samples: int) -> Node:
    """Same numbers, read sample by sample, with another number of channels to the sample."""
    rows = ops.reshape(transpose(signal), integers(-1, samples, channels), False)
    return transpose(rows)


def cut(signal: Node, start: int, stop: int, length: int) -> Node:
    """Samples ``start`` to ``stop`` (exclusive) of a signal that has ``length``."""
    if (start, stop) == (0, length):
        return signal
    rows = ops.slice(transpose(signal), integers(start), integers(stop), integers(1), integers(1))
    return transpose(rows)
