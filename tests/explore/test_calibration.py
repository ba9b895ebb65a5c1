"""Calibration finds what the data were made with, on events that it has not seen."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ml_prediction.errors import DataError
from ml_prediction.explore.calibration import calibrate, folds_of, quality_table
from ml_prediction.models.calibration import parse_calibrations, write_calibration
from ml_prediction.models.sigma import SigmaMap, expected_error


def outcomes(scale: SigmaMap, events: int = 150, each: int = 4, tails: float = 4.0) -> pd.DataFrame:
    """Found arrivals whose errors have this sigma, with long tails."""
    generator = np.random.default_rng(7)
    count = events * each
    widths, p = generator.uniform(0.06, 0.3, count), generator.uniform(0.2, 0.98, count)
    sigma = [expected_error(scale, w, q) for w, q in zip(widths, p, strict=True)]
    unit = {4.0: 1.1417, np.inf: 1.0}[tails]  # what 68.27 % of Student's t lie within
    normal = np.isinf(tails)
    errors = generator.normal(size=count) if normal else generator.standard_t(tails, count)
    return pd.DataFrame(
        {
            "kind": "found",
            "phase": "P",
            "event": np.repeat([f"e{n}" for n in range(events)], each),
            "residual_s": np.array(sigma) * errors / unit,
            "width_s": widths,
            "sigma_s": 0.4 * widths,
            "probability": p,
        }
    )


@pytest.mark.parametrize(
    ("scale", "form"),
    [
        (SigmaMap(0.4), "k x width"),
        (SigmaMap(0.4, -1.0), "constant"),
        (SigmaMap(0.4, 0.0, -0.5), "odds"),
        (SigmaMap(0.4, 0.8), "width"),
        (SigmaMap(0.4, 0.8, -0.4), "width and odds"),
    ],
)
def test_the_form_and_its_parameters_are_found_again(scale: SigmaMap, form: str) -> None:
    found = calibrate(outcomes(scale))["P"]
    assert found.form == form
    assert found.fit.scale.k == pytest.approx(scale.k, rel=0.1)
    np.testing.assert_allclose(found.fit.scale, scale, atol=0.25)
    assert found.measured["held_out_within_1_sigma"] == pytest.approx(0.683, abs=0.04)
    if form != "constant":
        table = found.forms.set_index("form")["log_likelihood"]
        assert table[form] > table["constant"] + 0.01


def test_sigmas_that_were_right_before_are_as_good_as_calibrated_ones() -> None:
    table = calibrate(outcomes(SigmaMap(0.4)))["P"].forms.set_index("form")["log_likelihood"]
    assert table["as picked"] == pytest.approx(table["k x width"], abs=0.01)
    table = calibrate(outcomes(SigmaMap(0.8)))["P"].forms.set_index("form")["log_likelihood"]
    assert table["as picked"] < table["k x width"] - 0.1


def test_large_errors_of_a_few_do_not_set_sigma() -> None:
    rows = outcomes(SigmaMap(0.4), tails=np.inf)
    clean = calibrate(rows)["P"].fit.scale.k
    rows.loc[rows.index[::40], "residual_s"] = 0.45
    assert calibrate(rows)["P"].fit.scale.k == pytest.approx(clean, rel=0.15)


def test_no_event_is_in_two_folds_and_order_is_of_no_account() -> None:
    events = np.repeat([f"e{n}" for n in range(17)], 3)
    folds = folds_of(events, 0)
    assert set(folds) == set(range(5))
    for event in set(events):
        assert len(set(folds[events == event])) == 1
    assert (folds_of(events[::-1], 0) == folds[::-1]).all()


def test_too_little_is_no_calibration() -> None:
    rows = outcomes(SigmaMap(0.4))
    with pytest.raises(DataError, match="Too little"):
        calibrate(rows[:29])
    with pytest.raises(DataError, match="Too little"):
        calibrate(rows.assign(event="one"))
    with pytest.raises(DataError, match="Too little"):
        calibrate(rows.assign(width_s=np.nan))


def test_a_better_quality_is_a_smaller_error() -> None:
    found = calibrate(outcomes(SigmaMap(0.4, 0.5, -0.5)))["P"]
    table = quality_table(found, (0.02, 0.05, 0.15, 0.5))
    assert table["arrivals"].sum() == found.arrivals
    assert table["error_s"].is_monotonic_increasing


def test_what_is_measured_goes_into_the_file(tmp_path: Path) -> None:
    found = calibrate(outcomes(SigmaMap(0.4, 0.0, -0.5)))["P"]
    path = tmp_path / "c.json"
    write_calibration(path, "aa", {"P": found.fit.scale}, {"P": found.measured})
    read = parse_calibrations(path.read_text(), "c")["aa"]["P"]
    np.testing.assert_allclose(read, found.fit.scale, atol=1e-4)
    assert json.loads(path.read_text())["aa"]["P"]["measured"]["arrivals"] == 600
