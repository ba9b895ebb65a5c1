"""Snapshots: nested plain values and arrays to bytes and back, without pickle."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import numpy as np

from ml_prediction.errors import DataError

_ARRAY = "__array__"


def to_bytes(state: Any) -> bytes:
    """Pack nested dicts, lists, numbers, strings and arrays."""
    arrays: list[np.ndarray[Any, Any]] = []

    def plain(value: Any) -> Any:
        if isinstance(value, np.ndarray):
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
    np.savez(buffer, allow_pickle=False, state=np.frombuffer(text, dtype=np.uint8), **named)
    return buffer.getvalue()


def from_bytes(data: bytes) -> Any:
    """Unpack what :func:`to_bytes` packed.

    Raises
    ------
    DataError
        If the bytes are damaged or something else.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        text = arrays.pop("state").tobytes().decode()
        state = json.loads(text)
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise DataError("This is not a snapshot of a pipeline, or it is damaged.") from error

    def restored(value: Any) -> Any:
        if isinstance(value, dict):
            if _ARRAY in value:
                return arrays[str(value[_ARRAY])]
            return {key: restored(item) for key, item in value.items()}
        if isinstance(value, list):
            return [restored(item) for item in value]
        return value

    return restored(state)
