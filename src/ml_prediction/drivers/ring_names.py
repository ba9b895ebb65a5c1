"""Rings and logos by their names, with Earthworm's tables or without."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from ml_prediction.earthworm.flags import DEFAULT_FLAG_RING_KEY
from ml_prediction.earthworm.logo import Logo
from ml_prediction.earthworm.ring import RingName
from ml_prediction.earthworm.syntax import params_folder
from ml_prediction.earthworm.tables import Tables, read_tables
from ml_prediction.errors import ConfigurationError

_SAME_EVERYWHERE: Final = Tables(
    rings=MappingProxyType({"FLAG_RING": DEFAULT_FLAG_RING_KEY}),
    modules=MappingProxyType({"MOD_WILDCARD": 0}),
    messages=MappingProxyType(
        {
            "TYPE_WILDCARD": 0,
            "TYPE_ERROR": 2,
            "TYPE_HEARTBEAT": 3,
            "TYPE_PICK_SCNL": 8,
            "TYPE_CODA_SCNL": 9,
            "TYPE_PICK2K": 10,
            "TYPE_CODA2K": 11,
            "TYPE_HYP2000ARC": 14,
            "TYPE_TRACEBUF2": 19,
            "TYPE_TRACEBUF": 20,
            "TYPE_MSEED": 35,
        }
    ),
    installations=MappingProxyType({"INST_WILDCARD": 0, "INST_UNKNOWN": 255}),
)
"""Numbers that no site may change."""

_PLAYER: Final = "MOD_TANKPLAYER"
_NOBODY: Final = 255


@dataclass(frozen=True, slots=True)
class Names:
    """Names and numbers.

    Attributes
    ----------
    tables
        Of the system; without one, the numbers that are the same everywhere.
    """

    tables: Tables

    @property
    def flag_ring_key(self) -> int:
        """Key of FLAG_RING."""
        return self.tables.flag_ring_key

    @property
    def tracebuf2(self) -> int:
        """Number of TYPE_TRACEBUF2."""
        return self.tables.messages.get("TYPE_TRACEBUF2", 19)

    @property
    def tracebuf(self) -> int:
        """Number of TYPE_TRACEBUF."""
        return self.tables.messages.get("TYPE_TRACEBUF", 20)

    @property
    def waveforms(self) -> tuple[int, int]:
        """Numbers of the messages that a tank holds."""
        return self.tracebuf2, self.tracebuf

    def logo(self, logo: Logo) -> str:
        """A logo as people read it: installation, module, type."""
        tables = self.tables
        parts = (
            (tables.installations, logo.installation, "INST"),
            (tables.modules, logo.module, "MOD"),
            (tables.messages, logo.type, "TYPE"),
        )
        return " ".join(_name(*part) for part in parts)

    def ring(self, text: str) -> RingName:
        """A ring by ``NAME``, ``NAME=KEY`` or ``KEY``.

        Raises
        ------
        ConfigurationError
            If there is no such ring in the tables, or the key is no number.
        """
        name, is_pair, key = text.rpartition("=")
        if is_pair or text.isdigit():
            if not re.fullmatch(r"[0-9]{1,10}", key) or int(key) >= 1 << 31:
                raise ConfigurationError(
                    f"Ring {text}: {key!r} is no key; write NAME, NAME=KEY or KEY, as WAVE_RING, "
                    "WAVE_RING=1000 or 1000."
                )
            known = (name for name, number in self.tables.rings.items() if number == int(key))
            return RingName(name or next(known, key), int(key))
        if self.tables is _SAME_EVERYWHERE:
            raise ConfigurationError(
                f"The key of ring {text} is not known, because EW_PARAMS is not set: source "
                f"Earthworm's environment first, or write the key too, as {text}=1000."
            )
        return self.tables.ring(text)

    def wanted(self, text: str) -> Logo:
        """A logo ``INST,MOD,TYPE`` of names or numbers; 0 stands for any.

        Raises
        ------
        ConfigurationError
            If a part is missing or unknown.
        """
        parts = _parts(text, 3, "INST,MOD,TYPE")
        tables = self.tables
        return Logo(
            _number(parts[2], tables.messages, "Message"),
            _number(parts[1], tables.modules, "Module"),
            _number(parts[0], tables.installations, "Installation"),
        )

    def sender(
        self, text: str | None = None, environment: Mapping[str, str] = os.environ
    ) -> tuple[int, int]:
        """Who puts messages into a ring.

        Parameters
        ----------
        text
            ``INST,MOD``, names or numbers. None: EW_INSTALLATION and MOD_TANKPLAYER where they
            are known, else 255 for both.
        environment
            With EW_INSTALLATION.

        Returns
        -------
        tuple of int
            Module and installation.

        Raises
        ------
        ConfigurationError
            If a part is missing or unknown, or is a wildcard, or EW_INSTALLATION is unknown.
        """
        tables = self.tables
        if text is None:
            here = environment.get("EW_INSTALLATION", "")
            known = here and tables is not _SAME_EVERYWHERE
            installation = tables.installation(here) if known else _NOBODY
            return tables.modules.get(_PLAYER, _NOBODY), installation
        parts = _parts(text, 2, "INST,MOD")
        module = _number(parts[1], tables.modules, "Module")
        installation = _number(parts[0], tables.installations, "Installation")
        if not (module and installation):
            raise ConfigurationError(
                f"--logo {text}: a message must say who sent it, but 0 stands for anybody; "
                "name an installation and a module."
            )
        return module, installation


def read_names(environment: Mapping[str, str] = os.environ) -> Names:
    """Names of the system that EW_PARAMS is about, or those that are the same everywhere.

    Raises
    ------
    ConfigurationError
        If the tables in EW_PARAMS can't be read.
    """
    if not environment.get("EW_PARAMS"):
        return Names(_SAME_EVERYWHERE)
    return Names(read_tables(params_folder(environment), environment))


def _parts(text: str, count: int, form: str) -> list[str]:
    parts = [part for part in re.split(r"[,\s]+", text) if part]
    if len(parts) != count:
        raise ConfigurationError(f"--logo {text}: write {form}, names or numbers.")
    return parts


def _number(text: str, table: Mapping[str, int], kind: str) -> int:
    if text.isascii() and text.isdigit() and int(text) <= 255:
        return int(text)
    if text in table:
        return table[text]
    raise ConfigurationError(
        f"{kind} {text} is not known: write its number, 0 to 255, or a name of Earthworm's tables "
        "(in EW_PARAMS)."
    )


def _name(table: Mapping[str, int], number: int, kind: str) -> str:
    return next((name for name, known in table.items() if known == number), f"{kind}={number}")
