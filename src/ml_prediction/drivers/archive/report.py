"""A run of `archive` as one HTML page that needs nothing else."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console

from ml_prediction import __version__
from ml_prediction.drivers.archive.overview import Overview, StationRow, overview, station_rows
from ml_prediction.drivers.archive.report_figures import (
    cover_calendar,
    network_days,
    pick_calendar,
    quality,
)
from ml_prediction.drivers.archive.status import in_part, lines_of
from ml_prediction.sinks.store import UnitState, open_store, store_file
from ml_prediction.sinks.store.bins import UNKNOWN
from ml_prediction.util.files import check_apart, check_free, make_result_folder, write_whole
from ml_prediction.util.page import image, page, paragraph, preformatted, table

MOST_FAILED: Final = 200
"""Failed units that are listed; all are in the store."""

_STYLE: Final = """
th { position: sticky; top: 0; background: white }
td:first-child, th:first-child, td.text, td:last-child, th:last-child { text-align: left }
pre { background: #f5f5f5; padding: 0.7em; overflow-x: auto }
summary { cursor: pointer; margin: 0.7em 0 }
"""


def write_report(url: str, path: Path, *, run_id: str | None, overwrite: bool, out: Console) -> int:
    """Write the report of a run.

    Parameters
    ----------
    url
        Store.
    path
        HTML file; its folder is made.
    run_id
        Of the run; None: the only one.
    overwrite
        Replace an earlier file.
    out
        Where it is said what was written.

    Raises
    ------
    ConfigurationError
        If there is no store, no such run, or a file of that name, or it is of the store.
    """
    check_free(path, overwrite=overwrite)
    check_apart(path, store_file(url))
    with open_store(url, create=False) as store:
        found = overview(store, run_id)
    text = to_html(found)
    make_result_folder(path.parent)
    write_whole(path, text.encode(errors="backslashreplace"))
    out.print(f"{path}: run {found.run.run_id}, {len(text) / 1e6:.1f} MB", markup=False)
    return 0


def to_html(found: Overview) -> str:
    """The page."""
    parts = [*_summary(found), *_failures(found.states)]
    if found.stations:
        rows = station_rows(found)
        parts += [
            *_picks(found),
            *_quality(found),
            *_standing_out(rows),
            *_cover(found),
            *_all_stations(rows),
        ]
    parts += [*_settings(found), paragraph(f"Made by ml_prediction {__version__}.")]
    return page(f"Run {found.run.run_id}", parts, _STYLE)


def _summary(found: Overview) -> Iterator[str]:
    run = found.run
    models = ", ".join(f"{model.get('name')}:{model.get('weights')}" for model in run.models)
    yield paragraph(
        f"{models or 'No model'} on {run.root}; begun {run.created:%Y-%m-%d %H:%M} UTC."
    )
    if not found.stations:
        yield paragraph("The run has no units: nothing was to be picked.")
        return
    yield paragraph(f"{len(found.stations):,} stations, {found.days[0]} to {found.days[-1]} (UTC).")
    for line in lines_of(found.states):
        yield paragraph(line.strip())


def _failures(states: Sequence[UnitState]) -> Iterator[str]:
    failed = [state for state in states if state.state == "failed"]
    yield from _told("Failed units", failed)
    yield from _told("Units without a part of their files", in_part(states))


def _told(title: str, units: Sequence[UnitState]) -> Iterator[str]:
    if not units:
        return
    yield f"<h2>{title}</h2>"
    reasons = Counter(state.reason for state in units)
    if len(reasons) < len(units):
        yield table(("units", "reason"), ((n, reason) for reason, n in reasons.most_common(50)))
    rows = [(state.key, state.attempts, state.reason) for state in units[:MOST_FAILED]]
    yield _folded(f"One by one ({len(units):,})", table(("unit", "attempts", "reason"), rows))
    if len(units) > MOST_FAILED:
        yield paragraph(f"These are the first {MOST_FAILED}; all are in the store.")


def _picks(found: Overview) -> Iterator[str]:
    yield "<h2>Picks by station and day</h2>"
    yield image(network_days(found), "Picks of all stations, and stations, by day")
    for description, png in pick_calendar(found):
        yield image(png, description)


def _quality(found: Overview) -> Iterator[str]:
    yield "<h2>Quality</h2>"
    yield paragraph(
        "Nothing here says what is right: that needs an analyst's picks (`ml-prediction evaluate`)."
    )
    kinds = found.counts.by_kind
    rows = []
    for phase in sorted({kind[0] for kind in kinds}):
        of_phase = {kind: count for kind, count in kinds.items() if kind[0] == phase}
        total = sum(of_phase.values())
        classes = Counter[int]()
        for kind, count in of_phase.items():
            classes[kind[1]] += count
        unknown = sum(count for kind, count in of_phase.items() if kind[3] == UNKNOWN)
        shares = [f"{classes[number] / total:.1%}" for number in range(5)]
        rows.append((phase, f"{total:,}", *shares, f"{unknown:,}"))
    header = ("phase", "picks", *(f"quality {n}" for n in range(5)), "without sigma")
    yield table(header, rows)
    if kinds:
        yield image(quality(found), "Probability, sigma and quality by phase; S/P ratio by station")


def _standing_out(rows: Sequence[StationRow]) -> Iterator[str]:
    yield "<h2>Stations that stand out</h2>"
    chosen = [row for row in rows if row.remarks]
    if chosen:
        yield _station_table(chosen)
    else:
        yield paragraph("None.")


def _cover(found: Overview) -> Iterator[str]:
    yield "<h2>Data by station and day</h2>"
    known = found.cover[~np.isnan(found.cover)]
    if not len(known):
        yield paragraph("The store has no statistics of the days.")
        return
    yield paragraph(
        f"On average {np.mean(known):.1%} of a done day is covered by data, with "
        f"{np.nanmean(found.gaps):.1f} gaps; of a station's instruments the one with most counts."
    )
    for description, png in cover_calendar(found):
        yield image(png, description)


def _all_stations(rows: Sequence[StationRow]) -> Iterator[str]:
    by_name = sorted(rows, key=lambda row: row.name)
    yield "<h2>All stations</h2>"
    yield _folded(f"{len(rows):,} stations", _station_table(by_name))


def _station_table(rows: Sequence[StationRow]) -> str:
    header = (
        "station",
        "days done",
        "failed",
        "picks",
        "a day (median)",
        "P",
        "S",
        "S/P",
        "covered",
        "gaps a day",
        "remarks",
    )
    return table(
        header,
        (
            (
                row.name,
                row.done,
                row.failed,
                f"{row.picks:,}",
                _number(row.per_day, "{:g}"),
                f"{row.p:,}",
                f"{row.s:,}",
                f"{row.s / row.p:.2f}" if row.p else "",
                _number(row.cover, "{:.1%}"),
                _number(row.gaps_per_day, "{:.1f}"),
                "; ".join(row.remarks),
            )
            for row in rows
        ),
    )


def _settings(found: Overview) -> Iterator[str]:
    run = found.run
    yield "<h2>Settings, weights and versions</h2>"
    models = list(_models(run.models))
    header = ("model", "weights", "SHA-256", "engine, or rule", "licence")
    names = ("name", "weights", "sha256", "engine", "licence")
    yield table(header, ([model.get(name, "") for name in names] for model in models))
    for citation in dict.fromkeys(model.get("citation", "") for model in models):
        if citation:
            yield paragraph(f"Cite: {citation}")
    yield paragraph(f"Hash of the pipeline's settings: {run.config_hash}")
    yield preformatted(json.dumps(run.config, indent=2, ensure_ascii=False, sort_keys=True))
    yield table(("library", "version"), sorted(run.versions.items()))


def _models(models: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Models, and each ensemble's members below it."""
    for model in models:
        yield {**model, "engine": model.get("engine", model.get("combine", ""))}
        yield from _models(model.get("members", ()))


def _folded(title: str, content: str) -> str:
    return f"<details><summary>{title}</summary>\n{content}</details>"


def _number(value: float, form: str) -> str:
    return "" if value != value else form.format(value)
