"""The page of a run: it says what the store holds, needs nothing else, and is well-formed."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta
from html.parser import HTMLParser
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest
from store_results import DAY, make_result, make_run, make_units

from ml_prediction import cli
from ml_prediction.drivers.archive.overview import Overview, overview, station_rows
from ml_prediction.drivers.archive.report import to_html
from ml_prediction.drivers.archive.report_figures import (
    ROWS_A_PAGE,
    columns_of,
    cover_calendar,
    pick_calendar,
    ratios_of,
)
from ml_prediction.sinks.store import StationDay, Store, UnitKey, open_store
from ml_prediction.util.codes import Instrument

REASON = "<script>alert('no')</script> & \"quotes\" in /a/b.mseed"
VOID = {"meta", "img", "br", "hr", "link", "input"}


class Strict(HTMLParser):
    """Remembers tags, text and what is loaded; every tag must be closed in its turn."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.sources: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(text: str) -> Strict:
    parser = Strict()
    parser.feed(text)
    parser.close()
    assert parser.open == []
    assert text.startswith("<!doctype html>")
    assert all(source.startswith("data:image/png;base64,") for source in parser.sources)
    assert "url(" not in text
    assert "@import" not in text
    return parser


def fill(store: Store, units: list[UnitKey], counts: list[int]) -> None:
    """So many picks for each unit, of both phases; -1 fails, -2 stays planned."""
    store.begin(make_run(), units, resume=False)
    phases = cycle("PSP")
    for key, count in zip(units, counts, strict=True):
        if count == -1:
            store.fail(key, REASON, 3)
        elif count >= 0:
            result = make_result(key, count=count)
            picks = [dataclasses.replace(pick, phase=next(phases)) for pick in result.picks]
            store.write(dataclasses.replace(result, picks=picks))


@pytest.fixture
def found(tmp_path: Path) -> Iterator[Overview]:
    """Three stations, four days: one is dead, one failed once, one is noisy."""
    with open_store(f"sqlite:///{tmp_path / 'picks.db'}") as store:
        fill(store, make_units(3, 4), [0, 6, 60, 0, 6, 60, 0, -1, 60, 0, -2, 60])
        yield overview(store)


def test_counts_are_those_of_the_store(url: str) -> None:
    with open_store(url) as store:
        fill(store, make_units(3, 3), [4, 0, 7, -1, 5, 6, 3, 2, -2])
        found = overview(store)
        picks = list(store.picks())
    assert found.names == ["UW.S0", "UW.S1", "UW.S2"]
    assert found.days == tuple(DAY + timedelta(days=n) for n in range(3))
    by_unit = Counter((pick.station, pick.peak_time.date) for pick in picks)
    for row, station in enumerate(("S0", "S1", "S2")):
        for column, day in enumerate(found.days):
            shown = found.picks[row, column]
            assert np.nan_to_num(shown) == by_unit[station, day]
    assert np.isnan(found.picks[0, 1])
    assert np.isnan(found.picks[2, 2])
    assert np.argwhere(found.failed).tolist() == [[0, 1]]
    assert found.counts.by_station == Counter((p.network, p.station, p.phase) for p in picks)
    assert np.nanmax(found.cover) == pytest.approx(1.0, abs=1e-3)
    page = parsed(to_html(found))
    assert f"{len(picks):,} picks" in page.text
    assert "9 station-days: 7 done, 1 failed, 1 to do" in page.text
    for of in station_rows(found):
        of_station = [pick for pick in picks if f"UW.{pick.station}" == of.name]
        assert of.picks == of.p + of.s == len(of_station)
        assert of.p == sum(pick.phase == "P" for pick in of_station)


def test_stations_that_stand_out_come_first_with_the_reason(found: Overview) -> None:
    rows = {row.name: row for row in station_rows(found)}
    assert rows["UW.S0"].remarks == ("dead: data, but no pick",)
    assert rows["UW.S1"].remarks == ("1 failed",)
    assert rows["UW.S1"].done == 2
    assert rows["UW.S2"].remarks == ()
    picks = np.asarray(found.picks)
    picks[2] = 400
    picks[0] = [8, 0, 8, 8]
    changed = {row.name: row for row in station_rows(dataclasses.replace(found, picks=picks))}
    assert changed["UW.S0"].remarks == ("silent on 1 of its days with data",)
    assert changed["UW.S2"].remarks[0].startswith("noisy: 50.0 times")


def test_ratios_are_of_stations_with_enough_picks(found: Overview) -> None:
    assert ratios_of(found) == [pytest.approx(80 / 160, rel=0.1)]


def test_reasons_and_names_are_escaped(found: Overview) -> None:
    run = dataclasses.replace(found.run, root="/a/<b>&", config={"<i>": "</pre>"})
    text = to_html(dataclasses.replace(found, run=run))
    assert REASON in parsed(text).text
    assert "<script>" not in text
    assert "<i>" not in text
    assert "/a/<b>&" not in text


