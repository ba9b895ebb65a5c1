"""Pairs of weights and description in SeisBench's file format, found by name or path."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ml_prediction.errors import ConfigurationError

_NAME = re.compile(r"(?P<stem>.+?)\.(?P<kind>pt|json)(?:\.v(?P<version>[^/]+))?")


@dataclass(frozen=True, slots=True)
class WeightFiles:
    """One set of weights on disk.

    Attributes
    ----------
    base
        Path without ``.pt`` and version; its last part is the weights' name.
    version
        Version in the files' names; empty if they have none.
    """

    base: Path
    version: str

    @property
    def weights(self) -> Path:
        """The .pt file."""
        return self._with(".pt")

    @property
    def description(self) -> Path:
        """The .json file."""
        return self._with(".json")

    def _with(self, suffix: str) -> Path:
        version = f".v{self.version}" if self.version else ""
        return self.base.with_name(f"{self.base.name}{suffix}{version}")


def version_key(version: str) -> tuple[int, ...]:
    """Sort key of versions: 2 comes before 10, and no version before any."""
    return tuple(int(part) if part.isdigit() else -1 for part in version.split("."))


def find_all(folder: Path) -> list[WeightFiles]:
    """Every complete pair in a folder, by name and version; empty where there is no folder."""
    if not folder.is_dir():
        return []
    found = []
    for path in folder.glob("*.json*"):
        match = _NAME.fullmatch(path.name)
        if match is not None and match["kind"] == "json":
            files = WeightFiles(folder / match["stem"], match["version"] or "")
            if files.weights.is_file():
                found.append(files)
    return sorted(found, key=lambda files: (files.base.name, version_key(files.version)))


def find_named(folder: Path, name: str, version: str = "latest") -> WeightFiles | None:
    """Find the pair of a name in a folder, the newest version unless one is given."""
    found = [files for files in find_all(folder) if files.base.name == name]
    if version != "latest":
        found = [files for files in found if (files.version or "1") == version]
    return found[-1] if found else None


def looks_like_path(weights: str) -> bool:
    """Whether weights are given by path: a folder separator, or a file's ending."""
    return "/" in weights or "\\" in weights or _NAME.fullmatch(weights) is not None


def find_path(path: str, version: str = "latest") -> WeightFiles:
    """Find the pair that a path names: with or without ending and version.

    Parameters
    ----------
    path
        ``dir/original``, ``dir/original.pt``, ``dir/original.json.v1`` ...
    version
        Version to take where the path names none, or ``latest``.

    Raises
    ------
    ConfigurationError
        If one of the two files is missing.
    """
    given = Path(path).expanduser()
    match = _NAME.fullmatch(given.name)
    name = match["stem"] if match else given.name
    wanted = (match["version"] if match else None) or version
    found = find_named(given.parent, name, wanted)
    if found is None:
        suffix = "" if wanted == "latest" else f", version {wanted}"
        raise ConfigurationError(
            f"no weights at {path}: {given.parent} must hold {name}.pt and {name}.json, or "
            f"{name}.pt.v1 and {name}.json.v1 as SeisBench names them{suffix}."
        )
    return found
