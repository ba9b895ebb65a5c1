"""Stacking leaves no trace of where the windows lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest
from core.packetise import fake_spec, make_packet, run
from scipy.stats import chisquare

from ml_prediction.core.pipeline import Pipeline
from ml_prediction.errors import ConfigurationError
from ml_prediction.models import Model, Normalisation

BINS = 10


@dataclass(frozen=True)
class Everywhere:
    """A model that sees a spike wherever it stands in the window."""

    labels: int

    def __call__(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        seen = np.clip(np.abs(batch).max(axis=1) - 0.2, 0.0, 1.0)
        return np.repeat(seen[:, None, :], self.labels, axis=1).astype(np.float32)


def picks_by_place(stacking: Literal["max", "mean"], stride: int) -> list[int]:
    """Number of picks on random spikes, by time modulo the stride."""
    spec = fake_spec(normalisation=Normalisation("peak", "window"), stacking=stacking)
    model = Model(spec, Everywhere(len(spec.labels)))
    rng = np.random.default_rng(7)
    samples = rng.normal(0.0, 1.0, 400_000)
    samples[rng.integers(0, len(samples), 4000)] = 1000.0
    picks = run(model, [[make_packet(samples)]], stride=stride).picks
    places = np.array([int(pick.id.rsplit("/", 1)[1]) for pick in picks if pick.phase == "P"])
    assert len(places) > 3000
    counts, _ = np.histogram(places % stride, bins=BINS, range=(0, stride))
    return [int(count) for count in counts]


@pytest.mark.slow
@pytest.mark.parametrize("stacking", ["max", "mean"])
@pytest.mark.parametrize("stride", [50, 100])
def test_picks_prefer_no_place_in_the_window(stacking: Literal["max", "mean"], stride: int) -> None:
    assert chisquare(picks_by_place(stacking, stride)).pvalue > 0.01


@pytest.mark.parametrize("stacking", ["max", "mean"])
def test_stacked_probabilities_stay_probabilities(stacking: Literal["max", "mean"]) -> None:
    spec = fake_spec(normalisation=Normalisation("peak", "window"), stacking=stacking)
    samples = np.random.default_rng(1).normal(size=5000)
    outcome = run(Model(spec, Everywhere(len(spec.labels))), [[make_packet(samples)]], stride=20)
    values = np.concatenate([fragment.values for fragment in outcome.fragments], axis=1)
    assert np.nanmin(values) >= 0.0
    assert np.nanmax(values) <= 1.0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"stride": 5001}, "Stride 5001 leaves samples without a prediction.*use at most 5000"),
        ({"stride": 3000, "horizon": 34.99}, "Horizon 34.99 s is too short.*smallest is 35 s"),
        ({"stride": 100, "blinding": (0, 200), "horizon": 2.9}, "the smallest is 3 s"),
    ],
)
def test_windows_that_leave_samples_without_a_probability_are_refused(
    eqt: Model, options: dict[str, Any], words: str
) -> None:
    """EQTransformer: 6000 samples at 100 Hz, of which 500 are blinded at each end."""
    with pytest.raises(ConfigurationError, match=words):
        Pipeline(eqt, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"stride": 5000},
        {"stride": 3000, "horizon": 35.0},
        {"stride": 100, "blinding": (0, 200), "horizon": 3.0},
    ],
)
def test_windows_that_just_cover_all_samples_are_accepted(
    eqt: Model, options: dict[str, Any]
) -> None:
    Pipeline(eqt, **options)
