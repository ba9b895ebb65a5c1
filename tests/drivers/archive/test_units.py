"""Units of an archive: which there are, and that their picks are those of one stream."""

from __future__ import annotations

import errno
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import obspy
import pytest
from forbidden import Forbid
from obspy import UTCDateTime
from small_archive import MIDNIGHT, station, write_sds

import ml_prediction as mlp
from ml_prediction.core.packets import Packet
from ml_prediction.drivers.archive.picking import _Days, pick_unit
from ml_prediction.drivers.archive.plan import Unit, plan_units
from ml_prediction.drivers.run_config import RunConfig
from ml_prediction.errors import ConfigurationError, DataError
from ml_prediction.models import Model
from ml_prediction.sources.problems import ProblemLedger
from ml_prediction.util.codes import NSLC, Instrument
from ml_prediction.util.times import to_ns

FIRST, END = date(2017, 5, 1), date(2017, 5, 3)
SPAN = 1800.0
"""Seconds on each side of midnight."""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two stations for half an hour on each side of midnight; one has a gap, and a late start."""
    root = tmp_path_factory.mktemp("sds")
    quakes = [MIDNIGHT + at for at in (-900.0, -5.2, 40.0, 700.0)]  # S of the second: 00:00:00.5
    whole = station("AAA", MIDNIGHT - SPAN, 2 * SPAN, quakes)
    write_sds(root, whole)
    late = station("BBB", MIDNIGHT - 600.001, 600.0 + SPAN, [MIDNIGHT - 4.0, MIDNIGHT + 300.0])
    write_sds(root, late.cutout(MIDNIGHT + 100, MIDNIGHT + 103.5))
    return root


def test_a_station_has_a_unit_for_each_day_that_may_have_its_samples(archive: Path) -> None:
    units = plan_units(archive, FIRST, date(2017, 5, 10))
    assert [str(unit) for unit in units] == [
        f"XX.{code} 2017-05-0{day}" for code in ("AAA", "BBB") for day in (1, 2, 3)
    ]
    assert {unit.channels for unit in units if unit.station == "AAA"} == {
        tuple(NSLC("XX", "AAA", "", f"HH{letter}") for letter in "ENZ")
    }
    assert [len(unit.own_files) for unit in units] == [3, 3, 0] * 2
    assert [len(unit.files) for unit in units] == [6, 6, 3] * 2
    one = plan_units(archive, FIRST, END, networks=["X?"], channels=["HHZ"])
    assert {unit.channels for unit in one if unit.station == "BBB"} == {
        (NSLC("XX", "BBB", "", "HHZ"),)
    }


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"end": FIRST}, ConfigurationError, "must be later"),
        ({"root": Path("/nowhere")}, ConfigurationError, "is no folder"),
        ({"networks": ["YY"]}, DataError, "no waveforms of YY"),
        (
            {"first": date(1999, 1, 1), "end": date(1999, 1, 2)},
            DataError,
            "from 1999.*check the folder",
        ),
    ],
    ids=["days", "root", "networks", "time"],
)
def test_what_cannot_be_planned_is_refused(
    archive: Path, changes: dict[str, object], error: type[Exception], words: str
) -> None:
    options = {"root": archive, "first": FIRST, "end": END, **changes}
    with pytest.raises(error, match=words):
        plan_units(options.pop("root"), options.pop("first"), options.pop("end"), **options)  # type: ignore[arg-type]


def test_days_picked_one_by_one_are_what_they_are_in_one_stream(archive: Path, eqt: Model) -> None:
    whole = mlp.pick(obspy.read(str(archive / "*" / "*" / "*" / "*" / "*")), eqt)
    units = plan_units(archive, FIRST, END)
    parts = [pick_unit(unit, [eqt], RunConfig(), None, "") for unit in units]
    found = {pick.id: pick for part in parts for pick in part.picks}
    assert len(found) == sum(len(part.picks) for part in parts)
    assert sorted(found) == sorted(pick.id for pick in whole.picks)
    assert len(found) >= 12
    for reference in whole.picks:
        pick = found[reference.id]
        assert abs(to_ns(pick.time) - to_ns(reference.time)) <= 1e6
        assert pick.detection_id == reference.detection_id
        assert pick.sigma == pytest.approx(reference.sigma, rel=1e-3)
    detections = [d.id for part in parts for d in part.detections]
    assert sorted(detections) == sorted(d.id for d in whole.detections)
    for unit, part in zip(units, parts, strict=True):
        start, end = unit.span
        assert all(start <= pick.peak_time < end for pick in part.picks)
    by_phase = [[(p.phase, p.time.day) for p in part.picks] for part in parts[:2]]
    assert ("P", 1) in by_phase[0]  # of the earthquake over midnight, P is here and S there
    assert by_phase[1][0] == ("S", 2)


def test_what_each_instrument_has_sent_on_the_day_is_told(archive: Path, eqt: Model) -> None:
    units = {(unit.station, unit.day.day): unit for unit in plan_units(archive, FIRST, END)}
    found = pick_unit(units["AAA", 1], [eqt], RunConfig(), None, "")
    (day,) = found.statistics
    assert day.instrument == Instrument("XX", "AAA", "", "HH")
    assert (day.samples, day.covered_s, day.gaps) == (3 * 180_000, 1800.0, 0)
    assert (day.picks, day.detections) == (len(found.picks), len(found.detections))
    assert 1800 // 30 < day.windows < (1800 + 500) // 30  # of the day and its context
    assert day.skipped == {}
    (day,) = pick_unit(units["AAA", 2], [eqt], RunConfig(), None, "").statistics
    assert day.skipped == {"windows: too few samples": 1}  # the last one
    (day,) = pick_unit(units["BBB", 2], [eqt], RunConfig(), None, "").statistics
    assert day.skipped == {"probabilities: guard": 100, "windows: too few samples": 1}
    assert day.gaps == 1
    assert day.covered_s == pytest.approx(1800.0 - 3.5, abs=0.03)
    assert day.samples == pytest.approx(3 * 100 * day.covered_s, abs=10)


@pytest.mark.parametrize(
    ("seconds", "days"), [(900.0, (1,)), (120.0, (1, 2))], ids=["far from", "near midnight"]
)
def test_damage_is_told_of_the_days_that_lack_what_it_cost(
    archive: Path, tmp_path: Path, eqt: Model, seconds: float, days: tuple[int, ...]
) -> None:
    damaged = shutil.copytree(archive, tmp_path / "sds")
    (file,) = damaged.glob("*/XX/AAA/HHZ.D/*.121")
    content = file.read_bytes()
    place = round(len(content) / 512 * (SPAN - seconds) / SPAN) * 512
    file.write_bytes(content[:place] + b"rubbish " * 64 + content[place:])
    units = [u for u in plan_units(damaged, FIRST, END) if u.station == "AAA"]
    told = {unit.day.day: pick_unit(unit, [eqt], RunConfig(), None, "").problems for unit in units}
    for day, problems in told.items():
        assert len(problems) == (day in days)
        assert all(file.name in said and "512 bytes" in said for said in problems)


def test_a_day_without_its_neighbours_says_so(archive: Path, tmp_path: Path, eqt: Model) -> None:
    """Whose files are all rubbish; nothing else would tell once they are mended."""
    damaged = shutil.copytree(archive, tmp_path / "sds")
    for file in damaged.glob("*/XX/AAA/*/*.121"):
        file.write_bytes(b"rubbish " * 640)
    units = {(u.station, u.day.day): u for u in plan_units(damaged, FIRST, date(2017, 5, 4))}
    with pytest.raises(DataError, match="No file of the day can be used"):
        pick_unit(units["AAA", 1], [eqt], RunConfig(), None, "")
    found = pick_unit(units["AAA", 2], [eqt], RunConfig(), None, "")
    assert found.picks
    assert [said.split()[0].rpartition(".")[2] for said in found.problems] == ["121"] * 3
    for file in damaged.glob("*/XX/AAA/*/*.122"):
        file.write_bytes(b"rubbish " * 640)
    found = pick_unit(units["AAA", 3], [eqt], RunConfig(), None, "")
    assert (len(found.picks), len(found.problems)) == (0, 3)


def test_records_without_samples_cost_nothing(archive: Path, tmp_path: Path, eqt: Model) -> None:
    """State of health, events and timing of digitisers come in such."""
    sds = shutil.copytree(archive, tmp_path / "sds")
    file = next(sds.rglob("XX.AAA..HHZ.D.2017.121"))
    content = file.read_bytes()
    hollow = bytearray(content[-512:])  # a minute before midnight
    hollow[30:32] = bytes(2)  # number of samples
    file.write_bytes(content + hollow)
    for unit in plan_units(sds, FIRST, END):
        if unit.station == "AAA":
            assert pick_unit(unit, [eqt], RunConfig(), None, "").problems == ()


def test_samples_before_1970_are_counted() -> None:
    start = UTCDateTime(1969, 7, 21)
    days = _Days(to_ns(start), to_ns(start + 86400))
    packets = [
        Packet(NSLC("XX", "AAA", "", "HHZ"), to_ns(start + at), 100.0, np.zeros(6000, np.int32))
        for at in (0, 30, 60, 200)
    ]
    days.add(packets)
    (cover,) = days.all()
    assert (cover.samples, cover.seconds, cover.gaps) == (18_000, 180.0, 1)


NAMES = ("XX.AAA..HHZ.D.2017.121", "XX.AAA..HHE.D.2017.121", "XX.AAA..HHN.D.2017.121")


@pytest.mark.parametrize("content", ["of another day", "of another station"])
def test_a_file_that_has_nothing_of_its_name_is_told(
    archive: Path, tmp_path: Path, eqt: Model, content: str
) -> None:
    wrong = shutil.copytree(archive, tmp_path / "sds")
    files = [next(wrong.rglob(name)) for name in NAMES]
    for number, file in enumerate(files):
        code = "AAA" if content == "of another day" else "BBB"
        stream = station(code, MIDNIGHT - 3 * 86400, 300.0, ())
        stream[number].write(str(file), format="MSEED", reclen=512)
        (unit,) = (u for u in plan_units(wrong, FIRST, END) if (u.station, u.day) == ("AAA", FIRST))
        if file is files[-1]:
            with pytest.raises(DataError, match=r"No file of the day.*has nothing of XX\.AAA"):
                pick_unit(unit, [eqt], RunConfig(), None, "")
        else:
            found = pick_unit(unit, [eqt], RunConfig(), None, "")
            assert len(found.problems) == number + 1
            assert "2017-04-29T00:00:00 to 2017-04-29T00:0" in found.problems[0]
            assert f"XX.{code}..HH" in found.problems[0]


@pytest.mark.parametrize("more", ["channels", "days"])
def test_a_file_that_has_more_than_its_name_is_told(
    archive: Path, tmp_path: Path, eqt: Model, more: str
) -> None:
    """It is looked into for its channel, and for its day and those beside it."""
    wrong = shutil.copytree(archive, tmp_path / "sds")
    file, other = (next(wrong.rglob(name)) for name in NAMES[:2])
    later = tmp_path / "later.mseed"
    station("AAA", MIDNIGHT + 4 * 86400, 60, ())[0].write(str(later), format="MSEED", reclen=512)
    with file.open("ab") as end:
        end.write((later if more == "days" else other).read_bytes())
    (unit,) = (u for u in plan_units(wrong, FIRST, END) if (u.station, u.day) == ("AAA", FIRST))
    found = pick_unit(unit, [eqt], RunConfig(), None, "")
    assert found.picks
    (told,) = found.problems
    (unit,) = (u for u in plan_units(wrong, FIRST, END) if (u.station, u.day.day) == ("AAA", 2))
    assert pick_unit(unit, [eqt], RunConfig(), None, "").problems == ()
    code = "HHZ" if more == "days" else "HHE"
    assert {"days": "to 2017-05-06T00:0", "channels": "T23:30:00 to"}[more] in told
    assert f"{file.name} has more than XX.AAA..HHZ on the day that it is named by: XX.AAA" in told
    assert f"{code} from" in told


def test_what_a_unit_is_made_of_changes_with_its_files(archive: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(archive, tmp_path / "sds")
    before = {unit.key: unit.made_of for unit in plan_units(archive, FIRST, END)}
    assert {unit.key: unit.made_of for unit in plan_units(copy, FIRST, END)} == before
    next(copy.rglob(NAMES[0])).unlink()
    units = plan_units(copy, FIRST, date(2017, 5, 4))
    changed = {str(unit) for unit in units if unit.made_of != before.get(unit.key, unit.made_of)}
    assert changed == {"XX.AAA 2017-05-01", "XX.AAA 2017-05-02"}


def test_day_files_without_a_network_code_are_not_hidden(archive: Path, tmp_path: Path) -> None:
    folder = tmp_path / "2017" / "AAA" / "HHZ.D"
    folder.mkdir(parents=True)
    shutil.copy(next(archive.rglob(NAMES[0])), folder / ".AAA..HHZ.D.2017.121")
    (folder / ".hidden").write_bytes(b"x")
    units = plan_units(tmp_path, FIRST, END)
    assert [str(unit.key) for unit in units] == [".AAA 2017-05-01", ".AAA 2017-05-02"]


def test_a_file_with_another_channel_of_the_station_is_told(
    archive: Path, tmp_path: Path, eqt: Model
) -> None:
    """What it has is used, but there is no Z."""
    wrong = shutil.copytree(archive, tmp_path / "sds")
    shutil.copy(next(wrong.rglob(NAMES[2])), next(wrong.rglob(NAMES[0])))
    (unit,) = (u for u in plan_units(wrong, FIRST, END) if (u.station, u.day) == ("AAA", FIRST))
    found = pick_unit(unit, [eqt], RunConfig(), None, "")
    (told,) = found.problems
    assert f"{NAMES[0]} has nothing of XX.AAA..HHZ" in told
    (day,) = found.statistics
    assert day.samples == 2 * 180_000  # what is there twice counts once


def test_a_folder_in_the_place_of_a_day_file_is_told(archive: Path, tmp_path: Path) -> None:
    wrong = shutil.copytree(archive, tmp_path / "sds")
    folder = next(wrong.rglob("XX.BBB..HHZ.D.2017.122"))
    folder.unlink()
    folder.mkdir()
    (folder.parent / "XX.BBB..HHZ.D.2017.300").mkdir()  # of another time
    (wrong / "2017" / "YY" / "BBB" / "HHZ.D" / "YY.BBB..HHZ.D.2017.122").mkdir(parents=True)
    ledger = ProblemLedger()
    plan_units(wrong, FIRST, END, networks=["XX"], problems=ledger)
    (problem,) = ledger.all
    assert f"{folder} is a folder" in problem.message


def test_other_files_in_an_sds_archive_are_told_and_not_used(
    archive: Path, tmp_path: Path, eqt: Model
) -> None:
    """They may be older copies, with another clock; and links, lists, state files lie about."""
    sds = shutil.copytree(archive, tmp_path / "sds")
    for path in list(sds.rglob("XX.AAA..HH?.D.2017.12?")):
        stream = obspy.read(str(path))
        for trace in stream:
            trace.stats.starttime -= 0.5
        stream.write(str(path) + ".bak", format="MSEED", reclen=512)
    (sds / "2017" / "XX" / "AAA" / "HHZ.D" / "latest").symlink_to(tmp_path / "nowhere")
    (sds / "2017" / "YY" / "CCC").mkdir(parents=True)
    (sds / "2017" / "YY" / "CCC" / "of another network.txt").touch()
    (sds / "README").touch()
    ledger = ProblemLedger()
    units = plan_units(sds, FIRST, END, networks=["XX"], problems=ledger)
    (problem,) = ledger.all
    assert "8 of the files in" in problem.message
    assert "are not used: README" in problem.message
    assert (problem.reason, problem.unit) == ("misnamed", "name")
    for unit, same in zip(units, plan_units(archive, FIRST, END), strict=True):
        assert unit.made_of == same.made_of
    assert pick_unit(units[0], [eqt], RunConfig(), None, "").picks


def test_long_records_of_slow_channels_are_no_fault_of_their_files(
    tmp_path: Path, eqt: Model
) -> None:
    """A record of 4096 bytes at 1 Hz lasts an hour and more, and is filed by its start."""
    start = MIDNIGHT - 86400
    stream = station("AAA", MIDNIGHT - 900, 1800, [MIDNIGHT - 300])
    rng = np.random.default_rng(0)
    slow = stream[0].copy()
    slow.data = rng.integers(-50, 50, 2 * 86400).astype(np.int32)
    slow.stats.update({"channel": "LHZ", "sampling_rate": 1.0, "starttime": start})
    write_sds(tmp_path, stream)
    for day, first, last in ((121, 0, 86400 + 7000), (122, 86400 + 7000, 2 * 86400)):
        folder = tmp_path / "2017" / "XX" / "AAA" / "LHZ.D"
        folder.mkdir(parents=True, exist_ok=True)
        piece = slow.slice(start + first, start + last - 1)
        piece.write(str(folder / f"XX.AAA..LHZ.D.2017.{day}"), format="MSEED", reclen=4096)
    ledger = ProblemLedger()
    for unit in plan_units(tmp_path, FIRST, END, problems=ledger):
        assert pick_unit(unit, [eqt], RunConfig(), None, "").problems == ()
    assert ledger.all == []


@pytest.mark.parametrize("layout", ["channels and days", "days", "stations"])
def test_files_of_any_name_make_the_units_that_day_files_make(
    archive: Path, tmp_path: Path, eqt: Model, layout: str
) -> None:
    other = shutil.copytree(archive, tmp_path / "flat")
    for number, file in enumerate(sorted(path for path in other.rglob("XX.*") if path.is_file())):
        content, name = file.read_bytes(), file.name
        file.unlink()
        if layout == "channels and days":
            folder = other / name[-3:]
            folder.mkdir(exist_ok=True)
            (folder / name.replace("..", ".")).write_bytes(content)
        else:
            part = name[-3:] if layout == "days" else name[3:6]
            with (other / f"waveforms-{part}.mseed").open("ab") as together:
                together.write(content)
        assert number < 12
    shutil.rmtree(other / "2017")
    (other / "README.txt").write_text("not a waveform " * 100)
    ledger, told = ProblemLedger(), list[str]()
    units = plan_units(other, FIRST, END, problems=ledger, tell=told.append)
    assert [problem.quiet for problem in ledger.all] == [True]
    count = {"channels and days": 13, "days": 3, "stations": 3}[layout]
    assert told == [f"No SDS archive: looking into {count} files."]
    expected = plan_units(archive, FIRST, END)
    assert [(u.key, u.channels) for u in units] == [(u.key, u.channels) for u in expected]
    for unit, same in zip(units, expected, strict=True):
        found = pick_unit(unit, [eqt], RunConfig(), None, "")
        reference = pick_unit(same, [eqt], RunConfig(), None, "")
        assert [pick.id for pick in found.picks] == [pick.id for pick in reference.picks]
        assert found.statistics == reference.statistics
        assert found.problems == ()


@pytest.mark.parametrize(
    ("parts", "stations"),
    [
        (("2017", "XX", "AAA", "HHZ.D"), {"AAA"}),
        (("2017", "XX", "AAA"), set()),
        (("2018",), {"AAA", "BBB"}),
        (("2017", "YY"), set()),
        (("backup",), set()),
    ],
    ids=["channel", "station", "next year", "another network", "beside the archive"],
)
def test_units_fail_that_a_folder_without_a_listing_may_have_files_of(
    archive: Path,
    tmp_path: Path,
    forbid: Forbid,
    parts: tuple[str, ...],
    stations: set[str],
) -> None:
    """--resume does them then, once the folder can be listed."""
    root = tmp_path / "sds"
    shutil.copytree(archive, root)
    for file in root.rglob("*.122"):
        file.rename(file.with_name(file.name.replace(".122", ".365")))
    secret = root.joinpath(*parts)
    secret.mkdir(exist_ok=True, parents=True)
    forbid(secret)
    ledger = ProblemLedger()
    units = plan_units(root, FIRST, date(2018, 1, 1), networks=["XX"], problems=ledger)
    new_year = {unit.station for unit in units if unit.unlisted and unit.day.month == 12}
    assert new_year == stations
    in_may = {unit.station for unit in units if unit.unlisted and unit.day.month == 5}
    assert in_may == (stations if parts[0] == "2017" else set())
    reason = "beside the archive" if parts == ("backup",) else "unreadable"
    assert [p.reason for p in ledger.all] == ([] if parts == ("2017", "YY") else [reason])
    for unit in units:
        if unit.unlisted:
            assert str(secret) in unit.unlisted
            with pytest.raises(DataError, match=r"can't be listed \(Permission denied"):
                pick_unit(unit, [], RunConfig(), None, "")
    if parts == ("2017", "XX", "AAA"):
        assert {unit.station for unit in units} == {"BBB"}
        with pytest.raises(DataError, match="AAA can't be listed"):
            plan_units(root, FIRST, END, channels=["XX.AAA.*"], problems=ProblemLedger())


@pytest.mark.parametrize(("day", "file"), [(1, "121"), (1, "122"), (2, "121")])
def test_what_the_system_can_not_read_fails_the_day_also_where_it_is_a_neighbours(
    archive: Path, monkeypatch: pytest.MonkeyPatch, eqt: Model, day: int, file: str
) -> None:
    """Picks near midnight depend on it, and the next try may find the file system well."""
    (unit,) = (u for u in plan_units(archive, FIRST, END) if (u.station, u.day.day) == ("AAA", day))
    opened = Path.open

    def broken(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.name.endswith(f"HHN.D.2017.{file}"):
            raise OSError(errno.EIO, "Input/output error")
        return opened(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", broken)
    with pytest.raises(DataError, match=rf"HHN\.D\.2017\.{file} can't be read .Input/output"):
        pick_unit(unit, [eqt], RunConfig(), None, "")
    monkeypatch.undo()
    assert pick_unit(unit, [eqt], RunConfig(), None, "").picks


def test_a_day_of_neighbours_alone_is_empty_and_one_of_rubbish_is_refused(
    archive: Path, tmp_path: Path, eqt: Model
) -> None:
    empty = plan_units(archive, date(2017, 5, 3), date(2017, 5, 4))[0]
    part = pick_unit(empty, [eqt], RunConfig(), None, "")
    assert (part.picks, part.statistics, part.problems) == ([], [], ())
    rubbish = tmp_path / "XX.AAA..HHZ.D.2017.121"
    rubbish.write_bytes(np.random.default_rng(1).bytes(5000))
    unit = Unit("XX", "AAA", FIRST, (rubbish,), (NSLC("XX", "AAA", "", "HHZ"),))
    with pytest.raises(DataError, match=r"XX\.AAA\.\.HHZ\.D\.2017\.121"):
        pick_unit(unit, [eqt], RunConfig(), None, "")
