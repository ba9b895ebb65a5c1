"""The main loop of driver_ew: from what the inlet has drained to picks in the ring."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ml_prediction.core.outcome import Result
from ml_prediction.core.packets import Packet
from ml_prediction.core.pipeline import Pipeline
from ml_prediction.drivers.live.account import Account
from ml_prediction.drivers.live.alarms import Alarm, Alarms
from ml_prediction.drivers.live.archive import Archive
from ml_prediction.drivers.live.clock_guard import ClockGuard
from ml_prediction.drivers.live.heart import Pulse
from ml_prediction.drivers.live.inlet import Delivery, Inlet, Place
from ml_prediction.drivers.live.late_archive import LateArchive
from ml_prediction.drivers.live.postman import Postman
from ml_prediction.drivers.live.probabilities import ProbabilityPoster
from ml_prediction.drivers.live.selection_watch import SelectionWatch
from ml_prediction.drivers.live.silence import Silence
from ml_prediction.drivers.live.snapshots import SnapshotFile
from ml_prediction.drivers.live.twins import Twins
from ml_prediction.earthworm.ring import Incarnation, RingError
from ml_prediction.errors import InternalError
from ml_prediction.sources.earthworm import WaveformDecoder
from ml_prediction.util.codes import Instrument
from ml_prediction.util.times import to_utc

STATE_VERSION: Final = 1
IDLE_SECONDS: Final = 0.05
LOOK_SECONDS: Final = 0.25
"""How often it is looked whether we are to end."""

STATUS_SECONDS: Final = 2.0
RETRY_SECONDS: Final = 0.5
"""From one attempt to send what the ring did not take to the next."""

FIRST_SNAPSHOT_SECONDS: Final = 1.0
FINISH_SECONDS: Final = 0.7
"""What is complete when we are to end may take so long; the rest goes into the snapshot."""

MOST_SAVED: Final = 1000
"""Windows in the queue that are saved at the end, 70 MB; it is to last no longer than 2 s."""

MOST_FAILURES: Final = 20
"""Passes of the engine that fail one after another before we end."""

RAW_BYTES: Final = 64 << 20
"""Messages that wait for room in the queue of windows. With more, the queue drops windows."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Parts:
    """What a live run is made of; the optional ones may be None.

    Attributes
    ----------
    pipeline
        With a queue of `most_waiting` windows.
    told_to_end
        Whether Earthworm or a signal wants us to end.
    hurry
        Says that nobody is to be waited for any more.
    publish
        Takes the newest status.
    """

    inlet: Inlet
    decoder: WaveformDecoder
    pipeline: Pipeline
    most_waiting: int
    postman: Postman
    snapshots: SnapshotFile
    snapshot_seconds: float
    silence: Silence
    alarms: Alarms
    pulse: Pulse
    told_to_end: Callable[[], bool]
    hurry: Callable[[], None]
    publish: Callable[[dict[str, Any]], None]
    more_status: Callable[[], dict[str, Any]]
    selection_watch: SelectionWatch
    twins: Twins
    probabilities: ProbabilityPoster | None = None
    archive: Archive | None = None
    late_archive: LateArchive | None = None


