"""Configuration as TOML: written with every option's meaning, read back strictly."""

from __future__ import annotations

import json
import math
import textwrap
import tomllib
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ml_prediction.errors import ConfigurationError


def to_toml(config: BaseModel) -> str:
    """Every option with its meaning and value, as TOML.

    Options without a value stand there commented out, because TOML has no null; those that
    are tables themselves follow at the end.
    """
    return "\n".join(_lines(config, ())).strip() + "\n"


def read_toml(path: str | Path) -> dict[str, Any]:
    """Contents of a TOML file as nested tables.

    Raises
    ------
    ConfigurationError
        If the file is not there or is not TOML.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"Can't read configuration {str(path)!r}: {error}.") from error
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"Configuration {str(path)!r} is not TOML: {error}.") from error
    return {key: _times_as_text(value) for key, value in table.items()}


def _lines(config: BaseModel, above: tuple[str, ...]) -> list[str]:
    lines: list[str] = []
    tables: list[str] = []
    for name, info in type(config).model_fields.items():
        value = getattr(config, name)
        comment = textwrap.wrap(
            info.description or "", 96, initial_indent="# ", subsequent_indent="# "
        )
        if isinstance(value, BaseModel | Mapping):
            path = (*above, name)
            tables += ["", *comment, f"[{'.'.join(path)}]"]
            if isinstance(value, BaseModel):
                tables += _lines(value, path)
            else:
                tables += [f"{key} = {_value(item)}" for key, item in value.items()]
                tables += [] if value else _example(name, info)
        elif value is None:
            lines += [*comment, *_example(name, info), ""]
        else:
            lines += [*comment, f"{name} = {_value(value)}", ""]
    return [*lines, *tables]


def _example(name: str, info: FieldInfo) -> list[str]:
    """Commented-out lines that show the form of an option that has no value."""
    example = info.examples[0] if info.examples else None
    items = example.items() if isinstance(example, dict) else [(name, example)]
    return [f"# {key} = {_value(item)}" for key, item in items if item is not None]


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return json.dumps(value)  # a JSON string is a TOML basic string
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    raise ConfigurationError(f"{value!r} has no form in TOML.")


def _times_as_text(value: object) -> object:
    if isinstance(value, datetime | date):
        return value.isoformat()
    return value
