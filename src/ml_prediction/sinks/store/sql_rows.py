"""Picks and detections as rows of the SQL tables, and back without loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any, Final, NamedTuple, TypeVar

from ml_prediction.core.results import Detection, Pick
from ml_prediction.sinks.store.checks import to_datetime
from ml_prediction.util.times import to_ns, to_utc

Result = TypeVar("Result", Pick, Detection)


class Method(NamedTuple):
    """What computed a pick: a row of table ``method``."""

    model: str
    weights: str
    weights_sha256: str
    versions: str
    config_hash: str


_ELSEWHERE: Final = {*Method._fields, "run_id"}
"""Fields that are in other tables."""

_MAYBE: Final = "float | None"


def method_of(result: Pick | Detection) -> Method:
    """What computed it."""
    return Method(*(getattr(result, name) for name in Method._fields))


class Codec:
    """Rows of one class of results.

    Parameters
    ----------
    kind
        Pick or Detection.
    readable
        Field whose time is kept in a form for people, too.

    Attributes
    ----------
    columns
        Columns that `decode` wants, in this order; ``method`` comes first.
    """

    def __init__(self, kind: type[Pick] | type[Detection], readable: str) -> None:
        self._kind = kind
        self._readable = readable
        here = [f for f in fields(kind) if f.name not in _ELSEWHERE]
        self._names = [f.name for f in here]
        types = [str(f.type) for f in here]
        self._columns = [
            f"{name}_ns" if type_ == "UTCDateTime" else name
            for name, type_ in zip(self._names, types, strict=True)
        ]
        self.columns = ("method", *self._columns)
        self._to = [_TO.get(type_) for type_ in types]
        self._back = [_BACK.get(type_) for type_ in types]

    def encode(self, result: Pick | Detection, **keys: int) -> dict[str, Any]:
        """Row of a result; ``keys`` are those of run, unit and method."""
        row: dict[str, Any] = dict(keys)
        for name, column, convert in zip(self._names, self._columns, self._to, strict=True):
            value = getattr(result, name)
            row[column] = value if convert is None else convert(value)
        row[self._readable] = to_datetime(getattr(result, self._readable))
        return row

    def decode(self, row: Sequence[Any], methods: Mapping[int, Method], run_id: str) -> Any:
        """The result that a row of ``columns`` stands for."""
        values = {
            name: value if convert is None else convert(value)
            for name, value, convert in zip(self._names, row[1:], self._back, strict=True)
        }
        if values.get("amplitude_unit") and values["amplitude_physical"] is None:
            values["amplitude_physical"] = float("nan")  # asked for, but not to be had
        return self._kind(**values, **methods[row[0]]._asdict(), run_id=run_id)


def _number(value: float | None) -> float | None:
    return None if value is None or value != value else float(value)


_TO: Final[dict[str, Callable[[Any], Any]]] = {
    "UTCDateTime": to_ns,
    "float": _number,
    _MAYBE: _number,
    "int": int,  # NumPy's numbers would become blobs in SQLite
    "bool": bool,
    "tuple[str, ...]": list,
}
_BACK: Final[dict[str, Callable[[Any], Any]]] = {
    "UTCDateTime": to_utc,
    "float": lambda value: float("nan") if value is None else value,
    "tuple[str, ...]": tuple,
}

PICKS: Final = Codec(Pick, "time")
DETECTIONS: Final = Codec(Detection, "onset")
