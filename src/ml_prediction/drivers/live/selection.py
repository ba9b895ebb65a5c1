"""Which channels a live run uses, and which of them are known to come."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import obspy
from obspy import Inventory, UTCDateTime

from ml_prediction.core.response import inventory_channels
from ml_prediction.earthworm.config import ChannelPattern
from ml_prediction.errors import ConfigurationError
from ml_prediction.sources.foreign import READ_ERRORS
from ml_prediction.util.codes import NSLC, Instrument

_WILD: Final = frozenset("*?[")
_LOCATION: Final = re.compile(r"--|[0-9A-Za-z]{2}")
_CHANNEL: Final = re.compile(r"[A-Z?][A-Z?][ZNE123?*]")  # as most are


@dataclass(frozen=True, slots=True)
class Selection:
    """Channels of a live run.

    Attributes
    ----------
    patterns
        Of ``Channels``; none means all.
    listed
        Of the station file: patterns in Earthworm's order; None without one.
    instruments
        Instruments of which the station file, of Earthworm's picker, names the vertical only.
    declared
        Channels that are named exactly, so that nobody waits for others.
    inventory
        Where the station file is StationXML.
    """

    patterns: tuple[ChannelPattern, ...] = ()
    listed: tuple[ChannelPattern, ...] | None = None
    instruments: frozenset[Instrument] = frozenset()
    declared: tuple[NSLC, ...] = ()
    inventory: Inventory | None = None

    def wants(self, nslc: NSLC) -> bool:
        """Whether a channel is to be used."""
        if self.patterns and not any(pattern.matches(nslc) for pattern in self.patterns):
            return False
        if self.listed is None or nslc.instrument in self.instruments:
            return True
        return any(pattern.matches(nslc) for pattern in self.listed)


def select(patterns: Sequence[ChannelPattern], station_file: Path | None) -> Selection:
    """Channels by patterns and a station file.

    Parameters
    ----------
    patterns
        Of ``Channels``.
    station_file
        StationXML (or whatever station metadata ObsPy reads), lines ``STA CHAN NET LOC`` that may
        have wildcards, or the station list of Earthworm's pick_ew.

    Raises
    ------
    ConfigurationError
        If the file can't be read, or names no channel.
    """
    chosen = tuple(patterns)
    if station_file is None:
        return Selection(chosen)
    try:
        text = station_file.read_text(encoding="latin-1").removeprefix("\xef\xbb\xbf")
    except OSError as error:
        raise ConfigurationError(
            f"StationFile {station_file} can't be read ({error.strerror})."
        ) from error
    if text.lstrip().startswith("<"):
        return _of_metadata(chosen, station_file)
    return _of_list(chosen, station_file, text)


def _of_metadata(patterns: tuple[ChannelPattern, ...], path: Path) -> Selection:
    try:
        inventory = obspy.read_inventory(str(path))
    except READ_ERRORS as error:
        raise ConfigurationError(
            f"StationFile {path} can't be read as StationXML ({error})."
        ) from error
    running = inventory.select(time=UTCDateTime())
    bare = Selection(patterns)
    known = inventory_channels(running) or inventory_channels(inventory)  # e.g. of a replay
    channels = tuple(dict.fromkeys(c for c in known if bare.wants(c)))
    if not channels:
        raise ConfigurationError(f"StationFile {path} has no channel that Channels would let in.")
    return Selection(patterns, tuple(map(_exactly, channels)), frozenset(), channels, inventory)


def _of_list(patterns: tuple[ChannelPattern, ...], path: Path, text: str) -> Selection:
    listed: list[ChannelPattern] = []
    instruments: set[Instrument] = set()
    for number, line in enumerate(text.split("\n"), 1):
        words = line.split("#")[0].split()
        if not words or words[0].startswith("//"):
            continue
        wrong = _fault(words)
        if wrong is not None:
            raise ConfigurationError(f"StationFile {path}, line {number}: {wrong}")
        if not _of_pick_ew(words):
            listed.append(ChannelPattern(*words[:4]))
        elif words[0] != "0":
            instruments.add(_channel(words[2:6]).instrument)
    if not listed and not instruments:
        raise ConfigurationError(f"StationFile {path} names no channel.")
    bare = Selection(patterns)
    exact = [_channel([p.station, p.channel, p.network, p.location]) for p in listed if _plain(p)]
    declared = tuple(dict.fromkeys(nslc for nslc in exact if bare.wants(nslc)))
    return Selection(patterns, tuple(listed), frozenset(instruments), declared)


def _of_pick_ew(words: Sequence[str]) -> bool:
    """Whether a line is one of pick_ew's list, which begins with a flag and a pin number."""
    return words[0].isdigit() and len(words) > 1 and words[1].isdigit()


def _fault(words: Sequence[str]) -> str | None:
    """What is wrong with a line, and what to write; None if it can be what it should be."""
    if _of_pick_ew(words):
        if len(words) >= 6 and _LOCATION.fullmatch(words[5]):
            return None
        *_, location = (*words[2:6], "nothing")[:4]
        return (
            f"this looks like a line of pick_ew's list, but {location!r} is no location: write "
            "PICK_FLAG PIN STA CHAN NET LOC (-- for no location), or STA CHAN NET LOC."
        )
    form = "write STA CHAN NET LOC (-- for no location)."
    if len(words) < 4:
        return form
    station, channel, network, location = words[:4]
    if "--" in (station, channel, network) or (_plain_word(location) and len(location) > 2):
        return f"a location stands in the wrong place, or {location!r} is none: {form}"
    if channel.isdigit() or (_CHANNEL.fullmatch(network) and not _CHANNEL.fullmatch(channel)):
        return f"{channel!r} is no channel of network {network!r}: {form}"
    return None


def _plain_word(word: str) -> bool:
    return not _WILD & set(word)


def _channel(words: Sequence[str]) -> NSLC:
    station, channel, network, location = words
    return NSLC.clean(network, station, location, channel)


def _plain(pattern: ChannelPattern) -> bool:
    return _plain_word(pattern.station + pattern.channel + pattern.network + pattern.location)


def _exactly(nslc: NSLC) -> ChannelPattern:
    return ChannelPattern(nslc.station, nslc.channel, nslc.network, nslc.location or "--")
