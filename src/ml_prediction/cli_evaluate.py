"""Commands that judge and improve picks: `evaluate`, `calibrate`, `pick-labelled`, `tune`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from ml_prediction.cli_options import (
    Combine,
    ConfigOption,
    Models,
    Shares,
    Weights,
    chosen_models,
    listed,
    run_config,
)
from ml_prediction.drivers.terminal import remarks_console, results_console
from ml_prediction.errors import ConfigurationError

if TYPE_CHECKING:
    from ml_prediction.drivers.explore_tools import Comparison

PicksArgument = Annotated[
    str, typer.Argument(metavar="PICKS", help="Folder of `pick`, or a file of picks.")
]
ReferenceArgument = Annotated[
    str,
    typer.Argument(
        metavar="REFERENCE",
        help="QuakeML, CSV, SeisBench's metadata.csv, or snuffler markers.",
    ),
]
Tolerance = Annotated[
    float, typer.Option(metavar="S", help="Largest residual in seconds of a match.")
]
By = Annotated[
    str,
    typer.Option(metavar="station|instrument", help="One pick for each arrival of which."),
]
From = Annotated[
    str | None,
    typer.Option("--from", metavar="T", help="The reference is complete from here ..."),
]
To = Annotated[str | None, typer.Option("--to", metavar="T", help="... to here.")]
Stations = Annotated[
    str | None, typer.Option(metavar="NET.STA,...", help="Only these, picked or not.")
]
Phases = Annotated[str, typer.Option(metavar="P,S", help="Phases that are judged.")]
Around = Annotated[
    float,
    typer.Option(metavar="S", help="Seconds around its arrivals in which it is complete."),
]
Source = Annotated[
    str, typer.Option(metavar="TEXT", help="Only reference arrivals whose source has this.")
]
OfModel = Annotated[
    str | None,
    typer.Option(
        "--model", metavar="NAME[:WEIGHTS]", help="Whose picks, where there are several models'."
    ),
]
InventoryOption = Annotated[
    str | None, typer.Option("--inventory", metavar="FILE", help="Coordinates, for distances.")
]
Replicates = Annotated[int, typer.Option(metavar="N", help="Bootstrap samples.")]
Seed = Annotated[int, typer.Option(metavar="N", help="Of what is drawn at random.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace earlier results.")]
LabelledArgument = Annotated[
    str,
    typer.Argument(
        metavar="LABELLED", help="Folder with labels.csv and npz files, or SeisBench's dataset."
    ),
]
Horizon = Annotated[
    float | None,
    typer.Option(metavar="S", help="Seconds after a sample whose windows count for it."),
]
Crops = Annotated[int, typer.Option(metavar="N", help="Random cuts of each labelled window.")]


def evaluate(
    picks: PicksArgument,
    reference: ReferenceArgument,
    model: OfModel = None,
    tolerance: Tolerance = 0.5,
    by: By = "station",
    start: From = None,
    end: To = None,
    stations: Stations = None,
    phases: Phases = "P,S",
    around: Around = 10.0,
    source: Source = "",
    inventory: InventoryOption = None,
    replicates: Replicates = 1000,
    seed: Seed = 0,
    out: Annotated[
        str | None, typer.Option(metavar="DIR", help="Folder of the report; none: only print.")
    ] = None,
    formats: Annotated[
        str, typer.Option(metavar="csv,json,html,png", help="What is written into it.")
    ] = "csv,json,html",
    overwrite: Overwrite = False,
) -> int:
    """Compare picks with an analyst's, or with other labels: how many, how exact, what is false."""
    from ml_prediction.drivers.explore_tools import run_evaluate

    comparison = _comparison(
        picks,
        reference,
        model=model,
        tolerance=tolerance,
        by=by,
        start=start,
        end=end,
        stations=stations,
        phases=phases,
        around=around,
        source=source,
        inventory=inventory,
        replicates=replicates,
        seed=seed,
    )
    return run_evaluate(comparison, out, listed(formats), overwrite, results_console())


def calibrate(
    picks: PicksArgument,
    reference: ReferenceArgument,
    out: Annotated[
        str, typer.Option(metavar="FILE", help="Calibration; other weights in it are kept.")
    ],
    model: OfModel = None,
    tolerance: Tolerance = 0.5,
    by: By = "station",
    start: From = None,
    end: To = None,
    stations: Stations = None,
    source: Source = "",
    seed: Seed = 0,
) -> int:
    """Fit sigma to real timing errors, cross-validated by event, for `pick --calibration`."""
    from ml_prediction.drivers.explore_tools import run_calibrate

    comparison = _comparison(
        picks,
        reference,
        model=model,
        tolerance=tolerance,
        by=by,
        start=start,
        end=end,
        stations=stations,
        source=source,
        seed=seed,
    )
    return run_calibrate(comparison, out, results_console())


