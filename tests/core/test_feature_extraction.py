"""What picks and detections say, from probabilities and waveforms that are known exactly."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from core.packetise import EnergyEngine, Outcome, channels_of, fake_spec, make_packet, run
from obspy import Trace, UTCDateTime

from ml_prediction import __version__
from ml_prediction.config import PipelineConfig
from ml_prediction.core.channel import FOREVER
from ml_prediction.core.description import Describer
from ml_prediction.core.feature_extraction import FeatureExtractor
from ml_prediction.core.history import Recording
from ml_prediction.core.postprocessing import Chunk
from ml_prediction.core.results import Pick
from ml_prediction.core.run import pick
from ml_prediction.models import Model
from ml_prediction.models.spec import FilterSpec
from ml_prediction.util.codes import Instrument
from ml_prediction.util.times import to_ns

Floats = npt.NDArray[np.float64]

WHO = Instrument("XX", "ABC", "", "HH")
RATE = 100.0
BEGIN = 140_000_000_000  # index of the first sample
START_NS = BEGIN * 10**7
OFFSET_NS = 3_200_000  # of the data from the grid
LOOSE = (1.0, 2.0, 3.0, 4.0)  # with these limits every good fit has quality 0


@dataclass
class Recorded:
    vertical: Floats = field(default_factory=lambda: np.zeros(1))  # from BEGIN on
    until: int = FOREVER  # before this, all is final

    def front(self, instrument: Instrument) -> int:
        return self.until

    def waveform(
        self, instrument: Instrument, component: str, start: int, stop: int
    ) -> Recording | None:
        indices = np.arange(start, stop) - BEGIN
        valid = (indices >= 0) & (indices < len(self.vertical))
        samples = np.where(valid, self.vertical[indices * valid], 0.0)
        return Recording("HH" + component, samples, valid) if component == "Z" else None

    def offset_ns(self, instrument: Instrument, index: int) -> int:
        return OFFSET_NS


def extract(
    rows: dict[str, Floats],
    waveforms: Recorded | None = None,
    *,
    quality: tuple[float, ...] = LOOSE,
    piece: int = 10**9,
    flush: bool = True,
    **changes: Any,
) -> Outcome:
    """Picks of probabilities by label, which come ``piece`` samples at a time."""
    spec, found = fake_spec(**changes), Outcome()
    extractor = FeatureExtractor(
        spec,
        thresholds=spec.thresholds,
        describer=Describer(spec, quality=quality, waveforms=waveforms or Recorded()),
        summary=found.summary,
    )
    size = len(next(iter(rows.values())))
    table = np.stack([rows.get(label, np.zeros(size)) for label in spec.labels])
    parts = []
    for low in range(0, size, piece):
        values = table[:, low : low + piece].astype(np.float32)
        parts.append(extractor.add([Chunk(WHO, BEGIN + low, values, ~np.isnan(values[0]))]))
    parts += [extractor.flush()] if flush else []
    found.picks = [item for picks, _ in parts for item in picks]
    found.detections = [item for _, detections in parts for item in detections]
    return found


def bump(centre: float, width: float = 0.1, height: float = 0.9, size: int = 1000) -> Floats:
    """A scaled normal: ``centre`` in samples, ``width`` in seconds."""
    return np.asarray(height * np.exp(-0.5 * ((np.arange(size) - centre) / (width * RATE)) ** 2))


def lopsided(shift: int) -> Floats:
    """Highest at 500, but all the rest is a normal that is centred ``shift`` samples later."""
    values = bump(500 + shift, 0.15, 0.8)
    values[500] = 0.801
    return values


def seconds(time: UTCDateTime) -> float:
    """From the first sample."""
    return float(time.ns - START_NS - OFFSET_NS) / 1e9


@pytest.mark.parametrize("centre", [500.0, 500.37, 499.62, 500.49])
@pytest.mark.parametrize(("width", "height"), [(0.03, 0.95), (0.1, 0.7), (0.3, 0.6)])
def test_an_exact_normal_is_told_exactly(centre: float, width: float, height: float) -> None:
    values = bump(centre, width, height)
    (found,) = extract({"S": values}).picks
    assert seconds(found.time) == pytest.approx(centre / RATE, abs=2e-5)
    assert seconds(found.peak_time) == round(centre) / RATE
    assert found.width == pytest.approx(width, rel=1e-3)
    assert (found.scale, found.probability) == pytest.approx((height, values.max()), rel=1e-4)
    assert (found.misfit, found.mu_error) == pytest.approx((0, 0), abs=1e-6)
    assert (found.fit_ok, found.quality) == (True, 0)
    assert seconds(found.onset) == np.flatnonzero(values >= 0.5)[0] / RATE
    assert seconds(found.end) == np.flatnonzero(values >= 0.25)[-1] / RATE


def test_the_error_of_the_centre_grows_with_noise_as_its_scatter_does() -> None:
    generator = np.random.default_rng(1)
    scatters, claims = [], []
    for noise in (0.002, 0.01, 0.05):
        picks = []
        for _ in range(60):
            spoiled = np.clip(bump(500.2) + generator.normal(0, noise, 1000), 0, 1)
            picks += extract({"P": spoiled}).picks
        scatters.append(np.std([seconds(p.time) for p in picks]))
        claims.append(np.median([p.mu_error for p in picks]))
        assert np.median([p.misfit for p in picks]) == pytest.approx(noise, rel=0.3)
    assert claims[2] / claims[0] == pytest.approx(25, rel=0.3)
    np.testing.assert_allclose(claims, scatters, rtol=0.4)


@pytest.mark.parametrize("rate", [50.0, 100.0])
def test_sigma_is_k_times_the_width_and_at_least_that_of_rounding_to_a_sample(rate: float) -> None:
    for scale in ({"P": 0.3, "S": 1e-3}, {"P": 1e-3, "S": 0.55}):
        rows = {"P": bump(300), "S": bump(600)}
        for item in extract(rows, sigma_scale=scale, sampling_rate=rate).picks:
            expected = max(scale[item.phase] * item.width, 1 / (math.sqrt(12) * rate))
            assert item.sigma == pytest.approx(expected, rel=1e-12)


def test_quality_changes_just_above_each_limit() -> None:
    (plain,) = extract({"P": bump(500)}).picks
    for quality in range(5):
        limits = tuple([np.nextafter(plain.sigma, 0)] * quality + [plain.sigma] * (4 - quality))
        assert extract({"P": bump(500)}, quality=limits).picks[0].quality == quality


@pytest.mark.parametrize(("shift", "good"), [(6, True), (9, True), (11, False), (14, False)])
def test_time_is_the_centre_up_to_a_tenth_of_a_second_from_the_peak(shift: int, good: bool) -> None:
    (found,) = extract({"P": lopsided(shift)}).picks
    assert seconds(found.peak_time) == 5.0
    assert seconds(found.time) == pytest.approx(5.0 + good * shift / RATE, abs=4e-3)
    assert (found.fit_ok, found.quality) == (good, 0 if good else 4)


@pytest.mark.parametrize(("width", "good"), [(0.005, False), (0.019, False), (0.021, True)])
def test_a_spike_narrower_than_two_samples_is_not_a_good_fit(width: float, good: bool) -> None:
    (found,) = extract({"P": bump(500.0, width)}).picks
    assert found.width == pytest.approx(width, rel=0.01)
    assert found.fit_ok is good
    assert good or (found.time, found.quality) == (found.peak_time, 4)


def test_a_peak_of_which_too_little_is_known_is_not_a_good_fit() -> None:
    values = bump(500.3)
    values[:499] = values[501:] = np.nan
    (found,) = extract({"P": values}).picks
    assert (found.fit_ok, found.time, found.quality) == (False, found.peak_time, 4)


def test_amplitude_is_measured_from_the_time_and_not_from_the_peak() -> None:
    at = round(100 * seconds(extract({"P": lopsided(8)}).picks[0].time))
    vertical = np.random.default_rng(0).normal(0, 1, 1000)
    vertical[500:at] = 1000.0  # between peak and time
    vertical[at + 100] = 50.0  # the last sample of the signal
    (found,) = extract({"P": lopsided(8)}, Recorded(vertical)).picks
    assert at == pytest.approx(508, abs=1)
    assert (found.amplitude, found.snr) == pytest.approx(level_by_hand(vertical, at))


@pytest.mark.parametrize(("final", "count"), [(700, 0), (750, 1)])
def test_a_pick_waits_for_the_data_that_it_measures(final: int, count: int) -> None:
    waveforms = Recorded(np.ones(1000), until=BEGIN + final)
    found = extract({"P": bump(500)}, waveforms, flush=False)
    assert [p.coverage for p in found.picks] == [1.0] * count


@pytest.mark.parametrize(("label", "longest"), [("P", 10), ("S", 10), ("Detection", 300)])
def test_a_trigger_is_cut_where_it_gets_too_long_and_counted(label: str, longest: int) -> None:
    for more, count in ((0, 0), (900, 1)):
        last = 499 + longest * 100 + more
        found = extract({label: boxes((500, last), size=last + 500)}, piece=777)
        (item,) = found.detections or found.picks
        assert seconds(item.onset) == 5.0
        assert item.end - item.onset == pytest.approx(longest - 1 / RATE)
        assert found.summary.notes == ({f"{label} trigger cut": 1} if count else {})


def boxes(*edges: tuple[int, int], size: int = 6000) -> Floats:
    """0.95 from the first to the last sample of each pair."""
    at = np.arange(size)
    return np.asarray(0.95 * np.any([(a <= at) & (at <= b) for a, b in edges], axis=0))


def peaks(*centres: int) -> Floats:
    return np.asarray(np.max([bump(centre, 0.02, 0.9, 6000) for centre in centres], axis=0))


@pytest.mark.parametrize("piece", [10**9, 500, 37])
def test_a_detection_claims_picks_from_2_s_before_it_to_2_s_after_it(piece: int) -> None:
    rows = {"P": peaks(799, 1100, 3200), "S": peaks(800, 2000, 3201)}
    rows["Detection"] = boxes((1000, 3000))
    rows["Detection"][1500] = 0.99
    found = extract(rows, piece=piece)
    (detection,) = found.detections
    linked = [("S", 800), ("P", 1100), ("S", 2000), ("P", 3200)]
    ids = tuple(f"XX.ABC..HH/{phase}/Energy:none/{BEGIN + n}" for phase, n in linked)
    assert detection.pick_ids == ids
    assert (found.summary.picks, found.summary.detections) == (6, 1)
    expected = {
        "onset": "2014-05-13T16:53:30.003200Z",
        "peak_time": "2014-05-13T16:53:35.003200Z",
        "end": "2014-05-13T16:53:50.003200Z",
        "channel": "HH",
        "probability": pytest.approx(0.99),
        "pick_ids": ";".join(ids),
        "id": f"XX.ABC..HH/Detection/Energy:none/{BEGIN + 1000}",
    }
    assert {name: detection.to_dict()[name] for name in expected} == expected


def test_picks_that_no_detection_claims_are_not_kept() -> None:
    """A station may have picks for years and never a detection."""
    spec, found = fake_spec(), Outcome()
    extractor = FeatureExtractor(
        spec,
        thresholds=spec.thresholds,
        describer=Describer(spec, quality=LOOSE, waveforms=Recorded()),
        summary=found.summary,
    )
    table = np.zeros((len(spec.labels), 2000), np.float32)
    table[spec.labels.index("P")] = bump(1000, size=2000)
    kept = []
    for part in range(100):
        first = BEGIN + part * table.shape[1]
        picks, _ = extractor.add([Chunk(WHO, first, table, np.ones(table.shape[1], np.bool_))])
        found.picks += picks
        (state,) = extractor.snapshot()
        kept.append(len(state["picked"]))
    assert len(found.picks) >= 99
    assert max(kept) <= 2


@pytest.mark.parametrize("piece", [10**9, 500, 37])
def test_the_detection_with_the_nearer_onset_wins(piece: int) -> None:
    detections = boxes((1000, 2000), (2250, 2400), (2500, 4000))
    picks = peaks(1100, 2040, 2060, 2370, 2380, 4100)
    found = extract({"Detection": detections, "P": picks}, piece=piece)
    claimed = [[int(i.rsplit("/")[-1]) - BEGIN for i in d.pick_ids] for d in found.detections]
    assert claimed == [[1100, 2040], [2060, 2370], [2380, 4100]]


SIZE, P_AT, S_AT = 3000, 1234, 1678
WIDTH, BEYOND = 0.05, 0.3  # of the normal: seconds, and samples from the spike to its centre


@dataclass
class MarkerEngine:
    """A normal at every spike of one row: P where it points up, S where it points down."""

    row: int

    def __call__(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        outputs = np.zeros((len(batch), 2, batch.shape[2]), dtype=np.float32)
        for window, spike in np.argwhere(np.abs(batch[:, self.row]) > 7):
            label = int(batch[window, self.row, spike] < 0)
            normal = bump(spike + BEYOND, WIDTH, size=batch.shape[2])
            outputs[window, label] = np.maximum(outputs[window, label], normal)
        return outputs


def marker_model(marked: str = "E", **changes: Any) -> Model:
    common = {"labels": ("P", "S"), "thresholds": {"P": 0.5, "S": 0.5}, "stacking": "max"}
    spec = fake_spec(**(common | changes))
    return Model(spec, MarkerEngine(spec.components.index(marked)))


def noise(seed: int) -> Floats:
    return np.asarray(np.round(np.random.default_rng(seed).normal(0, 20, SIZE)))


def arrival(seed: int, at: int, size: float) -> Floats:
    """Noise on an offset, and from a sample on a decaying sine."""
    samples, times = noise(seed) + 5000, np.arange(SIZE - at) / RATE
    samples[at:] += np.round(size * np.sin(8 * np.pi * times + 0.5) * np.exp(-times))
    return samples


DATA = {"Z": arrival(1, P_AT, 900.0), "N": arrival(2, S_AT, -1700.0), "E": noise(3)}
DATA["E"][[P_AT, S_AT]] = 1e6, -1e6  # spikes for the engine to find


def gappy(letters: str, first: int, count: int) -> dict[str, Floats]:
    """NaN from a sample on, on some components."""
    gap = np.isin(np.arange(SIZE), np.arange(first, first + count))
    return {c: np.where(gap & (c in letters), np.nan, samples) for c, samples in DATA.items()}


def picks_of(
    data: dict[str, Floats] = DATA,
    model: Model | None = None,
    start_ns: int = START_NS,
    **options: Any,
) -> dict[str, Pick]:
    packets = [make_packet(x, f"HH{letter}", start_ns=start_ns) for letter, x in data.items()]
    expected = channels_of(packets)
    found = run(model or marker_model(), [packets], expected=expected, **options).picks
    assert len({p.phase for p in found}) == len(found)
    return {p.phase: p for p in found}


def level_by_hand(samples: Floats, at: int) -> tuple[float, float]:
    """Amplitude and signal-to-noise ratio; what is NaN is missing."""
    before, after = samples[at - 500 : at - 49], samples[at : at + 101]
    amplitude = float(np.nanmax(np.abs(after - np.nanmean(before))))
    return amplitude, float(np.nanstd(after) / np.nanstd(before))


@pytest.mark.parametrize("filters", [(), (FilterSpec("highpass", 20.0, None, channels="HH[ZN]"),)])
def test_amplitude_and_ratio_are_those_of_unfiltered_counts(filters: tuple[FilterSpec]) -> None:
    found = picks_of(model=marker_model(filters=filters))
    for phase, letter, at in (("P", "Z", P_AT), ("S", "N", S_AT)):
        item = found[phase]
        assert item.channel == f"HH{letter}"
        assert (item.amplitude, item.snr) == pytest.approx(level_by_hand(DATA[letter], at))
        assert (item.amplitude_physical, item.amplitude_unit) == (None, None)


@pytest.mark.parametrize(
    ("begin", "count", "known"),
    [(-300, 90, True), (-300, 91, False), (30, 20, True), (30, 21, False)],
)
def test_no_amplitude_with_less_than_four_fifths(begin: int, count: int, known: bool) -> None:
    data = gappy("Z", P_AT + begin, count)
    item = picks_of(data)["P"]
    assert [math.isfinite(value) for value in (item.amplitude, item.snr)] == [known] * 2
    if count == 90:  # 20 samples are 0.2 s, which is interpolated
        assert (item.amplitude, item.snr) == pytest.approx(level_by_hand(data["Z"], P_AT))
    assert item.coverage == 1.0  # the other components are there


@pytest.mark.parametrize(
    ("letters", "on"),
    [("ZNE", "ZN"), ("Z12", "Z1"), ("NE", "NN"), ("ZE", "ZE"), ("E", "EE"), ("Z", "ZZ")],
)
def test_p_is_on_the_vertical_and_s_on_n_or_1_or_what_exists(letters: str, on: str) -> None:
    data = {letter: noise(number) for number, letter in enumerate(letters)}
    data[letters[-1]] = DATA["E"]
    found = picks_of(data, marker_model(letters[-1].replace("2", "E")))
    assert [found[phase].channel for phase in "PS"] == [f"HH{letter}" for letter in on]
    if len(letters) == 1:  # the spikes themselves are clear first motions
        assert found["P"].polarity == ("up" if letters == "Z" else "unknown")
        assert found["S"].polarity == "unknown"


@pytest.mark.parametrize(("size", "expected"), [(900.0, "up"), (-900.0, "down"), (0.0, "unknown")])
def test_polarity_is_the_first_motion_of_p_on_the_vertical(size: float, expected: str) -> None:
    found = picks_of(DATA | {"Z": arrival(1, P_AT, size)})
    assert found["P"].polarity == expected
    assert (found["P"].polarity_confidence > 1 / 3) is (expected != "unknown")
    assert (found["S"].polarity, found["S"].polarity_confidence) == ("unknown", 0.0)


def test_coverage_is_what_is_there_within_two_seconds() -> None:
    early = {letter: samples[: P_AT + 61] for letter, samples in DATA.items()}
    late = {letter: samples[P_AT - 70 :] for letter, samples in DATA.items()}
    beside = picks_of(gappy("ZNE", P_AT + 100, 80))
    found = [p["P"] for p in (picks_of(), beside, picks_of(early), picks_of(late))]
    expected = [1.0, 321 / 401, 261 / 401, 271 / 401]
    assert [p.coverage for p in found] == pytest.approx(expected, abs=5e-5)
    assert [math.isfinite(p.snr) for p in found] == [True, True, False, False]


def test_the_configured_thresholds_and_quality_table_are_used() -> None:
    assert list(picks_of(thresholds={"P": 0.95})) == ["S"]
    options: list[dict[str, Any]] = [{}, {"quality": (0.001, 0.002, 0.0225, 0.03)}]
    for scale, expected in ((0.39, [0, 2]), (0.41, [1, 2]), (0.46, [1, 3])):
        model = marker_model(sigma_scale={"P": scale})
        assert [picks_of(model=model, **o)["P"].quality for o in options] == expected


def test_a_pick_says_what_made_it_and_gives_back_the_offset_of_its_samples() -> None:
    model = marker_model(versions={"fake": "1.2"}, weights_sha256="ab" * 32)
    config = PipelineConfig(thresholds={"P": 0.4})
    item = picks_of(DATA, model, START_NS + OFFSET_NS, config=config, run_id="run 7")["P"]
    expected = {
        "peak_time": "2014-05-13T16:53:32.343200Z",
        "time": "2014-05-13T16:53:32.346200Z",  # 0.3 samples later
        "model": "Energy",
        "weights": "none",
        "members": "Energy:none",
        "id": f"XX.ABC..HH/P/Energy:none/{BEGIN + P_AT}",
        "detection_id": None,
        "config_hash": config.hash,
        "run_id": "run 7",
        "versions": f"ml_prediction {__version__}; fake 1.2",
        "weights_sha256": "ab" * 32,
    }
    plain = item.to_dict()
    assert list(plain) == [f.name for f in fields(Pick)]
    assert {name: plain[name] for name in expected} == expected
    others = set(plain) - set(expected) - {"onset", "end"}
    assert {name: plain[name] for name in others} == {n: getattr(item, n) for n in others}


def test_picks_carry_the_detection_that_claims_them() -> None:
    headers = [{"channel": f"HH{letter}", "sampling_rate": RATE} for letter in DATA]
    traces = [Trace(np.tile(x, 3), h) for x, h in zip(DATA.values(), headers, strict=True)]
    found = pick(traces, Model(fake_spec(), EnergyEngine()))
    assert len(found.detections) > 3
    for item in found.picks:
        near = [d for d in found.detections if d.onset - 2 <= item.peak_time <= d.end + 2]
        best = min(near, key=lambda d: abs(d.onset - item.peak_time), default=None)
        assert item.detection_id == (best and best.id)
        assert [d.id for d in near if item.id in d.pick_ids] == ([best.id] if best else [])


@pytest.mark.parametrize(("letters", "offset_ms"), [("ZNE", 1), ("NE", 2), ("E", 4), ("ZE", 1)])
def test_the_offset_is_that_of_the_vertical_else_of_north_else_of_east(
    letters: str, offset_ms: int
) -> None:
    """Each component's samples lie at another place between those of the grid."""
    offsets_ns = {"Z": 1_000_000, "N": 2_000_000, "E": 4_000_000}
    packets = [
        make_packet(DATA[letter], "HH" + letter, start_ns=START_NS + offsets_ns[letter])
        for letter in letters
    ]
    outcome = run(marker_model(), [packets], expected=channels_of(packets), probabilities=True)
    assert outcome.picks
    for found in outcome.picks:
        assert to_ns(found.peak_time) % 10_000_000 == offset_ms * 1_000_000
    assert {f.start_ns % 10_000_000 for f in outcome.fragments} == {offset_ms * 1_000_000}
