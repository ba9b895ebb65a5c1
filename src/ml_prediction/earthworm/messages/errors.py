"""The error of messages, and the checks that several of them share."""

from __future__ import annotations

import operator
import re

from ml_prediction.errors import DataError

_SHOWN = 40  # characters: a message may have 56 kB
_INTEGER = re.compile(rb"-?[0-9]{1,20}")  # int() takes more: blanks, underscores


class MessageError(DataError):
    """A message that can't be read, or a value that a message can't carry."""


def shown(value: bytes | str) -> str:
    """A value as error messages show it: in quotes, ASCII with escapes, and not for ever."""
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    return ascii(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")


def is_code(text: str) -> bool:
    """Whether a code has visible ASCII characters alone; an empty one has."""
    return all("!" <= character <= "~" for character in text)


def read_integer(token: bytes, what: str, low: int, high: int) -> int:
    """Integer in decimal digits.

    Parameters
    ----------
    token
        The digits, perhaps behind a minus.
    what
        Message and field, for the error.
    low, high
        Smallest and largest value.

    Raises
    ------
    MessageError
        If it is no integer, or not one of these.
    """
    if not _INTEGER.fullmatch(token):
        raise MessageError(f"{what} {shown(token)} is not an integer.")
    return _within(int(token), what, low, high)


def checked_integer(value: int, what: str, low: int, high: int) -> int:
    """A value that shall be written, as Python's int; errors as :func:`read_integer`."""
    try:
        return _within(operator.index(value), what, low, high)
    except TypeError:
        raise MessageError(f"{what} {shown(str(value))} is not an integer.") from None


def _within(value: int, what: str, low: int, high: int) -> int:
    if not low <= value <= high:
        raise MessageError(f"{what} {value} is not within {low} to {high}.")
    return value