class LiveRun:
    """One live run; :meth:`run` is its main loop.

    Parameters
    ----------
    parts
        Everything that it joins.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.account = Account()
        self._guard = ClockGuard()
        self._silence = parts.silence
        self._channels: dict[Instrument, set[str]] = {}
        self._place: Place | None = None
        self._arrivals: deque[tuple[int, float]] = deque()  # windows made by then, and when
        self._overload = 0
        # Soon at first: a process that is killed again and again is to get on all the same.
        self._snapshot_due = time.monotonic() + min(parts.snapshot_seconds, FIRST_SNAPSHOT_SECONDS)
        self._waited_until = time.monotonic()
        self._look_due = self._status_due = self._retry_due = 0.0

    def restore(self, state: Any) -> None:
        """Take over what an earlier run has saved besides the pipeline's state."""
        self._place = place_of(state)
        self._silence.restore(state["silence"])
        self._channels = channels_of(state)

    def run(self) -> None:
        """Work until told to end; then finish what is complete, and save the state."""
        parts = self._parts
        parts.pulse.starting = False
        while not self._ending():
            parts.pulse.tick()
            if not parts.inlet.is_alive():
                raise RingError(f"The thread that reads ring {parts.inlet.name_of_ring} has died.")
            busy = self._take_in()
            busy |= self._work()
            self._look_after()
            if not busy:
                parts.inlet.wait(IDLE_SECONDS)
        parts.pulse.finishing = True
        parts.hurry()
        self._finish()

    # -- in ---------------------------------------------------------------------------------------

    def _take_in(self) -> bool:
        """Push what has come, as long as there is room for the windows that it makes."""
        parts, taken = self._parts, False
        deadline = time.monotonic() + LOOK_SECONDS
        while (
            parts.pipeline.waiting < max(1, parts.most_waiting // 2)
            or parts.inlet.waiting_bytes > RAW_BYTES
        ):
            delivery = parts.inlet.take()
            if delivery is None:
                self._note_caught_up()
                break
            taken = True
            self._push(delivery)
            if time.monotonic() > deadline:
                break
        return taken

    def _note_caught_up(self) -> None:
        """All that has come is in the pipeline: so long has been waited for what has not."""
        caught_up = self._parts.inlet.caught_up
        if caught_up is not None:
            self._waited_until, self._place = caught_up

    def _push(self, delivery: Delivery) -> None:
        parts, account = self._parts, self.account
        self._tell_losses(delivery)
        arrivals = parts.decoder.decode(delivery.messages)
        parts.selection_watch.note(arrivals)
        account.dropped["packets: not selected"] += arrivals.unwanted
        if arrivals.ours:
            account.dropped["packets: our own"] += arrivals.ours
        if arrivals.malformed:
            account.dropped["packets: malformed"] += len(arrivals.malformed)
            parts.alarms.tell(Alarm.MALFORMED, arrivals.malformed[-1], len(arrivals.malformed))
        now_ns = time.time_ns()
        packets, future = self._guard.part(arrivals.packets, now_ns)
        if future:
            self._leave_out_future(future)
        age_ns = round((time.monotonic() - delivery.seconds) * 1e9)
        account.note_packets(packets, now_ns - age_ns)
        for packet in packets:
            self._begin_anew_if_ahead(packet.nslc.instrument, now_ns)
            self._silence.note(packet, delivery.seconds)
            self._channels.setdefault(packet.nslc.instrument, set()).add(packet.nslc.channel)
        result = parts.pipeline.push(packets)
        self._place = delivery.place
        made = result.summary.windows
        if self._arrivals and self._arrivals[-1][0] == made:
            self._arrivals.pop()  # nothing to tell about the one before
        self._arrivals.append((made, delivery.seconds))
        self._keep_late(result.late)
        dropped = result.summary.skipped.get("windows: overload", 0)
        if dropped > self._overload:
            parts.alarms.tell(
                Alarm.OVERLOAD,
                "the engine can't keep up: the oldest windows are dropped",
                dropped - self._overload,
            )
            self._overload = dropped

    def _tell_losses(self, delivery: Delivery) -> None:
        alarms, dropped = self._parts.alarms, self.account.dropped
        name = self._parts.inlet.name_of_ring
        if delivery.lapped:
            alarms.tell(Alarm.LAPPED, f"ring {name} was overwritten before it was read")
        if delivery.broken:
            alarms.tell(Alarm.RING, f"ring {name} is broken: what was in it is left out")
        for loss in delivery.losses:
            if self._parts.decoder.is_ours(loss.logo):
                continue  # our numbers begin anew when we do
            dropped[f"messages: {loss.reason}"] += loss.missing
            if loss.reason == "gap":
                kind, module, installation = loss.logo
                alarms.tell(
                    Alarm.SEQUENCE_GAP,
                    f"{loss.missing} messages of installation {installation}, module {module}, "
                    f"type {kind} are missing in ring {name}",
                )
        if delivery.dropped:
            dropped["messages: overload"] += delivery.dropped
            alarms.tell(
                Alarm.OVERLOAD, "the main loop can't keep up: messages dropped", delivery.dropped
            )

    def _leave_out_future(self, packets: Sequence[Packet]) -> None:
        self.account.dropped["packets: future"] += len(packets)
        packet = packets[-1]
        self._parts.alarms.tell(
            Alarm.CLOCK,
            f"{packet.nslc} sends data of {to_utc(packet.start_ns)}, which is in the future",
            len(packets),
        )
        self._keep_late(packets)

    def _begin_anew_if_ahead(self, instrument: Instrument, now_ns: int) -> None:
        """Forget data of a clock that was ahead, and was mended: all that comes would be late.

        Such data get in where nobody else has been heard yet from whom it could be told.
        """
        newest_ns = self._silence.newest(instrument)
        if newest_ns is None or not self._guard.is_ahead(newest_ns, now_ns):
            return
        self._parts.alarms.tell(
            Alarm.CLOCK, f"{instrument} had sent data of {to_utc(newest_ns)}; it begins anew"
        )
        self._silence.forget(instrument)
        self._parts.pipeline.forget(instrument)

    def _keep_late(self, packets: Sequence[Packet]) -> None:
        late_archive = self._parts.late_archive
        if packets and late_archive is not None:
            alarms = self._parts.alarms
            try:
                refused = late_archive.add(packets)
            except OSError as error:
                alarms.tell(Alarm.DISK, f"late packets can't be kept: {error}")
            else:
                if refused:
                    what = "late packets not kept: miniSEED has no form for them"
                    alarms.tell(Alarm.MALFORMED, what, refused)

    # -- out --------------------------------------------------------------------------------------

    def _work(self) -> bool:
        """Let the model work on, and send what it has found."""
        pipeline = self._parts.pipeline
        if not pipeline.waiting:
            return False
        result = pipeline.work()
        self._check_engine()
        finished = result.summary.windows - pipeline.waiting
        while len(self._arrivals) > 1 and self._arrivals[0][0] < finished:
            self._arrivals.popleft()
        came = self._arrivals[0][1] if self._arrivals else time.monotonic()
        self._send(result, came)
        return True

    def _check_engine(self) -> None:
        """Tell that the engine fails; end if it does nothing else, so that statmgr restarts us."""
        failures = self._parts.pipeline.failures
        if not failures:
            return
        self._parts.alarms.tell(Alarm.ENGINE, "the engine failed; its windows are left out")
        if failures >= MOST_FAILURES:
            raise InternalError(f"The engine failed {failures} times, one after another.")

    def _send(self, result: Result, came: float) -> None:
        parts, account = self._parts, self.account
        if result.picks:
            new = parts.postman.send(result.picks, self._channels)
            processing = time.monotonic() - came
            account.note_picks([pick for pick, _ in new], time.time_ns(), processing)
            for pick, number in new:
                _log.debug("pick %d: %s %s", number, pick.id, pick.time)
        account.detections += len(result.detections)
        if parts.probabilities is not None:
            parts.probabilities.post(result.fragments)
        if parts.archive is not None and (result.picks or result.detections):
            try:
                parts.archive.add(result.picks, result.detections)
            except OSError as error:
                lost = parts.archive.given_up
                told = f"; {lost} results are given up" if lost else ""
                parts.alarms.tell(Alarm.DISK, f"the archive can't be written: {error}{told}")

    # -- now and then -----------------------------------------------------------------------------

    def _ending(self) -> bool:
        now = time.monotonic()
        if now < self._look_due:
            return False
        self._look_due = now + LOOK_SECONDS
        return self._parts.told_to_end()

    def _look_after(self) -> None:
        parts = self._parts
        now = time.monotonic()
        if now >= self._retry_due and parts.postman.unsent:
            self._retry_due = now + RETRY_SECONDS
            parts.postman.retry()
        if now >= self._status_due:
            self._status_due = now + STATUS_SECONDS
            parts.selection_watch.check()
            parts.twins.check()
            parts.alarms.repeat()
            parts.postman.flush()
            self._forget()
            self._check_snapshot()
            parts.publish(self._status())
            if parts.archive is not None:
                parts.archive.refresh()
        self._end_silence()
        if now >= self._snapshot_due and not parts.snapshots.busy:
            self._snapshot_due = now + parts.snapshot_seconds
            parts.snapshots.start(self._state())

    def _end_silence(self) -> None:
        """Let the windows of instruments close that have sent nothing for long."""
        deadline = time.monotonic() + LOOK_SECONDS
        for instrument, time_ns in self._silence.over(self._waited_until):
            result = self._parts.pipeline.advance(instrument, to_utc(time_ns))
            self._send(result, self._waited_until)  # of a site that need not wait any more
            if time.monotonic() > deadline:  # the others' turn comes in the next round
                return

    def _forget(self) -> None:
        """Forget what has been silent for an hour: codes in garbage, and stations that ended."""
        for instrument in self._silence.gone(self._waited_until):
            self._parts.pipeline.forget(instrument)
            self._channels.pop(instrument, None)
        self._guard.forget()

    def _check_snapshot(self) -> None:
        error = self._parts.snapshots.take_error()
        if error is not None:
            self._parts.alarms.tell(Alarm.DISK, f"the state can't be saved: {error}")

    def _state(self) -> dict[str, Any]:
        place = self._place
        return {
            "version": STATE_VERSION,
            "place": None if place is None else [*place.incarnation, place.position],
            "silence": self._silence.snapshot(),
            "channels": [[*i, sorted(codes)] for i, codes in self._channels.items()],
            "pipeline": self._parts.pipeline.state(),
        }

    def _status(self) -> dict[str, Any]:
        parts = self._parts
        more = {
            "windows_waiting": parts.pipeline.waiting,
            "input_bytes": parts.inlet.waiting_bytes,
            "picks_unsent": parts.postman.unsent,
            "errors": {str(int(alarm)): count for alarm, count in parts.alarms.counts.items()},
            "snapshot_bytes": parts.snapshots.size,
            "snapshot_age_s": round(time.monotonic() - parts.snapshots.saved_at, 1),
            **parts.more_status(),
        }
        return self.account.status(parts.pipeline.summary, self._guard.newest, more)

    # -- the end ----------------------------------------------------------------------------------

    def _finish(self) -> None:
        """Everything that was read goes in; what can be done soon is done, the rest is saved."""
        parts = self._parts
        parts.inlet.end()
        deadline = time.monotonic() + FINISH_SECONDS
        while (delivery := parts.inlet.take()) is not None and time.monotonic() < deadline:
            self._push(delivery)
        while self._work() and time.monotonic() < deadline:
            pass
        parts.pipeline.shed(MOST_SAVED)
        parts.postman.retry()
        try:
            parts.snapshots.save(self._state())
        except OSError as error:
            parts.alarms.tell(Alarm.DISK, f"the state can't be saved: {error}")
        parts.publish(self._status())
        if parts.archive is not None:
            parts.archive.refresh(now=True)


def place_of(state: Any) -> Place | None:
    """Where the run that saved a state has stopped reading."""
    saved = state.get("place") if isinstance(state, dict) else None
    if saved is None:
        return None
    identifier, changed, position = map(int, saved)
    return Place(Incarnation(identifier, changed), position)


def channels_of(state: Any) -> dict[Instrument, set[str]]:
    """Channel codes that each instrument had in the run that saved a state."""
    return {Instrument(*names): set(channels) for *names, channels in state["channels"]}


def check_state(state: Any) -> None:
    """See that what a state holds besides the pipeline's can be taken over.

    Raises
    ------
    LookupError, TypeError, ValueError
        If it can't, e.g. because another version has saved it.
    """
    place_of(state)
    channels_of(state)
    Silence(0.0, 0.0).restore(state["silence"])
