"""Commands about whole earthquakes: `bundle`, `catalog`, `edit`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from ml_prediction.cli_options import Combine, listed
from ml_prediction.drivers.terminal import remarks_console, results_console
from ml_prediction.errors import ConfigurationError

if TYPE_CHECKING:
    from ml_prediction.drivers.bundle_tools import Wanted

Out = Annotated[Path, typer.Option(metavar="DIR", help="Each event gets a folder in it.")]
Events = Annotated[
    str, typer.Option("--events", metavar="URL|NAME", help="Server of ComCat, or a copy of it.")
]
Data = Annotated[
    str,
    typer.Option("--client", metavar="URL|NAME", help="Data centre of waveforms and stations."),
]
NoWaveforms = Annotated[
    bool, typer.Option("--no-waveforms", help="Only the event: history and picks.")
]
Pad = Annotated[
    str,
    typer.Option(metavar="S|A,B", help="Seconds before the origin, and after the last S wave."),
]
Channels = Annotated[str, typer.Option(metavar="'HH?,EN?'", help="Channel codes or patterns.")]
Radius = Annotated[
    float | None,
    typer.Option(
        "--radius", metavar="KM", min=0.001, help="All stations within; else those with picks."
    ),
]
Stations = Annotated[
    str | None, typer.Option(metavar="NET.STA,...", help="These stations, picked or not.")
]
ModelNames = Annotated[
    list[str] | None,
    typer.Option(
        "--pick", metavar="NAME[:WEIGHTS]", help="Pick with it; may be given several times."
    ),
]
Weights = Annotated[str | None, typer.Option(help="Of models that name none.")]
Probabilities = Annotated[
    bool, typer.Option("--probabilities", help="Keep the models' probability traces.")
]
Plot = Annotated[bool, typer.Option("--plot", help="Draw section.png, a record section.")]
Markers = Annotated[
    bool, typer.Option("--markers", help="Write picks.markers, for snuffler; needs Pyrocko.")
]
Parallel = Annotated[int, typer.Option(metavar="N", min=1, max=16, help="Requests at once.")]
Timeout = Annotated[
    float, typer.Option(metavar="S", min=0.1, help="Give a request up that is silent so long.")
]
Attempts = Annotated[int, typer.Option(metavar="N", min=1, help="Attempts for each request.")]
Again = Annotated[
    bool, typer.Option("--again", help="Ask again for what an earlier run found absent.")
]


def bundle(
    context: typer.Context,
    event: Annotated[str, typer.Argument(metavar="EVENT", help="ComCat's id, e.g. uw61965081.")],
    out: Out = Path("bundles"),
    quakeml: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Take the event from this file, not from ComCat."),
    ] = None,
    events: Events = "USGS",
    client: Data = "EARTHSCOPE",
    no_waveforms: NoWaveforms = False,
    pad: Pad = "60",
    channels: Channels = "HH?,BH?,EH?,HN?,EN?",
    radius: Radius = None,
    stations: Stations = None,
    pick: ModelNames = None,
    weights: Weights = None,
    combine: Combine = None,
    probabilities: Probabilities = False,
    plot: Plot = False,
    markers: Markers = False,
    snuffle: Annotated[
        bool,
        typer.Option("--snuffle", help="Open snuffler, and keep what is changed in it."),
    ] = False,
    parallel: Parallel = 4,
    timeout: Timeout = 120.0,
    attempts: Attempts = 6,
    again: Again = False,
) -> int:
    """One earthquake with history, picks, waveforms, stations; the same command continues it."""
    from ml_prediction.drivers.bundle_tools import run_bundle

    wanted = _wanted(context.params)
    return run_bundle(event, out, wanted, quakeml, snuffle, results_console(), remarks_console())


def edit(
    folder: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder of one bundle.")],
    markers: Annotated[
        Path, typer.Argument(metavar="MARKERS", help="Marker file that snuffler has saved.")
    ],
    remove_all: Annotated[
        bool, typer.Option("--remove-all", help="Go on though none of the picks is left.")
    ] = False,
) -> int:
    """Read a seismologist's markers back into a bundle: moved, added, removed picks."""
    from ml_prediction.drivers.bundle_tools import run_edit

    return run_edit(folder, markers, results_console(), remove_all=remove_all)


