"""I5: what is kept grows with instruments, not with time."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
from core.packetise import fake_model, three_components

from ml_prediction.core.packets import Packet
from ml_prediction.core.pipeline import Pipeline
from ml_prediction.models import Model
from ml_prediction.util.times import NANOSECONDS


def stream_of(minutes: int, rate: float = 100.0, station: str = "ABC") -> Iterator[list[Packet]]:
    """A push of three components for every minute; the data repeat every five."""
    five = three_components(np.random.default_rng(0), 300.0, rate, station=station)
    step = round(60 * rate)
    for minute in range(minutes):
        part = minute % 5 * step
        yield [
            Packet(
                p.nslc,
                p.start_ns + minute * 60 * NANOSECONDS,
                rate,
                p.samples[part : part + step].copy(),
            )
            for p in five
        ]


class Silence:
    """An engine that gives zeros in no time."""

    def __init__(self, labels: int) -> None:
        self._labels = labels

    def __call__(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return np.zeros((len(batch), self._labels, batch.shape[2]), dtype=np.float32)


def kept(pipeline: Pipeline, minutes: int) -> tuple[int, int, int, int]:
    """Bytes allocated and bytes of a snapshot after some minutes, and later after 12 times that."""
    tracemalloc.start()
    try:
        sizes = []
        for minute, push in enumerate(stream_of(12 * minutes), start=1):
            pipeline.push(push)
            if minute in (minutes, 12 * minutes):
                del push
                gc.collect()
                sizes += [tracemalloc.get_traced_memory()[0], len(pipeline.snapshot())]
        return sizes[0], sizes[1], sizes[2], sizes[3]
    finally:
        tracemalloc.stop()


@pytest.mark.slow
@pytest.mark.parametrize("horizon", [6.0, float("inf")])
def test_what_is_kept_after_two_hours_is_what_was_kept_after_ten_minutes(horizon: float) -> None:
    pipeline = Pipeline(fake_model(in_samples=1000, stride=500), horizon=horizon)
    memory, snapshot, memory_later, snapshot_later = kept(pipeline, 10)
    assert pipeline.summary.picks > 1000
    assert snapshot_later < 1.1 * snapshot + 4096
    assert memory_later < 1.2 * memory + 50_000


@pytest.mark.slow
def test_gaps_do_not_pile_up() -> None:
    rng = np.random.default_rng(1)
    pipeline = Pipeline(fake_model(in_samples=1000, stride=500))
    sizes = []
    for push in stream_of(210):
        pieces = []
        for packet, hole in zip(push, rng.integers(1, 5500, 3), strict=True):
            pieces.append(packet.slice(0, int(hole)))
            pieces.append(packet.slice(int(hole) + 200, len(packet)))
        pipeline.push(pieces)
        sizes.append(len(pipeline.snapshot()))
    # accepted intervals are remembered for an hour, sub-sample offsets for ten minutes
    assert max(sizes[140:]) < 1.1 * max(sizes[70:140])


def test_the_state_of_an_instrument_fits_into_one_and_a_half_megabytes(eqt: Model) -> None:
    pipeline = Pipeline(Model(eqt.spec, Silence(len(eqt.spec.labels))))
    sizes = []
    for push in stream_of(20):
        pipeline.push(push)
        sizes.append(len(pipeline.snapshot()))
    assert max(sizes) < 1_500_000
    assert sizes[-1] < 1.2 * sizes[9]


def test_memory_grows_with_instruments_linearly() -> None:
    sizes = []
    for count in (1, 4):
        pipeline = Pipeline(fake_model())
        for pushes in zip(*(stream_of(5, station=f"S{n}") for n in range(count)), strict=True):
            pipeline.push([packet for push in pushes for packet in push])
        sizes.append(len(pipeline.snapshot()))
    assert sizes[1] < 4.2 * sizes[0]


def test_nothing_is_left_after_a_flush() -> None:
    pipeline = Pipeline(fake_model())
    empty = len(pipeline.snapshot())
    for push in stream_of(3):
        pipeline.push(push)
    pipeline.flush()
    assert len(pipeline.snapshot()) == empty


@pytest.mark.slow
def test_the_samples_of_a_packet_are_not_kept_alive(eqt: Model) -> None:
    """A source may hand over views of large blocks; these must go when they are used up."""
    pipeline = Pipeline(fake_model())
    tracemalloc.start()
    try:
        sizes = []
        for minute in range(12):
            block = three_components(np.random.default_rng(minute), 60.0, 200.0)
            moved = [
                Packet(p.nslc, p.start_ns + minute * 60 * NANOSECONDS, 200.0, p.samples)
                for p in block
            ]
            pipeline.push(moved)
            del block, moved
            gc.collect()
            sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert sizes[-1] < 1.3 * sizes[1] + 100_000
