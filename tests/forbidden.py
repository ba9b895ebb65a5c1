"""Folders that can't be looked into."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Forbid = Callable[[Path], None]


@pytest.fixture
def forbid(monkeypatch: pytest.MonkeyPatch) -> Forbid:
    """Make a folder unreadable, for root too."""
    scandir, stat = os.scandir, os.stat

    def make(folder: Path) -> None:
        def refuse(path: Any) -> None:
            error = PermissionError(errno.EACCES, "Permission denied", str(path))
            if isinstance(path, str | Path) and Path(path) == folder:
                raise error

        def listed(path: Any = ".") -> Any:
            refuse(path)
            return scandir(path)

        def looked_at(path: Any, *args: Any, **options: Any) -> Any:
            if isinstance(path, str | Path):
                refuse(Path(path) if str(path).endswith("/.") else Path(path).parent)
            return stat(path, *args, **options)

        monkeypatch.setattr(os, "scandir", listed)
        monkeypatch.setattr(os, "stat", looked_at)

    return make
