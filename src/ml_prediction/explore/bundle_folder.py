"""A bundle as a plain folder: documents as they came, tables, and a manifest with checksums.

::

    bundle.json         manifest: each file's size and SHA-256, what was asked for, notes
    event.xml           QuakeML: origins, magnitudes, analyst picks
    history.csv         ComCat's contributions
    stations.xml        StationXML
    waveforms/          miniSEED, a file for each channel
    picks.parquet       the models' picks, exactly; picks.csv is the same for people
    detections.parquet  the models' detections
    probabilities/      miniSEED, a file for each model

A folder changes from one state to the next as a whole: the new files and, last, the new manifest
are written under hidden names, then all get their own. A run that is killed in between leaves the
old state, or the new manifest under its hidden name, with which the next reader finishes.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from ml_prediction import __version__
from ml_prediction.data.store import alone
from ml_prediction.errors import ConfigurationError, DataError
from ml_prediction.util.digests import sha256
from ml_prediction.util.files import inside

MANIFEST: Final = "bundle.json"
NEXT: Final = ".bundle.json.next"
FORMAT: Final = "ml_prediction event bundle, 1"
REMEDY: Final = "Put the original back, or remove the folder and make the bundle again."
_PLAIN: Final = re.compile(r"[^\w.,+=-]", re.ASCII)


def write_folder(folder: Path, files: Mapping[str, bytes], about: Mapping[str, Any]) -> None:
    """Bring a folder to a new state; files that are the same are left alone.

    Parameters
    ----------
    folder
        New, empty, or of the same event. What else is in it stays.
    files
        Contents by path.
    about
        What the manifest says besides; it has the ``event_id``.

    Raises
    ------
    ConfigurationError
        If the folder has something else, or another run is writing to it.
    OSError
        If it can't be written; the old state is left then.
    """
    with alone(folder):
        _finish(folder)
        old = _old_manifest(folder, str(about["event_id"]))
        entries = {
            name: {"bytes": len(body), "sha256": sha256(body)} for name, body in files.items()
        }
        changed = [name for name in files if not _is_there(folder / name, entries[name])]
        parts = [_part(folder / name) for name in changed]
        try:
            for name, part in zip(changed, parts, strict=True):
                part.parent.mkdir(parents=True, exist_ok=True)
                _write(part, files[name])
            manifest = {
                "format": FORMAT,
                **about,
                "files": dict(sorted(entries.items())),
                "versions": {"ml_prediction": __version__},
                "replaces": sorted(set(old) - set(files)),
            }
            part = _part(folder / NEXT)
            parts.append(part)
            _write(part, (json.dumps(manifest, indent=1) + "\n").encode())
            part.replace(folder / NEXT)
        except BaseException:
            if not (folder / NEXT).exists():
                for part in parts:
                    part.unlink(missing_ok=True)
            raise
        _finish(folder)


def read_folder(folder: Path) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Contents of a folder, and its manifest.

    Raises
    ------
    ConfigurationError
        If there is no such folder, or it is no bundle.
    DataError
        If a file is missing or has changed; the message names it.
    """
    manifest = _manifest_of(folder)
    files: dict[str, bytes] = {}
    for name, entry in manifest["files"].items():
        path = folder / name
        try:
            body = path.read_bytes()
        except OSError as error:
            raise DataError(
                f"{path}: {error.strerror}, but {MANIFEST} lists it. {REMEDY}"
            ) from error
        if len(body) != entry["bytes"] or sha256(body) != entry["sha256"]:
            raise DataError(f"{path}: it has changed since it was saved. {REMEDY}")
        files[name] = body
    return files, manifest


def is_bundle(folder: Path) -> bool:
    """Whether a folder has a bundle."""
    return (folder / MANIFEST).is_file() or (folder / NEXT).is_file()


def plain_name(text: str) -> str:
    """A name of a file or folder for a code; two that differ get two."""
    plain = _PLAIN.sub("_", text)
    if plain == text and text and not text.startswith("."):
        return text
    return f"{plain.lstrip('.')}-{sha256(text.encode())[:8]}"


def plain_names(texts: Iterable[str]) -> dict[str, str]:
    """Names for several codes or ids: without a checksum where none is needed to differ."""
    names: dict[str, str] = {}
    for text in sorted(texts):
        plain = _PLAIN.sub("_", text)
        free = plain and not plain.startswith(".") and plain not in names.values()
        names[text] = plain if free else plain_name(f"{text}:")
    return names


def _manifest_of(folder: Path) -> dict[str, Any]:
    if (folder / NEXT).is_file():
        with alone(folder):
            _finish(folder)
    path = folder / MANIFEST
    if not folder.is_dir():
        raise ConfigurationError(f"{folder}: there is no such folder.")
    if not path.is_file():
        raise ConfigurationError(
            f"{folder}: not the folder of an event bundle, it has no {MANIFEST}. Name one that "
            "EventBundle.save or `ml-prediction bundle` has made."
        )
    return _parse(path)


def _parse(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_text("utf-8"))
        if manifest["format"] != FORMAT:
            raise DataError(
                f"{path}: of format {manifest['format']!r}, and this version reads {FORMAT!r}: use "
                "the version that has written it, or make the bundle again."
            )
        _check(manifest, path.parent)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: damaged, no manifest ({error!r}). {REMEDY}") from error
    return dict(manifest)


def _check(manifest: Mapping[str, Any], folder: Path) -> None:
    """A person may have edited it, and it must not lead out of its folder."""
    for name, entry in manifest["files"].items():
        inside(folder, name)
        if not (isinstance(entry["bytes"], int) and isinstance(entry["sha256"], str)):
            raise ValueError(f"entry of {name}: {entry}")
    for name in manifest["replaces"]:
        inside(folder, name)
    if not isinstance(manifest["event_id"], str):
        raise ValueError(f"event_id {manifest['event_id']!r}")


def _old_manifest(folder: Path, event_id: str) -> dict[str, Any]:
    """Files of the state that is there; none in a new folder."""
    if not (folder / MANIFEST).is_file():
        theirs = sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))
        if theirs:
            raise ConfigurationError(
                f"{folder} has other files ({', '.join(theirs[:3])}): choose a new folder for the "
                "bundle."
            )
        return {}
    manifest = _parse(folder / MANIFEST)
    if manifest["event_id"] != event_id:
        raise ConfigurationError(
            f"{folder} has the bundle of {manifest['event_id']}: choose another folder for "
            f"{event_id}."
        )
    return dict(manifest["files"])


def _finish(folder: Path) -> None:
    """Give the files of a complete new state their names; drop those of an incomplete one."""
    pending = folder / NEXT
    if not pending.is_file():
        for stale in folder.rglob(".*.part"):
            stale.unlink(missing_ok=True)
        return
    manifest = _parse(pending)
    for name in manifest["files"]:
        with suppress(FileNotFoundError):
            _part(folder / name).replace(folder / name)
    for name in manifest["replaces"]:
        (folder / name).unlink(missing_ok=True)
    pending.replace(folder / MANIFEST)


def _is_there(path: Path, entry: Mapping[str, Any]) -> bool:
    try:
        body = path.read_bytes()
    except OSError:
        return False
    return len(body) == int(entry["bytes"]) and sha256(body) == str(entry["sha256"])


def _part(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def _write(path: Path, body: bytes) -> None:
    with path.open("wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
