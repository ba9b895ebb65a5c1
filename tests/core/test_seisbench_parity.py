"""I2: on identical windows, probabilities and peaks are those of SeisBench."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import obspy
import pytest
from core.packetise import packets_of
from obspy import Stream, Trace, UTCDateTime

from ml_prediction.core.preprocessing import Preprocessor
from ml_prediction.core.run import pick
from ml_prediction.models import Model, load_model
from ml_prediction.util.times import NANOSECONDS, to_ns, to_utc

GRID_START = 125_107_320_000  # a multiple of every stride, in hundredths of a second
LABELS = {"P": "P", "S": "S", "D": "Detection"}


@pytest.fixture(scope="module")
def theirs(shared: Path) -> dict[str, Any]:
    """SeisBench's models with the same weights and no filter, by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import seisbench.models as sbm

        models = {
            name: getattr(sbm, name).load(
                shared / "models" / name.lower() / "original", version_str="1"
            )
            for name in ("PhaseNet", "EQTransformer")
        }
    for model in models.values():
        model.filter_args = model.filter_kwargs = None
        model.eval()
    return models


@pytest.fixture(scope="module", params=["openvino", "torch"])
def ours(request: pytest.FixtureRequest, shared: Path) -> dict[str, Model]:
    """Our models on each engine, without filter, by name."""
    models = (
        load_model(device="cpu", engine=request.param),
        load_model(
            "PhaseNet",
            shared / "models" / "phasenet" / "original",
            device="cpu",
            engine=request.param,
        ),
    )
    return {
        model.spec.name: Model(replace(model.spec, filters=()), model.engine) for model in models
    }


def annotate(model: Any, stream: Stream, overlap: int) -> Stream:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.annotate(stream.copy(), overlap=overlap)


