"""Waveform messages of a ring as packets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from ml_prediction.core.packets import Packet
from ml_prediction.earthworm.logo import Logo
from ml_prediction.earthworm.messages import (
    MessageError,
    TraceBuf,
    decode_tracebuf,
    decode_tracebuf2,
    start_ns,
)
from ml_prediction.earthworm.reader import Message
from ml_prediction.earthworm.tables import Tables
from ml_prediction.util.codes import NSLC

REMEMBERED: Final = 100_000
"""Channels of which it is remembered whether they are wanted: garbage must not fill the memory."""

SLOWEST: Final = 1e-3
FASTEST: Final = 1e6
"""Sampling rates in Hz; with others there is no telling when a packet ends."""

Decoder = Callable[[bytes], TraceBuf]


def decoders(tables: Tables) -> dict[int, Decoder]:
    """What decodes each type of waveform message, by its number."""
    kinds: dict[str, Decoder] = {
        "TYPE_TRACEBUF2": decode_tracebuf2,
        "TYPE_TRACEBUF": decode_tracebuf,
    }
    return {tables.messages[name]: kind for name, kind in kinds.items() if name in tables.messages}


@dataclass(slots=True)
class Arrivals:
    """What some messages held.

    Attributes
    ----------
    packets
        Of the wanted channels, in the messages' order.
    malformed
        What was wrong with messages that could not be used, a sentence each.
    unwanted
        Number of messages of other channels.
    unwanted_channel
        One of these.
    ours
        Number of our own messages, which were passed over.
    """

    packets: list[Packet] = field(default_factory=list)
    malformed: list[str] = field(default_factory=list)
    unwanted: int = 0
    unwanted_channel: NSLC | None = None
    ours: int = 0


class WaveformDecoder:
    """Turns waveform messages into packets.

    Parameters
    ----------
    kinds
        From :func:`decoders`.
    wanted
        Whether a channel is to be used.
    ours
        Module and installation of which no message is used, where traces that we send may come
        back; None: all are.
    """

    def __init__(
        self,
        kinds: Mapping[int, Decoder],
        wanted: Callable[[NSLC], bool],
        ours: tuple[int, int] | None = None,
    ) -> None:
        self._kinds = kinds
        self._wanted = wanted
        self._ours = ours
        self._known: dict[NSLC, bool] = {}

    def is_ours(self, logo: Logo) -> bool:
        """Whether messages of a logo are those that we send ourselves, and are not used."""
        return logo[1:] == self._ours

    def decode(self, messages: Iterable[Message]) -> Arrivals:
        """Packets of messages; other types than those of waveforms are passed over."""
        found = Arrivals()
        known, kinds = self._known, self._kinds
        for message in messages:
            decode = kinds.get(message.logo.type)
            if decode is None:
                continue
            if self.is_ours(message.logo):
                found.ours += 1
                continue
            try:
                buf = decode(message.payload)
            except MessageError as error:
                found.malformed.append(str(error))
                continue
            wanted = known.get(buf.nslc)
            if wanted is None:
                wanted = self._learn(buf.nslc)
            if not wanted:
                found.unwanted += 1
                found.unwanted_channel = buf.nslc
            elif SLOWEST <= buf.sampling_rate <= FASTEST:
                found.packets.append(
                    Packet(buf.nslc, start_ns(buf), buf.sampling_rate, buf.samples)
                )
            else:
                found.malformed.append(
                    f"{buf.nslc}: a sampling rate of {buf.sampling_rate:g} Hz can't be right"
                )
        return found

    def _learn(self, nslc: NSLC) -> bool:
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        wanted = self._known[nslc] = self._wanted(nslc)
        return wanted
