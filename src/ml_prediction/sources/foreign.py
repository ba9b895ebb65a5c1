"""Waveform formats other than miniSEED, through ObsPy."""

from __future__ import annotations

import struct
import warnings
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Final

from obspy import Stream
from obspy.core.util.obspy_types import ObsPyException, ObsPyReadingError

FORMATS: Final = (
    "SAC", "GSE2", "GSE1", "SLIST", "TSPAIR", "REFTEK130", "KNET", "SEISAN", "SEG2",
    "KINEMETRICS_EVT", "AH", "Q", "SH_ASC", "Y", "PDAS", "CSS", "NNSA_KB_CORE", "WIN",
    "GCF", "SEGY", "DMX",
)  # fmt: skip
"""ObsPy's formats, the unmistakable first.

Left out: PICKLE, because looking at such a file runs the code in it, and formats that ObsPy
takes almost any file for (SU, SACXY, ALSEP, CYBERSHAKE, RG16) or that are sound (WAV).
"""

HEADERS_ALONE: Final = frozenset(
    ("SAC", "GSE2", "GSE1", "SLIST", "TSPAIR", "SEISAN", "Q", "SH_ASC", "GCF", "SEGY")
)
"""Formats whose headers ObsPy reads without the samples, and gets channels, times and lengths
right. REFTEK130 is left out: its reader then loses what lies before a gap. The others' readers
decode everything in any case."""

READ_ERRORS: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    ObsPyException,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)
"""What `read` raises on files that are not what they seem. MemoryError: an absurd header."""


def detect(path: Path) -> str | None:
    """ObsPy's name of a file's format; None if it knows none."""
    for name in FORMATS:
        recognises = _plugin(name, "isFormat")
        if recognises is None:
            continue
        try:
            if _call(recognises, path):
                return name
        except READ_ERRORS:
            continue
    return None


def read(path: Path, format_name: str, *, headonly: bool = False) -> Stream:
    """Read a file of a known format.

    Parameters
    ----------
    path, format_name
        File, and what `detect` says of it.
    headonly
        Leave the samples out, where the format's reader can (see HEADERS_ALONE).

    Raises
    ------
    one of READ_ERRORS
        If the file is not what it seems.
    """
    # Not obspy.read: it takes the name for a pattern, and raises a bare Exception on no traces.
    stream: Stream = _call(_plugin(format_name, "readFormat"), path, headonly=headonly)
    if not stream:
        raise ObsPyReadingError("there are no traces in it")
    return stream


def _call(function: Any, path: Path, **options: Any) -> Any:
    """Call one of ObsPy's functions; what it raises is one of READ_ERRORS, or a fault of ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return function(str(path), **options)
        except READ_ERRORS:
            raise
        except Exception as error:
            # Many readers have exceptions of their own that derive from Exception alone (wrong
            # checksums in GSE2, SEG2, SEGY, KNET, EVT, AH), or raise Exception itself.
            if type(error) is Exception or type(error).__module__.startswith("obspy."):
                raise ObsPyReadingError(str(error)) from error
            raise


@cache
def _plugin(name: str, function: str) -> Any:
    group = f"obspy.plugin.waveform.{name}"
    found: EntryPoint | None = next(iter(entry_points(group=group, name=function)), None)
    return None if found is None else found.load()
