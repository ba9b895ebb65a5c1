"""How loops are compiled: ahead of their first call, once for each machine, and without the GIL."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numba

P = ParamSpec("P")
R = TypeVar("R")


def compiled(*signatures: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Compile a function for these types of arguments and no others.

    The machine code is kept beside the source, or in the user's cache where that can't be written.
    Arithmetic is as written, without reordering, so that results don't depend on the processor.

    Parameters
    ----------
    signatures
        As Numba has them, e.g. ``float64(float64[::1])``.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        try:
            return _njit(function, signatures, cache=True)
        except RuntimeError:  # there is no folder that can be written
            return _njit(function, signatures, cache=False)

    return decorate


def _njit(function: Callable[P, R], signatures: tuple[str, ...], *, cache: bool) -> Callable[P, R]:
    compiler = numba.njit(list(signatures), cache=cache, nogil=True, error_model="numpy")
    made: Callable[P, R] = compiler(function)
    return made
