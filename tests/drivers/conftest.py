"""Rings for tests of the tools: free keys, and nothing left of them afterwards."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from drivers.ring_bench import MakeRing
from ring_keeper import KeptRing, make_ring

from ml_prediction.earthworm.ring import RingName
from ml_prediction.errors import ConfigurationError

KEYS = range(0x6D6C0000, 0x6D6D0000)


@pytest.fixture
def rings() -> Iterator[list[KeptRing]]:
    """Rings that are destroyed afterwards."""
    made: list[KeptRing] = []
    yield made
    for ring in made:
        ring.destroy()


@pytest.fixture
def ring(rings: list[KeptRing]) -> MakeRing:
    """Makes rings under keys that nothing uses."""

    def make(kilobytes: int = 512, **options: Any) -> RingName:
        while True:
            key = random.SystemRandom().choice(KEYS)  # two runs at once must not meet
            try:
                rings.append(make_ring(key, kilobytes, **options))
            except FileExistsError:
                continue
            except (OSError, ConfigurationError) as error:
                pytest.skip(f"no System V shared memory here: {error}")
            return RingName("TEST_RING", key)

    return make
