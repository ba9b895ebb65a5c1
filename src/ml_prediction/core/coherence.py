"""What several traces of the same thing say together: their mean, and how far they agree."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ml_prediction.core.kernels.coherence import sliding_sums

Floats = npt.NDArray[np.float64]


def weighted_mean(traces: Floats, shares: Floats) -> Floats:
    """Mean over members of those that have a number.

    Parameters
    ----------
    traces
        Shape (member, sample); NaN where a member has none.
    shares
        Shape (member,).

    Returns
    -------
    numpy.ndarray
        Shape (sample,); NaN where nobody has any.
    """
    known = ~np.isnan(traces)
    total = (np.where(known, traces, 0.0) * shares[:, None]).sum(axis=0)
    weight = (known * shares[:, None]).sum(axis=0)
    return np.divide(total, weight, out=np.full(len(total), np.nan), where=weight > 0)


def semblance(traces: Floats, half: int, start: int = 0) -> Floats:
    """Coherence of several traces in a sliding window, 0 to 1.

    The energy of the sum over that of the members, both added up over the window::

        sum_t (sum_m p_m(t))**2 / sum_t M(t) sum_m p_m(t)**2

    with M(t) members that have a number at t. It is 1 where all are equal, 1 / M where one of M
    stands alone, and 0 where all are 0.

    Parameters
    ----------
    traces
        Shape (member, sample); NaN where a member has none.
    half
        Samples of the window on each side of its centre.
    start
        Index of the first sample, not below 0: where it lies decides how sums are rounded.

    Returns
    -------
    numpy.ndarray
        Shape (sample - 2 * half,): for the samples that have a whole window.

    References
    ----------
    Marfurt, Kirlin, Farmer and Bahorich (1998), 3-D seismic attributes using a semblance-based
    coherency algorithm, Geophysics 63, 1150-1165; for pickers Yuan et al. (2023).
    """
    known = ~np.isnan(traces)
    filled = np.where(known, traces, 0.0)
    of_sum = filled.sum(axis=0) ** 2
    of_members = known.sum(axis=0) * (filled**2).sum(axis=0)
    inner = traces.shape[1] - 2 * half
    scratch = np.empty(traces.shape[1])
    numerator, denominator = np.empty(inner), np.empty(inner)
    sliding_sums(of_sum, start, half, scratch, numerator)
    sliding_sums(of_members, start, half, scratch, denominator)
    ratio = np.divide(numerator, denominator, out=np.zeros(inner), where=denominator > 0)
    return np.minimum(ratio, 1.0)