def pick_labelled(
    labelled: LabelledArgument,
    model: Models = None,
    weights: Weights = None,
    combine: Combine = None,
    shares: Shares = None,
    stride: Annotated[
        int | None, typer.Option(metavar="N", help="Samples from window to window.")
    ] = None,
    horizon: Horizon = None,
    calibration: Annotated[
        str | None, typer.Option(metavar="FILE", help="What sigma is made of.")
    ] = None,
    config: ConfigOption = None,
    crops: Crops = 6,
    out: Annotated[str, typer.Option(metavar="DIR", help="Folder of the results.")] = "labelled",
    overwrite: Overwrite = False,
) -> int:
    """Pick random cuts of a labelled set, for `evaluate` and `calibrate`."""
    from ml_prediction.drivers.explore_tools import run_pick_labelled

    top = {**chosen_models(model, weights, combine, shares), "calibration": calibration, "out": out}
    inner = {"stride": stride, "horizon": horizon}
    settings = run_config(config, {**top, "overwrite": overwrite}, inner)
    return run_pick_labelled(labelled, settings, crops, results_console(), remarks_console())


def tune(
    labelled: LabelledArgument,
    model: Models = None,
    weights: Weights = None,
    combine: Combine = None,
    shares: Shares = None,
    strides: Annotated[
        str | None, typer.Option("--stride", metavar="N,...", help="Strides to try.")
    ] = None,
    blindings: Annotated[
        str | None, typer.Option("--blinding", metavar="A,B;...", help="Blindings to try.")
    ] = None,
    stackings: Annotated[
        str | None, typer.Option("--stacking", metavar="max,mean", help="Stackings to try.")
    ] = None,
    one_component: Annotated[
        str | None, typer.Option("--1c", metavar="zero,clone", help="1-C policies to try.")
    ] = None,
    horizon: Horizon = None,
    full: Annotated[
        bool, typer.Option("--full", help="All combinations, not one change at a time.")
    ] = False,
    tolerance: Tolerance = 0.5,
    config: ConfigOption = None,
    crops: Crops = 2,
    out: Annotated[str, typer.Option(metavar="DIR", help="Folder of the results.")] = "tuned",
    overwrite: Overwrite = False,
) -> int:
    """Find the best thresholds, stride, blinding, stacking and 1-C policy on a labelled set."""
    from ml_prediction.drivers.explore_tools import run_tune
    from ml_prediction.drivers.share import load_one
    from ml_prediction.explore.evaluation import check_tolerance
    from ml_prediction.explore.tuning import settings_around

    check_tolerance(tolerance)
    top = {
        **chosen_models(model, weights, combine, shares),
        "out": out,
        "overwrite": overwrite,
    }
    settings = run_config(config, top, {"horizon": horizon})
    trials = settings_around(
        load_one(settings, settings.threads),
        strides=[_whole("--stride", text) for text in listed(strides)],
        blindings=[_pair(text) for text in (blindings or "").split(";") if text.strip()],
        stackings=_known("--stacking", stackings, ("max", "mean")),
        one_component=_known("--1c", one_component, ("zero", "clone", "skip")),
        horizon=settings.pipeline.horizon,
        full=full,
    )
    return run_tune(
        labelled, settings, trials, crops, tolerance, results_console(), remarks_console()
    )


def _comparison(
    picks: str,
    reference: str,
    *,
    model: str | None,
    tolerance: float,
    by: str,
    start: str | None,
    end: str | None,
    stations: str | None,
    source: str,
    seed: int,
    phases: str = "P,S",
    around: float = 10.0,
    inventory: str | None = None,
    replicates: int = 1000,
) -> Comparison:
    from ml_prediction.drivers.explore_tools import Comparison, parse_time
    from ml_prediction.explore import judging
    from ml_prediction.explore.evaluation import Scope

    scope = Scope(
        start=parse_time("--from", start),
        end=parse_time("--to", end),
        stations=tuple(listed(stations)),
        phases=tuple(listed(phases)),
        around_s=around,
        source=source,
    )
    if by not in get_args(judging.By):
        raise ConfigurationError(f"--by {by}: known are {', '.join(get_args(judging.By))}.")
    chosen = cast("judging.By", by)
    return Comparison(
        picks, reference, tolerance, scope, chosen, inventory, replicates, seed, model
    )


def _known(option: str, text: str | None, allowed: tuple[str, ...]) -> list[Any]:
    values = listed(text)
    if set(values) - set(allowed):
        raise ConfigurationError(f"{option} {text}: known are {', '.join(allowed)}.")
    return values


def _whole(option: str, text: str) -> int:
    value = math.nan
    if text.isascii() and text.isdigit():
        value = int(text)
    if not value >= 1:
        raise ConfigurationError(f"{option} {text}: give whole numbers, 1 or more.")
    return int(value)


def _pair(text: str) -> tuple[int, int]:
    parts = listed(text)
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() for part in parts):
        raise ConfigurationError(
            f"--blinding {text}: give two numbers, like 500,500; pairs are separated by semicolons."
        )
    return int(parts[0]), int(parts[1])
