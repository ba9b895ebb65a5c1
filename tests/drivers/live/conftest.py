"""Rings for tests of the live driver: free keys, and nothing left of them afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from ring_keeper import KeptRing, make_ring

from ml_prediction.earthworm.ring import RingName

MakeRing = Callable[..., tuple[KeptRing, RingName]]


@pytest.fixture
def new_ring(ring_keys: Iterator[int]) -> MakeRing:
    """Makes a ring of so many kB, with a new key unless one is given."""

    def make(kilobytes: int = 64, key: int | None = None) -> tuple[KeptRing, RingName]:
        key = next(ring_keys) if key is None else key
        return make_ring(key, kilobytes), RingName("LIVE_RING", key)

    return make
