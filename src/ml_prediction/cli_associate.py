"""`ml-prediction associate`: picks to events, by PyOcto."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ml_prediction.cli_options import chosen_few
from ml_prediction.drivers.terminal import remarks_console, results_console
from ml_prediction.errors import ConfigurationError

if TYPE_CHECKING:
    from obspy import UTCDateTime

    from ml_prediction.drivers.associate.octo import Area


MOST_PICKS: Final = 100_000
"""Of an event that PyOcto is asked for; it counts in 32 bits."""


def associate(
    inventory: Annotated[str, typer.Option(metavar="STATIONXML", help="Where the stations are.")],
    out: Annotated[str, typer.Option(metavar="EVENTS.xml", help="QuakeML file to write.")],
    store: Annotated[
        str | None, typer.Option(metavar="URL", help="Store with the picks, of `archive`.")
    ] = None,
    picks: Annotated[
        str | None, typer.Option(metavar="FILE", help="Or: picks.csv of `pick`, or its folder.")
    ] = None,
    run_id: Annotated[
        str | None, typer.Option(metavar="ID", help="Run, if the store has several.")
    ] = None,
    networks: Annotated[
        str | None, typer.Option(metavar="UW,UO,CC", help="Network codes; default: all.")
    ] = None,
    start: Annotated[
        str | None, typer.Option("--from", metavar="T", help="No picks before (UTC).")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", metavar="T", help="No picks from then on (UTC).")
    ] = None,
    csv: Annotated[
        str | None, typer.Option(metavar="EVENTS.csv", help="Also a table of the events.")
    ] = None,
    velocity: Annotated[
        str, typer.Option(metavar="FILE.csv|NAME|VP,VS", help="Velocities; NAME: iasp91, ak135.")
    ] = "iasp91",
    min_picks: Annotated[
        int, typer.Option(metavar="N", min=1, max=MOST_PICKS, help="Of an event.")
    ] = 10,
    min_p: Annotated[
        int, typer.Option(metavar="N", min=0, max=MOST_PICKS, help="P picks of an event.")
    ] = 3,
    min_s: Annotated[
        int, typer.Option(metavar="N", min=0, max=MOST_PICKS, help="S picks of an event.")
    ] = 3,
    min_both: Annotated[
        int,
        typer.Option(metavar="N", min=0, max=MOST_PICKS, help="Stations with both, of an event."),
    ] = 3,
    max_sigma: Annotated[
        float | None,
        typer.Option(metavar="S", min=0.0, help="Leave out picks that are less certain."),
    ] = None,
    tolerance: Annotated[
        float,
        typer.Option(metavar="S", min=0.01, max=10.0, help="Largest residual of a pick."),
    ] = 1.5,
    velocity_tolerance: Annotated[
        float,
        typer.Option(metavar="S", min=0.0, max=100.0, help="What travel times may be wrong by."),
    ] = 2.0,
    edt_std: Annotated[
        float | None,
        typer.Option(
            metavar="S",
            min=0.001,
            max=100.0,
            help="PyOcto's exponential EDT, with this deviation of picks.",
        ),
    ] = None,
    cutoff: Annotated[
        float | None,
        typer.Option(
            metavar="KM", min=0.1, max=20000.0, help="Search with stations this near only."
        ),
    ] = None,
    depth: Annotated[
        float, typer.Option(metavar="KM", min=1.0, max=700.0, help="Deepest events.")
    ] = 100.0,
    area: Annotated[
        str | None,
        typer.Option(metavar="S,N,W,E", help="Where events may be (degrees north and east)."),
    ] = None,
    margin: Annotated[
        float,
        typer.Option(
            metavar="KM", min=0.0, max=2000.0, help="Without --area: this far around stations."
        ),
    ] = 50.0,
    threads: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=256, help="Of PyOcto; default: all cores."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace earlier files.")] = False,
) -> int:
    """Associate picks to events with PyOcto, into QuakeML. Its locations are preliminary."""
    from ml_prediction.drivers.associate.octo import Settings
    from ml_prediction.drivers.associate.run import AssociateOptions, run_associate

    options = AssociateOptions(
        store=store,
        pick_file=None if picks is None else Path(picks),
        inventory=inventory,
        out=Path(out),
        table=None if csv is None else Path(csv),
        run_id=run_id,
        networks=chosen_few("--networks", networks),
        start=_time("--from", start),
        end=_time("--to", end),
        max_sigma=max_sigma,
        velocity=velocity,
        overwrite=overwrite,
    )
    settings = Settings(
        min_picks=min_picks,
        min_p=min_p,
        min_s=min_s,
        min_both=min_both,
        tolerance_s=tolerance,
        velocity_tolerance_s=velocity_tolerance,
        cutoff_km=cutoff,
        edt_std_s=edt_std,
        depth_km=depth,
        area=_area(area),
        margin_km=margin,
        threads=threads,
    )
    return run_associate(options, settings, out=results_console(), err=remarks_console())


def _time(option: str, text: str | None) -> UTCDateTime | None:
    from obspy import UTCDateTime

    from ml_prediction.util.times import EARLIEST, LATEST, YEARS

    if text is None:
        return None
    try:
        time = UTCDateTime(text)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"{option} {text}: no time; write it like 2017-05-01 or 2017-05-01T03:00:00."
        ) from error
    if not EARLIEST + 86400 <= time < LATEST - 86400:
        raise ConfigurationError(f"{option} {text}: no time of the years {YEARS}.")
    return time


def _area(text: str | None) -> Area | None:
    from ml_prediction.drivers.associate.octo import Area

    if text is None:
        return None
    try:
        south, north, west, east = map(float, text.split(","))
    except ValueError as error:
        raise ConfigurationError(f"--area {text}: write four numbers: S,N,W,E.") from error
    if not (-90 <= south < north <= 90 and -180 <= west <= 180 and -180 <= east <= 180):
        raise ConfigurationError(
            f"--area {text}: south must lie below north, longitudes from -180 to 180."
        )
    if west == east:
        raise ConfigurationError(f"--area {text}: west and east are the same.")
    return Area(south, north, west, east)
