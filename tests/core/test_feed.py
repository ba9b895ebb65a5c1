"""Usual packets take a short way, which ends where the long one does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from core.packetise import (
    LATENESS,
    START_NS,
    arrivals,
    assert_same_windows,
    channels_of,
    cut,
    fake_spec,
    in_time_order,
    make_packet,
    three_components,
    windows,
    with_gaps,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_prediction.core.channel import Channel
from ml_prediction.core.feed import Feed
from ml_prediction.core.packets import Packet
from ml_prediction.core.preprocessing import Preprocessor
from ml_prediction.core.window_builder import WindowBuilder
from ml_prediction.models.spec import FilterSpec, ModelSpec
from ml_prediction.util.times import NANOSECONDS

Pushes = Sequence[Sequence[Packet]]
BAND = FilterSpec("bandpass", 1.0, 45.0, 2)


def both_ways(
    pushes: Pushes, spec: ModelSpec | None = None, **options: Any
) -> tuple[Any, Any, int]:
    """Windows by the short ways and without them, and the packets that took the short one."""
    spec = spec or fake_spec()
    taken = 0
    follow = Channel.follow

    def counted(self: Channel, *arguments: Any) -> None:
        nonlocal taken
        taken += 1
        follow(self, *arguments)

    with patch.object(Channel, "follow", counted):
        short = windows(spec, [list(push) for push in pushes], **options)
    with (
        patch.object(Feed, "take", lambda *_: None),
        patch.object(WindowBuilder, "whole", lambda *_: None),
    ):
        long = windows(spec, [list(push) for push in pushes], **options)
    return short, long, taken


def assert_same_counts(short: Any, long: Any) -> None:
    assert short.summary.to_dict() == long.summary.to_dict()
    assert [(p.nslc, p.start_ns, len(p)) for p in short.late] == [
        (p.nslc, p.start_ns, len(p)) for p in long.late
    ]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32),
    rate=st.sampled_from([20.0, 40.0, 62.5, 100.0, 125.0, 200.0, 256.0, 1000.0]),
    gaps=st.booleans(),
    shuffled=st.booleans(),
    floats=st.booleans(),
    band=st.sampled_from([None, BAND]),
    offset_ns=st.sampled_from([0, 1, 2_500_000, 4_990_000, 5_000_000, 7_460_000, 7_510_000]),
)
def test_the_short_way_changes_no_window_and_no_count(
    seed: int,
    rate: float,
    gaps: bool,
    shuffled: bool,
    floats: bool,
    band: FilterSpec | None,
    offset_ns: int,
) -> None:
    rng = np.random.default_rng(seed)
    packets = three_components(rng, 20.0, rate, start_ns=START_NS + offset_ns)
    if not floats:
        packets = [replace(p, samples=p.samples.astype(np.int32)) for p in packets]
    packets = with_gaps(packets, rng) if gaps else packets
    pieces = cut(packets, rng, longest=400)
    pushes = arrivals(pieces, rng) if shuffled else in_time_order(packets, 0.5)
    spec = fake_spec(filters=(band,) if band else ())
    short, long, taken = both_ways(pushes, spec, expected=channels_of(packets))
    assert short.arrays
    assert shuffled or gaps or taken or rate == 256.0
    if not short.late:
        assert_same_windows(short, long)
    assert_same_counts(short, long)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32),
    jitter=st.sampled_from([0.0, 0.01, 0.1, 0.24, 0.3, 0.6]),
    drift=st.sampled_from([0.0, 1e-5, -1e-5, 3e-4]),
    every=st.integers(1, 30),
)
def test_header_times_that_jitter_and_drift_are_placed_as_on_the_long_way(
    seed: int, jitter: float, drift: float, every: int
) -> None:
    rng = np.random.default_rng(seed)
    pushes = []
    for number in range(0, 1500, every):
        late = number * (1 + drift) + rng.uniform(-jitter, jitter)
        start_ns = START_NS + round(late * NANOSECONDS / 100)
        pushes.append(
            [
                make_packet(rng.integers(-99, 99, every), "HH" + letter, start_ns=start_ns)
                for letter in "ZNE"
            ]
        )
    short, long, _ = both_ways(pushes)
    assert short.arrays == long.arrays
    assert_same_counts(short, long)


@pytest.mark.parametrize(
    "change",
    [
        {"sampling_rate": 50.0},
        {"sampling_rate": 100.0004},
        {"samples": np.full(50, np.nan)},
        {"samples": np.full(50, 1e16)},
        {"samples": np.zeros(0, dtype=np.int32)},
        {"samples": np.zeros((5, 10), dtype=np.int32)},
        {"samples": np.array(["x"] * 50)},
        {"start_ns": START_NS},
        {"start_ns": START_NS + 60 * NANOSECONDS},
    ],
)
def test_an_unusual_packet_among_usual_ones_goes_the_long_way(change: dict[str, Any]) -> None:
    rng = np.random.default_rng(1)
    packets = three_components(rng, 30.0)
    pushes = [list(push) for push in in_time_order(packets, 0.5)]
    strange = replace(pushes[30][0], **change)
    short, long, taken = both_ways([*pushes[:30], [strange], *pushes[30:]])
    assert taken > 50
    assert short.arrays == long.arrays
    assert_same_counts(short, long)


def test_components_of_which_each_has_its_own_filter_or_none_wait_for_none() -> None:
    packets = three_components(np.random.default_rng(5), 30.0)
    only = (replace(BAND, channels="??Z"), FilterSpec("highpass", 2.0, None, 2, channels="??N"))
    short, long, taken = both_ways(in_time_order(packets, 0.5), fake_spec(filters=only))
    assert taken
    assert short.arrays
    assert short.arrays == long.arrays


def test_a_channel_that_comes_later_is_seen_in_later_windows() -> None:
    rng = np.random.default_rng(6)
    packets = three_components(rng, 30.0)
    late = make_packet(rng.normal(0, 9, 1500), "HH1", start_ns=START_NS + 15 * NANOSECONDS)
    pushes = in_time_order([*packets, late], 0.5)
    short, long, _ = both_ways(pushes)
    assert short.arrays == long.arrays
    assert_same_counts(short, long)


def test_a_duplicate_that_disagrees_before_its_time_is_used_is_noticed() -> None:
    packets = three_components(np.random.default_rng(2), 6.0)
    pushes = [list(push) for push in in_time_order(packets, 0.5)]
    other = replace(pushes[-1][0], samples=pushes[-1][0].samples.astype(np.float64) + 1.0)
    short, long, _ = both_ways([*pushes, [other]])
    assert short.summary.skipped["samples: disagree"] == 50
    assert short.arrays == long.arrays
    assert_same_counts(short, long)


def test_samples_that_were_accepted_are_remembered_on_the_short_way_too() -> None:
    packets = three_components(np.random.default_rng(3), 40.0)
    pushes = [list(push) for push in in_time_order(packets, 0.5)]
    stage = Preprocessor(fake_spec(), stride=100, lateness=LATENESS)
    for push in [*pushes, *pushes]:
        items, late = stage.add(push)
        assert list(items) is not None
        assert late == []
    assert list(stage.flush()) is not None
    assert stage.summary.skipped["samples: duplicate"] == sum(map(len, packets))
