"""Spans picked one by one, with their context, are what they are in one stream."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import obspy
import pytest
from core.packetise import START_NS, channels_of, fake_model, packets_of, three_components
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_prediction.config import PipelineConfig
from ml_prediction.core.context import context_of
from ml_prediction.core.linking import DetectionLinker
from ml_prediction.core.packets import Packet
from ml_prediction.core.pipeline import Pipeline
from ml_prediction.core.results import Detection, Pick
from ml_prediction.models import Ensemble, Model, combine
from ml_prediction.util.times import to_ns, to_utc

SECONDS = 1000
LENGTH = 10.0  # seconds of a packet


def cut(packets: Sequence[Packet]) -> list[Packet]:
    """Packets of some seconds, on whole seconds."""
    parts = []
    for packet in packets:
        step = round(LENGTH * packet.sampling_rate)
        for first in range(0, len(packet), step):
            parts.append(packet.slice(first, min(first + step, len(packet))))
    return sorted(parts, key=lambda part: (part.start_ns, part.nslc))


def picked(
    model: Model | Ensemble,
    packets: Sequence[Packet],
    config: PipelineConfig,
    span: tuple[int, int] | None = None,
) -> tuple[list[Pick], list[Detection]]:
    """All of the packets; or a span, of those packets that it and its context touch."""
    emit = None
    if span is not None:
        emit = to_utc(span[0]), to_utc(span[1])
        before, after = context_of([model], config)
        low, high = span[0] - before * 10**9, span[1] + after * 10**9
        packets = [p for p in packets if p.end_ns > low and p.start_ns < high]
    pipeline = Pipeline(model, config, expected=channels_of(packets), emit=emit)
    linker = DetectionLinker()
    picks, detections = [], []
    for result in (pipeline.push(packets), pipeline.flush()):
        linked, found = linker.add(result)
        picks += linked
        detections += found
    return picks + linker.close(), detections


def assert_spans_make_the_stream(
    model: Model | Ensemble, packets: Sequence[Packet], config: PipelineConfig, edges: list[int]
) -> None:
    whole, whole_detections = picked(model, packets, config)
    parts = [picked(model, packets, config, span) for span in pairwise(edges)]
    picks = sorted((pick for part, _ in parts for pick in part), key=lambda pick: pick.id)
    whole = sorted(whole, key=lambda pick: pick.id)
    assert [(p.id, p.detection_id) for p in picks] == [(p.id, p.detection_id) for p in whole]
    for pick, reference in zip(picks, whole, strict=True):
        assert abs(to_ns(pick.time) - to_ns(reference.time)) <= 1e6  # a millisecond
        assert pick.probability == pytest.approx(reference.probability, abs=1e-5)
        assert pick.amplitude == pytest.approx(reference.amplitude, rel=1e-4, nan_ok=True)
        assert pick.quality == reference.quality
    detections = {d.id: set(d.pick_ids) for _, part in parts for d in part}
    assert detections == {d.id: set(d.pick_ids) for d in whole_detections}
    assert sum(len(part) for _, part in parts) == len(whole_detections)


@settings(max_examples=5, deadline=None)
@given(
    st.integers(0, 2**32),
    st.lists(st.integers(0, SECONDS * 1000), min_size=1, max_size=3, unique=True),
    st.booleans(),
)
def test_spans_cut_anywhere_make_the_stream(seed: int, cuts: list[int], together: bool) -> None:
    rng = np.random.default_rng(seed)
    packets = cut(three_components(rng, SECONDS))
    packets = [p for p in packets if rng.random() > 0.01]  # gaps of whole packets
    model: Model | Ensemble = fake_model()
    if together:
        model = combine([fake_model(), fake_model(name="Other", stride=50)], "mean")
    edges = [START_NS, *(START_NS + at * 10**6 for at in sorted(cuts)), START_NS + 2000 * 10**9]
    assert_spans_make_the_stream(model, packets, PipelineConfig(), edges)


def test_a_detection_over_the_edge_is_linked_on_both_sides_and_comes_once() -> None:
    packets = cut(three_components(np.random.default_rng(3), SECONDS))
    _, detections = picked(fake_model(), packets, PipelineConfig())
    chosen = max(detections, key=lambda each: len(each.pick_ids))
    middle = (to_ns(chosen.onset) + to_ns(chosen.end)) // 2
    edges = [START_NS, middle, START_NS + 2000 * 10**9]
    assert_spans_make_the_stream(fake_model(), packets, PipelineConfig(), edges)


def test_the_context_holds_the_windows_of_all_models_and_the_longest_detection() -> None:
    plain = fake_model()
    long = fake_model(name="Long", in_samples=6000, stride=3000)
    before, after = context_of([plain, long])
    assert before == np.ceil(30 + 90 + 300 + 0.5)
    assert after == 90 + 10 + 10 + 300
    assert context_of([combine([plain, long], "max")]) == (before, after)
    assert context_of([plain, long], PipelineConfig(stride=100, lateness=0))[1] == 61 + 10 + 300


@pytest.mark.slow
def test_real_days_cut_in_the_middle_of_earthquakes_make_the_stream(
    eqt: Model, shared: Path
) -> None:
    files = sorted((shared / "data" / "Continuous_CX").glob("*.mseed"))
    assert files
    packets = cut(packets_of(obspy.read(str(files[0]))))
    found, _ = picked(eqt, packets, PipelineConfig())
    assert len(found) > 4
    middle = sorted(to_ns(pick.time) for pick in found)
    inner = [middle[len(middle) // 3] + 500_000_000, middle[2 * len(middle) // 3]]
    edges = [min(p.start_ns for p in packets), *inner, max(p.end_ns for p in packets) + 1]
    assert_spans_make_the_stream(eqt, packets, PipelineConfig(), edges)
