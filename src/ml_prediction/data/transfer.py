"""Waveforms of many channels: bounded requests, in parallel, smaller where a server balks."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

from ml_prediction.data.faults import (
    BadRequestError,
    DamagedError,
    NoDataError,
    RefusedError,
    StalledError,
    StoppedError,
    TooLargeError,
    TransientError,
    UnreachableError,
)
from ml_prediction.data.fdsn import Server
from ml_prediction.data.plan import Unit
from ml_prediction.data.records import by_channel, compose
from ml_prediction.errors import ConfigurationError, DataError, InternalError, ServiceError
from ml_prediction.util.times import NANOSECONDS

SHORTEST_NS: Final = 60 * NANOSECONDS
"""A channel's time is not cut into less."""
HOPELESS: Final = 3
"""Requests in a row that find no server, after which a run ends."""
PATIENCE_WHEN_SPLIT: Final = 2
"""Attempts for each part of a request that has failed in passing as a whole."""
GOODBYE_S: Final = 2.0
"""Seconds that workers have to finish what they write."""


class Keeper(Protocol):
    """Takes what comes, each unit once, from any thread."""

    def keep(self, unit: Unit, miniseed: bytes) -> None:
        """All there is of a unit, sorted and cut."""

    def nothing(self, units: Sequence[Unit], reason: str) -> None:
        """There is nothing of these to be had."""

    def fragment(self, unit: Unit) -> bytes | None:
        """What was kept of a piece of a unit."""

    def keep_fragment(self, unit: Unit, miniseed: bytes) -> None:
        """A piece of a unit; others are still to come."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Units that could not be fetched, and why."""

    units: tuple[Unit, ...]
    error: ServiceError | DataError


def get_piece(
    units: Sequence[Unit], server: Server, keeper: Keeper, attempts: int | None = None
) -> list[Failure]:
    """Fetch units in one request, or in several where the server wants or needs that.

    A request is halved when it is too large, when one of its channels is refused, and when it fails
    in passing again and again; a single channel-day is halved in time, as far as a minute.

    Parameters
    ----------
    units
        At least one.
    server
        Where from.
    keeper
        Takes the data.
    attempts
        Of each request, at most; None: as the server's patience is.

    Returns
    -------
    list of Failure
        What could not be had. Nothing else failed.

    Raises
    ------
    UnreachableError
        If there is no connection.
    StoppedError
        If the caller has had enough.
    """
    try:
        if len(units) == 1:
            _get_one(units[0], server, keeper, attempts)
        else:
            _deal(units, server.waveforms([unit.line for unit in units], attempts), keeper)
    except NoDataError:
        keeper.nothing(units, NoDataError.reason)
    except (StoppedError, UnreachableError):
        raise
    except (ServiceError, DataError) as error:
        if len(units) == 1:
            if isinstance(error, RefusedError):
                keeper.nothing(units, str(error))
                return []
            return [Failure(tuple(units), error)]
        if not isinstance(error, TooLargeError | RefusedError | BadRequestError | DataError):
            if not isinstance(error, TransientError):
                return [Failure(tuple(units), error)]
            attempts = PATIENCE_WHEN_SPLIT
        middle = len(units) // 2
        return [
            *get_piece(units[:middle], server, keeper, attempts),
            *get_piece(units[middle:], server, keeper, attempts),
        ]
    return []


