"""Numbers of rings, modules, message types and installations, from Earthworm's own tables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ml_prediction.earthworm.flags import DEFAULT_FLAG_RING_KEY
from ml_prediction.earthworm.logo import Logo
from ml_prediction.earthworm.ring import RingName
from ml_prediction.earthworm.syntax import Line, read_lines
from ml_prediction.errors import ConfigurationError
from ml_prediction.util.frozen import FrozenMap

FILES: Final = ("earthworm_global.d", "earthworm.d")
LONGEST_NAME: Final = 32

_HIGHEST: Final = {"Ring": 2**31 - 1, "Module": 255, "Message": 255, "Installation": 255}


@dataclass(frozen=True, slots=True)
class Tables:
    """Numbers by name.

    Attributes
    ----------
    rings, modules, messages, installations
        From ``earthworm_global.d`` and ``earthworm.d``.
    """

    rings: Mapping[str, int]
    modules: Mapping[str, int]
    messages: Mapping[str, int]
    installations: Mapping[str, int]

    def ring(self, name: str) -> RingName:
        """A ring and its key.

        Raises
        ------
        ConfigurationError
            If the tables have no such ring. The same for the other kinds.
        """
        return RingName(name, _number(self.rings, "Ring", name))

    def module(self, name: str) -> int:
        """Number of a module."""
        return _number(self.modules, "Module", name)

    def message(self, name: str) -> int:
        """Number of a message type."""
        return _number(self.messages, "Message", name)

    def installation(self, name: str) -> int:
        """Number of an installation."""
        return _number(self.installations, "Installation", name)

    def logo(self, installation: str, module: str, message: str) -> Logo:
        """A logo, in the order in which GetLogo names its parts."""
        return Logo(self.message(message), self.module(module), self.installation(installation))

    @property
    def flag_ring_key(self) -> int:
        """Key of FLAG_RING."""
        return self.rings.get("FLAG_RING", DEFAULT_FLAG_RING_KEY)


def read_tables(params: Path, environment: Mapping[str, str] = os.environ) -> Tables:
    """Tables of an Earthworm system.

    Parameters
    ----------
    params
        EW_PARAMS.
    environment
        For variables in the files.

    Raises
    ------
    ConfigurationError
        If a file is missing, a number is out of range, or a name has two numbers, or a number
        two names; named with file and line.
    """
    found: dict[str, dict[str, int]] = {kind: {} for kind in _HIGHEST}
    for file in FILES:
        for line in read_lines(params / file, params, environment):
            if line.keyword in found:
                _enter(found[line.keyword], line)
    return Tables(*(FrozenMap(found[kind]) for kind in _HIGHEST))


def _enter(table: dict[str, int], line: Line) -> None:
    name, number = line.value(0), line.integer(1, 0, _HIGHEST[line.keyword])
    if len(name) > LONGEST_NAME:
        raise ConfigurationError(f"{line.place}: {name!r} has more than {LONGEST_NAME} characters.")
    others = [known for known, value in table.items() if value == number and known != name]
    if table.get(name, number) != number or others:
        known = f"{name} {table[name]}" if name in table else f"{others[0]} {number}"
        raise ConfigurationError(
            f"{line.place}: {line.keyword} {name} {number} contradicts {line.keyword} {known}."
        )
    table[name] = number


def _number(table: Mapping[str, int], kind: str, name: str) -> int:
    try:
        return table[name]
    except KeyError:
        raise ConfigurationError(
            f"{kind} {name} is in neither of Earthworm's tables {' and '.join(FILES)} "
            f"(in EW_PARAMS): add a line '{kind} {name} NUMBER' to {FILES[1]}, or correct the name."
        ) from None
