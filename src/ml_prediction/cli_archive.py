"""`ml-prediction archive`: years of a network into a store, killed and resumed as it may be."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from ml_prediction.cli_options import (
    Combine,
    ConfigOption,
    Device,
    Engine,
    Models,
    Shares,
    Weights,
    chosen_few,
    chosen_models,
    given_list,
    run_config,
)
from ml_prediction.drivers.terminal import remarks_console, results_console
from ml_prediction.errors import ConfigurationError

RUN: Final = "run"
DEFAULT_STORE: Final = "sqlite:///picks.db"


class _RunByDefault(TyperGroup):
    """``archive SDS_ROOT ...`` is ``archive run SDS_ROOT ...``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, "--help"}:
            args = [RUN, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    name="archive",
    help="Pick an SDS archive, a day of a station at a time, into a store: SDS_ROOT --from --to.",
    cls=_RunByDefault,
    no_args_is_help=True,
)

StoreOption = Annotated[
    str,
    typer.Option(metavar="URL", help="sqlite:///FILE, postgresql://..., or parquet:///FOLDER."),
]


@app.command(RUN)
def run(
    root: Annotated[
        str,
        typer.Argument(
            metavar="SDS_ROOT", help="Root of an SDS archive, or a folder of waveform files."
        ),
    ],
    first: Annotated[str, typer.Option("--from", metavar="DAY", help="First day (UTC).")],
    end: Annotated[str, typer.Option("--to", metavar="DAY", help="The day after the last.")],
    networks: Annotated[
        str | None, typer.Option(metavar="UW,UO,CC", help="Network codes; default: all.")
    ] = None,
    channels: Annotated[
        str | None, typer.Option(metavar="'HH?,BH?,EN?'", help="Channel codes to use.")
    ] = None,
    model: Models = None,
    weights: Weights = None,
    combine: Combine = None,
    shares: Shares = None,
    inventory: Annotated[
        str | None, typer.Option(metavar="FILE", help="Station metadata, e.g. StationXML.")
    ] = None,
    config: ConfigOption = None,
    store: StoreOption = DEFAULT_STORE,
    jobs: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Processes, or workers on Ray; default: for each core."
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="Spread them over a Ray cluster: host:port, auto, or local."
        ),
    ] = None,
    unit_timeout: Annotated[
        float,
        typer.Option(
            metavar="S",
            min=1.0,
            help="Give a station's day up after so long (loading the model counts).",
        ),
    ] = 3600.0,
    engine: Engine = None,
    device: Device = None,
    run_id: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Name of the run; default: made of its settings."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run that the store has.")
    ] = False,
    redo_partial: Annotated[
        bool,
        typer.Option(
            "--redo-partial",
            help="With --resume: also what was done without files, or a part, that are there now.",
        ),
    ] = False,
) -> int:
    """Pick the days from --from to before --to."""
    from ml_prediction.drivers.archive.run import ArchiveOptions, run_archive

    top: dict[str, Any] = {
        **chosen_models(model, weights, combine, shares),
        "channels": given_list(channels),
        "inventory": inventory,
        "engine": engine,
        "device": device,
    }
    if not root.strip():
        raise ConfigurationError("SDS_ROOT is empty text. Is a variable of the shell unset?")
    options = ArchiveOptions(
        root=Path(root),
        first=_day("--from", first),
        end=_day("--to", end),
        networks=chosen_few("--networks", networks),
        store=store,
        jobs=jobs,
        ray=ray,
        resume=resume,
        unit_timeout=unit_timeout,
        run_id=run_id,
        redo_partial=redo_partial,
    )
    settings = run_config(config, top, {})
    return run_archive(options, settings, out=results_console(), err=remarks_console())


@app.command()
def status(store: StoreOption = DEFAULT_STORE) -> int:
    """Show what a store has: units done, failed and why, rate, time left."""
    from ml_prediction.drivers.archive.status import show_status

    return show_status(store, results_console())


@app.command()
def report(
    out: Annotated[str, typer.Option(metavar="RUN.html", help="Page to write.")],
    store: StoreOption = DEFAULT_STORE,
    run_id: Annotated[
        str | None, typer.Option(metavar="ID", help="Run, if the store has several.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier page.")
    ] = False,
) -> int:
    """Write a run as one HTML page: settings, what failed, picks by day, quality, stations."""
    from ml_prediction.drivers.archive.report import write_report

    return write_report(store, Path(out), run_id=run_id, overwrite=overwrite, out=results_console())


def _day(option: str, text: str) -> date:
    from ml_prediction.util.times import EARLIEST, LATEST

    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationError(f"{option} {text}: no day; write it like 2017-05-01.") from error
    if not EARLIEST.year < day.year < LATEST.year:
        raise ConfigurationError(
            f"{option} {text}: no day of the years {EARLIEST.year + 1} to {LATEST.year - 1}."
        )
    return day
