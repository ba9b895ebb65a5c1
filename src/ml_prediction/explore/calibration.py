"""From a pick's width and probability to its real timing error, fitted to labelled arrivals.

Residuals have long tails, and under a normal distribution the few large ones would set sigma. So
they are taken as Student's t with as many degrees of freedom as the data say (Lange et al. 1989,
doi 10.1080/01621459.1989.10478852), scaled so that 68.27 % lie within one sigma. Forms of sigma,
from a constant to powers of width and odds, compete in cross-validation over events: a form with
one more parameter must predict residuals of events that it has not seen better than the simpler.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import minimize, minimize_scalar
from scipy.special import stdtrit
from scipy.stats import t as student

from ml_prediction.errors import DataError
from ml_prediction.explore.arrivals import PHASES
from ml_prediction.explore.reliability import ONE_SIGMA
from ml_prediction.models.sigma import USUAL_WIDTH, SigmaMap

Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]

FOLDS: Final = 5
FEWEST_ARRIVALS: Final = 30
LEAST_GAIN: Final = 0.01
"""Natural units for each arrival that a form must gain over a simpler one."""

FORMS: Final[Mapping[str, tuple[bool, bool]]] = {
    "constant": (False, False),
    "k x width": (False, False),
    "width": (True, False),
    "odds": (False, True),
    "width and odds": (True, True),
}
"""Whether each form fits the power of the width, and that of the odds, beside k."""

AS_PICKED: Final = "as picked"
"""Row of the table of forms: sigmas that the picks came with, which is no form to choose."""

_WIDTH_POWERS: Final = (-1.0, 1.0)
"""From no dependence on the width to its square: what is steeper does not carry over."""
_ODDS_POWERS: Final = (-1.0, 0.0)
"""A surer pick is never a less exact one."""
_DEGREES: Final = (1.0, 100.0)
_LEAST_PROBABILITY: Final = 1e-3


@dataclass(frozen=True, slots=True)
class Residuals:
    """Found arrivals of one phase, shape (n,): all in seconds but probabilities and events.

    ``sigmas`` are those that the picks came with.
    """

    residuals: Floats
    widths: Floats
    sigmas: Floats
    probabilities: Floats
    events: npt.NDArray[np.object_]

    def __len__(self) -> int:
        return len(self.residuals)

    def select(self, chosen: Booleans) -> Residuals:
        """Part of them."""
        return Residuals(
            self.residuals[chosen],
            self.widths[chosen],
            self.sigmas[chosen],
            self.probabilities[chosen],
            self.events[chosen],
        )


@dataclass(frozen=True, slots=True)
class Fit:
    """A form of sigma and the tails of its residuals (degrees of freedom)."""

    scale: SigmaMap
    degrees: float

    def sigma(self, data: Residuals) -> Floats:
        """Sigma in seconds of each arrival."""
        return _sigma(self.scale, data)

    def log_likelihood(self, data: Residuals) -> Floats:
        """Of each residual, in natural units."""
        return _log_likelihood(data.residuals, self.sigma(data), self.degrees)


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was found for one phase.

    Attributes
    ----------
    phase, form
        The form is one of `FORMS`.
    fit
        To all data.
    arrivals, events
        How many.
    forms
        Of each form, and of the sigmas that the picks came with, on held-out data: ``form``,
        ``parameters``, ``log_likelihood`` (mean), ``within_1_sigma``, ``within_2_sigma``.
    held_out_sigma
        Of each arrival, from the folds that it is not in, shape (n,).
    data
        The arrivals.
    """

    phase: str
    form: str
    fit: Fit
    arrivals: int
    events: int
    forms: pd.DataFrame
    held_out_sigma: Floats
    data: Residuals

    @property
    def measured(self) -> dict[str, Any]:
        """How it was found, as plain values, for the calibration file."""
        rows = {str(row["form"]): row for row in self.forms.to_dict("records")}
        own, constant = rows[self.form], rows["constant"]
        return {
            "form": self.form,
            "arrivals": self.arrivals,
            "events": self.events,
            "degrees_of_freedom": round(self.fit.degrees, 2),
            "held_out_log_likelihood": round(float(own["log_likelihood"]), 4),
            "held_out_log_likelihood_constant": round(float(constant["log_likelihood"]), 4),
            "held_out_within_1_sigma": round(float(own["within_1_sigma"]), 4),
        }


