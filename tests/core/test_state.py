"""Snapshots survive the way through bytes; damaged ones are told."""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ml_prediction.core.state import from_bytes, to_bytes
from ml_prediction.errors import DataError

plain = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(max_size=10)
)
states = st.recursive(
    plain,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=15,
)


@settings(derandomize=True, deadline=None)
@given(states)
def test_plain_values_come_back(state: Any) -> None:
    assert from_bytes(to_bytes(state)) == state


@settings(derandomize=True, deadline=None)
@given(
    st.lists(
        hnp.arrays(
            st.sampled_from([np.float64, np.float32, np.int32, np.int64, np.bool_]),
            hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
        ),
        max_size=12,
    )
)
def test_arrays_come_back_bit_for_bit(arrays: list[Any]) -> None:
    found = from_bytes(to_bytes({"deep": [{"arrays": arrays}]}))["deep"][0]["arrays"]
    assert len(found) == len(arrays)
    for one, other in zip(found, arrays, strict=True):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert one.tobytes() == other.tobytes()


def test_numpy_scalars_tuples_and_infinities() -> None:
    state = {"a": np.int64(5), "b": (np.float32(0.5), True), "c": float("inf"), "d": np.bool_(1)}
    assert from_bytes(to_bytes(state)) == {"a": 5, "b": [0.5, True], "c": float("inf"), "d": True}


def npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.arange(5))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data",
    [b"", b"hello", b"PK\x03\x04", bytes(1000), pickle.dumps({"a": 1}), npy()],
    ids=["empty", "text", "zip magic", "zeros", "pickle", "npy"],
)
def test_something_else_is_a_data_error(data: bytes) -> None:
    with pytest.raises(DataError, match="not a snapshot"):
        from_bytes(data)


SAMPLE = to_bytes({"values": np.arange(20.0), "text": "abc", "more": [np.ones(3, dtype=np.bool_)]})


@pytest.mark.parametrize("length", range(0, len(SAMPLE), 7))
def test_a_cut_snapshot_is_a_data_error(length: int) -> None:
    with pytest.raises(DataError):
        from_bytes(SAMPLE[:length])


def test_a_flipped_bit_is_a_data_error_or_harmless() -> None:
    expected = repr(from_bytes(SAMPLE))
    for place in range(len(SAMPLE)):
        for bit in (1, 16, 128):
            damaged = bytearray(SAMPLE)
            damaged[place] ^= bit
            try:
                found = from_bytes(bytes(damaged))
            except DataError:
                continue
            assert repr(found) == expected


def test_a_pickled_object_is_never_loaded() -> None:
    buffer = io.BytesIO()
    np.savez(buffer, state=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError):
        from_bytes(buffer.getvalue())