def test_settings_weights_and_versions_are_there(found: Overview) -> None:
    text = parsed(to_html(found)).text
    for word in ("EQTransformer", "00" * 32, "0123456789ab", '"stride": 3000', "numpy", "1.26.4"):
        assert word in text


def test_a_run_without_units_is_a_page(url: str) -> None:
    with open_store(url) as store:
        store.begin(make_run(), [], resume=False)
        page = parsed(to_html(overview(store)))
    assert "no units" in page.text
    assert page.tags["img"] == 0


@pytest.mark.parametrize("count", [-2, -1, 0], ids=["planned", "failed", "without picks"])
def test_a_run_without_picks_is_a_page(tmp_path: Path, count: int) -> None:
    with open_store(f"sqlite:///{tmp_path / 'picks.db'}") as store:
        fill(store, make_units(2, 2), [count] * 4)
        page = parsed(to_html(overview(store)))
    assert page.tags["img"] >= 2


def test_many_stations_are_on_pages(found: Overview) -> None:
    n = 2 * ROWS_A_PAGE + 1
    many = dataclasses.replace(
        found,
        stations=tuple(("UW", f"S{number:03d}") for number in range(n)),
        picks=np.resize(found.picks, (n, 4)),
        failed=np.resize(found.failed, (n, 4)),
        cover=np.resize(found.cover, (n, 4)),
    )
    for pages in (pick_calendar(many), cover_calendar(many)):
        described = [description for description, _ in pages]
        assert [d.rpartition(": ")[2] for d in described] == [
            "UW.S000 to UW.S039", "UW.S040 to UW.S079", "UW.S080 to UW.S120"
        ]  # fmt: skip


def test_years_are_shown_by_month() -> None:
    days = [date(2016, 12, 30) + timedelta(days=n) for n in range(400)]
    columns = columns_of(days)
    assert columns.monthly
    assert columns.labels[:2] == ("2016-12", "2017-01")
    assert columns.labels[-1] == "2018-02"
    values = np.ones((1, 400), np.float32)
    values[0, :2] = [3, np.nan]
    values[0, 2:33] = np.nan
    means = columns.mean(values)
    assert means[0, 0] == 3
    assert np.isnan(means[0, 1])
    assert (means[0, 2:] == 1).all()
    assert not columns_of(days[:62]).monthly


def test_the_best_instrument_counts_for_a_day(tmp_path: Path) -> None:
    (unit,) = make_units(1, 1)
    days = [
        StationDay(Instrument("UW", "S0", "", prefix), 1, covered, gaps, 1, 0, 0, {})
        for prefix, covered, gaps in (("EH", 21_600.0, 7), ("HH", 64_800.0, 2))
    ]
    with open_store(f"sqlite:///{tmp_path / 'picks.db'}") as store:
        store.begin(make_run(), [unit], resume=False)
        store.write(make_result(unit, count=0, statistics=days))
        found = overview(store)
    assert found.cover.tolist() == [[0.75]]
    assert found.gaps.tolist() == [[2]]


def test_a_done_day_without_data_is_not_covered(tmp_path: Path) -> None:
    units = make_units(3, 1)
    with open_store(f"sqlite:///{tmp_path / 'picks.db'}") as store:
        store.begin(make_run(), units, resume=False)
        store.write(make_result(units[0], count=1))
        store.write(make_result(units[1], count=0, statistics=[]))
        found = overview(store)
    assert found.cover[:2, 0].round(3).tolist() == [1.0, 0.0]
    assert np.isnan(found.cover[2, 0])  # planned
    assert station_rows(found)[0].remarks == ("no pick, and hardly data",)


def test_members_of_an_ensemble_are_named(found: Overview) -> None:
    members = [
        {"name": name, "weights": "stead", "sha256": "11" * 32, "engine": "torch", "citation": name}
        for name in ("PhaseNet", "EQTransformer")
    ]
    ensemble = {"name": "both", "weights": "w", "sha256": "22" * 32, "combine": "semblance"}
    run = dataclasses.replace(found.run, models=[{**ensemble, "members": members}])
    text = parsed(to_html(dataclasses.replace(found, run=run))).text
    for word in ("both:w", "semblance", "PhaseNet", "11" * 32, "22" * 32):
        assert word in text


def test_the_command_writes_the_page_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with open_store("picks.db") as store:
        fill(store, make_units(1, 2), [3, 4])
    line = ["archive", "report", "--store", "picks.db", "--out", "run.html"]
    assert cli.run(line) == 0
    assert "7 picks" in parsed(Path("run.html").read_text(encoding="utf-8")).text
    assert "run may" in capsys.readouterr().out
    assert cli.run(line) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert cli.run([*line, "--overwrite"]) == 0
    assert cli.run([*line, "--overwrite", "--run-id", "june"]) == 2
    assert "june" in capsys.readouterr().err
    assert cli.run(["archive", "report", "--store", "none.db", "--out", "other.html"]) == 2
    assert not Path("other.html").exists()
