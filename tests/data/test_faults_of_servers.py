"""Every way in which a server fails, tried on a real one: what comes is the same, or an error."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import obspy
import pytest
from fdsn_servers import Center, Fault, dataselect_server, free_port
from synthetic_center import END, START, Archive

from ml_prediction.data.faults import (
    BadRequestError,
    DamagedError,
    NoDataError,
    NotOfferedError,
    RefusedError,
    StalledError,
    StoppedError,
    TooLargeError,
    TransientError,
    UnreachableError,
)
from ml_prediction.data.fdsn import Server
from ml_prediction.data.plan import Unit, pieces
from ml_prediction.data.records import contents
from ml_prediction.data.retry import Patience
from ml_prediction.data.transfer import Failure, get_all, get_piece
from ml_prediction.errors import ConfigurationError, ServiceError
from ml_prediction.util.codes import NSLC

QUICK = Patience(attempts=3, first_wait=0.01, longest_wait=5.0)
SPAN = (START.ns + 10**9, END.ns - 10**9)


class Kept:
    """Keeps everything in memory."""

    def __init__(self) -> None:
        self.data: dict[Unit, bytes] = {}
        self.absent: dict[Unit, str] = {}
        self.fragments: dict[Unit, bytes] = {}

    def keep(self, unit: Unit, miniseed: bytes) -> None:
        assert unit not in self.data
        self.data[unit] = miniseed

    def nothing(self, units: Sequence[Unit], reason: str) -> None:
        self.absent |= dict.fromkeys(units, reason)

    def fragment(self, unit: Unit) -> bytes | None:
        return self.fragments.get(unit)

    def keep_fragment(self, unit: Unit, miniseed: bytes) -> None:
        self.fragments[unit] = miniseed


def server(center: Center, **options: object) -> Server:
    return Server(center.url, **{"timeout": 5.0, "patience": QUICK, **options})  # type: ignore[arg-type]


def units(archive: Archive, *stations: str) -> list[Unit]:
    codes = sorted({NSLC(*span.code) for span in archive.spans if span.code[1] in stations})
    return [Unit(code, *SPAN, 20.0) for code in codes]


@pytest.fixture
def wanted(archive: Archive) -> list[Unit]:
    return units(archive, "SIX", "GAPS", "ONE")


@pytest.fixture
def reference(center: Center, wanted: list[Unit]) -> dict[Unit, bytes]:
    """What comes without faults."""
    kept = Kept()
    assert get_piece(wanted, server(center), kept) == []
    assert len(kept.data) == len(wanted)
    with center.lock:
        center.log.clear()
    return kept.data


def test_what_comes_is_what_the_archive_has(
    archive: Archive, reference: dict[Unit, bytes], tmp_path: Path
) -> None:
    for unit, miniseed in reference.items():
        (tmp_path / "x").write_bytes(miniseed)
        got = obspy.read(str(tmp_path / "x"), format="MSEED").merge(method=-1)
        true = archive.stream.select(station=unit.code.station, channel=unit.code.channel)
        start, end = (obspy.UTCDateTime(ns=time) for time in SPAN)
        true = true.slice(start, end, nearest_sample=False)
        assert len(got) == len(true) == contents(miniseed).gaps + 1
        for one, other in zip(got.sort(["starttime"]), true.sort(["starttime"]), strict=True):
            np.testing.assert_array_equal(one.data, other.data)


@pytest.mark.parametrize(
    "fault",
    [
        Fault("dataselect", status=500),
        Fault("dataselect", status=502, times=2),
        Fault("dataselect", status=503),
        Fault("dataselect", status=504),
        Fault("dataselect", status=429),
        Fault("dataselect", status=429, headers={"Retry-After": "0"}),
        Fault("dataselect", status=503, headers={"Retry-After": "nonsense"}),
        Fault("dataselect", "truncate", times=2),
        Fault("dataselect", "drop", times=2),
        Fault("dataselect", "html"),
        Fault("dataselect", "reset"),
        Fault("dataselect", "reset", times=2),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.status}-{fault.times}",
)
def test_a_passing_fault_changes_nothing(
    center: Center, wanted: list[Unit], reference: dict[Unit, bytes], fault: Fault
) -> None:
    center.faults = [fault]
    kept = Kept()
    assert get_piece(wanted, server(center), kept) == []
    assert kept.data == reference
    assert fault.times == 0


def test_a_stall_ends_by_the_time_out_and_is_tried_again(
    center: Center, wanted: list[Unit], reference: dict[Unit, bytes]
) -> None:
    center.faults = [Fault("dataselect", "stall", seconds=20)]
    kept, told = Kept(), list[TransientError]()
    again = server(center, timeout=0.5, told=lambda error, _: told.append(error))
    assert get_piece(wanted, again, kept) == []
    assert kept.data == reference
    assert isinstance(told[0], StalledError)
    assert "0.5 s" in str(told[0])


def test_retry_after_is_heeded_by_all_threads(center: Center, wanted: list[Unit]) -> None:
    center.faults = [Fault("dataselect", status=429, headers={"Retry-After": "1"})]
    started = time.monotonic()
    assert get_all([[unit] for unit in wanted], server(center), Kept(), 3, lambda _: None) == []
    assert time.monotonic() - started >= 1.0


def test_a_server_that_wants_too_long_a_pause_is_left_alone(
    center: Center, wanted: list[Unit]
) -> None:
    center.faults = [Fault("dataselect", status=503, times=99, headers={"Retry-After": "9999"})]
    (failure,) = get_piece(wanted[:1], server(center), Kept())
    assert "503" in str(failure.error)
    assert len(center.requests("dataselect")) == 1


@pytest.mark.parametrize("kind", ["truncate", "drop", "html"])
def test_what_stays_damaged_is_asked_for_in_smaller_pieces(
    center: Center, wanted: list[Unit], reference: dict[Unit, bytes], kind: str
) -> None:
    center.faults = [Fault("dataselect", kind, times=QUICK.attempts)]
    kept = Kept()
    assert get_piece(wanted, server(center), kept) == []
    assert kept.data == reference


def test_one_channel_that_never_comes_costs_only_itself(
    center: Center, wanted: list[Unit], reference: dict[Unit, bytes]
) -> None:
    center.faults = [Fault("dataselect", status=500, times=999, containing="SIX -- ENN")]
    kept = Kept()
    failures = get_piece(wanted, server(center), kept)
    (bad,) = [unit for failure in failures for unit in failure.units]
    assert bad.code.channel == "ENN"
    assert kept.data == {unit: data for unit, data in reference.items() if unit != bad}


def test_a_restricted_channel_is_noted_and_the_others_come(
    center: Center, wanted: list[Unit], reference: dict[Unit, bytes]
) -> None:
    center.faults = [Fault("dataselect", status=403, times=999, containing="SIX -- HHZ")]
    kept = Kept()
    assert get_piece(wanted, server(center), kept) == []
    (bad,) = kept.absent
    assert bad.code.channel == "HHZ"
    assert "403" in kept.absent[bad]
    assert len(kept.data) == len(reference) - 1


def test_too_large_requests_are_split_down_to_pieces_of_time(
    archive: Archive, reference: dict[Unit, bytes], wanted: list[Unit], tmp_path: Path
) -> None:
    limit = 12_000  # a channel has some 26 kB
    with (
        dataselect_server(tmp_path, archive.spans, limit) as port,
        Center(port, archive.inventory) as center,
    ):
        kept = Kept()
        assert get_piece(wanted, server(center), kept) == []
        assert len(kept.fragments) >= 2 * len(wanted)
        with center.lock:
            center.log.clear()
        again = Kept()
        again.fragments = dict(kept.fragments)
        assert get_piece(wanted, server(center), again) == []
        assert again.data == kept.data
    assert set(kept.data) == set(reference)
    for unit, miniseed in kept.data.items():
        split, whole = contents(miniseed), contents(reference[unit])
        assert (split.samples, split.gaps) == (whole.samples, whole.gaps)
        assert (split.start_ns, split.end_ns) == (whole.start_ns, whole.end_ns)


def test_a_limit_below_a_minute_of_data_is_a_failure_that_says_so(
    center: Center, wanted: list[Unit]
) -> None:
    center.faults = [Fault("dataselect", status=413, times=9999)]
    kept = Kept()
    failures = get_piece(wanted[:2], server(center), kept)
    assert len(failures) == 2
    assert "413" in str(failures[0].error)
    assert not kept.data


def test_nothing_there_is_no_failure_and_asked_for_once(center: Center) -> None:
    kept = Kept()
    nowhere = [Unit(NSLC("ZZ", "NONE", "", "HHZ"), *SPAN, 20.0)]
    assert get_piece(nowhere, server(center), kept) == []
    assert kept.absent == {nowhere[0]: "no data"}
    assert len(center.requests("dataselect")) == 1


@pytest.mark.parametrize(
    ("fault", "kind", "requests"),
    [
        (Fault("dataselect", status=204, times=9), NoDataError, 1),
        (Fault("dataselect", status=400, times=9), BadRequestError, 1),
        (Fault("dataselect", status=401, times=9), RefusedError, 1),
        (Fault("dataselect", status=403, times=9), RefusedError, 1),
        (Fault("dataselect", status=404, times=9), NotOfferedError, 1),
        (Fault("dataselect", status=413, times=9), TooLargeError, 1),
        (Fault("dataselect", status=414, times=9), TooLargeError, 1),
        (Fault("dataselect", status=429, times=9), TransientError, 3),
        (Fault("dataselect", status=500, times=9), TransientError, 3),
        (Fault("dataselect", status=501, times=9), NotOfferedError, 1),
        (Fault("dataselect", status=418, times=9), BadRequestError, 1),
        (Fault("dataselect", "truncate", times=9), DamagedError, 3),
        (Fault("dataselect", "drop", times=9), DamagedError, 3),
        (Fault("dataselect", "html", times=9), DamagedError, 3),
        (Fault("dataselect", "reset", times=9), UnreachableError, 3),
    ],
    ids=lambda value: getattr(value, "kind", "") + str(getattr(value, "status", "")),
)
def test_each_answer_has_its_error(
    center: Center, wanted: list[Unit], fault: Fault, kind: type[ServiceError], requests: int
) -> None:
    center.faults = [fault]
    with pytest.raises(kind) as caught:
        server(center).waveforms([wanted[0].line])
    assert type(caught.value) is kind
    assert center.url in str(caught.value)
    assert len(center.requests("dataselect")) == requests


@pytest.mark.parametrize("kind", ["truncate", "drop", "html"])
def test_damaged_metadata_are_found(center: Center, wanted: list[Unit], kind: str) -> None:
    center.faults = [Fault("station", kind), Fault("event", kind)]
    one = server(center, patience=Patience(attempts=1))
    with pytest.raises(DamagedError, match=r"XML|cut short"):
        one.stations([wanted[0].line])
    with pytest.raises(DamagedError, match=r"XML|cut short"):
        one.events(eventid="xx1")
    assert b"FDSNStationXML" in one.stations([wanted[0].line])
    assert b"quakeml" in one.events(eventid="xx1")


def test_nobody_there(wanted: list[Unit]) -> None:
    nobody = Server(f"http://127.0.0.1:{free_port()}", patience=QUICK, timeout=1.0)
    with pytest.raises(UnreachableError, match="refused"):
        nobody.waveforms([wanted[0].line])
    with pytest.raises(UnreachableError):
        get_all([[unit] for unit in wanted], nobody, Kept(), 2, lambda _: None)


def test_threads_end_when_the_caller_stops(center: Center, wanted: list[Unit]) -> None:
    center.faults = [Fault("dataselect", status=503, times=999)]
    slow = server(center, patience=Patience(attempts=9, first_wait=60.0))

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    center.faults.insert(0, Fault("dataselect", status=204, times=1))
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        get_all([[unit] for unit in wanted], slow, Kept(), 4, interrupt)
    assert time.monotonic() - started < 30


def test_a_full_disk_ends_the_run(center: Center, wanted: list[Unit]) -> None:
    class Full(Kept):
        def keep(self, unit: Unit, miniseed: bytes) -> None:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        get_all([[unit] for unit in wanted], server(center), Full(), 2, lambda _: None)


def test_a_stopped_server_is_not_asked(center: Center, wanted: list[Unit]) -> None:
    one = server(center)
    one.gate.stopped.set()
    with pytest.raises(StoppedError):
        one.waveforms([wanted[0].line])
    assert center.log == []


@pytest.mark.parametrize("name", ["NOSUCHCENTER", "not a url", ""])
def test_a_wrong_name_says_what_is_known(name: str) -> None:
    with pytest.raises(ConfigurationError, match="EARTHSCOPE"):
        Server(name)


def test_short_names_are_urls() -> None:
    assert Server("USGS").url == "https://earthquake.usgs.gov"
    assert Server("http://127.0.0.1:8080/").url == "http://127.0.0.1:8080"


def test_parallel_pieces_give_the_same(
    center: Center, wanted: list[Unit], reference: dict[Unit, bytes]
) -> None:
    kept, over = Kept(), list[Unit]()
    some = [wanted[:3], wanted[3:4], wanted[4:]]
    assert get_all(some, server(center), kept, 3, over.extend) == list[Failure]()
    assert kept.data == reference
    assert sorted(over) == sorted(wanted)
    assert pieces(wanted) == [tuple(wanted)]
