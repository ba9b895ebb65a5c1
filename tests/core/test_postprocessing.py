"""Stacking, against the rule written out sample by sample."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_prediction.core.postprocessing import Chunk, Stacker
from ml_prediction.core.prediction import Output
from ml_prediction.core.state import from_bytes, to_bytes
from ml_prediction.core.summary import Summary
from ml_prediction.core.windows import Skipped, everywhere
from ml_prediction.models.spec import ModelSpec, Normalisation
from ml_prediction.util.codes import Instrument

Flags = npt.NDArray[np.bool_]
Merge = Literal["max", "mean"]

WHO = Instrument("UW", "GNW", "", "HH")
RATE = 10.0
GUARD = 5  # samples: 0.5 s
LENGTH = 60
STRIDE = 15

SPEC = ModelSpec(
    name="Toy",
    weights="none",
    weights_sha256="0" * 64,
    sampling_rate=RATE,
    in_samples=LENGTH,
    components="ENZ",
    labels=("P", "S"),
    blinding=(0, 0),
    stacking="max",
    stride=STRIDE,
    thresholds={"P": 0.3, "S": 0.3},
    normalisation=Normalisation("std"),
)


@dataclass(frozen=True)
class Setting:
    stacking: Merge = "max"
    blinding: tuple[int, int] = (0, 0)
    horizon: int | None = None

    def stacker(self, summary: Summary | None = None) -> Stacker:
        return Stacker(
            SPEC,
            stride=STRIDE,
            stacking=self.stacking,
            blinding=self.blinding,
            horizon=self.horizon,
            summary=summary,
        )


Report = Output | Skipped


def output(index: int, mask: Flags, seed: int = 0) -> Output:
    values = np.random.default_rng([seed, index + 1000]).random((2, LENGTH)).astype(np.float32)
    return Output(WHO, SPEC.id, index, values, mask)


def reports_on(known: Flags, refused: Iterable[int] = ()) -> list[Report]:
    """Reports of all windows that touch the data; ``refused`` ones were skipped with a mask."""
    padded = np.concatenate([np.zeros(LENGTH, dtype=np.bool_), known, np.zeros(2 * LENGTH, bool)])
    reports: list[Report] = []
    for index in range(-(LENGTH // STRIDE) + 1, -(-len(known) // STRIDE)):
        start = index * STRIDE + LENGTH
        mask = padded[start : start + LENGTH]
        if not mask.any():
            last = reports[-1] if reports else None
            if isinstance(last, Skipped) and last.mask is None:
                reports[-1] = Skipped(WHO, SPEC.id, last.index, index + 1, "no data")
            else:
                reports.append(Skipped(WHO, SPEC.id, index, index + 1, "no data"))
        elif index in refused or mask.sum() < 0.2 * LENGTH:
            reports.append(Skipped(WHO, SPEC.id, index, index + 1, "too few samples", mask))
        else:
            reports.append(output(index, mask))
    return reports


def by_hand(reports: Sequence[Report], known: Flags, how: Setting) -> npt.NDArray[np.float64]:
    """The stacked probabilities of every sample of ``known``, by the rule, shape (2, sample)."""
    result = np.full((2, len(known)), np.nan)
    there = np.flatnonzero(known)
    missing = [n for n in range(there[0], there[-1]) if not known[n]]
    horizon = LENGTH if how.horizon is None else how.horizon
    for n in there:
        if any(abs(n - m) <= GUARD for m in missing):
            continue
        votes = []
        for report in reports:
            if not isinstance(report, Output):
                continue
            place = n - report.index * STRIDE
            inside = how.blinding[0] <= place < LENGTH - how.blinding[1]
            if inside and LENGTH - place <= horizon and report.mask[place]:
                votes.append(report.probabilities[:, place].astype(np.float64))
        if votes:
            result[:, n] = np.max(votes, 0) if how.stacking == "max" else np.mean(votes, 0)
    return result


def collected(chunks: Iterable[Chunk], count: int) -> tuple[npt.NDArray[np.float64], Flags]:
    """Chunks put side by side; none may overlap or go back."""
    values, valid = np.full((2, count), np.nan), np.zeros(count, dtype=np.bool_)
    last = None
    for chunk in chunks:
        assert chunk.values.dtype == np.float32
        assert chunk.instrument == WHO
        assert last is None or chunk.start >= last
        last = chunk.stop
        for n in range(max(chunk.start, 0), min(chunk.stop, count)):
            values[:, n] = chunk.values[:, n - chunk.start]
            valid[n] = chunk.valid[n - chunk.start]
        outside = [n for n in range(chunk.start, chunk.stop) if not 0 <= n < count]
        for n in outside:
            assert np.isnan(chunk.values[:, n - chunk.start]).all()
            assert not chunk.valid[n - chunk.start]
    return values, valid


def stacked(stacker: Stacker, reports: Iterable[Report], *, open_end: bool = True) -> list[Chunk]:
    chunks = [chunk for item in reports for chunk in stacker.add(item, open_end=open_end)]
    return chunks + stacker.flush()


@st.composite
def knowns(draw: st.DrawFn) -> Flags:
    known = np.ones(draw(st.integers(30, 400)), dtype=np.bool_)
    for start in draw(st.lists(st.integers(0, len(known) - 1), max_size=4)):
        known[start : start + draw(st.sampled_from([1, 3, 10, 11, 40, 70, 130]))] = False
    known[draw(st.integers(0, len(known) - 1))] = True
    return known


hows = st.builds(
    Setting,
    st.sampled_from(["max", "mean"]),
    st.sampled_from([(0, 0), (10, 10), (5, 20)]),
    st.sampled_from([None, 35, 40, 59]),
)
refusals = st.sets(st.integers(-3, 25), max_size=4)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(knowns(), hows, refusals)
def test_equals_the_rule_written_out(known: Flags, how: Setting, refused: set[int]) -> None:
    reports = reports_on(known, refused)
    values, valid = collected(stacked(how.stacker(), reports), len(known))
    np.testing.assert_array_equal(valid, known)
    np.testing.assert_allclose(values, by_hand(reports, known, how), rtol=0, atol=1e-6)


@settings(derandomize=True, deadline=None, max_examples=100)
@given(knowns(), hows, refusals, st.randoms(use_true_random=False))
def test_the_order_of_reports_changes_nothing(
    known: Flags, how: Setting, refused: set[int], random: object
) -> None:
    """After the first, which tells where the instrument begins."""
    reports = reports_on(known, refused)
    rest = reports[1:]
    random.shuffle(rest)  # type: ignore[attr-defined]
    shuffled, shuffled_valid = collected(stacked(how.stacker(), [reports[0], *rest]), len(known))
    values, valid = collected(stacked(how.stacker(), reports), len(known))
    np.testing.assert_array_equal(shuffled_valid, valid)
    np.testing.assert_allclose(shuffled, values, rtol=0, atol=1e-6)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(
    st.lists(st.tuples(st.integers(1, 400), st.integers(1, 150)), min_size=1, max_size=3),
    hows,
    refusals,
    st.integers(0, 30),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_windows_known_to_be_whole_give_the_same(
    parts: list[tuple[int, int]],
    how: Setting,
    refused: set[int],
    at: int,
    shuffled: bool,
    random: object,
) -> None:
    """The mask of a window that was recorded throughout is one object, which saves looking."""
    known = np.concatenate([np.repeat([True, False], lengths) for lengths in parts])
    reports = reports_on(known, refused)
    if shuffled:
        rest = reports[1:]
        random.shuffle(rest)  # type: ignore[attr-defined]
        reports = [reports[0], *rest]
    noticed = [
        replace(item, mask=everywhere(LENGTH))
        if item.mask is not None and item.mask.all()
        else item
        for item in reports
    ]
    for item in noticed[at : at + 1]:
        if isinstance(item, Output):
            item.probabilities[1, 20] = np.nan
    counts, noticed_counts = Summary(), Summary()
    values, valid = collected(stacked(how.stacker(counts), reports), len(known))
    first, second = how.stacker(noticed_counts), how.stacker(noticed_counts)
    chunks = [chunk for item in noticed[:at] for chunk in first.add(item)]
    second.restore(from_bytes(to_bytes(first.snapshot())))
    chunks += stacked(second, noticed[at:])
    found, found_valid = collected(chunks, len(known))
    np.testing.assert_array_equal(found, values)
    np.testing.assert_array_equal(found_valid, valid)
    assert noticed_counts == counts


@settings(derandomize=True, deadline=None, max_examples=50)
@given(knowns(), hows, st.integers(0, 30))
def test_a_snapshot_changes_nothing(known: Flags, how: Setting, at: int) -> None:
    reports = reports_on(known)
    first, second = how.stacker(), how.stacker()
    chunks = [chunk for item in reports[:at] for chunk in first.add(item)]
    second.restore(from_bytes(to_bytes(first.snapshot())))
    found, _ = collected(chunks + stacked(second, reports[at:]), len(known))
    values, _ = collected(stacked(how.stacker(), reports), len(known))
    np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize("horizon", [None, 35, 20, 15])
def test_samples_leave_as_soon_as_no_window_can_change_them(horizon: int | None) -> None:
    known = np.ones(600, dtype=np.bool_)
    stacker = Setting(horizon=horizon).stacker()
    for report in reports_on(known):
        stacker.add(report)
        start = report.index * STRIDE
        reach = LENGTH if horizon is None else horizon
        # the next window uses samples from here on; the guard looks half a second ahead
        expected = min(start + STRIDE + LENGTH - reach, start + LENGTH - GUARD)
        if 0 <= start < 500:
            assert stacker.final(WHO) == expected


def test_masked_samples_give_no_probability_and_no_vote() -> None:
    known = np.ones(200, dtype=np.bool_)
    reports = reports_on(known)
    loud = np.full((2, LENGTH), 1.0, dtype=np.float32)
    mask = np.ones(LENGTH, dtype=np.bool_)
    mask[20:40] = False
    place = next(n for n, item in enumerate(reports) if item.index == 4)
    reports[place] = Output(WHO, SPEC.id, 4, loud, mask)
    values, valid = collected(stacked(Setting().stacker(), reports), 200)
    assert valid.all()
    assert (values[:, 60:80] == 1).all()
    assert (values[:, 80:100] < 1).all()


def test_nan_from_a_model_does_not_vote() -> None:
    known = np.ones(200, dtype=np.bool_)
    reports = reports_on(known)
    for item in reports:
        if isinstance(item, Output) and item.index == 4:
            item.probabilities[:, 10:20] = np.nan
    values, _ = collected(stacked(Setting("mean").stacker(), reports), 200)
    assert np.isfinite(values).all()


@pytest.mark.parametrize("length", [1, 10, 50])
def test_the_guard_is_half_a_second_on_both_sides_of_a_gap(length: int) -> None:
    known = np.ones(300, dtype=np.bool_)
    known[100 : 100 + length] = False
    values, valid = collected(stacked(Setting().stacker(), reports_on(known)), 300)
    silent = np.flatnonzero(np.isnan(values[0]))
    assert (silent[0], silent[-1]) == (100 - GUARD, 100 + length + GUARD - 1)
    assert len(silent) == length + 2 * GUARD
    assert np.flatnonzero(~valid).tolist() == list(range(100, 100 + length))


def test_the_ends_of_the_input_get_no_guard() -> None:
    values, _ = collected(
        stacked(Setting().stacker(), reports_on(np.ones(137, dtype=np.bool_))), 137
    )
    assert np.isfinite(values).all()


def test_an_end_that_is_not_of_the_input_is_a_gap() -> None:
    reports = reports_on(np.ones(100, dtype=np.bool_))
    waiting, ended = Setting().stacker(), Setting().stacker()
    held = [chunk for item in reports for chunk in waiting.add(item)]
    assert max(chunk.stop for chunk in held) == 100 - GUARD
    nothing = Skipped(WHO, SPEC.id, reports[-1].index + 1, reports[-1].index + 9, "no data")
    chunks = [chunk for item in [*reports, nothing] for chunk in ended.add(item, open_end=False)]
    values, valid = collected(chunks, 100)
    assert valid.all()
    assert np.flatnonzero(np.isnan(values[0])).tolist() == list(range(95, 100))


def test_a_single_window_comes_out_at_flush() -> None:
    stacker = Setting(blinding=(10, 10)).stacker()
    item = output(100, np.ones(LENGTH, dtype=np.bool_))
    chunks = [*stacker.add(item), *stacker.flush()]
    values = np.concatenate([chunk.values for chunk in chunks], axis=1)
    assert chunks[0].start == 100 * STRIDE
    np.testing.assert_array_equal(values[:, 10:50], item.probabilities[:, 10:50])
    assert np.isnan(values[:, :10]).all()
    assert np.isnan(values[:, 50:]).all()


@pytest.mark.timeout(20)
def test_long_gaps_use_no_memory_and_no_time() -> None:
    stacker = Setting().stacker()
    index = 0
    sizes = []
    for _ in range(10):
        for _ in range(10):
            stacker.add(output(index, np.ones(LENGTH, dtype=np.bool_)))
            index += 1
        gap = 10**9  # windows
        chunks = stacker.add(Skipped(WHO, SPEC.id, index, index + gap, "no data"))
        assert sum(len(chunk.valid) for chunk in chunks) < 10 * LENGTH
        index += gap
        sizes.append(len(to_bytes(stacker.snapshot())))
    assert max(sizes) < 20_000
    chunks = stacker.flush()
    assert sum(len(chunk.valid) for chunk in chunks) < 10 * LENGTH


def test_the_end_before_a_long_gap_is_guarded_and_the_start_after_it_too() -> None:
    ones = np.ones(LENGTH, dtype=np.bool_)
    items: list[Report] = [output(0, ones), output(1, ones)]
    items += [Skipped(WHO, SPEC.id, 2, 100, "no data"), output(100, ones)]
    chunks = stacked(Setting().stacker(), items)
    values, valid = collected(chunks, 100 * STRIDE + LENGTH)
    assert valid.sum() == LENGTH + STRIDE + LENGTH
    silent = np.flatnonzero(valid & np.isnan(values[0]))
    end, begin = STRIDE + LENGTH, 100 * STRIDE
    assert silent.tolist() == [*range(end - GUARD, end), *range(begin, begin + GUARD)]


def test_instruments_do_not_touch_each_other() -> None:
    known = np.ones(200, dtype=np.bool_)
    other = Instrument("UW", "SEP", "", "EH")
    stacker = Setting().stacker()
    mine: list[Chunk] = []
    theirs: list[Chunk] = []
    for item in reports_on(known):
        mine += stacker.add(item)
        if isinstance(item, Output):
            loud = np.ones_like(item.probabilities)
            theirs += stacker.add(Output(other, item.model, item.index, loud, item.mask))
    for chunk in stacker.flush():
        (mine if chunk.instrument == WHO else theirs).append(chunk)
    values, _ = collected(mine, 200)
    np.testing.assert_array_equal(
        values, collected(stacked(Setting().stacker(), reports_on(known)), 200)[0]
    )
    assert {chunk.instrument for chunk in theirs} == {other}
    assert stacker.final(WHO) is None


@settings(derandomize=True, deadline=None, max_examples=60)
@given(knowns(), hows, refusals)
def test_every_sample_without_a_probability_is_counted(
    known: Flags, how: Setting, refused: set[int]
) -> None:
    summary = Summary()
    values, valid = collected(stacked(how.stacker(summary), reports_on(known, refused)), len(known))
    lost = int((valid & np.isnan(values[0])).sum())
    assert sum(summary.skipped.values()) == lost
    assert set(summary.skipped) <= {
        f"probabilities: {reason}" for reason in ("guard", "warm-up", "no usable window")
    }


def test_blinded_samples_at_the_start_are_counted_as_warm_up() -> None:
    summary = Summary()
    how = Setting(blinding=(10, 10), horizon=30)
    ones = np.ones(LENGTH, dtype=np.bool_)
    stacked(how.stacker(summary), [output(index, ones) for index in range(5)])
    assert summary.skipped["probabilities: warm-up"] == 30
