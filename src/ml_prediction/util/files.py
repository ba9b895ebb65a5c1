"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
from pathlib import Path


def write_whole(path: Path, data: bytes) -> None:
    """Write a file under a hidden name beside its place, then rename it; an old one is replaced.

    Raises
    ------
    OSError
        If it can't be written; nothing is left then.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            part.unlink()