def residuals_of(outcomes: pd.DataFrame, phase: str) -> Residuals:
    """Found arrivals of a phase that have a width and a probability."""
    usable = (
        (outcomes["kind"] == "found")
        & (outcomes["phase"] == phase)
        & (outcomes["width_s"] > 0)
        & outcomes["probability"].notna()
    )
    rows = outcomes[usable]
    return Residuals(
        rows["residual_s"].to_numpy(np.float64),
        rows["width_s"].to_numpy(np.float64),
        rows["sigma_s"].to_numpy(np.float64),
        rows["probability"].to_numpy(np.float64),
        rows["event"].to_numpy(dtype=object),
    )


def calibrate(outcomes: pd.DataFrame, seed: int = 0) -> dict[str, Calibration]:
    """Fit sigma to the outcomes of an evaluation.

    Parameters
    ----------
    outcomes
        As in `ml_prediction.explore.judging.Judgement`.
    seed
        Of the folds.

    Returns
    -------
    dict of str to Calibration
        By phase; phases with too few arrivals are left out.

    Raises
    ------
    DataError
        If no phase has 30 found arrivals of 5 events.
    """
    result = {}
    for phase in PHASES:
        data = residuals_of(outcomes, phase)
        if len(data) >= FEWEST_ARRIVALS and len(set(data.events)) >= FOLDS:
            result[phase] = _calibrate(phase, data, seed)
    if not result:
        raise DataError(
            f"Too little to calibrate with: no phase has {FEWEST_ARRIVALS} found arrivals of "
            f"{FOLDS} events whose picks have a width and a probability."
        )
    return result


def _calibrate(phase: str, data: Residuals, seed: int) -> Calibration:
    folds = folds_of(data.events, seed)
    rows, held_out = [], {}
    for form in FORMS:
        likelihoods, sigma = np.empty(len(data)), np.empty(len(data))
        for fold in range(FOLDS):
            test = folds == fold
            fit = fit_form(form, data.select(~test))
            likelihoods[test] = fit.log_likelihood(data.select(test))
            sigma[test] = fit.sigma(data.select(test))
        rows.append(_row(form, 1 + sum(FORMS[form]), data, sigma, likelihoods))
        held_out[form] = sigma
    form = _choose(rows)
    if (data.sigmas > 0).all():
        rows.append(_as_picked(data, folds))
    return Calibration(
        phase,
        form,
        fit_form(form, data),
        len(data),
        len(set(data.events)),
        pd.DataFrame(rows),
        held_out[form],
        data,
    )


def _row(
    form: str, parameters: int, data: Residuals, sigma: Floats, likelihoods: Floats
) -> dict[str, Any]:
    size = np.abs(data.residuals)
    return {
        "form": form,
        "parameters": parameters,
        "log_likelihood": float(likelihoods.mean()),
        "within_1_sigma": float((size <= sigma).mean()),
        "within_2_sigma": float((size <= 2 * sigma).mean()),
    }


def _as_picked(data: Residuals, folds: npt.NDArray[np.int64]) -> dict[str, Any]:
    """How good the sigmas are that the picks came with; only the tails are fitted."""
    likelihoods = np.empty(len(data))
    for fold in range(FOLDS):
        test = folds == fold
        train = data.select(~test)

        def cost(degrees: float, known: Residuals = train) -> float:
            return -float(_log_likelihood(known.residuals, known.sigmas, degrees).mean())

        degrees = float(minimize_scalar(cost, bounds=_DEGREES, method="bounded").x)
        part = data.select(test)
        likelihoods[test] = _log_likelihood(part.residuals, part.sigmas, degrees)
    return _row(AS_PICKED, 0, data, data.sigmas, likelihoods)


