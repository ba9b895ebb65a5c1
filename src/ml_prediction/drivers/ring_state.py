"""What a ring holds now, and in what state it is."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from typing import TextIO

from ml_prediction.drivers.ring_names import Names
from ml_prediction.drivers.ring_tools import moment
from ml_prediction.earthworm.layout import TERMINATE
from ml_prediction.earthworm.logo import Logo
from ml_prediction.earthworm.reader import Message, messages_now
from ml_prediction.earthworm.ring import Ring, RingError, RingName
from ml_prediction.earthworm.sysv import SEM_GETVAL, checked, library, segment_state
from ml_prediction.earthworm.tank import head_of


@dataclass(slots=True)
class RingState:
    """What is in a ring.

    Attributes
    ----------
    name, bits, size, usable, used
        The ring; 64 or 32; bytes of the segment, for messages, and with messages.
    flag, lock, attached
        Kill flag; writers' lock (1: free); attachments, this one left out.
    logos
        Messages and bytes by logo.
    oldest, newest
        Start and end of the oldest and of the newest waveform packet, in the ring's order;
        seconds since 1970.
    unreadable
        Waveform packets whose header makes no sense.
    """

    name: RingName
    bits: int
    size: int
    usable: int
    used: int
    flag: int
    lock: int
    attached: int
    logos: dict[Logo, tuple[int, int]] = field(default_factory=dict)
    oldest: tuple[float, float] | None = None
    newest: tuple[float, float] | None = None
    unreadable: int = 0


def look(name: RingName, names: Names) -> RingState:
    """Count what is in a ring now.

    Raises
    ------
    RingError
        If it is not there.
    """
    with closing(Ring(name)) as ring:
        try:
            kernel = segment_state(ring.incarnation.identifier)
            semaphores = checked(library().semget(name.key, 1, 0))
            lock = checked(library().semctl(semaphores, 0, SEM_GETVAL, 0))
        except OSError as error:
            raise RingError(f"Ring {name} was destroyed ({error.strerror}).") from error
        end = ring.keyin
        state = RingState(
            name=name,
            bits=ring.layout.bits,
            size=kernel.size,
            usable=ring.keymax,
            used=end - ring.keyold,
            flag=ring.flag,
            lock=lock,
            attached=kernel.attached - 1,
        )
        for message in messages_now(ring):
            _count(state, message, names)
    return state


def _count(state: RingState, message: Message, names: Names) -> None:
    logo = message.logo
    messages, size = state.logos.get(logo, (0, 0))
    state.logos[logo] = messages + 1, size + len(message.payload)
    if logo.type in names.waveforms:
        head = head_of(message.payload)
        if head is None:
            state.unreadable += 1
            return
        state.newest = head.start, head.end
        state.oldest = state.oldest or state.newest


def show_state(state: RingState, names: Names, out: TextIO, now: float) -> None:
    """Write what is in a ring; ``now`` is the time in seconds since 1970."""
    total = sum(messages for messages, _ in state.logos.values())
    flag = {0: "none", TERMINATE: "everybody is to end"}.get(state.flag, f"process {state.flag}")
    lock = "free" if state.lock else "taken: a writer is busy, or was killed while it was"
    lines = [
        f"ring         {state.name.name}, key {state.name.key}, {state.bits} bits",
        f"size         {state.size} bytes, {state.usable} of them for messages",
        f"used         {state.used} bytes, {100 * state.used / state.usable:.1f} %",
        f"messages     {total}",
        f"kill flag    {flag} ({state.flag})",
        f"lock         {lock} ({state.lock})",
        f"attachments  {state.attached}, without this one",
    ]
    for title, packet in (("oldest", state.oldest), ("newest", state.newest)):
        if packet is not None:
            lines.append(
                f"{title} packet {moment(packet[0])} - {moment(packet[1])}, "
                f"latency {now - packet[1]:.1f} s"
            )
    if state.unreadable:
        lines.append(f"unreadable   {state.unreadable} waveform packets")
    for logo, (messages, size) in sorted(state.logos.items()):
        lines.append(f"  {names.logo(logo)}  {messages} messages, {size} bytes")
    out.write("\n".join(lines) + "\n")
    out.flush()
