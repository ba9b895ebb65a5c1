"""One channel, from pieces in any order to samples on the model's grid.

At the model's own rate nothing is resampled, so every sample can be told by its value.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from ml_prediction.core.channel import FOREVER, Channel
from ml_prediction.core.filters import design
from ml_prediction.core.grid import time_of
from ml_prediction.core.pending import Piece
from ml_prediction.core.state import from_bytes, to_bytes
from ml_prediction.core.summary import Summary
from ml_prediction.models.spec import FilterSpec
from ml_prediction.util.codes import NSLC
from ml_prediction.util.times import NANOSECONDS

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

CODE = NSLC("UW", "GNW", "", "HHZ")
RATE = Fraction(100)
SECOND = NANOSECONDS
BEGIN = 170_000_000_000  # index of the first sample on the model's grid
BEGIN_NS = 1_700_000_000 * SECOND
LENGTH = 4000
RECORDING = np.random.default_rng(2).integers(-100_000, 100_000, LENGTH).astype(np.int32)


def make_channel(sections: Floats | None = None, lateness: float = 10.0) -> Channel:
    return Channel(CODE, RATE, sections, "linear", round(lateness * SECOND), Summary())


def piece(start: int, values: npt.ArrayLike, rate: Fraction = RATE, shift_ns: int = 0) -> Piece:
    """Values from sample ``start`` of the recording on."""
    first = BEGIN_NS // SECOND * rate
    return Piece(time_of(int(first) + start, rate) + shift_ns, rate, np.asarray(values))


def recorded(start: int, stop: int) -> Piece:
    return piece(start, RECORDING[start:stop])


def finish(channel: Channel, start: int = 0, stop: int = LENGTH) -> tuple[Floats, Flags]:
    """Let everything settle and read it."""
    channel.advance(BEGIN + stop, FOREVER)
    return channel.read(BEGIN + start, BEGIN + stop)


def settled(*pieces: Piece) -> tuple[Floats, Flags]:
    channel = make_channel()
    for item in pieces:
        channel.add(item)
    return finish(channel)


def expected(known: Flags) -> tuple[Floats, Flags]:
    """What the rules say of a recording of which only some samples are known."""
    values, valid = np.where(known, RECORDING, 0).astype(np.float64), known.copy()
    last = None
    for n in np.flatnonzero(known):
        if last is not None and 1 < n - last <= 21:  # up to 20 missing samples are 0.2 s
            for m in range(last + 1, n):
                share = (m - last) / (n - last)
                values[m] = RECORDING[last] + (float(RECORDING[n]) - RECORDING[last]) * share
                valid[m] = True
        last = n
    return values, valid


def assert_same(found: tuple[Floats, Flags], wanted: tuple[Floats, Flags]) -> None:
    np.testing.assert_array_equal(found[1], wanted[1])
    np.testing.assert_allclose(found[0][found[1]], wanted[0][wanted[1]], rtol=0, atol=1e-9)


def assert_bit_equal(found: tuple[Floats, Flags], wanted: tuple[Floats, Flags]) -> None:
    assert found[0].tobytes() == wanted[0].tobytes()
    assert found[1].tobytes() == wanted[1].tobytes()


# -- order and cutting ----------------------------------------------------------------------------


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[Flags, list[tuple[int, int]]]:
    """A recording with gaps, cut into pieces with repetitions, in an order within 9 s."""
    known = np.ones(LENGTH, dtype=np.bool_)
    for start in draw(st.lists(st.integers(1, LENGTH - 200), max_size=6)):
        known[start : start + draw(st.sampled_from([1, 5, 19, 20, 21, 22, 60, 150]))] = False
    cuts = set(draw(st.lists(st.integers(1, LENGTH - 1), max_size=40))) | {0, LENGTH}
    cuts |= set(range(0, LENGTH, 97))
    cuts |= set((np.flatnonzero(np.diff(known)) + 1).tolist())
    edges = sorted(cuts)
    spans = [(a, b) for a, b in pairwise(edges) if known[a]]
    spans += [
        (max(a - draw(st.integers(0, 90)), 0), b)
        for a, b in draw(st.lists(st.sampled_from(spans), max_size=6))
    ]
    spans = [(a, b) for a, b in spans if known[a:b].all()]
    delays = [draw(st.integers(0, 800)) for _ in spans]
    order = sorted(range(len(spans)), key=lambda n: spans[n][0] + delays[n])
    return known, [spans[n] for n in order]


@settings(derandomize=True, deadline=None, max_examples=60)
@given(deliveries())
def test_any_cutting_and_order_gives_what_the_rules_say(
    delivery: tuple[Flags, list[tuple[int, int]]],
) -> None:
    known, spans = delivery
    streamed = make_channel()
    newest = 0
    for start, stop in spans:
        streamed.add(recorded(start, stop))
        newest = max(newest, stop - 1)
        streamed.advance(BEGIN + newest, BEGIN_NS + newest * SECOND // 100)
    found = finish(streamed)
    assert_same(found, expected(known))
    assert_bit_equal(found, settled(*(recorded(*span) for span in reversed(spans))))


@settings(derandomize=True, deadline=None, max_examples=15)
@given(
    st.sampled_from([Fraction(40), Fraction(125, 2), Fraction(200), Fraction(250)]),
    st.lists(st.integers(1, 3999), max_size=20),
    st.integers(-20, 70),
    st.randoms(use_true_random=False),
)
def test_resampled_and_filtered_samples_depend_on_no_cut(
    rate: Fraction, cuts: list[int], hundredths: int, random: object
) -> None:
    shift = round(hundredths * SECOND / 100 / rate)
    sections = design(FilterSpec("bandpass", 1.0, 45.0), 100.0)
    whole, streamed = make_channel(sections), make_channel(sections)
    whole.add(piece(0, RECORDING, rate, shift))
    stop = int(LENGTH / rate * 100)
    wanted = finish(whole, -50, stop + 50)
    edges = sorted({0, LENGTH, 2500, *cuts})
    for start, end in pairwise(edges):
        part = piece(0, RECORDING, rate, shift).cut(start, end)
        streamed.add(part)
        streamed.advance(BEGIN + int(end / rate * 100), part.stop_ns)
    assert_bit_equal(finish(streamed, -50, stop + 50), wanted)
    assert wanted[1].sum() in {stop, stop + 1}


def test_contiguous_data_waits_for_nobody() -> None:
    channel = make_channel()
    channel.add(recorded(0, 1100))
    assert channel.advance(BEGIN + LENGTH, BEGIN_NS + 11 * SECOND) == BEGIN + 1100
    channel.add(recorded(1100, 1101))
    assert channel.advance(BEGIN + LENGTH, BEGIN_NS + 11 * SECOND) == BEGIN + 1101


def test_a_gap_waits_for_the_lateness_and_no_longer() -> None:
    channel = make_channel()
    channel.add(recorded(0, 1500))
    channel.add(recorded(1600, 2900))
    assert channel.advance(BEGIN + LENGTH, BEGIN_NS + 25 * SECOND) == BEGIN + 1500
    front = channel.advance(BEGIN + LENGTH, BEGIN_NS + 25_990_000_000)
    assert BEGIN + 1500 <= front < BEGIN + 1600
    assert channel.advance(BEGIN + LENGTH, BEGIN_NS + 26 * SECOND) == BEGIN + 2900


def test_data_that_come_in_time_close_a_gap() -> None:
    channel = make_channel()
    for span in ((0, 1500), (1600, 2400), (1500, 1600), (2400, LENGTH)):
        channel.add(recorded(*span))
        channel.advance(BEGIN + span[1], BEGIN_NS + span[1] * SECOND // 100)
    assert_same(finish(channel), expected(np.ones(LENGTH, dtype=np.bool_)))


@pytest.mark.parametrize("target", [1, 100, 2000])
def test_a_long_piece_goes_in_by_parts_and_comes_out_whole(target: int) -> None:
    values = np.random.default_rng(3).integers(-1000, 1000, 100_000)
    channel = make_channel()
    channel.add(piece(0, values))
    front = channel.advance(BEGIN + target, FOREVER)
    assert BEGIN + target <= front < BEGIN + target + 10_000
    found, valid = finish(channel, 0, 100_000)
    assert valid.all()
    np.testing.assert_array_equal(found, values)


# -- overlaps -------------------------------------------------------------------------------------


def test_agreeing_duplicates_are_free_and_counted() -> None:
    channel = make_channel()
    for span in ((0, 2000), (1500, 3000), (1600, 1700), (3000, LENGTH)):
        channel.add(recorded(*span))
    assert_same(finish(channel), expected(np.ones(LENGTH, dtype=np.bool_)))
    assert channel.summary.skipped == {"samples: duplicate": 600}


def test_a_duplicate_of_settled_samples_is_counted_too() -> None:
    channel = make_channel()
    channel.add(recorded(0, 2000))
    channel.advance(BEGIN + 2000, BEGIN_NS + 20 * SECOND)
    channel.add(recorded(1000, LENGTH))
    assert_same(finish(channel), expected(np.ones(LENGTH, dtype=np.bool_)))
    assert channel.summary.skipped == {"samples: duplicate": 1000}


@pytest.mark.parametrize("count", [2, 20])
def test_a_short_disagreement_is_interpolated(count: int) -> None:
    channel = make_channel()
    channel.add(recorded(0, LENGTH))
    channel.add(piece(2000, RECORDING[2000 : 2000 + count] + 1))
    known = np.ones(LENGTH, dtype=np.bool_)
    known[2000 : 2000 + count] = False
    assert_same(finish(channel), expected(known))
    assert channel.summary.skipped == {"samples: disagree": count}


def test_a_long_disagreement_is_a_gap() -> None:
    other = piece(2000, RECORDING[2000:2021] + 1)
    known = np.ones(LENGTH, dtype=np.bool_)
    known[2000:2021] = False
    assert_same(settled(recorded(0, LENGTH), other), expected(known))
    assert_same(settled(other, recorded(0, LENGTH)), expected(known))


def test_a_disagreement_at_the_first_and_last_samples_is_missing() -> None:
    known = np.ones(LENGTH, dtype=np.bool_)
    known[:50] = known[-50:] = False
    first, last = piece(0, RECORDING[:50] + 1), piece(LENGTH - 50, RECORDING[-50:] + 1)
    assert_same(settled(recorded(0, LENGTH), first, last), expected(known))


def test_what_was_processed_first_stays() -> None:
    channel = make_channel()
    channel.add(recorded(0, 2000))
    channel.advance(BEGIN + 2000, BEGIN_NS + 20 * SECOND)
    channel.add(piece(1500, RECORDING[1500:2000] + 1))
    channel.add(recorded(2000, LENGTH))
    assert_same(finish(channel), expected(np.ones(LENGTH, dtype=np.bool_)))


def test_much_disagreement_warns_once_and_names_the_channel(
    caplog: pytest.LogCaptureFixture,
) -> None:
    channel = make_channel()
    for start in (1000, 2500):
        channel.add(piece(start, RECORDING[start : start + 300] + 1))
    channel.add(recorded(0, LENGTH))
    finish(channel)
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 1
    assert str(CODE) in messages[0]
    assert "time shift" in messages[0]


@pytest.mark.parametrize(
    ("overlap", "differing", "warned"),
    [(99, 99, False), (100, 100, False), (101, 101, True), (300, 150, False), (300, 151, True)],
)
def test_only_overlaps_of_over_a_second_that_mostly_differ_are_warned_of(
    overlap: int, differing: int, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    channel = make_channel()
    other = RECORDING[1000 : 1000 + overlap].copy()
    other[:differing] += 1
    channel.add(piece(1000, other))
    channel.add(recorded(0, LENGTH))
    finish(channel)
    assert bool(caplog.records) is warned


# -- slips and gaps -------------------------------------------------------------------------------


@pytest.mark.parametrize("settle", [False, True])
def test_an_overlap_of_one_sample_is_a_slip_and_the_earlier_packet_wins(settle: bool) -> None:
    channel = make_channel()
    channel.add(recorded(0, 2000))
    if settle:
        channel.advance(BEGIN + 2000, BEGIN_NS + 20 * SECOND)
    later = RECORDING[1999:].copy()
    later[0] += 5
    channel.add(piece(1999, later))
    assert_same(finish(channel), expected(np.ones(LENGTH, dtype=np.bool_)))
    assert channel.summary.notes == {"slip": 1}
    assert not channel.summary.skipped


def test_a_slip_does_not_depend_on_when_it_was_processed() -> None:
    """Samples in packets of one, as slow telemetry may send them."""
    later = RECORDING[1999:].copy()
    later[0] += 5
    drift_ns = round(0.45 * SECOND / RATE)  # both are nearest to sample 1999
    early = piece(1999, RECORDING[1999:2000], shift_ns=-drift_ns)
    pieces = [recorded(0, 1999), early, piece(1999, later, shift_ns=drift_ns)]
    channel = make_channel()
    for item in pieces:
        channel.add(item)
        channel.advance(BEGIN + LENGTH, max(item.stop_ns, BEGIN_NS + 20 * SECOND))
    assert_bit_equal(settled(*pieces), finish(channel))


def test_a_gap_of_one_sample_is_a_slip_and_interpolated() -> None:
    channel = make_channel()
    channel.add(recorded(0, 2000))
    channel.add(recorded(2001, LENGTH))
    known = np.ones(LENGTH, dtype=np.bool_)
    known[2000] = False
    assert_same(finish(channel), expected(known))
    assert channel.summary.notes == {"slip": 1}


@pytest.mark.parametrize(
    ("rate", "longest"),
    [(100, 20), (20, 4), (40, 8), (Fraction(125, 2), 12), (128, 25), (500, 100)],
)
def test_a_gap_of_a_fifth_of_a_second_is_closed_and_a_longer_one_not(
    rate: int | Fraction, longest: int
) -> None:
    rate = Fraction(rate)
    middle = int(rate * 10)
    for missing in (longest, longest + 1):
        channel = make_channel()
        channel.add(piece(0, np.ones(middle), rate))
        channel.add(piece(middle + missing, np.ones(middle), rate))
        valid = finish(channel, 0, 2000)[1]
        assert bool(valid.all()) is (missing == longest)
        assert channel.offset_changes(BEGIN, BEGIN + 2000) == [] or missing > longest


def test_a_gap_is_interpolated_at_the_input_rate_before_resampling() -> None:
    rate = Fraction(200)
    values = np.random.default_rng(5).normal(0, 1, 4000)
    filled = values.copy()
    filled[2000:2030] = values[1999] + (values[2030] - values[1999]) * np.arange(1, 31) / 31
    gappy, whole = make_channel(), make_channel()
    gappy.add(piece(0, values[:2000], rate))
    gappy.add(piece(2030, values[2030:], rate))
    whole.add(piece(0, filled, rate))
    np.testing.assert_allclose(finish(gappy)[0], finish(whole)[0], atol=1e-12)


def test_the_filter_starts_anew_after_long_gaps_only() -> None:
    sections = design(FilterSpec("bandpass", 1.0, 45.0), 100.0)

    def reference(values: Floats) -> Floats:
        state = signal.sosfilt_zi(sections) * values[0]
        return np.asarray(signal.sosfilt(sections, values, zi=state)[0])

    known = np.ones(LENGTH, dtype=np.bool_)
    known[1000:1015] = known[2000:2100] = False
    channel = make_channel(sections)
    for span in ((0, 1000), (1015, 2000), (2100, LENGTH)):
        channel.add(recorded(*span))
    found, valid = finish(channel)
    values, wanted = expected(known)
    np.testing.assert_array_equal(valid, wanted)
    np.testing.assert_allclose(found[:2000], reference(values[:2000]), atol=1e-6)
    np.testing.assert_allclose(found[2100:], reference(values[2100:]), atol=1e-6)
    unfiltered, _ = channel.read_unfiltered(BEGIN, BEGIN + LENGTH)
    np.testing.assert_allclose(unfiltered[valid], values[valid], atol=1e-9)


# -- rates and offsets ----------------------------------------------------------------------------


def test_a_change_of_rate_is_a_gap_without_missing_samples() -> None:
    channel = make_channel()
    channel.add(piece(0, np.full(1000, 5.0)))
    channel.add(piece(500, np.full(1000, 7.0), Fraction(50)))  # 10 s
    found, valid = finish(channel, 0, 3000)
    assert valid.all()
    np.testing.assert_array_equal(found[:1000], 5.0)
    np.testing.assert_allclose(found[1000:], 7.0, rtol=1e-13)
    assert channel.offset_changes(BEGIN, BEGIN + 3000) == [BEGIN + 1000]


@pytest.mark.parametrize("rate", [Fraction(100), Fraction(40), Fraction(125, 2), Fraction(200)])
@pytest.mark.parametrize("hundredths", [-25, -10, 0, 1, 30, 50, 74])
def test_the_offset_of_a_channel_is_given_back(rate: Fraction, hundredths: int) -> None:
    shift_ns = round(Fraction(hundredths, 100) / rate * SECOND)
    channel = make_channel()
    channel.add(piece(0, np.zeros(2000), rate, shift_ns))
    finish(channel)
    assert channel.offset_ns(BEGIN + 500) == pytest.approx(shift_ns, abs=1)


def test_each_segment_has_its_own_offset_and_gaps_have_none() -> None:
    channel = make_channel()
    channel.add(piece(0, np.zeros(1000), shift_ns=2_000_000))
    channel.add(piece(1100, np.zeros(1000), shift_ns=5_000_000))
    finish(channel)
    assert channel.offset_ns(BEGIN - 1) is None
    assert channel.offset_ns(BEGIN + 999) == 2_000_000
    assert channel.offset_ns(BEGIN + 1050) is None
    assert channel.offset_ns(BEGIN + 1100) == 5_000_000
    assert channel.offset_ns(BEGIN + 2100) is None
    assert channel.offset_changes(BEGIN, BEGIN + 2100) == [BEGIN + 1000, BEGIN + 1100]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("error", [5e-5, -5e-5])
def test_a_drifting_clock_slips_and_loses_nothing(error: float, streamed: bool) -> None:
    """A digitiser 5e-5 slow or fast: every 20,000 samples one is missing or too many."""
    channel = make_channel()
    step_ns = SECOND / 100 * (1 + error)
    for first in range(0, 60_000, 100):
        start_ns = BEGIN_NS + round(first * step_ns)
        channel.add(Piece(start_ns, RATE, np.arange(first, first + 100)))
        if streamed:
            channel.advance(BEGIN + first, start_ns + SECOND)
    found, valid = finish(channel, 0, 59_900)
    assert valid.all()
    assert set(np.diff(found).round(3)) <= {0.5, 1.0, 2.0}
    assert channel.summary.notes == {"slip": 3}
    assert not channel.summary.skipped


# -- memory and state -----------------------------------------------------------------------------


def test_released_samples_are_forgotten_and_later_ones_kept() -> None:
    channel = make_channel()
    channel.add(recorded(0, LENGTH))
    finish(channel)
    channel.release(BEGIN + 3000)
    found, valid = channel.read(BEGIN, BEGIN + LENGTH)
    assert not valid[:1000].any()
    assert valid[3000:].all()
    np.testing.assert_array_equal(found[3000:], RECORDING[3000:])
    assert channel.offset_ns(BEGIN + 3500) == 0


def test_memory_does_not_grow_with_time() -> None:
    channel = make_channel()
    sizes = []
    for minute in range(60):
        start = minute * 6000
        # a gap each minute, so that segments would pile up too
        channel.add(piece(start, np.ones(5900)))
        channel.advance(BEGIN + start + 5900, BEGIN_NS + (start + 5900) * SECOND // 100)
        channel.release(BEGIN + start - 6000)
        sizes.append(len(to_bytes(channel.snapshot())))
    assert max(sizes[30:]) <= 1.05 * max(sizes[10:30])


@settings(derandomize=True, deadline=None, max_examples=25)
@given(deliveries(), st.integers(0, 60))
def test_a_snapshot_at_any_moment_changes_nothing(
    delivery: tuple[Flags, list[tuple[int, int]]], at: int
) -> None:
    _, spans = delivery
    channels = [make_channel(), make_channel()]
    newest = 0
    for number, (start, stop) in enumerate(spans):
        newest = max(newest, stop - 1)
        for channel in channels:
            channel.add(recorded(start, stop))
            channel.advance(BEGIN + newest, BEGIN_NS + newest * SECOND // 100)
        if number == at:
            state = from_bytes(to_bytes(channels[1].snapshot()))
            channels[1] = make_channel()
            channels[1].restore(state)
    assert_bit_equal(finish(channels[1]), finish(channels[0]))
