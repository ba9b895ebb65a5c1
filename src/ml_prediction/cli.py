"""The command line: parses, calls a driver, turns errors into an exit status.

Exit status: 0 done, 1 nothing usable, 2 wrong use, 3 failed (the disk is full, a process was
killed, a fault of ours), 4 done, but not all that was expected was to be had (`fetch`,
`bundle`, `catalog`), 130 interrupted (Ctrl-C, SIGTERM, SIGHUP).
"""

from __future__ import annotations

import errno
import io
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Final

import typer

from ml_prediction import (
    __version__,
    cli_archive,
    cli_associate,
    cli_bundle,
    cli_evaluate,
    cli_fetch,
    cli_rings,
)
from ml_prediction.cli_options import (
    Combine,
    Device,
    Engine,
    Models,
    Shares,
    Weights,
    chosen_models,
    given_list,
    listed,
    run_config,
)
from ml_prediction.drivers.signals import ending_signals_interrupt
from ml_prediction.drivers.terminal import (
    complain,
    let_go_of_broken_streams,
    remarks_console,
    results_console,
)
from ml_prediction.earthworm.ring import RingError
from ml_prediction.errors import ConfigurationError, DataError, InternalError, ServiceError

DONE, NOTHING_USABLE, WRONG_USE, FAILED, INTERRUPTED = 0, 1, 2, 3, 130

_ADVICE: Final = {
    errno.ENOSPC: "make room on the disk, or choose another folder with --out",
    errno.EDQUOT: "your quota is used up: make room, or choose another folder with --out",
    errno.EACCES: "check the rights",
    errno.EPERM: "check the rights",
    errno.EROFS: "choose another folder with --out",
    errno.EMFILE: "allow more open files (ulimit -n), or use fewer --jobs",
}

app = typer.Typer(
    name="ml-prediction",
    help="Seismic phase picks with honest uncertainties, from waveform files.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    sys.excepthook = _last_words
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the shell: `>&-`
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):  # file names may be no text in this encoding
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    streams = sys.stdout, sys.stderr
    try:
        with ending_signals_interrupt():
            return _attempt(arguments)
    finally:
        sys.stdout, sys.stderr = streams  # Typer wraps them when a reader has gone
        let_go_of_broken_streams()


