"""A live run's files are those that a run on files would have written."""

from __future__ import annotations

import errno
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from factories import TIME, make_detection, make_pick
from obspy import UTCDateTime

from ml_prediction.core.results import Detection, Pick, detection_order, pick_order
from ml_prediction.drivers.live.archive import (
    FORMATS,
    REFRESH_SECONDS,
    SPOOL,
    Archive,
    main,
    make_files,
    read_spool,
)
from ml_prediction.sinks.base import files_of, make_sinks
from ml_prediction.sinks.folder import OutputFolder
from ml_prediction.util.times import to_utc

DAY = "2009-08-24"
NAMES = [name for kind in FORMATS for name in files_of(kind)]


def results(count: int = 30, seed: int = 1) -> tuple[list[Pick], list[Detection]]:
    """Picks with times to the microsecond, and detections with some of them."""
    rng = np.random.default_rng(seed)
    picks = []
    for number in range(count):
        peak = to_utc(TIME.ns // 10**6 * 10**6 + number * 4 * 10**9)
        picks.append(
            make_pick(
                time=peak + float(rng.integers(-50_000, 50_000)) / 1e6,
                peak_time=peak,
                phase="PS"[number % 2],
                channel=("EHZ", "EHN")[number % 2],
                sigma=float(rng.uniform(0.01, 0.2)),
                probability=float(np.float32(rng.random())),
                amplitude=float(rng.choice([np.nan, 1e-3, 123456.789])),
                snr=float(rng.choice([np.nan, 12.3])),
                fit_ok=bool(rng.random() < 0.8),
                quality=int(rng.integers(0, 5)),
                polarity=("up", "down", "unknown")[number % 3],
                location=("", "00")[number // 2 % 2],
                id=f"BW.RJOB..EH/{'PS'[number % 2]}/EQTransformer/{number}",
            )
        )
    detections = [
        make_detection(
            onset=picks[first].peak_time - 1,
            pick_ids=(picks[first].id, picks[first + 1].id),
            probability=float(np.float32(rng.random())),
            id=f"BW.RJOB..EH/Detection/EQTransformer/{first}",
        )
        for first in range(0, count - 1, 6)
    ]
    return picks, detections


def written_by_sinks(
    folder: Path, picks: Sequence[Pick], detections: Sequence[Detection]
) -> dict[str, bytes]:
    """Files as driver_local's sinks write them, with linked detections."""
    links = {each: item.id for item in detections for each in item.pick_ids}
    linked = [replace(pick, detection_id=links.get(pick.id)) for pick in picks]
    with OutputFolder(folder) as output:
        for sink in make_sinks(FORMATS, output):
            sink.write(
                sorted(linked, key=pick_order), sorted(detections, key=detection_order), None
            )
            sink.close()
    return contents(folder)


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in NAMES if (folder / name).exists()}


def in_parts(archive: Archive, picks: Sequence[Pick], detections: Iterable[Detection]) -> None:
    """As they come: picks a few at a time, detections after them."""
    for first in range(0, len(picks), 7):
        archive.add(picks[first : first + 7], ())
    for detection in detections:
        archive.add((), [detection])


def test_the_files_are_those_of_the_sinks(tmp_path: Path) -> None:
    picks, detections = results()
    in_parts(Archive(tmp_path / "archive"), picks, detections)
    make_files(tmp_path / "archive" / DAY)
    expected = written_by_sinks(tmp_path / "expected", picks, detections)
    assert sorted(expected) == sorted(NAMES)
    assert contents(tmp_path / "archive" / DAY) == expected
    table = expected["picks.csv"].decode()
    assert table.count("/Detection/") == 2 * len(detections)


def test_times_to_the_nanosecond_are_written_as_the_sinks_write_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    picks, detections = results()
    picks = [
        replace(pick, time=to_utc(pick.time.ns + int(rng.integers(0, 1000)))) for pick in picks
    ]
    in_parts(Archive(tmp_path / "archive"), picks, detections)
    make_files(tmp_path / "archive" / DAY)
    expected = written_by_sinks(tmp_path / "expected", picks, detections)
    found = contents(tmp_path / "archive" / DAY)
    for name in NAMES:
        assert found[name] == expected[name], name


def test_results_go_into_the_day_of_their_peak_or_onset(tmp_path: Path) -> None:
    midnight = UTCDateTime(2009, 8, 25)
    picks = [
        make_pick(id="a", time=midnight + 0.01, peak_time=midnight - 0.01),
        make_pick(id="b", time=midnight - 0.01, peak_time=midnight, phase="S"),
    ]
    detections = [
        make_detection(id="c", onset=midnight - 0.01),
        make_detection(id="d", onset=midnight),
    ]
    Archive(tmp_path).add(picks, detections)
    days = {path.name: read_spool(path / SPOOL) for path in tmp_path.iterdir()}
    found = {day: [each.id for group in groups for each in group] for day, groups in days.items()}
    assert found == {"2009-08-24": ["a", "c"], "2009-08-25": ["b", "d"]}


def test_what_comes_again_is_there_once(tmp_path: Path) -> None:
    picks, detections = results()
    archive = Archive(tmp_path / "archive")
    in_parts(archive, picks, detections)
    in_parts(Archive(tmp_path / "archive"), picks[10:], detections[2:])
    make_files(tmp_path / "archive" / DAY)
    expected = written_by_sinks(tmp_path / "expected", picks, detections)
    assert contents(tmp_path / "archive" / DAY) == expected


def test_a_pick_that_was_computed_again_a_sample_off_is_there_once(tmp_path: Path) -> None:
    first = make_pick(id="x/100")
    again = make_pick(id="x/101", time=TIME + 0.01, peak_time=TIME + 0.01)
    other = make_pick(id="x/120", time=TIME + 0.2, peak_time=TIME + 0.2)
    later = make_pick(id="y/100", phase="S")
    Archive(tmp_path).add([first, again, other, later], ())
    picks, _ = read_spool(tmp_path / DAY / SPOOL)
    assert sorted(pick.id for pick in picks) == ["x/100", "x/120", "y/100"]


def test_the_link_to_a_detection_survives_a_pick_that_was_computed_again(tmp_path: Path) -> None:
    """The detection was found after a restart: it names the second one."""
    first = make_pick(id="x/100")
    again = make_pick(id="x/101", time=TIME + 0.01, peak_time=TIME + 0.01)
    detection = make_detection(pick_ids=("x/101",))
    Archive(tmp_path).add([first, again], [detection])
    make_files(tmp_path / DAY)
    _, row, *rest = (tmp_path / DAY / "picks.csv").read_text().splitlines()
    assert not rest
    assert detection.id in row


def test_picks_and_detections_come_back_as_they_were(tmp_path: Path) -> None:
    picks, detections = results()
    picks.append(
        make_pick(
            id="z", time=TIME + 999, amplitude_physical=1.5e-6, amplitude_unit="m/s",
            members=("a:b", "c:d"), detection_id="old",
        )
    )  # fmt: skip
    Archive(tmp_path).add(picks, detections)
    found, others = read_spool(tmp_path / DAY / SPOOL)
    assert others == sorted(detections, key=detection_order)
    for one, other in zip(found, sorted(picks, key=pick_order), strict=True):
        assert repr(one.to_dict()) == repr(other.to_dict())  # NaN are not equal
        assert one.members == other.members
        assert isinstance(one.time, UTCDateTime)


# -- what a killed process leaves -------------------------------------------------------------


def test_a_half_line_at_the_end_costs_only_itself(tmp_path: Path) -> None:
    picks, _ = results(4)
    archive = Archive(tmp_path)
    archive.add(picks, ())
    spool = tmp_path / DAY / SPOOL
    whole = spool.read_bytes()
    begin = whole.rindex(b"\n", 0, -1) + 1
    for size in (begin, begin + 1, begin + 100, len(whole) - 2):
        spool.write_bytes(whole[:size])
        assert [pick.id for pick in read_spool(spool)[0]] == [pick.id for pick in picks[:3]]
    spool.write_bytes(whole[:-1])
    assert len(read_spool(spool)[0]) == 4


@pytest.mark.parametrize(
    "damage",
    [b"\0" * 4096, b"\xff\xfe\x80", b"5", b"[]", b'{"kind": "pick"}', b'{"kind": [], "id": "x"}'],
    ids=["zeros", "no text", "number", "list", "no id", "odd kind"],
)
def test_damage_in_the_midst_costs_only_itself(tmp_path: Path, damage: bytes) -> None:
    picks, _ = results(4)
    Archive(tmp_path).add(picks, ())
    spool = tmp_path / DAY / SPOOL
    lines = spool.read_bytes().splitlines(keepends=True)
    spool.write_bytes(b"".join([*lines[:2], damage, b"\n", *lines[3:]]))
    found = [pick.id for pick in read_spool(spool)[0]]
    assert found == [pick.id for pick in (*picks[:2], *picks[3:])]


def test_what_comes_after_a_half_line_is_not_lost_with_it(tmp_path: Path) -> None:
    picks, _ = results(6)
    Archive(tmp_path).add(picks[:4], ())
    spool = tmp_path / DAY / SPOOL
    spool.write_bytes(spool.read_bytes()[:-50])
    archive = Archive(tmp_path)
    archive.add(picks[4:5], ())
    archive.add(picks[5:], ())
    found = [pick.id for pick in read_spool(spool)[0]]
    assert found == [pick.id for pick in (*picks[:3], *picks[4:])]


@pytest.mark.parametrize("how", ["error", "a part"])
def test_what_a_full_disk_did_not_take_is_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    picks, detections = results(12)
    archive = Archive(tmp_path / "archive")
    archive.add(picks[:4], ())
    spool = tmp_path / "archive" / DAY / SPOOL
    before, real = spool.read_bytes(), Path.open

    class Full:
        def __init__(self, path: Path, *args: Any, **options: Any) -> None:
            self.file = real(path, *args, **options)

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *error: object) -> None:
            self.file.close()

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

        def write(self, data: bytes) -> int:
            if how == "a part":
                return int(self.file.write(data[:20]))
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", Full)
        for first in (4, 8):
            with pytest.raises(OSError):  # noqa: PT011
                archive.add(picks[first : first + 4], detections)
    assert spool.read_bytes() == before
    archive.add((), ())
    make_files(spool.parent)
    assert contents(spool.parent) == written_by_sinks(tmp_path / "expected", picks, detections)


