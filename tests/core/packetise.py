"""Help for tests of packet invariance: cutting, arrival orders, gaps, runs, comparisons.

"Legal" arrival orders are those in which no sample is late: when a push begins, nothing in it is
older than the instrument's newest sample minus the lateness.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from obspy import Trace, UTCDateTime
from scipy import signal

from ml_prediction.core.outcome import Result
from ml_prediction.core.packets import Packet, packets_from_trace
from ml_prediction.core.pipeline import Pipeline
from ml_prediction.core.preprocessing import Preprocessor
from ml_prediction.core.results import Detection, Pick
from ml_prediction.core.summary import Summary
from ml_prediction.core.traces import Fragment
from ml_prediction.core.windows import Window
from ml_prediction.models import Ensemble, Model, ModelSpec, Normalisation
from ml_prediction.util.codes import NSLC, Instrument
from ml_prediction.util.times import NANOSECONDS, to_ns, to_utc

Pushes = list[list[Packet]]
Rng = np.random.Generator
Floats = npt.NDArray[np.float64]

START_NS = 1_400_000_000 * NANOSECONDS  # a whole second, on the grid of every model
LATENESS = 10.0

# -- packets ------------------------------------------------------------------------------------


def packets_of(stream: Iterable[Trace]) -> list[Packet]:
    """One packet for each trace."""
    return [packet for trace in stream for packet in packets_from_trace(trace)]


def channels_of(packets: Iterable[Packet]) -> set[NSLC]:
    return {packet.nslc for packet in packets}


def make_packet(
    samples: npt.ArrayLike,
    channel: str = "HHZ",
    *,
    start_ns: int = START_NS,
    rate: float = 100.0,
    station: str = "ABC",
    location: str = "",
) -> Packet:
    nslc = NSLC("XX", station, location, channel)
    return Packet(nslc, start_ns, rate, np.asarray(samples))


def noise_with_pulses(
    rng: Rng, seconds: float, rate: float, every: float = 4.0, pulse: float = 0.3
) -> Floats:
    """White noise with strong, decaying 3-Hz pulses ``every`` so many seconds."""
    times = np.arange(round(seconds * rate)) / rate
    samples = rng.normal(0.0, 100.0, len(times))
    for onset in np.arange(every / 2, seconds, every):
        after = np.clip(times - onset, 0.0, None)
        samples += 3000.0 * np.exp(-after / pulse) * np.sin(2 * np.pi * 3.0 * after)
    return np.round(samples)


def three_components(
    rng: Rng,
    seconds: float,
    rate: float = 100.0,
    *,
    start_ns: int = START_NS,
    station: str = "ABC",
    letters: str = "ZNE",
) -> list[Packet]:
    """One long packet for each component of an instrument."""
    return [
        make_packet(
            noise_with_pulses(rng, seconds, rate),
            "HH" + letter,
            start_ns=start_ns,
            rate=rate,
            station=station,
        )
        for letter in letters
    ]


def between(packet: Packet, start: float, stop: float) -> Packet:
    """Samples from ``start`` to ``stop`` seconds after the packet's first sample."""
    rate = packet.sampling_rate
    return packet.slice(round(start * rate), min(round(stop * rate), len(packet)))


