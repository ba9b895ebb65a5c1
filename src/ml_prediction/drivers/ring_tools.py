"""What comes into a ring, told line by line or recorded to a tank."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Final, TextIO

from ml_prediction.drivers.ring_names import Names
from ml_prediction.earthworm.flags import told_to_end
from ml_prediction.earthworm.logo import EVERYTHING, Logo
from ml_prediction.earthworm.messages import (
    MessageError,
    TraceBuf,
    decode_tracebuf,
    decode_tracebuf2,
)
from ml_prediction.earthworm.reader import Batch, Message, RingReader
from ml_prediction.earthworm.ring import Ring, RingError, RingName
from ml_prediction.earthworm.tank import head_of, is_tank
from ml_prediction.errors import ConfigurationError
from ml_prediction.util.codes import NSLC
from ml_prediction.util.files import check_place
from ml_prediction.util.times import isoformat, seconds_to_ns, to_utc

POLL_SECONDS: Final = 0.1
"""Between two looks into a ring that has nothing new."""

Warn = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Clock:
    """What time it is, and how to wait.

    Attributes
    ----------
    now
        Seconds since 1970 (UTC).
    steady
        Seconds of a clock that nobody sets.
    sleep
        Wait for so many seconds.
    """

    now: Callable[[], float] = time.time
    steady: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def follow(
    reader: RingReader, flag_key: int, seconds: float | None = None, clock: Clock | None = None
) -> Iterator[Batch]:
    """What comes into a ring, until Earthworm stops.

    Parameters
    ----------
    reader
        Where to begin, and what is wanted.
    flag_key
        Key of FLAG_RING.
    seconds
        Stop after so long, with what is in the ring by then; None: don't.
    clock
        Other than the system's.

    Yields
    ------
    Batch
        Each time that there is something to tell.

    Raises
    ------
    RingError
        If the ring is destroyed.
    """
    watch = clock or Clock()
    ring = reader.ring
    started = checked_at = watch.steady()
    end: int | None = None
    while True:
        before = reader.position
        batch = reader.read()
        if batch.messages or batch.losses or batch.lapped or batch.broken:
            yield batch
        idle = reader.position == before
        now = watch.steady()
        if seconds is not None and now - started >= seconds:
            end = ring.keyin if end is None else end
            if idle or reader.position >= end:
                return
        if idle or now - checked_at >= 1:
            checked_at = now
            if told_to_end([ring], flag_key, os.getpid()):
                return
            if not ring.is_current():
                raise RingError(f"Ring {ring.name} was destroyed: is Earthworm being restarted?")
        if idle:
            watch.sleep(POLL_SECONDS)


def tell_losses(batch: Batch, ring: RingName, names: Names, warn: Warn) -> None:
    """Say what of a ring was not seen."""
    for loss in batch.losses:
        why = (
            "overwritten before they were read"
            if loss.reason == "lapped"
            else "gap in their sequence numbers"
        )
        warn(f"ring {ring.name}: {loss.missing} or more of {names.logo(loss.logo)} missed ({why}).")
    if batch.lapped and not batch.losses:
        warn(f"ring {ring.name}: messages were overwritten before they were read.")
    if batch.broken:
        warn(f"ring {ring.name}: no message where one should be; went on at the newest.")


def sniff(
    name: RingName,
    names: Names,
    out: TextIO,
    warn: Warn,
    *,
    wanted: Iterable[Logo] = (EVERYTHING,),
    count: int | None = None,
    seconds: float | None = None,
    oldest: bool = False,
    clock: Clock | None = None,
) -> int:
    """Write one line for each message of a ring.

    Parameters
    ----------
    name, names
        The ring, and the names of logos.
    out, warn
        Where lines go, and remarks on what was missed.
    wanted
        Which messages.
    count, seconds
        Stop after so many lines, or so long. Interrupting it is the other way.
    oldest
        Begin with what is in the ring, not with what comes next.
    clock
        Other than the system's.

    Returns
    -------
    int
        Number of lines.

    Raises
    ------
    RingError
        If the ring is not there, or is destroyed.
    """
    watch = clock or Clock()
    written = 0
    lines = Lines(names)
    with closing(Ring(name)) as ring:
        reader = RingReader(ring, wanted)
        if not oldest:
            reader.skip_to_end()
        try:
            for batch in follow(reader, names.flag_ring_key, seconds, watch):
                tell_losses(batch, name, names, warn)
                now = watch.now()
                for message in batch.messages:
                    if written == count:
                        break
                    out.write(lines.line(message, now) + "\n")
                    written += 1
                out.flush()
                if written == count:
                    break
        except KeyboardInterrupt:
            pass  # the usual end
    return written


@dataclass(slots=True)
class Seen:
    """The latest packet of a channel: times of its ends, its rate, and when it came."""

    start: float
    end: float
    rate: float
    came: float


class Lines:
    """Messages as lines.

    Parameters
    ----------
    names
        Of logos.
    """

    def __init__(self, names: Names) -> None:
        self._names = names
        self._titles: dict[Logo, str] = {}
        self._channels: dict[NSLC, Seen] = {}

    def line(self, message: Message, now: float) -> str:
        """One message that came now, in seconds since 1970."""
        logo, payload = message.logo, message.payload
        title = self._titles.get(logo) or self._titles.setdefault(logo, self._names.logo(logo))
        head = f"{title} seq {message.sequence:3d} {len(payload):5d} bytes"
        if logo.type in self._names.waveforms:
            decode = decode_tracebuf2 if logo.type == self._names.tracebuf2 else decode_tracebuf
            try:
                return f"{head}  {self._waveform(decode(payload), now)}"
            except MessageError as error:
                return f"{head}  can't be read: {error}"
        text = _text(payload)
        return f"{head}  {text}" if text else head

    def _waveform(self, buf: TraceBuf, now: float) -> str:
        nslc, rate = buf.nslc, buf.sampling_rate
        before = self._channels.get(nslc)
        parts = [
            f"{nslc.station}.{nslc.channel}.{nslc.network}.{nslc.location or '--'}",
            f"{moment(buf.starttime)} - {moment(buf.endtime)}",
            f"{rate:g} Hz {len(buf.samples)} samples {buf.datatype}",
            f"data latency {now - buf.endtime:.1f} s",
            f"feed latency {now - before.came if before else 0.0:.1f} s",
        ]
        if before is not None:
            parts += _notes(buf, before)
        if before is None or buf.endtime >= before.end:
            self._channels[nslc] = Seen(buf.starttime, buf.endtime, rate, now)
        else:
            before.came = now
        return " ".join(parts)


def _notes(buf: TraceBuf, before: Seen) -> Iterator[str]:
    """How a packet does not follow the one before it."""
    if buf.sampling_rate != before.rate:
        yield f"[rate was {before.rate:g} Hz]"
    interval = 1 / before.rate
    ahead = buf.starttime - before.end - interval
    if buf.starttime == before.start and buf.endtime == before.end:
        yield "[repeated]"
    elif buf.endtime <= before.end:
        yield f"[out of order: {before.end - buf.endtime:.3f} s behind]"
    elif ahead > interval / 2:
        yield f"[gap {ahead:.3f} s]"
    elif ahead < -interval / 2:
        yield f"[overlap {-ahead:.3f} s]"


def moment(seconds: float) -> str:
    """Time in seconds since 1970 as text, to the microsecond."""
    return isoformat(to_utc(seconds_to_ns(seconds)))


def _text(payload: bytes) -> str | None:
    """A text on one line; None where it is not text."""
    text = payload.rstrip(b"\0\r\n ").decode("latin-1")
    line = text.replace("\r\n", "\n").replace("\t", " ").replace("\n", " | ")
    return line if line.isprintable() else None


def record(
    name: RingName,
    names: Names,
    path: Path,
    warn: Warn,
    *,
    seconds: float | None = None,
    clock: Clock | None = None,
) -> int:
    """Append a ring's waveform messages to a tank, those that are there already first.

    Parameters
    ----------
    name, names
        The ring, and the numbers of message types.
    path
        Tank, new or not.
    warn
        Told of what was missed, and what was done.
    seconds
        Stop after so long. Interrupting it is the other way, and no failure.
    clock
        Other than the system's.

    Returns
    -------
    int
        Number of packets written.

    Raises
    ------
    ConfigurationError
        If the file is there and is no tank, or its folder is not there.
    RingError
        If the ring is not there, or is destroyed; what came before is in the tank.
    OSError
        If the file can't be written; it then ends with the last packet that is all there.
    """
    written = refused = 0
    with closing(Ring(name)) as ring:
        if path.exists() and not path.is_file():
            raise ConfigurationError(f"{path} is no plain file: name another.")
        if path.exists() and path.stat().st_size and not is_tank(path):
            raise ConfigurationError(f"{path} is there and is no tank: name another file.")
        check_place(path)
        reader = RingReader(ring, [Logo(kind, 0, 0) for kind in names.waveforms])
        with path.open("ab", buffering=0) as file:
            try:
                for batch in follow(reader, names.flag_ring_key, seconds, clock):
                    tell_losses(batch, name, names, warn)
                    whole = [packet for m in batch.messages if (packet := _whole(m.payload))]
                    refused += len(batch.messages) - len(whole)
                    before = os.fstat(file.fileno()).st_size
                    try:
                        _write(file, path, b"".join(whole))
                    finally:
                        written += _kept(file, before, whole)
            except KeyboardInterrupt:
                pass  # the usual end
            finally:
                said = f"; {refused} that make no sense were left out" if refused else ""
                warn(f"{path}: {written} packets of ring {name.name} appended{said}.")
    return written


def _write(file: FileIO, path: Path, data: bytes) -> None:
    """Write all of it, or as much as there is room for."""
    left = memoryview(data)
    try:
        while left:
            left = left[file.write(left) :]
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def _kept(file: FileIO, before: int, packets: Iterable[bytes]) -> int:
    """How many packets are whole that were written to the end of a tank; the rest is cut off."""
    written = os.fstat(file.fileno()).st_size - before
    count = size = 0
    for packet in packets:
        if size + len(packet) > written:
            with suppress(OSError):
                os.ftruncate(file.fileno(), before + size)
            break
        size += len(packet)
        count += 1
    return count


def _whole(payload: bytes) -> bytes | None:
    """What a tank holds of a message: nothing behind its samples; None if they are not there."""
    head = head_of(payload)
    return None if head is None or head.length > len(payload) else payload[: head.length]