def get_all(
    pieces: Sequence[Sequence[Unit]],
    server: Server,
    keeper: Keeper,
    parallel: int,
    done: Callable[[Sequence[Unit]], None],
) -> list[Failure]:
    """Fetch pieces with several threads; returns what failed, sorted.

    Parameters
    ----------
    pieces
        Each one request.
    server
        Where from.
    keeper
        Takes the data.
    parallel
        Threads.
    done
        Called in this thread for each piece that is over.

    Raises
    ------
    UnreachableError
        If the server can't be reached several times in a row.
    OSError
        If something can't be written.
    """
    check_parallel(parallel)
    waiting: queue.SimpleQueue[Sequence[Unit]] = queue.SimpleQueue()
    over: queue.SimpleQueue[_Over] = queue.SimpleQueue()
    for piece in pieces:
        waiting.put(piece)
    threads = [
        # Daemons: one that hangs in a request must not keep the process from ending.
        threading.Thread(target=_work, args=(waiting, over, server, keeper), daemon=True)
        for _ in range(min(parallel, len(pieces)))
    ]
    for thread in threads:
        thread.start()
    failures: list[Failure] = []
    in_a_row = 0
    try:
        for _ in pieces:
            outcome = over.get()
            if isinstance(outcome.error, OSError) and not isinstance(outcome.error, ServiceError):
                raise outcome.error
            if outcome.units is None:
                raise InternalError("A thread that downloads has ended.")
            in_a_row = in_a_row + 1 if isinstance(outcome.error, UnreachableError) else 0
            if isinstance(outcome.error, UnreachableError):
                failures.append(Failure(tuple(outcome.units), outcome.error))
                if in_a_row == min(HOPELESS, len(pieces)):
                    raise outcome.error
            failures += outcome.failures
            done(outcome.units)
    finally:
        server.gate.stopped.set()
        _drain(waiting)  # a thread that hangs in a request finds no other afterwards
        until = time.monotonic() + GOODBYE_S
        for thread in threads:
            thread.join(max(until - time.monotonic(), 0.0))
        server.gate.stopped.clear()
    return sorted(failures, key=lambda failure: failure.units)


def check_parallel(parallel: int) -> None:
    """Whether there is at least one request at a time: without, nobody would ever answer.

    Raises
    ------
    ConfigurationError
        If not.
    """
    if parallel < 1:
        raise ConfigurationError(f"parallel (--parallel) {parallel}: at least 1.")


@dataclass(frozen=True, slots=True)
class _Over:
    """A piece that is over; one without units is a thread that has ended by a fault of ours."""

    units: Sequence[Unit] | None
    failures: Sequence[Failure] = ()
    error: ServiceError | OSError | None = None


def _work(
    waiting: queue.SimpleQueue[Sequence[Unit]],
    over: queue.SimpleQueue[_Over],
    server: Server,
    keeper: Keeper,
) -> None:
    while not server.gate.stopped.is_set():
        try:
            units = waiting.get_nowait()
        except queue.Empty:
            return
        outcome = _Over(None)
        try:
            outcome = _Over(units, get_piece(units, server, keeper))
        except StoppedError:
            return
        except (UnreachableError, OSError) as error:
            outcome = _Over(units, (), error)
        finally:
            over.put(outcome)


def _drain(waiting: queue.SimpleQueue[Sequence[Unit]]) -> None:
    with suppress(queue.Empty):
        while True:
            waiting.get_nowait()


def _deal(units: Sequence[Unit], body: bytes, keeper: Keeper) -> None:
    """Give each unit its records; those of channels that nobody asked for belong to none."""
    channels = by_channel(body)
    empty: list[Unit] = []
    for unit in units:
        miniseed = compose(channels.get(unit.code, ()), unit.start_ns, unit.end_ns)
        if miniseed:
            keeper.keep(unit, miniseed)
        else:
            empty.append(unit)
    if empty:
        keeper.nothing(empty, NoDataError.reason)


def _get_one(unit: Unit, server: Server, keeper: Keeper, attempts: int | None) -> None:
    miniseed = b"".join(_fragments(unit, server, keeper, attempts, whole=True))
    if miniseed:
        keeper.keep(unit, miniseed)
    else:
        keeper.nothing([unit], NoDataError.reason)


def _fragments(
    unit: Unit, server: Server, keeper: Keeper, attempts: int | None, *, whole: bool
) -> Iterator[bytes]:
    """MiniSEED of a unit, piece by piece in order of time."""
    if not whole:
        known = keeper.fragment(unit)
        if known is not None:
            yield known
            return
    try:
        body = server.waveforms([unit.line], attempts)
        records = by_channel(body).get(unit.code, [])
        miniseed = compose(records, unit.start_ns, unit.end_ns)
    except NoDataError:
        miniseed = b""
    except (TooLargeError, StalledError, DamagedError) as error:
        if unit.end_ns - unit.start_ns < 2 * SHORTEST_NS:
            raise
        fewer = attempts if isinstance(error, TooLargeError) else PATIENCE_WHEN_SPLIT
        for half in unit.halves():
            yield from _fragments(half, server, keeper, fewer, whole=False)
        return
    if not whole:
        keeper.keep_fragment(unit, miniseed)
    yield miniseed
