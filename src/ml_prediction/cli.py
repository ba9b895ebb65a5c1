"""The command line: parses, calls a driver, turns errors into an exit status.

Exit status: 0 done, 1 nothing usable, 2 wrong use, 130 interrupted.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import Annotated, Any, TextIO

import typer
from rich.console import Console

from ml_prediction import __version__
from ml_prediction.errors import ConfigurationError, DataError

DONE, NOTHING_USABLE, WRONG_USE, INTERRUPTED = 0, 1, 2, 130

app = typer.Typer(
    name="ml-prediction",
    help="Seismic phase picks with honest uncertainties, from waveform files.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    before = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, _interrupt)  # batch systems say it so; clean up all the same
    try:
        status: int | None = app(
            args=None if arguments is None else list(arguments), standalone_mode=False
        )
        # Typer makes an interrupt a status of its own.
        return _interrupted() if status == INTERRUPTED else (status or DONE)
    except ConfigurationError as error:
        return _complain(str(error), WRONG_USE)
    except DataError as error:
        return _complain(str(error), NOTHING_USABLE)
    except typer.TyperException as error:
        usage: Any = error  # only its subclasses, all private, have show()
        usage.show()
        return WRONG_USE
    except (KeyboardInterrupt, typer.Abort):
        return _interrupted()
    except BrokenPipeError:
        # Whoever read us has gone, e.g. `| head`: no second error when Python flushes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(signum: int, frame: object) -> None:
    raise KeyboardInterrupt


def _complain(message: str, status: int) -> int:
    sys.stderr.write(f"ml-prediction: {message}\n")
    return status


def _interrupted() -> int:
    return _complain("interrupted; nothing half-written is left.", INTERRUPTED)


def _version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"ml-prediction {__version__}\n")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Version, and exit."),
    ] = False,
) -> None:
    """Seismic phase picks with honest uncertainties, from waveform files."""


@app.command()
def pick(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...", help="Files, folders, globs, or the root of an SDS archive."
        ),
    ],
    model: Annotated[str | None, typer.Option(help="Architecture.")] = None,
    weights: Annotated[str | None, typer.Option(help="Name, or path of .pt or .json.")] = None,
    out: Annotated[str | None, typer.Option(metavar="DIR", help="Folder of the results.")] = None,
    stride: Annotated[
        int | None, typer.Option(metavar="N", help="Samples from window to window.")
    ] = None,
    horizon: Annotated[
        float | None,
        typer.Option(metavar="S", help="Seconds after a sample whose windows count for it."),
    ] = None,
    threshold: Annotated[
        str | None, typer.Option(metavar="P=0.1,S=0.1", help="Trigger thresholds by label.")
    ] = None,
    channels: Annotated[
        str | None, typer.Option(metavar="'HH?,BH?,EN?'", help="Channel codes to use.")
    ] = None,
    starttime: Annotated[str | None, typer.Option(metavar="T", help="Nothing earlier.")] = None,
    endtime: Annotated[str | None, typer.Option(metavar="T", help="Nothing later.")] = None,
    inventory: Annotated[
        str | None, typer.Option(metavar="FILE", help="Station metadata, e.g. StationXML.")
    ] = None,
    response: Annotated[
        str | None,
        typer.Option(metavar="remove", help="Remove the instrument response (or keep it)."),
    ] = None,
    one_component: Annotated[
        str | None,
        typer.Option("--1c", metavar="zero|clone|skip", help="What to do with verticals alone."),
    ] = None,
    formats: Annotated[
        str | None,
        typer.Option(metavar="csv,parquet,quakeml,markers,mseed", help="What is written."),
    ] = None,
    plot: Annotated[
        bool | None, typer.Option("--plot/--no-plot", help="One picture per instrument.")
    ] = None,
    config: Annotated[
        str | None, typer.Option(metavar="FILE.toml", help="Options in a file; see `config`.")
    ] = None,
    jobs: Annotated[int | None, typer.Option(metavar="N", help="Processes.")] = None,
    overwrite: Annotated[
        bool | None, typer.Option("--overwrite/--no-overwrite", help="Replace earlier results.")
    ] = None,
) -> int:
    """Pick waveform files. Options given here win over those of --config."""
    from ml_prediction.config_toml import read_toml
    from ml_prediction.drivers import driver_local
    from ml_prediction.drivers.run_config import RunConfig

    top = {
        "model": model,
        "weights": weights,
        "out": out,
        "channels": _listed(channels),
        "starttime": starttime,
        "endtime": endtime,
        "inventory": inventory,
        "formats": _listed(formats),
        "plot": plot,
        "jobs": jobs,
        "overwrite": overwrite,
    }
    inner = {
        "stride": stride,
        "horizon": horizon,
        "thresholds": _thresholds(threshold),
        "response": response,
        "one_component": one_component,
    }
    given = {**_set(top), "pipeline": _set(inner)}
    settings = RunConfig.from_tables({} if config is None else read_toml(config), given)
    return driver_local.run(inputs, settings, out=_stdout(), err=_stderr())


@app.command()
def demo(
    out: Annotated[str, typer.Option(metavar="DIR", help="Folder of the results.")] = "demo-output",
) -> int:
    """Pick the real earthquake that comes with ObsPy. Needs no network."""
    from ml_prediction.drivers.demo import run_demo

    return run_demo(out, stdout=_stdout(), stderr=_stderr())


@app.command()
def models(
    verify: Annotated[
        bool, typer.Option("--verify", help="Check the bundled weights against their known output.")
    ] = False,
) -> int:
    """List the models and weights that are bundled, cached and known."""
    from ml_prediction.drivers.model_list import show_models, verify_models

    return verify_models(_stdout()) if verify else show_models(_stdout())


@app.command()
def config() -> int:
    """Print every option with its default and meaning, as TOML for --config."""
    from ml_prediction.config_toml import to_toml
    from ml_prediction.drivers.run_config import RunConfig

    sys.stdout.write(to_toml(RunConfig()))
    return DONE


def _stdout() -> Console:
    return _console(sys.stdout)


def _stderr() -> Console:
    return _console(sys.stderr)


def _console(file: TextIO) -> Console:
    # Without a terminal there is no width to keep to: lines stay whole for grep and logs.
    width = None if file.isatty() else 400
    return Console(file=file, width=width, highlight=False, soft_wrap=True)


def _set(options: dict[str, Any]) -> dict[str, Any]:
    """Options that were given; the others keep what the file or the default says."""
    return {name: value for name, value in options.items() if value is not None}


def _listed(text: str | None) -> list[str] | None:
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]


def _thresholds(text: str | None) -> dict[str, float] | None:
    if text is None:
        return None
    thresholds = {}
    for part in _listed(text) or []:
        label, _, value = part.partition("=")
        try:
            thresholds[label.strip()] = float(value)
        except ValueError as error:
            raise ConfigurationError(
                f"--threshold {text}: write label=value, separated by commas, like P=0.1,S=0.1."
            ) from error
    return thresholds


if __name__ == "__main__":
    main()
