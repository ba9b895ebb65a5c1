"""An evaluation as files: CSV tables, one JSON document, one HTML page that needs nothing else."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd

from ml_prediction import __version__
from ml_prediction.errors import ConfigurationError
from ml_prediction.explore.evaluation import Evaluation
from ml_prediction.explore.figures import draw
from ml_prediction.util.files import write_whole
from ml_prediction.util.page import image, page, paragraph
from ml_prediction.util.times import isoformat, to_utc

FORMATS: Final = ("csv", "json", "html", "png")
NAME: Final = "evaluation"
TABLES: Final = ("statistics", "sigma", "probability", "sweep", "outcomes")

_INTERVALS: Final = ("recall", "precision", "f1", "median_s", "spread_s")


def write_report(
    evaluation: Evaluation, folder: Path, formats: Sequence[str], *, overwrite: bool = False
) -> list[str]:
    """Write an evaluation into a folder, and return the files' names.

    Parameters
    ----------
    evaluation
        From `ml_prediction.explore.evaluation.evaluate`.
    folder
        Made if it does not exist.
    formats
        Of `FORMATS`.
    overwrite
        Replace an earlier evaluation there.

    Raises
    ------
    ConfigurationError
        As `check_report`.
    OSError
        If a file can't be written.
    """
    check_report(folder, formats, overwrite=overwrite)
    files: dict[str, bytes] = {}
    if "csv" in formats:
        for name, table in _tables(evaluation).items():
            files[f"{NAME}_{name}.csv"] = table.to_csv(
                index=False, float_format="%.6g", lineterminator="\n"
            ).encode()
    if "json" in formats:
        text = json.dumps(to_dict(evaluation), indent=2, ensure_ascii=False, allow_nan=False)
        files[f"{NAME}.json"] = f"{text}\n".encode()
    picture = draw(evaluation) if {"html", "png"} & set(formats) else b""
    if "html" in formats:
        files[f"{NAME}.html"] = to_html(evaluation, picture).encode()
    if "png" in formats:
        files[f"{NAME}.png"] = picture
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        write_whole(folder / name, data)
    return sorted(files)


def check_report(folder: Path | None, formats: Sequence[str], *, overwrite: bool = False) -> None:
    """Whether an evaluation may be written so, before it is made.

    Raises
    ------
    ConfigurationError
        If a format is unknown, the folder is none, or has an evaluation already.
    """
    unknown = set(formats) - set(FORMATS)
    if unknown or not formats:
        raise ConfigurationError(
            f"--formats {','.join(formats)}: known are {', '.join(FORMATS)}, separated by commas."
        )
    if folder is None:
        return
    for place in (folder, *folder.parents):
        if place.exists() and not place.is_dir():
            raise ConfigurationError(
                f"--out {folder}: {place} is a file; name a folder, which is made if need be."
            )
    names = [f"{NAME}_{name}.csv" for name in TABLES] if "csv" in formats else []
    names += [f"{NAME}.{format_}" for format_ in formats if format_ != "csv"]
    there = [name for name in names if (folder / name).exists()]
    if there and not overwrite:
        raise ConfigurationError(
            f"{folder} has {there[0]} already: choose another --out, or say --overwrite."
        )


def to_dict(evaluation: Evaluation) -> dict[str, Any]:
    """An evaluation as plain JSON values; unknown numbers are null."""
    tables = {
        name: [
            {key: _plain(value) for key, value in row.items()} for row in table.to_dict("records")
        ]
        for name, table in _tables(evaluation).items()
        if name != "outcomes"
    }
    return {
        "ml_prediction": __version__,
        "statement": list(evaluation.statement),
        "settings": dict(evaluation.settings),
        "not_judged": dict(evaluation.not_judged),
        **tables,
    }


def to_html(evaluation: Evaluation, picture: bytes) -> str:
    """One page with everything but the outcomes."""
    parts = [
        *(paragraph(sentence) for sentence in evaluation.statement),
        image(picture, "Threshold sweep, residuals, sigma and probability"),
        "<h2>By phase and bin</h2>",
        _html(compact(evaluation.statistics)),
    ]
    titles = {
        "sigma": "Sigma: 68.3 % should lie within one",
        "probability": "Probability: the share that is right",
        "sweep": "Threshold sweep",
    }
    tables = _tables(evaluation)
    for name, title in titles.items():
        if len(tables[name]):
            parts += [f"<h2>{title}</h2>", _html(tables[name].map(_short))]
    if evaluation.not_judged:
        rows = pd.DataFrame(sorted(evaluation.not_judged.items()), columns=["not judged", "number"])
        parts += ["<h2>Not judged</h2>", _html(rows)]
    return page("Evaluation", [*parts, paragraph(f"ml_prediction {__version__}")])


def compact(statistics: pd.DataFrame) -> pd.DataFrame:
    """Statistics as text for people: each value with its interval in one cell."""
    table = statistics[["phase", "kind", "bin"]].copy()
    for name in ("arrivals", "found", "missed", "false"):
        table[name] = statistics[name].map(lambda v: "" if math.isnan(v) else f"{v:.0f}")
    for name in _INTERVALS:
        columns = zip(
            statistics[name], statistics[f"{name}_low"], statistics[f"{name}_high"], strict=True
        )
        table[name] = [_with_interval(*values) for values in columns]
    for name in statistics.columns:
        if name.startswith("within_") and name.endswith("_s"):
            table[name] = statistics[name].map(_short)
    return table


def _with_interval(value: float, low: float, high: float) -> str:
    if math.isnan(value):
        return ""
    return f"{value:.3f}" if math.isnan(low) else f"{value:.3f} ({low:.3f} to {high:.3f})"


def _short(value: object) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.3f}".rstrip("0").rstrip(".")
    return str(value)


def _html(table: pd.DataFrame) -> str:
    return str(table.to_html(index=False, border=0, na_rep=""))


def _tables(evaluation: Evaluation) -> Mapping[str, pd.DataFrame]:
    outcomes = evaluation.outcomes.drop(columns="time_ns")
    times = [isoformat(to_utc(time)) for time in evaluation.outcomes["time_ns"]]
    outcomes.insert(2, "time", times)
    return {n: outcomes if n == "outcomes" else getattr(evaluation, n) for n in TABLES}


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return None if math.isnan(value) else round(value, 6)
    return value.item() if hasattr(value, "item") else value
