from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from ml_prediction.drivers.spool import FAN_IN, Spool, merged


def identity(item: int) -> int:
    return item


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(), max_size=60), min_size=1, max_size=4), st.integers(1, 9))
def test_merged_is_sorted_whatever_the_split(
    tmp_path_factory: object, shares: list[list[int]], limit: int
) -> None:
    folder = Path(tmp_path_factory.mktemp("spool"))  # type: ignore[attr-defined]
    runs = []
    for i, share in enumerate(shares):
        spool = Spool[int](folder / str(i), identity, limit=limit)
        spool.add(share)
        runs += spool.close()
    assert list(merged(runs, identity)) == sorted(x for share in shares for x in share)


def test_few_files_are_open_at_once(tmp_path: Path) -> None:
    spool = Spool[int](tmp_path, identity, limit=1)
    spool.add(range(3 * FAN_IN, 0, -1))
    runs = spool.close()
    assert len(runs) <= FAN_IN
    assert list(merged(runs, identity)) == list(range(1, 3 * FAN_IN + 1))


def test_nothing_gives_nothing(tmp_path: Path) -> None:
    assert list(merged(Spool[int](tmp_path, identity).close(), identity)) == []
