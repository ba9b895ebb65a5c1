"""The results for programs (JSON) and for people (Markdown, a picture, a table)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from ml_prediction.benchmark.machine import slug
from ml_prediction.benchmark.picture import draw

LATEST: Final = "latest"
_COLUMNS: Final = (
    "contender",
    "batch",
    "seconds",
    "windows/s",
    "x real time",
    "x SeisBench's best",
    "of the floor",
    "peak MiB",
    "picks",
)
_STAGES: Final = 6


def write(results: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write all forms of the results.

    Parameters
    ----------
    results
        From `measure`.
    folder
        Where they go; ``latest.*`` are replaced.

    Returns
    -------
    list of Path
        The files.
    """
    stem = f"{results['started'][:10]}-{slug(results['machine']['processor'])}"
    paths = [folder / f"{stem}.json", folder / f"{LATEST}.md", folder / f"{LATEST}.png"]
    text = json.dumps(results, indent=1, allow_nan=False, ensure_ascii=False)
    paths[0].write_text(f"{text}\n", encoding="utf-8")
    paths[1].write_text(to_markdown(results, paths[0].name), encoding="utf-8")
    draw(results, paths[2])
    return paths


def to_markdown(results: Mapping[str, Any], raw: str) -> str:
    """The results as a Markdown page.

    Parameters
    ----------
    results
        From `measure`.
    raw
        Name of the file with every round.
    """
    machine, versions, settings = results["machine"], results["versions"], results["settings"]
    software = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
    memory = f", {machine['memory_gib']} GiB" if machine["memory_gib"] else ""
    parts = [
        "# Benchmark",
        f"{results['started']}, {machine['processor']}, {machine['cores']} cores{memory}, "
        f"{machine['system']}; {settings['threads']} threads for everyone; "
        f"{results['seconds'] / 60:.1f} minutes in all. {software}.",
        "Seconds are wall time from files to picks (`annotate`: to probability traces): the "
        "median, and in brackets the fastest, the slowest, and the number of rounds. Windows are "
        "those that lie wholly within the data. "
        f"Every round is in [{raw}]({raw}), what the columns mean in [README.md](../README.md).",
    ]
    if settings["quick"]:
        parts.append("**A quick run: it shows that all works, and says nothing about speed.**")
    for model in results["models"]:
        parts += _model_parts(model)
    parts.append(f"![Windows per second]({LATEST}.png)")
    return "\n\n".join(parts) + "\n"


def show(results: Mapping[str, Any], out: Console) -> None:
    """Print the tables."""
    for model in results["models"]:
        for cell in model["cells"]:
            table = Table(title=f"{model['model']}, {cell['title']}", title_justify="left")
            for number, name in enumerate(_COLUMNS):
                table.add_column(name, justify="left" if number == 0 else "right")
            for entry in cell["contenders"]:
                table.add_row(*_row(entry))
            out.print(table)
            for note in _notes(cell):
                out.print(note, markup=False)


def _model_parts(model: Mapping[str, Any]) -> list[str]:
    parts = [f"## {model['model']}, weights {model['weights']}"]
    facts = []
    if model["floor_windows_per_s"]:
        facts.append(
            f"The floor: this machine multiplies matrices at {model['sgemm_gflops']:.0f} GFLOP/s, "
            f"a window costs {model['mflop_per_window']:.1f} MFLOP as written, which makes "
            f"{model['floor_windows_per_s']:,.0f} windows/s."
        )
    for contender, rate in model["forward_windows_per_s"].items():
        facts.append(f"Forward passes of {contender} alone: {rate:,.0f} windows/s.")
    if model["seisbench_sweep"]:
        sweep = ", ".join(f"{b}: {s:.2f} s" for b, s in model["seisbench_sweep"].items())
        facts.append(f"SeisBench by batch size: {sweep}.")
    facts += [f"Left out: {what}." for what in model["skipped"]]
    parts += [" ".join(facts)] if facts else []
    for cell in model["cells"]:
        parts.append(f"### {cell['title']}")
        parts.append(
            f"{cell['windows']:,} windows of {cell['window']} samples, stride {cell['stride']}."
        )
        rows = [_COLUMNS, ("---",) + ("---:",) * (len(_COLUMNS) - 1)]
        rows += [_row(entry) for entry in cell["contenders"]]
        parts.append("\n".join(f"| {' | '.join(row)} |" for row in rows))
        notes = [*_notes(cell), *_stage_lines(cell)]
        parts += ["\n".join(f"- {note}" for note in notes)] if notes else []
    return parts


def _row(entry: Mapping[str, Any]) -> tuple[str, ...]:
    name = entry["title"]
    batch = "" if entry["batch_size"] is None else str(entry["batch_size"])
    if entry["median_s"] is None:
        return (name, batch, *[""] * (len(_COLUMNS) - 3), entry["status"])
    seconds = (
        f"{_short(entry['median_s'])} ({_short(entry['fastest_s'])} to "
        f"{_short(entry['slowest_s'])}, {entry['counted_rounds']})"
        f"{'*' if entry['disturbed_rounds'] else ''}"
    )
    return (
        name,
        batch,
        seconds,
        f"{entry['windows_per_s']:,.0f}",
        f"{entry['times_real_time']:,.0f}",
        _or_blank(entry["ratio_to_seisbench_best"], "{:.2f}"),
        _or_blank(entry["share_of_floor"], "{:.0%}"),
        f"{entry['peak_mib']:,.0f}",
        _picks(entry),
    )


def _picks(entry: Mapping[str, Any]) -> str:
    """What the check of the picks found."""
    compared = entry["compared"]
    if entry["status"] == "valid":
        wrong = compared["missing"] + compared["extra"]
        return f"{compared['found']:,} compared, {wrong or 'none'} differ"
    if entry["status"] == "differs":
        return "DIFFER: times invalid"
    return str(entry["status"])


def _notes(cell: Mapping[str, Any]) -> list[str]:
    notes = [
        f"{entry['title']}: {entry['status']}, {entry['note']}"
        for entry in cell["contenders"]
        if entry["note"]
    ]
    disturbed = sum(entry["disturbed_rounds"] for entry in cell["contenders"])
    if disturbed:
        rounds = sum(len(entry["rounds"]) for entry in cell["contenders"])
        text = f"*: other processes were busy during {disturbed} of {rounds} rounds"
        notes.append(f"{text}; where a contender has others, these alone count.")
    return notes


def _stage_lines(cell: Mapping[str, Any]) -> list[str]:
    lines = []
    for entry in cell["contenders"]:
        stages = list((entry["stages"] or {}).items())
        if len(stages) > 1:
            told = ", ".join(f"{name} {_short(seconds)}" for name, seconds in stages[:_STAGES])
            lines.append(f"{entry['title']}, seconds by stage: {told}")
    return lines


def _or_blank(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def _short(seconds: float) -> str:
    return f"{seconds:.2f}" if seconds < 100 else f"{seconds:.0f}"
