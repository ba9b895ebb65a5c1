"""Channel codes: NSLC, and the instrument that a channel belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple


class Instrument(NamedTuple):
    """The channels that share network, station, location and band + instrument code.

    A 6-component site (broadband HH, strong motion EN) is two instruments.
    """

    network: str
    station: str
    location: str
    prefix: str

    def __str__(self) -> str:
        return f"{self.network}.{self.station}.{self.location}.{self.prefix}"


class NSLC(NamedTuple):
    """Network, station, location and channel code of one channel."""

    network: str
    station: str
    location: str
    channel: str

    @classmethod
    def clean(cls, network: str, station: str, location: str, channel: str) -> NSLC:
        """Codes without blanks; the location ``--`` is the empty location."""
        location = location.strip()
        return cls(
            network.strip(),
            station.strip(),
            "" if location == "--" else location,
            channel.strip(),
        )

    @property
    def instrument(self) -> Instrument:
        """Instrument of this channel: its code without the component letter."""
        prefix = "" if self.channel.upper() in _JAPANESE else self.channel[:-1]
        return Instrument(self.network, self.station, self.location, prefix)

    @property
    def component(self) -> str:
        """Component letter in upper case (Z, N, E, 1, 2, 3, ...); empty if there is no code."""
        code = self.channel.upper()
        return _JAPANESE.get(code, code[-1:])

    def __str__(self) -> str:
        return f"{self.network}.{self.station}.{self.location}.{self.channel}"


_JAPANESE = {"UD": "Z", "NS": "N", "EW": "E"}  # K-NET and KiK-net name components so


def fits_any(code: str, patterns: Sequence[str]) -> bool:
    """Whether a code fits one of some shell patterns; every code does if there are none."""
    return not patterns or any(fnmatchcase(code, pattern) for pattern in patterns)