def without(packet: Packet, gaps: Iterable[tuple[float, float]]) -> list[Packet]:
    """What is left of a packet without gaps (seconds from its start, seconds long)."""
    keep = np.ones(len(packet), dtype=np.bool_)
    for start, length in gaps:
        first = round(start * packet.sampling_rate)
        keep[first : first + round(length * packet.sampling_rate)] = False
    edges = np.flatnonzero(np.diff(keep, prepend=False, append=False))
    return [packet.slice(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def contradicting(packet: Packet) -> Packet:
    """The same time, other values."""
    return replace(packet, samples=packet.samples.astype(np.float64) + 1.0)


def with_gaps(
    packets: Iterable[Packet], rng: Rng, count: int = 4, longest: float = 8.0
) -> list[Packet]:
    """Gaps of 0.02 s and more at random places, others on every channel."""
    result = []
    for packet in packets:
        seconds = len(packet) / packet.sampling_rate
        lengths = np.exp(rng.uniform(math.log(0.02), math.log(longest), count))
        result += without(packet, zip(rng.uniform(0, seconds, count), lengths, strict=True))
    return result


def upsampled(packets: Iterable[Packet], factor: int = 2) -> list[Packet]:
    """The same data at a higher rate."""
    return [
        replace(
            packet,
            sampling_rate=packet.sampling_rate * factor,
            samples=np.round(signal.resample_poly(packet.samples.astype(np.float64), factor, 1)),
        )
        for packet in packets
    ]


def cut(
    packets: Iterable[Packet], rng: Rng, *, longest: int = 6000, repeats: float = 0.1
) -> list[Packet]:
    """Pieces of 1 to ``longest`` samples, and now and then a duplicate of what was cut last."""
    pieces = []
    for packet in packets:
        start = 0
        while start < len(packet):
            size = int(np.exp(rng.uniform(0.0, math.log(longest + 1))))
            stop = min(len(packet), start + size)
            pieces.append(packet.slice(start, stop))
            if rng.random() < repeats:
                pieces.append(
                    packet.slice(max(0, stop - int(rng.integers(1, min(longest, 500)))), stop)
                )
            start = stop
    return pieces


def arrivals(packets: Iterable[Packet], rng: Rng, lateness: float = LATENESS) -> Pushes:
    """A random order of arrival, in random pushes, in which no sample is late."""
    allowed_ns = round(lateness * NANOSECONDS)
    waiting: dict[Instrument, list[Packet]] = {}
    for packet in sorted(packets, key=lambda p: p.start_ns):
        waiting.setdefault(packet.nslc.instrument, []).append(packet)
    pushes: Pushes = []
    while waiting:
        instrument = list(waiting)[int(rng.integers(len(waiting)))]
        group = _next_group(waiting[instrument], allowed_ns, rng)
        if not waiting[instrument]:
            del waiting[instrument]
        if pushes and rng.random() < 0.3:
            pushes[-1].extend(group)
        else:
            pushes.append(group)
    for push in pushes:
        rng.shuffle(push)  # type: ignore[arg-type]
    return pushes


def _next_group(queue: list[Packet], allowed_ns: int, rng: Rng) -> list[Packet]:
    """Take one packet after which none of the others is late, or the fewest that must go along."""
    ahead = queue[:12]
    legal = [
        position
        for position, packet in enumerate(ahead)
        if packet.end_ns - allowed_ns
        <= min((q.start_ns for q in ahead[:2] if q is not packet), default=packet.end_ns)
    ]
    if legal:
        return [queue.pop(legal[int(rng.integers(len(legal)))])]
    group = [queue.pop(0)]
    while queue and queue[0].start_ns < max(p.end_ns for p in group) - allowed_ns:
        group.append(queue.pop(0))
    return group


def in_time_order(packets: Iterable[Packet], seconds: float) -> Pushes:
    """Pushes of all channels together, so many seconds each, as a source hands them over."""
    packets = list(packets)
    step = round(seconds * NANOSECONDS)
    begin = min(p.start_ns for p in packets)
    end = max(p.end_ns for p in packets)
    pushes = []
    for low in range(begin, end + 1, step):
        push = []
        for packet in packets:
            rate = packet.sampling_rate
            first = max(0, math.ceil((low - packet.start_ns) / NANOSECONDS * rate - 1e-6))
            last = math.ceil((low + step - packet.start_ns) / NANOSECONDS * rate - 1e-6)
            if first < min(last, len(packet)):
                push.append(packet.slice(first, min(last, len(packet))))
        pushes.append(push)
    return pushes


# -- runs ---------------------------------------------------------------------------------------


@dataclass
class Outcome:
    """Everything that came out of a pipeline."""

    picks: list[Pick] = field(default_factory=list)
    detections: list[Detection] = field(default_factory=list)
    fragments: list[Fragment] = field(default_factory=list)
    late: list[Packet] = field(default_factory=list)
    summary: Summary = field(default_factory=Summary)

    def add(self, part: Result) -> None:
        self.picks += part.picks
        self.detections += part.detections
        self.fragments += part.fragments
        self.late += part.late
        self.summary = part.summary


def run(
    model: Model | Ensemble | Sequence[Model | Ensemble], pushes: Pushes, **options: Any
) -> Outcome:
    """Push all, flush, collect."""
    pipeline = Pipeline(model, **options)
    outcome = Outcome()
    for push in pushes:
        outcome.add(pipeline.push(push))
    outcome.add(pipeline.flush())
    return outcome


@dataclass
class Windows:
    """What came out of a preprocessor."""

    arrays: dict[tuple[str, int], tuple[bytes, bytes]] = field(default_factory=dict)
    late: list[Packet] = field(default_factory=list)
    summary: Summary = field(default_factory=Summary)


def windows(
    spec: ModelSpec,
    pushes: Pushes,
    *,
    stride: int | None = None,
    expected: Iterable[NSLC] = (),
    lateness: float = LATENESS,
) -> Windows:
    """Preprocess only: every window as its bytes."""
    stage = Preprocessor(spec, stride=stride or spec.stride, lateness=lateness, expected=expected)
    result = Windows(summary=stage.summary)

    def collect(items: Iterator[Any]) -> None:
        for item in items:
            if isinstance(item, Window):
                key = (str(item.instrument), item.index)
                assert key not in result.arrays, "a window came out twice"
                result.arrays[key] = (item.data.tobytes(), item.mask.tobytes())

    for push in pushes:
        items, late = stage.add(push)
        collect(items)
        result.late += late
    collect(stage.flush())
    return result


# -- comparisons --------------------------------------------------------------------------------


def assert_same_windows(one: Windows, other: Windows) -> None:
    """Bit for bit."""
    assert not one.late
    assert not other.late
    assert sorted(one.arrays) == sorted(other.arrays)
    differing = [key for key, value in one.arrays.items() if other.arrays[key] != value]
    assert not differing, f"{len(differing)} of {len(one.arrays)} windows, e.g. {differing[0]}"


def assert_same(one: Outcome, other: Outcome) -> None:
    """As invariant I1 says."""
    assert not one.late
    assert not other.late
    assert_same_probabilities(one.fragments, other.fragments)
    assert_same_picks(one.picks, other.picks)
    assert_same_detections(one.detections, other.detections)


def assert_same_picks(one: Sequence[Pick], other: Sequence[Pick]) -> None:
    """The same set of ids; times to 1 ms; what the waveform says is equal."""
    first, second = {p.id: p for p in one}, {p.id: p for p in other}
    assert len(first) == len(one), "a pick came out twice"
    assert len(second) == len(other), "a pick came out twice"
    assert sorted(first) == sorted(second)
    for pick_id, a in first.items():
        b = second[pick_id]
        assert a.channel == b.channel, pick_id
        assert abs(a.time - b.time) <= 1e-3, pick_id
        assert (a.peak_time, a.onset, a.end) == (b.peak_time, b.onset, b.end), pick_id
        assert abs(a.probability - b.probability) <= 1e-5, pick_id
        assert abs(a.sigma - b.sigma) <= 1e-3, pick_id
        assert a.coverage == b.coverage, pick_id
        if round((a.time - a.peak_time) * 100) == round((b.time - b.peak_time) * 100):
            np.testing.assert_equal((a.amplitude, a.snr), (b.amplitude, b.snr), err_msg=pick_id)
            assert a.polarity == b.polarity, pick_id


def assert_same_detections(one: Sequence[Detection], other: Sequence[Detection]) -> None:
    """The same intervals with the same picks; the peak of a plateau may be tied."""

    def rows(items: Sequence[Detection]) -> list[tuple[Any, ...]]:
        return sorted(
            (d.network, d.station, d.location, d.channel, d.onset.ns, d.end.ns, d.pick_ids)
            for d in items
        )

    assert rows(one) == rows(other)


def assert_same_probabilities(one: Sequence[Fragment], other: Sequence[Fragment]) -> None:
    """To 1e-5, with the same NaN, over the same times."""
    first, second = joined(one), joined(other)
    assert sorted(first) == sorted(second)
    for instrument, (times, values) in first.items():
        other_times, other_values = second[instrument]
        np.testing.assert_array_equal(times, other_times, err_msg=instrument)
        np.testing.assert_allclose(
            values, other_values, rtol=0, atol=1e-5, equal_nan=True, err_msg=instrument
        )


def joined(
    fragments: Iterable[Fragment],
) -> dict[str, tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]]:
    """By instrument: times in ns, shape (sample,), and values, shape (label, sample)."""
    groups: dict[str, list[Fragment]] = {}
    for fragment in sorted(fragments, key=lambda f: f.start):
        groups.setdefault(str(fragment.instrument), []).append(fragment)
    result = {}
    for instrument, parts in groups.items():
        steps = [
            np.round(np.arange(p.values.shape[1]) * NANOSECONDS / p.sampling_rate) for p in parts
        ]
        times = np.concatenate(
            [p.start_ns + s.astype(np.int64) for p, s in zip(parts, steps, strict=True)]
        )
        stops = [p.start + p.values.shape[1] for p in parts]
        assert all(b.start >= stop for b, stop in zip(parts[1:], stops, strict=False)), instrument
        result[instrument] = (times, np.concatenate([p.values for p in parts], axis=1))
    return result


def probabilities_at(
    outcome: Outcome, instrument: str, times: Iterable[UTCDateTime | int]
) -> npt.NDArray[np.float32]:
    """Values, shape (label, time), at the samples nearest to some times; NaN where none is."""
    grid, values = joined(outcome.fragments)[instrument]
    columns = []
    for time in times:
        time_ns = time if isinstance(time, int) else to_ns(time)
        nearest = int(np.abs(grid - time_ns).argmin())
        near = abs(int(grid[nearest]) - time_ns) <= 6_000_000
        columns.append(values[:, nearest] if near else np.full(len(values), np.nan))
    return np.asarray(np.stack(columns, axis=1), dtype=np.float32)


def utc(seconds: float) -> UTCDateTime:
    """So many seconds after START_NS."""
    return to_utc(START_NS + round(seconds * NANOSECONDS))


# -- a model that costs nothing -----------------------------------------------------------------


class EnergyEngine:
    """Probabilities from smoothed energy: cheap, deterministic, the same in every batch.

    Labels: Detection (all components, long average), P (vertical), S (horizontals).
    """

    def __init__(self, components: str = "ENZ") -> None:
        self._vertical = components.index("Z")
        self.batches: list[int] = []

    def __call__(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        self.batches.append(len(batch))
        energy = batch.astype(np.float64) ** 2
        vertical = energy[:, self._vertical]
        everything = energy.sum(axis=1)
        rows = [_smooth(everything, 40), _smooth(vertical, 8), _smooth(everything - vertical, 8)]
        return np.asarray(np.stack([1 - np.exp(-row / 5) for row in rows], axis=1), np.float32)


def _smooth(values: Floats, half: int) -> Floats:
    """Centred mean over 2 half + 1 samples, one row at a time; shape (window, sample)."""
    kernel = np.ones(2 * half + 1) / (2 * half + 1)
    return np.stack([np.convolve(row, kernel, mode="same") for row in values])


def fake_spec(**changes: Any) -> ModelSpec:
    """A tiny model's spec: windows of 2 s at 100 Hz."""
    values: dict[str, Any] = {
        "name": "Energy",
        "weights": "none",
        "weights_sha256": "00" * 32,
        "sampling_rate": 100.0,
        "in_samples": 200,
        "components": "ENZ",
        "labels": ("Detection", "P", "S"),
        "blinding": (0, 0),
        "stacking": "mean",
        "stride": 100,
        "thresholds": {"Detection": 0.5, "P": 0.5, "S": 0.5},
        "normalisation": Normalisation("std", taper=6),
    }
    return ModelSpec(**(values | changes))


def fake_model(**changes: Any) -> Model:
    spec = fake_spec(**changes)
    return Model(spec, EnergyEngine(spec.components))
