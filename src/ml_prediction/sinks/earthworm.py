"""Picks and probability traces as messages for a ring."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import numpy as np

from ml_prediction.core.packets import runs
from ml_prediction.core.results import Pick
from ml_prediction.core.traces import LETTERS, Fragment
from ml_prediction.earthworm.config import PickFormat
from ml_prediction.earthworm.logo import Logo
from ml_prediction.earthworm.messages import (
    Pick2k,
    PickScnl,
    TraceBuf,
    encode_pick2k,
    encode_pick_scnl,
    encode_tracebuf2,
)
from ml_prediction.util.codes import NSLC, Instrument
from ml_prediction.util.times import NANOSECONDS, to_ns

PROBABILITY_SCALE: Final = 1_000_000
"""Counts for a probability of 1: stock Earthworm takes whole numbers only."""

LONGEST: Final = 1000
"""Samples of a message; 1008 fit."""

_INSTEAD: Final[dict[str, dict[str, str]]] = {
    "N": {},
    "E": {"N": "E", "1": "2", "2": "3"},
    "Z": {"N": "Z", "E": "Z", "1": "Z3", "2": "Z1"},
}
"""For each SComponent: components that may stand for the one that S was put on, the north one.
Where the components are 1, 2 and 3, the vertical may be 1: then the north one is 2."""

Form = TypeVar("Form", PickScnl, Pick2k)

_MOTIONS: Final = {"up": "U", "down": "D"}


@dataclass(frozen=True, slots=True)
class PickStyle:
    """How picks are put into messages.

    Attributes
    ----------
    logos
        Logo of each message format that is wanted.
    s_component
        Component that S picks go out on, where the instrument has it: N (or 1), E (or 2), Z.
    phase_token
        Append the phase to PICK_SCNL: an addition that stock parsers pass over.
    """

    logos: dict[PickFormat, Logo]
    s_component: str = "N"
    phase_token: bool = False


def pick_messages(
    pick: Pick, sequence: int, style: PickStyle, channels: Iterable[str]
) -> list[tuple[Logo, bytes]]:
    """Messages of one pick, with their logos.

    Parameters
    ----------
    pick
        Its quality is the weight, its amplitude (counts) the first of the three amplitudes.
    sequence
        Number of the pick.
    style
        Which messages, and how.
    channels
        Channel codes that the instrument has.

    Raises
    ------
    MessageError
        If a code does not fit into a message, or the time is out of range.
    """
    channel = _channel(pick, style, channels)
    result = []
    for name, logo in style.logos.items():
        if name == "PICK_SCNL":
            scnl = _filled(PickScnl, logo, pick, sequence, channel)
            phase = pick.phase if style.phase_token else None
            payload = encode_pick_scnl(replace(scnl, phase=phase))
        else:
            payload = encode_pick2k(_filled(Pick2k, logo, pick, sequence, channel))
        result.append((logo, payload))
    return result


def _filled(kind: type[Form], logo: Logo, pick: Pick, sequence: int, channel: str) -> Form:
    """What both forms of a pick say."""
    amplitude = 0 if math.isnan(pick.amplitude) else round(abs(pick.amplitude))
    return kind(
        type=logo.type,
        module=logo.module,
        installation=logo.installation,
        sequence=sequence,
        nslc=NSLC(pick.network, pick.station, pick.location, channel),
        first_motion=_MOTIONS.get(pick.polarity, "?") if pick.phase == "P" else "?",
        weight=pick.quality,
        time_ns=to_ns(pick.time),
        amplitudes=(amplitude, 0, 0),
    )


def _channel(pick: Pick, style: PickStyle, channels: Iterable[str]) -> str:
    """Channel that a pick goes out on."""
    if pick.phase != "S":
        return pick.channel
    channels = set(channels)
    stem, letter = pick.channel[:-1], pick.channel[-1:]
    wanted = _INSTEAD[style.s_component].get(letter, "")
    return next((stem + other for other in wanted if stem + other in channels), pick.channel)


def probability_location(model: str, weights: str) -> str:
    """Location code of probability traces: the first letters of the model and its weights."""
    return (model[:1] + weights[:1]).upper() or "--"


def probability_channel(instrument: Instrument, label: str, location: str) -> NSLC:
    """Channel of a probability trace: band, instrument, and P, S, D (Detection) or X (Noise)."""
    code = instrument.prefix + LETTERS[label]
    return NSLC(instrument.network, instrument.station, location, code)


def probability_messages(fragment: Fragment, location: str) -> Iterator[bytes]:
    """Probabilities as TRACEBUF2 messages of four-byte whole numbers, split where there are none.

    Parameters
    ----------
    fragment
        Of one instrument; P, S and Detection go out.
    location
        From :func:`probability_location`.

    Raises
    ------
    MessageError
        If a code does not fit into a message.
    """
    rate = fragment.sampling_rate
    for label, row in zip(fragment.labels, fragment.values, strict=True):
        if label not in ("P", "S", "Detection"):
            continue
        nslc = probability_channel(fragment.instrument, label, location)
        for first, last in runs(~np.isnan(row)):
            for start in range(first, last, LONGEST):
                part = row[start : min(start + LONGEST, last)]
                counts = np.rint(part.astype(np.float64) * PROBABILITY_SCALE).astype(np.int32)
                begin_ns = fragment.start_ns + round(start * NANOSECONDS / rate)
                begin = begin_ns / NANOSECONDS
                end = begin + (len(counts) - 1) / rate
                yield encode_tracebuf2(TraceBuf(nslc, begin, end, rate, counts, "i4"))
