"""Waveform formats other than miniSEED, through ObsPy."""

from __future__ import annotations

import glob
import struct
import warnings
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Final

import obspy
from obspy import Stream
from obspy.core.util.obspy_types import ObsPyException

FORMATS: Final = (
    "SAC", "GSE2", "GSE1", "SLIST", "TSPAIR", "REFTEK130", "KNET", "SEISAN", "SEG2",
    "KINEMETRICS_EVT", "AH", "Q", "SH_ASC", "Y", "PDAS", "CSS", "NNSA_KB_CORE", "WIN",
    "GCF", "SEGY", "DMX",
)  # fmt: skip
"""ObsPy's formats, the unmistakable first.

Left out: PICKLE, because looking at such a file runs the code in it, and formats that ObsPy
takes almost any file for (SU, SACXY, ALSEP, CYBERSHAKE, RG16) or that are sound (WAV).
"""

READ_ERRORS: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    ObsPyException,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)
"""What ObsPy's readers raise on files that are not what they seem: each raises its own."""


def detect(path: Path) -> str | None:
    """ObsPy's name of a file's format; None if it knows none."""
    for name in FORMATS:
        recognises = _checker(name)
        if recognises is None:
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if recognises(str(path)):
                    return name
        except READ_ERRORS:
            continue
    return None


def read(path: Path, format_name: str, *, headonly: bool = False) -> Stream:
    """Read a file of a known format.

    Raises
    ------
    one of READ_ERRORS
        If the file is not what it seems.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return obspy.read(
            glob.escape(str(path)),
            format=format_name,
            headonly=headonly,
            check_compression=False,
        )


@cache
def _checker(name: str) -> Any:
    group = f"obspy.plugin.waveform.{name}"
    found: EntryPoint | None = next(iter(entry_points(group=group, name="isFormat")), None)
    return None if found is None else found.load()
