"""How loops are compiled: ahead of their first call, once for each machine, and without the GIL."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

import numba

P = ParamSpec("P")
R = TypeVar("R")

_CACHE_FAULTS: Final = (RuntimeError, OSError, EOFError, ValueError, pickle.UnpicklingError)
"""No folder that can be written, a full disk, files that were cut short."""

_log = logging.getLogger(__name__)
_told: list[str] = []


def compiled(*signatures: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Compile a function for these types of arguments and no others.

    The machine code is kept beside the source, or in the user's cache where that can't be written,
    or in the folder that the environment's NUMBA_CACHE_DIR names. Where none of that works it is
    made anew, with one warning. Arithmetic is as written, without reordering.

    Parameters
    ----------
    signatures
        As Numba has them, e.g. ``float64(float64[::1])``.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        try:
            return _njit(function, signatures, cache=True)
        except _CACHE_FAULTS as error:
            if not _told:
                _told.append(str(error))
                _log.warning(
                    "Compiled code can't be kept or read (%s: %s), so that each start takes some "
                    "seconds longer. Remove the *.nbi files beside the package's sources, or set "
                    "NUMBA_CACHE_DIR to a folder that can be written.",
                    type(error).__name__,
                    error,
                )
            return _njit(function, signatures, cache=False)

    return decorate


def _njit(function: Callable[P, R], signatures: tuple[str, ...], *, cache: bool) -> Callable[P, R]:
    compiler = numba.njit(list(signatures), cache=cache, nogil=True, error_model="numpy")
    made: Callable[P, R] = compiler(function)
    return made
