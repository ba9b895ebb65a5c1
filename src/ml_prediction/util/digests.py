"""What a file's contents are known by."""

from __future__ import annotations

import hashlib


def sha256(body: bytes) -> str:
    """SHA-256 of some bytes, in hexadecimal."""
    return hashlib.sha256(body).hexdigest()
