"""`ml-prediction fetch`: real data of named scenarios, from FDSN web services."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from ml_prediction.drivers.terminal import remarks_console, results_console
from ml_prediction.errors import ConfigurationError

ALL: Final = "all"
DONE: Final = 0


def fetch(
    scenario: Annotated[
        str | None,
        typer.Argument(metavar="SCENARIO|all", help="Name (see --list), or a .toml file."),
    ] = None,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Each scenario gets a folder in it.")
    ] = Path("testdata"),
    client: Annotated[
        str | None,
        typer.Option(metavar="URL|NAME", help="One server for everything; else the scenario's."),
    ] = None,
    parallel: Annotated[
        int, typer.Option(metavar="N", min=1, max=16, help="Requests at the same time.")
    ] = 4,
    timeout: Annotated[
        float, typer.Option(metavar="S", min=0.1, help="Give a request up that is silent so long.")
    ] = 120.0,
    attempts: Annotated[
        int, typer.Option(metavar="N", min=1, help="Attempts for each request.")
    ] = 6,
    again: Annotated[
        bool, typer.Option("--again", help="Ask again for what an earlier run found absent.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say how much it would be, about.")
    ] = False,
    show: Annotated[bool, typer.Option("--list", help="List the scenarios, and end.")] = False,
) -> int:
    """Fetch the real data of a test scenario; the same command continues what was interrupted."""
    from ml_prediction.data import scenario as scenarios

    stdout = results_console()
    if show:
        for name in scenarios.names():
            each = scenarios.load(name)
            stdout.print(f"{name}: {each.what}", markup=False)
            for part in each.parts:
                stdout.print(f"    {part.name}: {part.what} ({part.server})", markup=False)
        return DONE
    if scenario is None:
        raise ConfigurationError("Name a scenario, or all; --list shows them.")

    from ml_prediction.data.fetch_testdata import FetchOptions, fetch_scenarios

    names = scenarios.names() if scenario.lower() == ALL else [scenario]
    options = FetchOptions(
        out=out,
        client=client,
        parallel=parallel,
        timeout=timeout,
        attempts=attempts,
        again=again,
        dry_run=dry_run,
    )
    chosen = [scenarios.load(name) for name in names]
    return fetch_scenarios(chosen, options, out=stdout, err=remarks_console())