def test_a_disk_that_is_full_for_too_long_costs_the_oldest_results_and_they_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any, **options: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("ml_prediction.drivers.live.archive.MOST_UNWRITTEN", 5)
    picks, _ = results(12)
    archive = Archive(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        for pick in picks:
            with pytest.raises(OSError, match="No space"):
                archive.add([pick], ())
    archive.add((), ())
    assert archive.given_up == 7
    assert [pick.id for pick in read_spool(tmp_path / DAY / SPOOL)[0]] == [p.id for p in picks[7:]]


def test_files_are_made_anew_over_older_ones(tmp_path: Path) -> None:
    picks, detections = results()
    archive = Archive(tmp_path / "archive")
    folder = tmp_path / "archive" / DAY
    archive.add(picks[:10], ())
    assert main([str(folder)]) == 0
    (folder / ".picks.csv.part").write_text("of a killed process")
    archive.add(picks[10:], detections)
    assert main([str(folder)]) == 0
    assert contents(folder) == written_by_sinks(tmp_path / "expected", picks, detections)
    assert sorted(path.name for path in folder.iterdir()) == sorted([*NAMES, SPOOL])


# -- when ------------------------------------------------------------------------------------


class Worker:
    """Stands for the process that makes the files."""

    made: list[Worker]
    returncode = 0

    def __init__(self, command: list[str], **options: Any) -> None:
        assert options["start_new_session"]
        self.command = command
        self.running = False
        Worker.made.append(self)

    @property
    def folders(self) -> list[str]:
        return self.command[3:]

    def poll(self) -> int | None:
        return None if self.running else Worker.returncode


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> list[Worker]:
    """Processes that would have been started."""
    Worker.made, Worker.returncode = [], 0
    monkeypatch.setattr(subprocess, "Popen", Worker)
    return Worker.made


def test_files_are_made_now_and_then_if_something_has_come(
    tmp_path: Path, workers: list[Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    archive = Archive(tmp_path)
    archive.add([make_pick()], ())
    archive.refresh()
    assert workers == []
    now += REFRESH_SECONDS
    archive.refresh()
    archive.refresh()
    assert [each.command[1:] for each in workers] == [
        ["-m", "ml_prediction.drivers.live.archive", str(tmp_path / DAY)]
    ]
    now += 10 * REFRESH_SECONDS
    archive.refresh()
    assert len(workers) == 1


def test_one_process_at_a_time_makes_files_of_all_changed_days(
    tmp_path: Path, workers: list[Worker]
) -> None:
    archive = Archive(tmp_path)
    archive.add([make_pick()], ())
    archive.refresh(now=True)
    workers[0].running = True
    archive.add([make_pick(time=TIME + 86_400), make_pick(time=TIME + 2 * 86_400)], ())
    archive.refresh(now=True)
    assert len(workers) == 1
    workers[0].running = False
    archive.refresh(now=True)
    assert workers[1].folders == [str(tmp_path / "2009-08-25"), str(tmp_path / "2009-08-26")]


def test_days_that_an_earlier_process_left_without_files_get_theirs(
    tmp_path: Path, workers: list[Worker]
) -> None:
    Archive(tmp_path).add([make_pick()], ())
    Archive(tmp_path).refresh(now=True)
    assert [each.folders for each in workers] == [[str(tmp_path / DAY)]]


def test_days_whose_files_could_not_be_made_are_tried_again(
    tmp_path: Path, workers: list[Worker]
) -> None:
    Worker.returncode = 1
    archive = Archive(tmp_path)
    archive.add([make_pick()], ())
    archive.refresh(now=True)
    archive.refresh(now=True)
    assert [each.folders for each in workers] == [[str(tmp_path / DAY)]] * 2


def test_a_process_that_cannot_be_started_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: list[Worker]
) -> None:
    def refuse(*args: Any, **options: Any) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    archive = Archive(tmp_path)
    archive.add([make_pick()], ())
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", refuse)
        archive.refresh(now=True)
    archive.refresh(now=True)
    assert len(workers) == 1


def test_another_process_really_makes_them(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    archive.add([make_pick()], ())
    archive.refresh(now=True)
    worker = archive._worker
    assert isinstance(worker, subprocess.Popen)
    deadline = time.monotonic() + 60
    while worker.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert worker.returncode == 0
    assert sorted(contents(tmp_path / DAY)) == sorted(NAMES)
