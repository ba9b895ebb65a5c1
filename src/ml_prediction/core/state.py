"""Snapshots: nested plain values and arrays to bytes and back, without pickle.

A snapshot is a line that names the format, the SHA-256 of the rest, and the rest, compressed by
zlib: the length of a JSON text, the text, and the arrays' bytes one after another. In the text an
array is its type and shape.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import zlib
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

import numpy as np

from ml_prediction.errors import DataError, InternalError

_ARRAY: Final = "__array__"
_MAGIC: Final = b"ml_prediction snapshot 2\n"
_BODY: Final = len(_MAGIC) + hashlib.sha256().digest_size
_LENGTH: Final = 8  # bytes of the text's length
_BLOCK: Final = 1 << 20  # bytes packed at once; other threads may run meanwhile
_FAST: Final = 1  # of zlib's levels: the next ones take twice as long for a tenth less


@dataclass(frozen=True, slots=True)
class Gathered:
    """A state that nobody changes any more: values with marks for arrays, and the arrays' bytes."""

    values: Any
    arrays: bytearray


def gather(state: Any) -> Gathered:
    """Take nested dicts, lists, numbers, strings and arrays; the arrays are copied.

    They are copied into one place: thousands of small copies, made and given back again and again,
    leave holes in the memory of a process that runs for months.
    """
    arrays = bytearray()

    def plain(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            if value.dtype.hasobject:
                raise InternalError(
                    "A snapshot may not hold Python objects: they would be pickled."
                )
            arrays.extend(value.tobytes())
            return {_ARRAY: [value.dtype.str, *value.shape]}
        if isinstance(value, np.generic):
            return value.item()
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        return value

    return Gathered(plain(state), arrays)


def write(state: Gathered, handle: BinaryIO, *, quick: bool = False) -> int:
    """Pack into a file that is at its beginning and can be sought; `quick` does not compress.

    Returns
    -------
    int
        Bytes written.
    """
    handle.write(bytes(_BODY))  # becomes true when all the rest is there
    text = json.dumps(state.values).encode()
    packer, digest = zlib.compressobj(0 if quick else _FAST), hashlib.sha256()
    size, view = len(text).to_bytes(_LENGTH, "little"), memoryview(state.arrays)
    blocks = [view[at : at + _BLOCK] for at in range(0, len(view), _BLOCK)]
    for block in [memoryview(size), memoryview(text), *blocks]:
        part = packer.compress(block)
        digest.update(part)
        handle.write(part)
    part = packer.flush()
    digest.update(part)
    handle.write(part)
    written = handle.tell()
    handle.seek(0)
    handle.write(_MAGIC + digest.digest())
    return written


def to_bytes(state: Any) -> bytes:
    """Pack nested dicts, lists, numbers, strings and arrays."""
    handle = io.BytesIO()
    write(gather(state), handle)
    return handle.getvalue()


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
