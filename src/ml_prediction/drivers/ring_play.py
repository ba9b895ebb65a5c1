"""Waveform files played into a ring, as tankplayer does: paced by the time each packet ends."""

from __future__ import annotations

import heapq
import math
import os
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

from ml_prediction.drivers.ring_names import Names
from ml_prediction.drivers.ring_tools import Clock, Warn
from ml_prediction.drivers.tank_files import Cut, packets_of
from ml_prediction.earthworm.flags import told_to_end
from ml_prediction.earthworm.logo import Logo
from ml_prediction.earthworm.ring import Ring, RingName
from ml_prediction.earthworm.tank import shifted
from ml_prediction.errors import ConfigurationError, DataError

LONGEST_SLEEP: Final = 0.5
"""Seconds between two looks whether to end."""

LOOK_EVERY: Final = 100
"""Packets after which to look whether to end, when there is no time to wait."""


@dataclass(frozen=True, slots=True)
class PlayOptions:
    """How files are played.

    Attributes
    ----------
    seconds
        Length of packets that are cut from traces.
    speed
        Times real time; infinity: as fast as possible.
    restamp
        Move all times by one whole number of seconds, so that the first packet ends now.
    jitter
        Seconds by which each packet is late at most, at random.
    shuffle
        Packets that end within the same so many seconds come in random order.
    duplicate
        Share of packets that come twice, 0 to 1.
    seed
        Of what is random; None: another each time.

    Raises
    ------
    ConfigurationError
        If a value is out of its range.
    """

    seconds: float = 1.0
    speed: float = 1.0
    restamp: bool = False
    jitter: float = 0.0
    shuffle: float = 0.0
    duplicate: float = 0.0
    seed: int | None = None

    def __post_init__(self) -> None:
        if not self.speed > 0:
            raise ConfigurationError(f"--speed {self.speed:g}: give a number above 0, or --now.")
        for name in ("jitter", "shuffle"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ConfigurationError(f"--{name} {value:g}: give seconds, 0 or more.")
        if not 0 <= self.duplicate <= 1:
            raise ConfigurationError(f"--duplicate {self.duplicate:g}: give a share of 0 to 1.")


class Due(NamedTuple):
    """A packet with the time, in seconds since 1970, at which it is to come."""

    time: float
    cut: Cut


def play(
    paths: Iterable[Path],
    name: RingName,
    names: Names,
    warn: Warn,
    *,
    options: PlayOptions,
    sender: tuple[int, int],
    clock: Clock | None = None,
) -> int:
    """Put the packets of files into a ring.

    Parameters
    ----------
    paths
        Files; see `packets_of`.
    name, names
        The ring, and the numbers of message types.
    warn
        Told of what was left out, and what was done.
    options
        How.
    sender
        Module and installation.
    clock
        Other than the system's.

    Returns
    -------
    int
        Number of messages put.

    Raises
    ------
    ConfigurationError
        If there is no such file.
    DataError
        If a file can't be used, or there are no samples. Nothing has been put then.
    RingError
        If the ring is not there, is destroyed, or nobody lets go of its lock.
    """
    watch = clock or Clock()
    logos = {old: Logo(names.waveforms[old], *sender) for old in (False, True)}
    played = 0
    with closing(Ring(name)) as ring:
        dues = disturbed(packets_of(paths, warn, seconds=options.seconds), options)
        first = next(dues, None)
        if first is None:
            raise DataError("The files have no samples: nothing was played. Name others.")
        shift = math.floor(watch.now() - first.cut.end) if options.restamp else 0
        started = watch.steady()
        why = ""
        try:
            for due in chain([first], dues):
                at = started + (due.time - first.time) / options.speed
                if not _wait(ring, names.flag_ring_key, at, played, watch):
                    why = "Earthworm stops; "
                    break
                ring.put(logos[due.cut.old], shifted(due.cut.payload, shift))
                played += 1
        finally:  # also where it is interrupted, or the ring is destroyed
            warn(f"ring {name.name}: {why}{played} packets were played.")
    return played


def _wait(ring: Ring, flag_key: int, until: float, played: int, clock: Clock) -> bool:
    """Wait for a time of the steady clock; False if Earthworm stops."""
    left = until - clock.steady()
    if left <= 0 and played % LOOK_EVERY:
        return True
    while not told_to_end([ring], flag_key, os.getpid()):
        if left <= 0:
            return True
        clock.sleep(min(left, LONGEST_SLEEP))
        left = until - clock.steady()
    return False


def disturbed(packets: Iterable[Cut], options: PlayOptions) -> Iterator[Due]:
    """Packets in the order in which they are to come, late, mixed up and repeated as told.

    Parameters
    ----------
    packets
        In order of the time at which they end.
    options
        Of these, ``jitter``, ``shuffle``, ``duplicate`` and ``seed`` count.
    """
    jitter, shuffle, duplicate = options.jitter, options.shuffle, options.duplicate
    if not (jitter or shuffle or duplicate):
        yield from (Due(cut.end, cut) for cut in packets)
        return
    random = Random(options.seed)
    waiting: list[tuple[float, float, int, Cut]] = []
    number = 0
    for cut in packets:
        while waiting and waiting[0][0] <= cut.end:  # nothing earlier can come any more
            yield _first(waiting)
        for _ in range(2 if random.random() < duplicate else 1):
            time = (math.floor(cut.end / shuffle) + 1) * shuffle if shuffle else cut.end
            time += random.random() * jitter
            place = random.random() if shuffle else 0.0
            heapq.heappush(waiting, (time, place, number, cut))
            number += 1
    while waiting:
        yield _first(waiting)


def _first(waiting: list[tuple[float, float, int, Cut]]) -> Due:
    time, _, _, cut = heapq.heappop(waiting)
    return Due(time, cut)
