"""Snapshots: nested plain values and arrays to bytes and back, without pickle.

A snapshot is a line that names the format, the SHA-256 of the rest, and the rest: an npz archive
with the arrays, and the plain values as JSON.
"""

from __future__ import annotations

import hashlib
import io
import json
from typing import Any

import numpy as np

from ml_prediction.errors import DataError, InternalError

_ARRAY = "__array__"
_MAGIC = b"ml_prediction snapshot 1\n"
_BODY = len(_MAGIC) + hashlib.sha256().digest_size


def to_bytes(state: Any) -> bytes:
    """Pack nested dicts, lists, numbers, strings and arrays."""
    arrays: list[np.ndarray[Any, Any]] = []

    def plain(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            if value.dtype.hasobject:
                raise InternalError(
                    "A snapshot may not hold Python objects: they would be pickled."
                )
            arrays.append(value)
            return {_ARRAY: len(arrays) - 1}
        if isinstance(value, np.generic):
            return value.item()
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        return value

    text = json.dumps(plain(state)).encode()
    buffer = io.BytesIO()
    named = {str(number): array for number, array in enumerate(arrays)}
    np.savez_compressed(buffer, state=np.frombuffer(text, dtype=np.uint8), **named)
    body = buffer.getvalue()
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
    with np.load(io.BytesIO(body), allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    state = json.loads(arrays.pop("state").tobytes().decode())

    def restored(value: Any) -> Any:
        if isinstance(value, dict):
            if _ARRAY in value:
                return arrays[str(value[_ARRAY])]
            return {key: restored(item) for key, item in value.items()}
        if isinstance(value, list):
            return [restored(item) for item in value]
        return value

    return restored(state)