def classify(model: Any, stream: Stream, overlap: int, thresholds: dict[str, float]) -> Any:
    options = {f"{label}_threshold": value for label, value in thresholds.items()}
    options["detection_threshold"] = thresholds.get("Detection", 0.3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.classify(stream.copy(), overlap=overlap, **options).picks


def whole_windows(stream: Stream, length: int, stride: int) -> Stream:
    """Window length + n strides of the data, from our grid on: so the windows are the same."""
    result = Stream()
    for trace in stream:
        first = round(trace.stats.starttime.timestamp * 100)
        skip = -first % stride
        count = (len(trace) - skip - length) // stride
        part = trace.copy()
        part.data = trace.data[skip : skip + length + count * stride].astype(np.float64)
        part.stats.starttime = to_utc((first + skip) * NANOSECONDS // 100)
        result.append(part)
    return result


def has_constant_component(stream: Stream, length: int, stride: int) -> bool:
    """Whether some window has a dead component: there our rules differ on purpose."""
    return any(
        bool(np.ptp(trace.data[start : start + length]) == 0)
        for trace in stream
        for start in range(0, len(trace) - length + 1, stride)
    )


def compare(ours: Model, theirs: Any, stream: Stream, fed: Stream | None = None) -> tuple[int, int]:
    """Check one instrument; the number of samples and of picks that were compared.

    ``fed`` is what SeisBench gets, if not the same.
    """
    spec = ours.spec
    length, stride = spec.in_samples, spec.stride
    fed = stream if fed is None else fed
    result = pick(stream, ours)
    annotated = annotate(theirs, fed, length - stride)
    start, count = stream[0].stats.starttime, len(stream[0])
    low, high = length - stride, count - (length - stride)  # all their windows are whole
    compared = 0
    for trace in result.probabilities:
        (other,) = annotated.select(channel=f"*_{LABELS[trace.stats.channel[-1]]}")
        assert trace.stats.starttime == start
        assert len(trace) == count
        theirs_at = np.full(count, np.nan)
        offset = round((other.stats.starttime - start) * 100)
        theirs_at[offset : offset + len(other)] = other.data
        inside = slice(low, high)
        assert np.isfinite(trace.data[inside]).all()
        known = np.isfinite(theirs_at[inside])
        np.testing.assert_allclose(
            trace.data[inside][known], theirs_at[inside][known], rtol=0, atol=1e-5
        )
        compared += int(known.sum())
    first, last = start + low / 100 + 0.5, start + high / 100 - 0.5
    picks = classify(theirs, fed, length - stride, dict(spec.thresholds))
    mine = peaks(((p.phase, p.peak_time) for p in result.picks), first, last)
    reference = peaks(((p.phase, p.peak_time) for p in picks), first, last)
    assert [phase for phase, _ in mine] == [phase for phase, _ in reference]
    for (_, time), (_, other_time) in zip(mine, reference, strict=True):
        assert abs(time - other_time) < 10_100_000
    return compared, len(mine)


def peaks(
    items: Iterable[tuple[str, UTCDateTime]], first: UTCDateTime, last: UTCDateTime
) -> list[tuple[str, int]]:
    return sorted((phase, to_ns(time)) for phase, time in items if first <= time <= last)


def labelled(shared: Path) -> list[Path]:
    return sorted((shared / "data/labelled_windows").glob("*/*.npz"))


def stream_of(path: Path, length: int, stride: int) -> Stream:
    """A labelled window, put on our grid."""
    data = np.load(path)["data"].astype(np.float64)
    count = length + (len(data) - length) // stride * stride
    header = {"network": "XX", "station": "ABC", "sampling_rate": 100.0}
    start = to_utc(GRID_START * NANOSECONDS // 100)
    return Stream(
        [
            Trace(
                data[:count, column].copy(), header | {"channel": "HH" + letter, "starttime": start}
            )
            for column, letter in enumerate("ENZ")
        ]
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["PhaseNet", "EQTransformer"])
def test_labelled_windows_give_what_seisbench_gives(
    shared: Path, ours: dict[str, Model], theirs: dict[str, Any], name: str
) -> None:
    spec = ours[name].spec
    windows = samples = picks = 0
    for path in labelled(shared):
        stream = stream_of(path, spec.in_samples, spec.stride)
        if has_constant_component(stream, spec.in_samples, spec.stride):
            continue
        compared, found = compare(ours[name], theirs[name], stream)
        windows, samples, picks = windows + 1, samples + compared, picks + found
    assert windows >= 60
    assert samples > 100_000
    assert picks >= 60


@pytest.mark.parametrize("instrument", ["HANS.HH", "HANS.EN", "NATEM.HH", "NATEM.EN", "BUCK.HH"])
@pytest.mark.parametrize("name", ["PhaseNet", "EQTransformer"])
def test_the_earthquake_gives_what_seisbench_gives(
    shared: Path, ours: dict[str, Model], theirs: dict[str, Any], name: str, instrument: str
) -> None:
    spec = ours[name].spec
    station, prefix = instrument.split(".")
    stream = obspy.read(shared / "data/Full_Array/uw61965081_PortTownsend_M4.3.mseed")
    stream = stream.select(station=station, channel=prefix + "?")
    compared, picks = compare(
        ours[name], theirs[name], whole_windows(stream, spec.in_samples, spec.stride)
    )
    assert compared > 5000
    assert picks >= 1 or name == "EQTransformer"


def filtered(model: Model, stream: Stream) -> Stream:
    """Data as our preprocessing has them before normalisation: resampled and filtered."""
    stage = Preprocessor(model.spec, stride=model.spec.in_samples, lateness=10.0, keep=True)
    packets = packets_of(stream)
    list(stage.add(packets)[0])
    result = stream.copy()
    for trace, packet in zip(result, packets, strict=True):
        ((station),) = [stage._stations[packet.nslc.instrument]]
        first = round(trace.stats.starttime.timestamp * 100)
        channel = station.channels[packet.nslc.channel]
        channel.advance(first + len(trace), packet.end_ns + 10**12)
        samples, valid = channel.read(first, first + len(trace))
        assert valid.all()
        trace.data = samples
    return result


@pytest.mark.parametrize("station", ["HANS", "NATEM"])
def test_with_our_filter_seisbench_fed_our_filtered_data_gives_the_same(
    shared: Path, eqt: Model, theirs: dict[str, Any], station: str
) -> None:
    stream = obspy.read(shared / "data/Full_Array/uw61965081_PortTownsend_M4.3.mseed")
    stream = stream.select(station=station, channel="HH?")
    stream = whole_windows(stream, eqt.spec.in_samples, eqt.spec.stride)
    fed = filtered(eqt, stream)
    assert not np.allclose(fed[0].data, stream[0].data)
    compared, picks = compare(eqt, theirs["EQTransformer"], stream, fed)
    assert compared > 5000
    assert picks >= 1


def test_with_the_filter_on_in_both_windows_after_the_start_are_the_same(
    shared: Path, eqt: Model
) -> None:
    """At the start SeisBench's filter rings from the offset; ours begins in the steady state."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import seisbench.models as sbm

        reference = sbm.EQTransformer.load(
            shared / "models/eqtransformer/original", version_str="1"
        ).eval()
    length, stride = eqt.spec.in_samples, eqt.spec.stride
    stream = obspy.read(shared / "data/Continuous_CX/CX.PB01..HH.mseed")
    start = stream[0].stats.starttime + 400
    stream = whole_windows(stream.slice(start, start + 360), length, stride)
    annotated = annotate(reference, stream, length - stride)
    for trace in pick(stream, eqt).probabilities:
        (other,) = annotated.select(channel=f"*_{LABELS[trace.stats.channel[-1]]}")
        first = round((other.stats.starttime - trace.stats.starttime) * 100)
        difference = np.abs(trace.data[first : first + len(other)] - other.data)
        assert len(difference) > 15_000
        assert difference[length + stride :].max() <= 1e-5
        assert other.data.max() > 0.1  # there is something to compare
