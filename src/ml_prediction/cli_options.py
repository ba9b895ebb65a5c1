"""Options that several commands have, and what becomes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ml_prediction.errors import ConfigurationError

if TYPE_CHECKING:
    from ml_prediction.drivers.run_config import RunConfig

Engine = Annotated[
    str | None,
    typer.Option(metavar="auto|torch|openvino|openvino-bf16", help="What computes the model."),
]
Device = Annotated[
    str | None, typer.Option(metavar="auto|cpu|cuda|mps", help="Where the model runs.")
]

Models = Annotated[
    list[str] | None,
    typer.Option("--model", metavar="NAME[:WEIGHTS]", help="Architecture; several to combine."),
]
Combine = Annotated[
    str | None,
    typer.Option("--combine", metavar="max|mean|semblance", help="How models pick together."),
]
Shares = Annotated[
    str | None, typer.Option("--shares", metavar="A,B", help="Weight of each model in the mean.")
]
Weights = Annotated[str | None, typer.Option(help="Name, or path of .pt or .json.")]
ConfigOption = Annotated[
    str | None, typer.Option("--config", metavar="FILE.toml", help="Options in a file.")
]


def chosen_models(
    model: list[str] | None, weights: str | None, combine: str | None, shares: str | None
) -> dict[str, Any]:
    """What was said of models, as options of a run."""
    return {
        "model": model[0] if model and len(model) == 1 else model or None,
        "weights": weights,
        "combine": combine,
        "shares": listed(shares) or None,
    }


def run_config(file: str | None, top: dict[str, Any], inner: dict[str, Any]) -> RunConfig:
    """Configuration of a file, with options over it; None is what was not given."""
    from ml_prediction.config_toml import read_toml
    from ml_prediction.drivers.run_config import RunConfig

    given = {name: value for name, value in top.items() if value is not None}
    pipeline = {name: value for name, value in inner.items() if value is not None}
    table = {} if file is None else read_toml(file)
    return RunConfig.from_tables(table, {**given, "pipeline": pipeline})


def listed(text: str | None) -> list[str]:
    """Parts of a text between commas; none of no text."""
    return [part.strip() for part in (text or "").split(",") if part.strip()]


def chosen_few(option: str, text: str | None) -> tuple[str, ...]:
    """Parts of an option's text; none if it was not given, which stands for all.

    Raises
    ------
    ConfigurationError
        If it was given without any: an unset variable must not stand for all.
    """
    parts = tuple(listed(text))
    if text is not None and not parts:
        raise ConfigurationError(f"{option} {text!r} names none: name some, or leave it out.")
    return parts


def given_list(text: str | None) -> list[str] | None:
    """The same of an option; None if it was not given."""
    return None if text is None else listed(text)