def catalog(
    context: typer.Context,
    out: Out = Path("bundles"),
    start: Annotated[
        str, typer.Option("--from", metavar="T", help="Origin times from here ...")
    ] = "",
    end: Annotated[str, typer.Option("--to", metavar="T", help="... to here.")] = "",
    region: Annotated[
        str | None,
        typer.Option(metavar="LAT,LON,KM", help="Circle around a point; else all the world."),
    ] = None,
    min_magnitude: Annotated[float | None, typer.Option(metavar="M", help="At least.")] = None,
    max_magnitude: Annotated[float | None, typer.Option(metavar="M", help="At most.")] = None,
    min_depth: Annotated[float | None, typer.Option(metavar="KM", help="At least.")] = None,
    max_depth: Annotated[float | None, typer.Option(metavar="KM", help="At most.")] = None,
    show: Annotated[
        bool, typer.Option("--list", help="Only list what the search finds, and end.")
    ] = False,
    search_again: Annotated[
        bool, typer.Option("--search-again", help="Events may have come since the first search.")
    ] = False,
    events: Events = "USGS",
    client: Data = "EARTHSCOPE",
    no_waveforms: NoWaveforms = False,
    pad: Pad = "60",
    channels: Channels = "HH?,BH?,EH?,HN?,EN?",
    radius: Radius = None,
    stations: Stations = None,
    pick: ModelNames = None,
    weights: Weights = None,
    combine: Combine = None,
    probabilities: Probabilities = False,
    plot: Plot = False,
    markers: Markers = False,
    parallel: Parallel = 4,
    timeout: Timeout = 120.0,
    attempts: Attempts = 6,
    again: Again = False,
) -> int:
    """A bundle for each earthquake of a search in ComCat; the same command continues."""
    from ml_prediction.drivers.bundle_tools import run_catalog
    from ml_prediction.explore.bundle_waveforms import as_server
    from ml_prediction.explore.catalog import BundleCatalog

    if not (start and end):
        raise ConfigurationError("Say which time: --from and --to.")
    wanted = _wanted(context.params)
    found = BundleCatalog.search(
        out,
        start,
        end,
        region=None if region is None else _region(region),
        min_magnitude=min_magnitude,
        max_magnitude=max_magnitude,
        min_depth_km=min_depth,
        max_depth_km=max_depth,
        client=as_server(events, timeout, attempts),
        again=search_again,
    )
    return run_catalog(found, None if show else wanted, results_console(), remarks_console())


def _wanted(options: Mapping[str, Any]) -> Wanted:
    """The options that both commands have, by the names of their parameters."""
    from ml_prediction.drivers.bundle_tools import Wanted
    from ml_prediction.explore.bundle_choice import choice_of

    models, stations = tuple(options["pick"] or ()), options["stations"]
    if not models and (options["weights"] is not None or options["combine"] is not None):
        raise ConfigurationError("--weights and --combine go with --pick.")
    pad = _pad(options["pad"])
    # Before a server is asked for anything.
    choice_of(pad, options["channels"], options["radius"], stations)
    return Wanted(
        events=options["events"],
        data=None if options["no_waveforms"] else options["client"],
        pad=pad,
        channels=tuple(listed(options["channels"])),
        radius_km=options["radius"],
        stations=None if stations is None else tuple(listed(stations)),
        models=models,
        **{name: options[name] for name in _AS_THEY_ARE},
    )


_AS_THEY_ARE: Final = (
    "weights",
    "combine",
    "probabilities",
    "plot",
    "markers",
    "parallel",
    "timeout",
    "attempts",
    "again",
)


def _numbers(option: str, text: str, counts: tuple[int, ...], like: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in counts:
        raise ConfigurationError(f"{option} {text}: write it like {like}.")
    return numbers


def _pad(text: str) -> tuple[float, float]:
    numbers = _numbers("--pad", text, (1, 2), "60 or 30,90")
    return numbers[0], numbers[-1]


def _region(text: str) -> tuple[float, float, float]:
    latitude, longitude, radius = _numbers("--region", text, (3,), "47.6,-122.6,100")
    return latitude, longitude, radius
