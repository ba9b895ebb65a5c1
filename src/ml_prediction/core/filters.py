"""The model's own filter, causal, with its state carried along a segment."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatch
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import signal

from ml_prediction.core.kernels.sections import filter_sections
from ml_prediction.errors import ConfigurationError
from ml_prediction.models.spec import FilterSpec

Floats = npt.NDArray[np.float64]
Kind = Literal["bandpass", "highpass", "lowpass"]


@lru_cache(maxsize=64)
def design(spec: FilterSpec, sampling_rate: float) -> Floats:
    """Second-order sections of a Butterworth filter, shape (section, 6).

    A corner at or above the Nyquist frequency does not limit: a band-pass becomes a high-pass,
    as in ObsPy.

    Raises
    ------
    ConfigurationError
        If the corners leave nothing to pass.
    """
    nyquist = sampling_rate / 2
    low = spec.low if spec.kind != "lowpass" else None
    high = spec.high if spec.kind != "highpass" else None
    if high is not None and high >= nyquist * (1 - 1e-6):
        high = None
    if (low is None and high is None) or (low is not None and low >= (high or nyquist)):
        raise ConfigurationError(
            f"Filter {spec.kind} {spec.low} to {spec.high} Hz passes nothing at {sampling_rate} Hz."
        )
    given = [corner / nyquist for corner in (low, high) if corner is not None]
    kind: Kind = "bandpass" if len(given) == 2 else "lowpass" if low is None else "highpass"
    corners = given if len(given) == 2 else given[0]
    sections = signal.iirfilter(spec.corners, corners, btype=kind, ftype="butter", output="sos")
    return np.asarray(sections, dtype=np.float64)


def for_channel(specs: Sequence[FilterSpec], code: str, sampling_rate: float) -> Floats | None:
    """Sections of all filters that apply to a channel code, in a row; None where none does."""
    sections = [design(spec, sampling_rate) for spec in specs if fnmatch(code, spec.channels)]
    return np.concatenate(sections) if sections else None


def steady_state(sections: Floats, value: float) -> Floats:
    """Filter state, shape (section, 2), as if the input had always been ``value``.

    So an offset does not ring where a segment starts.
    """
    return _unit_state(sections.tobytes()) * value


@lru_cache(maxsize=64)
def _unit_state(sections: bytes) -> Floats:
    """State after a long input of one: the same at every gap, and slow to find."""
    return np.asarray(signal.sosfilt_zi(np.frombuffer(sections).reshape(-1, 6)))


def run(sections: Floats, samples: Floats, state: Floats, out: Floats) -> None:
    """Filter samples (shape (sample,)) into ``out``; the state goes on in place.

    Cutting the samples changes no bit.
    """
    filter_sections(sections, samples, state, out)
