"""What came too late can be picked from files."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import obspy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_prediction.core.packets import Packet
from ml_prediction.drivers.live.late_archive import LateArchive
from ml_prediction.util.codes import NSLC
from ml_prediction.util.times import NANOSECONDS

GNW = NSLC("UW", "GNW", "", "HHZ")
START_NS = 1_700_000_000 * NANOSECONDS  # 2023-11-14


RAMP = np.arange(500, dtype=np.int32)


def packet(samples: npt.ArrayLike = RAMP, **changes: Any) -> Packet:
    values: dict[str, Any] = {
        "nslc": GNW,
        "start_ns": START_NS,
        "sampling_rate": 100.0,
        "samples": np.asarray(samples),
    }
    return Packet(**(values | changes))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("kind", ["int16", "int32", "float32", "float64", ">i4", ">f8"])
def test_packets_come_back_with_their_values_and_times(tmp_path: Path, kind: str) -> None:
    archive = LateArchive(tmp_path / "late")
    samples = np.arange(-250, 250).astype(kind)
    assert archive.add([packet(samples)]) == 0
    (trace,) = obspy.read(tmp_path / "late" / "UW.GNW..HHZ.2023-11-14.late.mseed")
    np.testing.assert_array_equal(trace.data, samples)
    assert (trace.id, trace.stats.sampling_rate) == ("UW.GNW..HHZ", 100.0)
    assert trace.stats.starttime.ns == START_NS


def test_each_channel_and_day_has_a_file_that_is_appended_to(tmp_path: Path) -> None:
    day = 86_400 * NANOSECONDS
    packets = [
        packet(np.full(500, n, np.int32), start_ns=START_NS + n * 5 * NANOSECONDS, nslc=nslc)
        for n in range(4)
        for nslc in (GNW, NSLC("CC", "MBW", "01", "EHZ"))
    ]
    for part in (packets[:3], packets[3:]):
        assert LateArchive(tmp_path).add(part) == 0
    assert LateArchive(tmp_path).add([packet(start_ns=START_NS + day)]) == 0
    assert names(tmp_path) == [
        "CC.MBW.01.EHZ.2023-11-14.late.mseed",
        "UW.GNW..HHZ.2023-11-14.late.mseed",
        "UW.GNW..HHZ.2023-11-15.late.mseed",
    ]
    stream = obspy.read(tmp_path / "UW.GNW..HHZ.2023-11-14.late.mseed").merge()
    np.testing.assert_array_equal(stream[0].data, np.repeat(np.arange(4), 500))


@pytest.mark.parametrize(
    "odd",
    [
        packet([]),
        packet(np.zeros(5, dtype=np.int64)),
        packet(nslc=GNW._replace(station="../../x")),
        packet(nslc=GNW._replace(station="G W")),
        packet(nslc=GNW._replace(station="SIXSIX")),
        packet(nslc=GNW._replace(network="LONGNET")),
        packet(nslc=GNW._replace(channel="HHZZ")),
    ],
    ids=["empty", "int64", "path", "blank", "station", "network", "channel"],
)
def test_what_has_no_form_in_miniseed_is_counted_and_costs_only_itself(
    tmp_path: Path, odd: Packet
) -> None:
    assert LateArchive(tmp_path).add([packet(), odd, packet()]) == 1
    assert names(tmp_path) == ["UW.GNW..HHZ.2023-11-14.late.mseed"]
    assert len(obspy.read(tmp_path / names(tmp_path)[0])) == 2


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    years=st.integers(-70, 229),
    rate=st.floats(1e-3, 1e6),
    size=st.integers(1, 3000),
    kind=st.sampled_from(["int16", "int32", "float32", "float64"]),
)
def test_any_packet_that_a_ring_may_bring_is_kept_or_counted(
    tmp_path_factory: pytest.TempPathFactory, years: int, rate: float, size: int, kind: str
) -> None:
    folder = tmp_path_factory.mktemp("late")
    odd = packet(
        np.random.default_rng(size).integers(-30_000, 30_000, size).astype(kind),
        start_ns=years * 31_556_952 * NANOSECONDS,
        sampling_rate=rate,
    )
    refused = LateArchive(folder).add([odd])
    assert refused + len(names(folder)) == 1
    if not refused and 1 <= rate <= 1000 and 0 < years < 80:
        trace = obspy.read(folder / names(folder)[0])[0]
        assert abs(trace.stats.starttime.ns - odd.start_ns) <= 1000


def test_a_full_disk_is_an_error_of_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any, **options: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    archive = LateArchive(tmp_path)
    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(OSError, match="No space"):
        archive.add([packet()])
