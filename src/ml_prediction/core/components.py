"""Which channel of an instrument is which component."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

VERTICAL_DIP = 60.0  # degrees: steeper than this is a vertical


@dataclass(frozen=True, slots=True)
class Orientation:
    """Component slots of an instrument.

    Attributes
    ----------
    slots
        Channel code for each component letter of the model, e.g. ``{"N": "HH1"}``.
    unused
        Channel codes that find no place.
    assumed
        Whether the vertical of a 1/2/3 set had to be guessed.
    """

    slots: Mapping[str, str]
    unused: tuple[str, ...]
    assumed: bool


def assign(
    channels: Iterable[tuple[str, str]], components: str, dips: Mapping[str, float]
) -> Orientation:
    """Find the channel for each of the model's components.

    Parameters
    ----------
    channels
        Pairs of channel code and component letter.
    components
        Component letters of the model, e.g. ``ENZ``.
    dips
        Dip of each channel code in degrees, where known.

    Returns
    -------
    Orientation
        1 and 2 stand in for N and E. In a set of 1, 2 and 3 the one that dips more than 60
        degrees is the vertical; without metadata that is 1.
    """
    by_letter: dict[str, str] = {}
    unused = []
    for code, letter in sorted(channels):
        if by_letter.setdefault(letter, code) != code:
            unused.append(code)
    stand_ins = {"N": "1", "E": "2"}
    assumed = False
    if "Z" not in by_letter and "3" in by_letter:
        steep = [
            letter
            for letter in "123"
            if letter in by_letter and abs(dips.get(by_letter[letter], 0.0)) > VERTICAL_DIP
        ]
        assumed = not steep
        vertical = steep[0] if steep else ("1" if "1" in by_letter else "3")
        level = [letter for letter in "123" if letter != vertical]
        stand_ins = {"Z": vertical, "N": level[0], "E": level[1]}
    slots = {}
    for component in components:
        letter = component if component in by_letter else stand_ins.get(component, "")
        if letter in by_letter:
            slots[component] = by_letter[letter]
    unused += [code for code in by_letter.values() if code not in slots.values()]
    return Orientation(slots, tuple(sorted(unused)), assumed)