def _attempt(arguments: Sequence[str] | None) -> int:
    try:
        command = typer.main.get_command(app)  # app() itself would install a hook for tracebacks
        status: int | None = command.main(
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
        with suppress(OSError):  # nobody needs to read it
            usage.show()
        return WRONG_USE
    except KeyboardInterrupt:
        return _interrupted()
    except typer.Abort as error:
        if isinstance(error.__cause__, EOFError):  # a broken file is nobody's Ctrl-D
            raise error.__cause__ from None
        return _interrupted()
    except BrokenPipeError:
        return DONE  # whoever read us has gone, e.g. `| head`
    except SystemExit as error:
        if isinstance(error.__context__, BrokenPipeError):  # so Typer tells of the same
            return DONE
        return _complain(f"failed: a library ended the program ({error.code}).", FAILED)
    except ServiceError as error:
        return _complain(f"failed: {error}", FAILED)
    except OSError as error:
        return _complain(_failure(error), FAILED)
    except RingError as error:
        return _complain(str(error), FAILED)
    except MemoryError:
        return _complain("failed: out of memory; use fewer --jobs, or a smaller batch.", FAILED)
    except InternalError as error:
        return _complain(f"failed: {error} This is a fault of ours: please report it.", FAILED)


def _complain(message: str, status: int) -> int:
    complain(message)
    return status


def _interrupted() -> int:
    return _complain("interrupted; nothing half-written is left.", INTERRUPTED)


def _failure(error: OSError) -> str:
    """What the system refused, of which file, and what to do."""
    what = error.strerror or str(error) or type(error).__name__
    where = f"{error.filename}: " if error.filename else ""
    advice = _ADVICE.get(error.errno or 0)
    return f"failed: {where}{what}{f'; {advice}' if advice else ''}. Nothing half-written is left."


def _last_words(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Report what nobody expected in one line with its place, not as a traceback."""
    if issubclass(kind, KeyboardInterrupt):  # one more Ctrl-C, when all is done
        raise SystemExit(INTERRUPTED)
    frames = [f for f in traceback.extract_tb(trace) if "ml_prediction" in f.filename]
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    said = " ".join(str(error).split())
    complain(f"failed: {kind.__name__}: {said}{place}. This is a fault of ours: please report it.")
    raise SystemExit(FAILED)


def _version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"ml-prediction {__version__}\n")
        sys.stdout.flush()
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
    model: Models = None,
    weights: Weights = None,
    combine: Combine = None,
    shares: Shares = None,
    engine: Engine = None,
    device: Device = None,
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
    site: Annotated[
        str | None,
        typer.Option(metavar="max|mean", help="Merge the instruments of a site (HH and EN)."),
    ] = None,
    stacking: Annotated[
        str | None, typer.Option(metavar="max|mean", help="How overlapping windows are merged.")
    ] = None,
    blinding: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Samples thrown away at the windows' start and end."),
    ] = None,
    calibration: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="What sigma is made of; `calibrate` writes it."),
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
    from ml_prediction.drivers import driver_local

    top = {
        **chosen_models(model, weights, combine, shares),
        "engine": engine,
        "device": device,
        "out": out,
        "channels": given_list(channels),
        "starttime": starttime,
        "endtime": endtime,
        "inventory": inventory,
        "formats": given_list(formats),
        "calibration": calibration,
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
        "site": site,
        "stacking": stacking,
        "blinding": given_list(blinding),
    }
    settings = run_config(config, top, inner)
    return driver_local.run(inputs, settings, out=results_console(), err=remarks_console())


@app.command()
def earthworm(
    config: Annotated[
        str | None,
        typer.Argument(metavar="CONFIG.d", help="The module's file, also one in EW_PARAMS."),
    ] = None,
    install: Annotated[
        str | None,
        typer.Option(metavar="EW_PARAMS", help="Copy the sample .d and .desc there, and end."),
    ] = None,
) -> int:
    """Pick live, inside an Earthworm system."""
    from ml_prediction.drivers import driver_ew

    if (config is None) == (install is None):
        raise ConfigurationError(
            "Name the module's .d file, or the folder of --install: one of them."
        )
    if install is not None:
        written = driver_ew.install(install)
        for path in written:
            sys.stdout.write(f"{path}\n")
        if len(written) < len(driver_ew.SAMPLES):
            sys.stdout.write("What was there already has been left as it is.\n")
        sys.stdout.flush()
        return DONE
    return driver_ew.run(config or "")


app.add_typer(cli_rings.app)
app.add_typer(cli_archive.app)
app.command()(cli_rings.tank)
app.command()(cli_associate.associate)
app.command()(cli_fetch.fetch)
app.command()(cli_bundle.bundle)
app.command()(cli_bundle.catalog)
app.command()(cli_bundle.edit)
app.command()(cli_evaluate.evaluate)
app.command()(cli_evaluate.calibrate)
app.command(name="pick-labelled")(cli_evaluate.pick_labelled)
app.command()(cli_evaluate.tune)


@app.command()
def demo(
    out: Annotated[str, typer.Option(metavar="DIR", help="Folder of the results.")] = "demo-output",
) -> int:
    """Pick the real earthquake that comes with ObsPy. Needs no network."""
    from ml_prediction.drivers.demo import run_demo

    return run_demo(out, stdout=results_console(), stderr=remarks_console())


@app.command()
def models(
    verify: Annotated[
        bool, typer.Option("--verify", help="Check the bundled weights against their known output.")
    ] = False,
) -> int:
    """List the models and weights that are bundled, cached and known."""
    from ml_prediction.drivers.model_list import show_models, verify_models

    return verify_models(results_console()) if verify else show_models(results_console())


@app.command()
def bench(
    out: Annotated[
        str, typer.Option(metavar="DIR", help="Folder of the results.")
    ] = "bench-results",
    minutes: Annotated[
        float | None, typer.Option(metavar="M", help="About how long it may take; default 13.")
    ] = None,
    threads: Annotated[int, typer.Option(metavar="N", help="CPU threads of each.")] = 2,
    models: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="Models; default: all.")
    ] = None,
    workloads: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="Workloads; default: all.")
    ] = None,
    contenders: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="Contenders; default: all.")
    ] = None,
    weights: Annotated[
        str | None, typer.Option(metavar="PATH", help="PhaseNet's weights, .pt or .json.")
    ] = None,
    shared: Annotated[
        str | None, typer.Option(metavar="DIR", help="Folder of real data; see the docs.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Tiny workloads: does all work?")] = False,
) -> int:
    """Measure the speed beside SeisBench and others: same data, weights, strides and threads."""
    from ml_prediction.benchmark.bench import run_bench
    from ml_prediction.benchmark.options import BenchOptions

    options = BenchOptions.make(
        out,
        minutes=minutes,
        threads=threads,
        models=listed(models),
        workloads=listed(workloads),
        contenders=listed(contenders),
        weights=weights,
        shared=shared,
        quick=quick,
    )
    return run_bench(options, out=results_console(), err=remarks_console())


@app.command()
def config() -> int:
    """Print every option with its default and meaning, as TOML for --config."""
    from ml_prediction.config_toml import to_toml
    from ml_prediction.drivers.run_config import RunConfig

    sys.stdout.write(to_toml(RunConfig()))
    sys.stdout.flush()  # here, where a failure can still be told
    return DONE


def _thresholds(text: str | None) -> dict[str, float] | None:
    if text is None:
        return None
    thresholds: dict[str, float] = {}
    for part in listed(text) or [text]:
        label, _, value = (word.strip() for word in part.partition("="))
        if label in thresholds:
            raise ConfigurationError(f"--threshold {text}: {label} is given twice; give it once.")
        try:
            thresholds[label] = float(value)
        except ValueError as error:
            raise ConfigurationError(
                f"--threshold {text}: write label=value, separated by commas, like P=0.1,S=0.1."
            ) from error
    return thresholds


if __name__ == "__main__":
    main()
