"""Commands about Earthworm's rings and tanks: `ml-prediction ring ...`, `ml-prediction tank`."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from ml_prediction.drivers.terminal import complain
from ml_prediction.errors import ConfigurationError

DONE: Final = 0

app = typer.Typer(
    name="ring",
    help="Look into Earthworm's rings, play files into them, record them.",
    no_args_is_help=True,
)

RingArgument = Annotated[
    str, typer.Argument(metavar="RING", help="Name in Earthworm's tables, or NAME=KEY, or KEY.")
]
Seconds = Annotated[float | None, typer.Option(metavar="S", help="Stop after so many seconds.")]
PacketSeconds = Annotated[
    float, typer.Option("--packet", metavar="S", help="Length of packets cut from traces.")
]


@app.command()
def sniff(
    ring: RingArgument,
    logo: Annotated[
        list[str] | None,
        typer.Option(
            metavar="INST,MOD,TYPE",
            help="Only these messages: names or numbers, 0 for any. May be repeated.",
        ),
    ] = None,
    count: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Stop after so many messages.")
    ] = None,
    seconds: Seconds = None,
    oldest: Annotated[
        bool, typer.Option("--oldest", help="Begin with the oldest message in the ring.")
    ] = False,
) -> int:
    """Print one line for each message that comes into a ring."""
    from ml_prediction.drivers import ring_tools
    from ml_prediction.drivers.ring_names import read_names
    from ml_prediction.earthworm.logo import EVERYTHING

    names = read_names()
    ring_tools.sniff(
        names.ring(ring),
        names,
        sys.stdout,
        complain,
        wanted=[names.wanted(each) for each in logo] if logo else [EVERYTHING],
        count=count,
        seconds=_checked(seconds),
        oldest=oldest,
    )
    return DONE


@app.command()
def stat(ring: RingArgument) -> int:
    """Print what a ring holds now, and in what state it is."""
    from ml_prediction.drivers.ring_names import read_names
    from ml_prediction.drivers.ring_state import look, show_state
    from ml_prediction.drivers.ring_tools import Clock

    names = read_names()
    show_state(look(names.ring(ring), names), names, sys.stdout, Clock().now())
    return DONE


@app.command()
def play(
    files: Annotated[
        list[str], typer.Argument(metavar="FILES...", help="miniSEED, any format of ObsPy, tanks.")
    ],
    ring: RingArgument,
    packet: PacketSeconds = 1.0,
    speed: Annotated[
        float | None, typer.Option(metavar="X", help="Times real time; default: 1.")
    ] = None,
    now: Annotated[bool, typer.Option("--now", help="As fast as possible.")] = False,
    restamp: Annotated[
        bool,
        typer.Option(
            "--restamp", help="Move all times by whole seconds: the first packet ends now."
        ),
    ] = False,
    logo: Annotated[
        str | None,
        typer.Option(
            metavar="INST,MOD",
            help="Who sends: names or numbers; default: EW_INSTALLATION,MOD_TANKPLAYER.",
        ),
    ] = None,
    jitter: Annotated[
        float, typer.Option(metavar="S", help="For tests: each packet late by up to S seconds.")
    ] = 0.0,
    shuffle: Annotated[
        float, typer.Option(metavar="S", help="For tests: mix the packets within S seconds.")
    ] = 0.0,
    duplicate: Annotated[
        float, typer.Option(metavar="P", help="For tests: send a share P of packets twice.")
    ] = 0.0,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Of what is random, to have it again.")
    ] = None,
) -> int:
    """Play waveform files into a ring, in the order and at the pace in which packets end."""
    from ml_prediction.drivers import ring_play
    from ml_prediction.drivers.ring_names import read_names

    if now and speed is not None:
        raise ConfigurationError(
            f"--now is as fast as possible, --speed {speed:g} is not: give one."
        )
    names = read_names()
    options = ring_play.PlayOptions(
        seconds=packet,
        speed=math.inf if now else 1.0 if speed is None else speed,
        restamp=restamp,
        jitter=jitter,
        shuffle=shuffle,
        duplicate=duplicate,
        seed=seed,
    )
    ring_play.play(
        [Path(file) for file in files],
        names.ring(ring),
        names,
        complain,
        options=options,
        sender=names.sender(logo),
    )
    return DONE


@app.command()
def record(
    ring: RingArgument,
    file: Annotated[str, typer.Argument(metavar="FILE.tnk", help="Tank; it is appended to.")],
    seconds: Seconds = None,
) -> int:
    """Record a ring's waveforms to a tank until Ctrl-C, those in the ring first."""
    from ml_prediction.drivers import ring_tools
    from ml_prediction.drivers.ring_names import read_names

    names = read_names()
    ring_tools.record(names.ring(ring), names, Path(file), complain, seconds=_checked(seconds))
    return DONE


def tank(
    source: Annotated[str, typer.Argument(metavar="IN", help="Tank, or waveforms.")],
    target: Annotated[str, typer.Argument(metavar="OUT", help="miniSEED of a tank; else a tank.")],
    packet: PacketSeconds = 1.0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT.")] = False,
) -> int:
    """Write a tank as miniSEED, or waveforms as a tank; what IN is, its contents say."""
    from ml_prediction.drivers import tank_files

    tank_files.convert(Path(source), Path(target), complain, seconds=packet, overwrite=overwrite)
    return DONE


def _checked(seconds: float | None) -> float | None:
    if seconds is not None and not 0 <= seconds < math.inf:
        raise ConfigurationError(f"--seconds {seconds:g}: give a number, 0 or more.")
    return seconds
