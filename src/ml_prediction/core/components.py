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
        Channel codes that can be each component letter of the model, best first, e.g.
        ``{"N": ("HHN", "HH1")}``: sensors are renamed.
    unused
        Channel codes that find no place.
    assumed
        Whether the vertical of a 1/2/3 set had to be guessed.
    """

    slots: Mapping[str, tuple[str, ...]]
    unused: tuple[str, ...]
    assumed: bool


def assign(
    channels: Iterable[tuple[str, str]], components: str, dips: Mapping[str, float]
) -> Orientation:
    """Find the channels that can be each of the model's components.

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
    by_letter: dict[str, list[str]] = {}
    for code, letter in sorted(channels):
        by_letter.setdefault(letter, []).append(code)
    stand_ins = {"N": "1", "E": "2", "1": "N", "2": "E"}
    assumed = False
    if "Z" not in by_letter and "3" in by_letter:
        steep = [
            letter
            for letter in "123"
            if any(abs(dips.get(code, 0.0)) > VERTICAL_DIP for code in by_letter.get(letter, ()))
        ]
        assumed = not steep
        vertical = steep[0] if steep else ("1" if "1" in by_letter else "3")
        level = [letter for letter in "123" if letter != vertical]
        stand_ins = {"Z": vertical, "N": level[0], "E": level[1]}
    slots = {}
    for component in components:
        codes = [*by_letter.get(component, ()), *by_letter.get(stand_ins.get(component, ""), ())]
        if codes:
            slots[component] = tuple(codes)
    used = {code for codes in slots.values() for code in codes}
    unused = {code for codes in by_letter.values() for code in codes} - used
    return Orientation(slots, tuple(sorted(unused)), assumed)
