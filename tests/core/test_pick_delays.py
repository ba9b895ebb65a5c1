"""How long a pick waits for what it says, and no longer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from core.packetise import fake_model, fake_spec, in_time_order, three_components

from ml_prediction.core.description import Describer
from ml_prediction.core.feature_extraction import FeatureExtractor
from ml_prediction.core.history import Recording
from ml_prediction.core.pipeline import Pipeline
from ml_prediction.core.postprocessing import Chunk
from ml_prediction.util.codes import Instrument

WHO = Instrument("XX", "ABC", "", "HH")
BEGIN = 140_000_000_000  # index of the first sample
PEAK = 500


@dataclass
class Growing:
    """Data of which more and more is final."""

    until: int = 0

    def front(self, instrument: Instrument) -> int:
        return BEGIN + self.until

    def waveform(
        self, instrument: Instrument, component: str, start: int, stop: int
    ) -> Recording | None:
        samples = np.random.default_rng(1).normal(size=2000)
        indices = np.arange(start, stop) - BEGIN
        valid = (indices >= 0) & (indices < self.until)
        values = np.where(valid, samples[np.clip(indices, 0, 1999)], 0.0)
        return Recording("HH" + component, values, valid)

    def offset_ns(self, instrument: Instrument, index: int) -> int:
        return 0


def waited(after: float | None) -> tuple[int, float, float]:
    """Samples after the peak at which a pick leaves, its coverage and its amplitude."""
    spec, data = fake_spec(), Growing()
    options: dict[str, Any] = {} if after is None else {"after": after}
    describer = Describer(spec, quality=(1, 2, 3, 4), waveforms=data, **options)
    extractor = FeatureExtractor(spec, thresholds={"P": 0.5}, describer=describer)
    rows = np.zeros((3, 1200), dtype=np.float32)
    rows[1] = 0.9 * np.exp(-0.5 * ((np.arange(1200) - PEAK) / 10) ** 2)
    for at in range(1200):
        data.until = at + 1
        values = rows[:, at : at + 1]
        picks, _ = extractor.add([Chunk(WHO, BEGIN + at, values, ~np.isnan(values[0]))])
        if picks:
            return at - PEAK, picks[0].coverage, picks[0].amplitude
    raise AssertionError("no pick")


@pytest.mark.parametrize(
    ("after", "seconds"),
    [(None, 2.0), (float("inf"), 2.0), (2.0, 2.0), (1.5, 1.5), (1.0, 1.0), (0.2, 1.0), (-1, 1.0)],
)
def test_a_pick_waits_one_to_two_seconds_for_its_description(
    after: float | None, seconds: float
) -> None:
    samples, coverage, amplitude = waited(after)
    assert seconds * 100 <= samples <= seconds * 100 + 15
    assert coverage == 1.0
    assert amplitude == waited(2.0)[2]


@pytest.mark.parametrize("horizon", [1.0, 2.0, 2.5, 4.0])
def test_with_a_short_horizon_a_pick_does_not_wait_for_its_description(horizon: float) -> None:
    pushes = in_time_order(three_components(np.random.default_rng(11), 60.0), 0.1)
    channels = [packet.nslc for packet in pushes[0]]
    pipeline = Pipeline(fake_model(in_samples=600, stride=100), horizon=horizon, expected=channels)
    settled_ns = pushes[0][0].start_ns + 10 * 10**9  # the first windows are hardly filled
    delays = []
    for push in pushes:
        for pick in pipeline.push(push).picks:
            if pick.onset.ns > settled_ns:
                delays.append((push[0].end_ns - pick.end.ns) / 1e9)
    assert len(delays) > 5
    assert max(delays) <= horizon + 1.0  # by then its probabilities are final, and they suffice