def folds_of(events: Iterable[object], seed: int) -> npt.NDArray[np.int64]:
    """Fold of each arrival; an event is in one fold only."""
    texts = [str(event) for event in events]
    names = sorted(set(texts))
    order = np.random.default_rng(seed).permutation(len(names)) % FOLDS
    fold = dict(zip(names, order.tolist(), strict=True))
    return np.array([fold[text] for text in texts], dtype=np.int64)


def _choose(rows: Sequence[Mapping[str, Any]]) -> str:
    """The simplest form that no other beats by more than the least gain."""
    best = max(row["log_likelihood"] for row in rows)
    good = [row for row in rows if row["log_likelihood"] >= best - LEAST_GAIN]
    simplest = min(good, key=lambda row: (row["parameters"], -row["log_likelihood"]))
    return str(simplest["form"])


def fit_form(form: str, data: Residuals) -> Fit:
    """Most likely parameters of one form."""
    has_width, has_odds = FORMS[form]
    base = -1.0 if form == "constant" else 0.0
    start_k = float(np.median(np.abs(data.residuals) / _sigma(SigmaMap(1.0, base), data))) + 1e-6
    start = [np.log(start_k), *([0.0] if has_width else []), *([0.0] if has_odds else []), 1.0]
    bounds = [(np.log(1e-6), np.log(1e3))]
    bounds += [_WIDTH_POWERS] * has_width + [_ODDS_POWERS] * has_odds

    def unpack(values: Floats) -> Fit:
        rest = list(values[1:-1])
        width_power = rest.pop(0) if has_width else base
        odds_power = rest.pop(0) if has_odds else 0.0
        scale = SigmaMap(float(np.exp(values[0])), float(width_power), float(odds_power))
        return Fit(scale, float(np.exp(values[-1])))

    def cost(values: Floats) -> float:
        return -float(unpack(values).log_likelihood(data).mean())

    found = minimize(
        cost,
        np.array(start, dtype=np.float64),
        method="L-BFGS-B",
        bounds=[*bounds, (np.log(_DEGREES[0]), np.log(_DEGREES[1]))],
    )
    return unpack(found.x)


def quality_table(calibration: Calibration, limits: Sequence[float]) -> pd.DataFrame:
    """What the qualities of held-out picks are worth.

    Parameters
    ----------
    calibration
        From `calibrate`.
    limits
        Largest sigma of quality 0, 1, 2 and 3.

    Returns
    -------
    pandas.DataFrame
        ``quality``, ``limit_s``, ``arrivals``, ``error_s`` (what 68 % of the absolute residuals are
        below), ``within_limit`` (their share within the quality's limit).
    """
    size = np.abs(calibration.data.residuals)
    quality = np.searchsorted(np.asarray(limits), calibration.held_out_sigma, side="left")
    rows = []
    for number in np.unique(quality):
        inside = size[quality == number]
        limit = limits[number] if number < len(limits) else np.inf
        rows.append(
            {
                "quality": int(number),
                "limit_s": limit,
                "arrivals": len(inside),
                "error_s": float(np.quantile(inside, ONE_SIGMA)),
                "within_limit": float((inside <= limit).mean()),
            }
        )
    return pd.DataFrame(rows)


def _sigma(scale: SigmaMap, data: Residuals) -> Floats:
    """As `ml_prediction.models.sigma.expected_error`, of arrays."""
    inside = np.clip(data.probabilities, _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)
    stretch = (data.widths / USUAL_WIDTH) ** scale.width_power
    sigma: Floats = scale.k * data.widths * stretch * (inside / (1 - inside)) ** scale.odds_power
    return sigma


def _log_likelihood(residuals: Floats, sigma: Floats, degrees: float) -> Floats:
    """Of Student's t, of which a share of 68.27 % lies within one sigma."""
    unit = sigma / float(stdtrit(degrees, (1 + ONE_SIGMA) / 2))
    values: Floats = student.logpdf(residuals / unit, degrees) - np.log(unit)
    return values
