"""Snapshots: nested plain values and arrays to bytes and back, without pickle.

A snapshot is a line that names the format, the SHA-256 of the rest, and the rest, compressed by
zlib: the length of a JSON text, the text, and the arrays' bytes one after another. In the text an
array is its type and shape.
"""

from __future__ import annotations

import hashlib
import json
import math
import zlib
from typing import Any, Final

import numpy as np

from ml_prediction.errors import DataError, InternalError

_ARRAY: Final = "__array__"
_MAGIC: Final = b"ml_prediction snapshot 2\n"
_BODY: Final = len(_MAGIC) + hashlib.sha256().digest_size
_LENGTH: Final = 8  # bytes of the text's length
_FAST: Final = 1  # of zlib's levels: the next ones take twice as long for a tenth less


def copied(state: Any) -> Any:
    """The same values with arrays of their own, which nobody changes while they are packed."""
    if isinstance(state, np.ndarray):
        return state.copy()
    if isinstance(state, dict):
        return {key: copied(item) for key, item in state.items()}
    if isinstance(state, list | tuple):
        return [copied(item) for item in state]
    return state


def to_bytes(state: Any, *, quick: bool = False) -> bytes:
    """Pack nested dicts, lists, numbers, strings and arrays; `quick` does not compress them."""
    arrays: list[np.ndarray[Any, Any]] = []

    def plain(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            if value.dtype.hasobject:
                raise InternalError(
                    "A snapshot may not hold Python objects: they would be pickled."
                )
            arrays.append(value)
            return {_ARRAY: [value.dtype.str, *value.shape]}
        if isinstance(value, np.generic):
            return value.item()
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        return value

    text = json.dumps(plain(state)).encode()
    parts = [len(text).to_bytes(_LENGTH, "little"), text, *(array.tobytes() for array in arrays)]
    body = zlib.compress(
        b"".join(parts), 0 if quick else _FAST
    )  # at once: other threads may run meanwhile
    return _MAGIC + hashlib.sha256(body).digest() + body


def from_bytes(data: bytes) -> Any:
    """Unpack what :func:`to_bytes` packed.

    Raises
    ------
    DataError
        If the bytes are damaged or something else.
    """
    body = data[_BODY:] if isinstance(data, bytes) else b""
    if not body or data[:_BODY] != _MAGIC + hashlib.sha256(body).digest():
        raise DataError("This is not a snapshot of a pipeline, or it is damaged; start without it.")
    content = zlib.decompress(body)
    place = _LENGTH + int.from_bytes(content[:_LENGTH], "little")
    state = json.loads(content[_LENGTH:place])

    def restored(value: Any) -> Any:
        nonlocal place
        if isinstance(value, dict):
            if _ARRAY in value:
                kind, *shape = value[_ARRAY]
                count = math.prod(shape)
                array = np.frombuffer(content, np.dtype(kind), count, place).reshape(shape).copy()
                place += array.nbytes
                return array
            return {key: restored(item) for key, item in value.items()}
        if isinstance(value, list):
            return [restored(item) for item in value]
        return value

    return restored(state)
