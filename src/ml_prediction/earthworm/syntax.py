"""Earthworm's configuration files (``.d``): tokens, comments, quotes, includes, variables."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ml_prediction.errors import ConfigurationError

DEEPEST: Final = 5
"""Files open at once, one including the other: four below the first."""

LONGEST: Final = 2048
"""Characters of a line."""

COMMON_VARIABLES: Final = "earthworm_commonvars.d"

_TOKEN: Final = re.compile(r'"([^"]*)"?|\[([^\]]*)\]?|([^ \t\r]+)')
_VARIABLE: Final = re.compile(r"\$\{([^}]+)\}")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Line:
    """A line that says something.

    Attributes
    ----------
    keyword
        First token.
    values
        The others.
    path, number
        Where it is; lines count from 1.
    """

    keyword: str
    values: tuple[str, ...]
    path: Path
    number: int

    @property
    def place(self) -> str:
        """File and line, for messages."""
        return f"{self.path}, line {self.number}"

    def value(self, index: int = 0) -> str:
        """One of the values.

        Raises
        ------
        ConfigurationError
            If there are not so many.
        """
        if index >= len(self.values):
            raise ConfigurationError(
                f"{self.place}: {self.keyword} has {len(self.values)} "
                f"value{'' if len(self.values) == 1 else 's'}, and needs more."
            )
        return self.values[index]

    def integer(self, index: int, lowest: int, highest: int) -> int:
        """One of the values, as a whole number within limits.

        Raises
        ------
        ConfigurationError
            If it is none.
        """
        text = self.value(index)
        if not re.fullmatch(r"[+-]?\d{1,18}", text) or not lowest <= int(text) <= highest:
            raise ConfigurationError(
                f"{self.place}: {self.keyword} {text!r} is no whole number "
                f"from {lowest} to {highest}."
            )
        return int(text)


def params_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Folder of Earthworm's configuration.

    Raises
    ------
    ConfigurationError
        If EW_PARAMS is not set, or is no folder.
    """
    name = environment.get("EW_PARAMS", "")
    if not name:
        raise ConfigurationError(
            "EW_PARAMS is not set: source Earthworm's environment (ew_linux.bash) first."
        )
    if not Path(name).is_dir():
        raise ConfigurationError(f"EW_PARAMS = {name!r} is no folder.")
    return Path(name)


def read_lines(
    path: Path, params: Path, environment: Mapping[str, str] = os.environ
) -> Iterator[Line]:
    """Lines of a file and of what it includes, in order.

    Parameters
    ----------
    path
        What to read.
    params
        Folder of the configuration, where files are looked for that are not found as they are
        named, and ``earthworm_commonvars.d``.
    environment
        Variables, after those of ``earthworm_commonvars.d``.

    Raises
    ------
    ConfigurationError
        If a file is missing, or includes are nested too deep; named with file and line.
    """
    return _read(path, params, {**environment, **_common_variables(params)}, ())


def _common_variables(params: Path) -> dict[str, str]:
    path = params / COMMON_VARIABLES
    if not path.is_file():
        return {}
    lines = _read(path, params, {}, ())
    return {line.value(0): line.value(1) for line in lines if line.keyword == "SetEnvVariable"}


def _read(
    path: Path, params: Path, variables: Mapping[str, str], above: tuple[str, ...]
) -> Iterator[Line]:
    if len(above) >= DEEPEST:
        raise ConfigurationError(
            f"{above[-1]}: {path} would be file number {DEEPEST + 1} open at once; "
            "include it from one that is not included so deep."
        )
    found = path if path.is_absolute() or path.is_file() else params / path
    try:
        text = found.read_text(encoding="latin-1")
    except OSError as error:
        where = f"{above[-1]}: " if above else ""
        raise ConfigurationError(f"{where}Can't read {found} ({error.strerror}).") from error
    for number, content in enumerate(text.split("\n"), 1):
        place = f"{found}, line {number}"
        if len(content) > LONGEST:
            raise ConfigurationError(
                f"{place} has {len(content)} characters; at most {LONGEST} are allowed."
            )
        if content.lstrip().startswith("#"):
            continue
        tokens = _tokens(_expanded(content, variables, place))
        if not tokens:
            continue
        if tokens[0].startswith("@"):
            name = tokens[0][1:] or (tokens[1] if len(tokens) > 1 else "")
            yield from _read(Path(name), params, variables, (*above, place))
        else:
            yield Line(tokens[0], tuple(tokens[1:]), found, number)


def _tokens(content: str) -> list[str]:
    return ["".join(group or "" for group in match.groups()) for match in _TOKEN.finditer(content)]


def _expanded(content: str, variables: Mapping[str, str], place: str) -> str:
    """Put in variables; a line with an unknown one stays as it is, as in Earthworm."""
    unknown = [name for name in _VARIABLE.findall(content) if name not in variables]
    if unknown:
        _log.warning(
            "%s: the variable %s is neither in %s nor in the environment; "
            "the line is taken as it is.",
            place,
            unknown[0],
            COMMON_VARIABLES,
        )
        return content
    return _VARIABLE.sub(lambda match: variables[match[1]], content)
