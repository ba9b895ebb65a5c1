"""The picks.csv of `ml-prediction pick`, as picks again."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from obspy import UTCDateTime

from ml_prediction.core.results import Pick, pick_order
from ml_prediction.errors import ConfigurationError, DataError
from ml_prediction.sinks.tables import PICK_COLUMNS

_BACK: Final[dict[str, Callable[[str], Any]]] = {
    "UTCDateTime": UTCDateTime,
    "float": lambda text: float(text or "nan"),
    "int": int,
    "bool": lambda text: text == "true",
    "tuple[str, ...]": lambda text: tuple(text.split(";")) if text else (),
    "str | None": lambda text: text or None,
}
_TYPES: Final = {field.name: str(field.type) for field in fields(Pick)}


def pick_table(path: Path) -> Path:
    """The file itself, where its folder may be given."""
    return path / "picks.csv" if path.is_dir() else path


def read_pick_file(path: Path) -> list[Pick]:
    """Picks of a file that `ml-prediction pick` wrote, or of its folder, by time.

    Raises
    ------
    ConfigurationError
        If there is no such file.
    DataError
        If it is not such a file; the message names the line.
    """
    path = pick_table(path)
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            missing = [name for name in PICK_COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise DataError(
                    f"{path}: no column {', '.join(missing[:3])}; give the picks.csv of "
                    "`ml-prediction pick`."
                )
            picks = [_pick(row, path, reader.line_num) for row in reader]
    except OSError as error:
        raise ConfigurationError(f"Can't read {str(path)!r}: {error.strerror}.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: can't be read as CSV ({error}).") from error
    return sorted(picks, key=pick_order)


def _pick(row: dict[str, Any], path: Path, line: int) -> Pick:
    try:
        return Pick(**{name: _BACK.get(_TYPES[name], str)(row[name]) for name in PICK_COLUMNS})
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}, line {line}: damaged ({error}).") from error
