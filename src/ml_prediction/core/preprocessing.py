"""Stage 1: packets of any length, order and channel set to windows on the absolute grid."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ml_prediction.core import filters
from ml_prediction.core.assembly import OneComponent
from ml_prediction.core.channel import FOREVER, PHASE_SLACK, Channel
from ml_prediction.core.channel_roles import ChannelRoles
from ml_prediction.core.components import Orientation
from ml_prediction.core.feed import Feed
from ml_prediction.core.grid import index_from, time_of
from ml_prediction.core.history import Flags, Recording
from ml_prediction.core.intake import Refusal, check, left_out, plain, usable_pieces
from ml_prediction.core.lateness import Accepted, split_late
from ml_prediction.core.packets import Packet
from ml_prediction.core.resampling import Phase
from ml_prediction.core.response import CONTEXT, Response
from ml_prediction.core.summary import Summary
from ml_prediction.core.warnings_once import Once
from ml_prediction.core.window_builder import RawWindow, WindowBuilder
from ml_prediction.core.windows import Rooms, Skipped, Window, normalise
from ml_prediction.models.spec import ModelSpec
from ml_prediction.util.codes import NSLC, Instrument
from ml_prediction.util.times import seconds_to_ns

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Station:
    """State of one instrument."""

    channels: dict[str, Channel] = field(default_factory=dict)
    accepted: dict[str, Accepted] = field(default_factory=dict)
    watermark_ns: int = -FOREVER
    next_index: int | None = None
    due_ns: int = -FOREVER  # no window can close before the watermark is here
    kept_from: int = -FOREVER
    complete: int = 0  # channels with which nothing was missing
    usual: tuple[Channel, ...] = ()  # one for each component, where that is all there is
    usual_from: int = FOREVER  # index from which all of them have had data
    front: int = -FOREVER  # where the slowest channel had got to when last they were settled


class Preprocessor:
    """Turns packets into windows of one model, for any number of instruments.

    Parameters
    ----------
    spec
        The model.
    stride
        Samples from one window start to the next.
    lateness
        Seconds that a gap waits.
    one_component
        What the horizontals are where there is only a vertical.
    resampling
        Phase of the anti-alias filter.
    expected
        Channels that are known to come; an instrument of which one is declared has no others.
        Instruments without any are expected to have all of the model's components.
    response
        Removes the instrument response from windows; None keeps counts.
    dips
        Dip in degrees of channels, where known.
    keep
        Keep samples until :meth:`release`, not only as long as windows need them.
    batch_size
        Windows that the model takes at once: they lie together in memory.
    summary
        Where things are counted.
    """

    def __init__(
        self,
        spec: ModelSpec,
        *,
        stride: int,
        lateness: float,
        one_component: OneComponent = "zero",
        resampling: Phase = "linear",
        expected: Iterable[NSLC] = (),
        response: Response | None = None,
        dips: Mapping[NSLC, float] | None = None,
        keep: bool = False,
        batch_size: int = 1,
        summary: Summary | None = None,
    ) -> None:
        self.spec = spec
        self.summary = summary or Summary()
        self._stride = stride
        self._length = spec.in_samples
        self._rate = spec.rate
        self._lateness_ns = seconds_to_ns(lateness)
        self._resampling: Phase = resampling
        self._response = response
        self._keep = keep
        self._explain = Once()
        self._stations: dict[Instrument, _Station] = {}
        self._feeds: dict[NSLC, Feed] = {}
        self._priority = _by_priority(spec.components)
        self._roles = ChannelRoles(spec.components, expected, dips or {})
        self._builder = WindowBuilder(
            spec, stride, one_component, response, self.summary, self._explain
        )
        self._rooms = Rooms(len(spec.components), spec.in_samples, batch_size)
        self._assumed: set[Instrument] = set()
        self._told: set[Instrument] = set()

    # -- in -----------------------------------------------------------------------------------

    def add(self, packets: Iterable[Packet]) -> tuple[Iterator[Window | Skipped], list[Packet]]:
        """Take packets, all of them at the same moment.

        Parameters
        ----------
        packets
            In any order. The late ones among them are decided by what came before this call.

        Returns
        -------
        iterator of Window or Skipped
            What can close now, in order for each instrument. Use it up before the next call.
        list of Packet
            Late samples, which are not used.
        """
        late: list[Packet] = []
        marks: dict[Instrument, int] = {}
        count = samples = 0
        for packet in packets:
            count += 1
            samples += packet.samples.size
            feed = self._feeds.get(packet.nslc)
            newest = None
            if feed is not None:
                limit_ns = self._stations[feed.instrument].watermark_ns - self._lateness_ns
                newest = feed.take(packet, limit_ns)
            if newest is None:
                newest = self._take(packet, late)
                feed = self._feeds.get(packet.nslc)
            if newest is not None and feed is not None:
                instrument = feed.instrument
                if newest > marks.get(instrument, -FOREVER):
                    marks[instrument] = newest
        self.summary.packets += count
        self.summary.samples += samples
        due = []
        for instrument, newest in marks.items():
            station = self._stations[instrument]
            station.watermark_ns = max(station.watermark_ns, newest)
            if station.watermark_ns >= station.due_ns:
                due.append(instrument)
        return self._normalised(due), late

    def advance(self, instrument: Instrument, time_ns: int) -> Iterator[Window | Skipped]:
        """Say that an instrument's time is at least so late, though nothing came."""
        station = self._stations.get(instrument)
        if station is None:
            return iter(())
        station.watermark_ns = max(station.watermark_ns, time_ns)
        return self._normalised([instrument])

    def flush(self) -> Iterator[Window | Skipped]:
        """Say that nothing more will come: every window closes."""
        for station in self._stations.values():
            station.watermark_ns = FOREVER
        return self._normalised(list(self._stations))

    def reset(self) -> None:
        """Forget all data."""
        self._stations.clear()
        self._feeds.clear()

    def knows(self, instrument: Instrument) -> bool:
        """Whether something of an instrument is here."""
        return instrument in self._stations

    def forget(self, instrument: Instrument) -> None:
        """Forget all data of one instrument."""
        station = self._stations.pop(instrument, None)
        for channel in station.channels.values() if station else ():
            del self._feeds[channel.nslc]
        self._explain.forget(instrument)
        self._roles.forget(instrument)
        self._assumed.discard(instrument)
        self._told.discard(instrument)

    # -- what later stages ask ----------------------------------------------------------------

    def front(self, instrument: Instrument) -> int:
        """Samples of an instrument before this index are final and in :meth:`waveform`."""
        station = self._stations[instrument]
        if station.next_index is None:
            return -FOREVER
        return (station.next_index - 1) * self._stride + self._length

    def waveform(
        self, instrument: Instrument, component: str, start: int, stop: int
    ) -> Recording | None:
        """Resampled, unfiltered samples of the channel that has most; None without any channel."""
        found = [
            Recording(channel.nslc.channel, *channel.read_unfiltered(start, stop))
            for channel in self._channels(instrument, component, stop)
        ]
        return max(found, key=lambda item: item.valid.sum(), default=None)

    def offset_ns(self, instrument: Instrument, index: int) -> int:
        """Sub-sample offset from the grid, of the first present of Z, N and E."""
        for component in self._priority:
            for channel in self._channels(instrument, component, index + 1):
                offset = channel.offset_ns(index)
                if offset is not None:
                    return offset
        return 0

    def offset_changes(self, instrument: Instrument, start: int, stop: int) -> list[int]:
        """Indices strictly inside a range at which the offset may change."""
        changes = {
            index
            for channel in self._stations[instrument].channels.values()
            for index in channel.offset_changes(start, stop)
        }
        return sorted(changes)

    def loud(self, instrument: Instrument, start: int, stop: int, counts: float) -> Flags:
        """Samples at which some channel reaches so many counts, shape (stop - start,)."""
        found = np.zeros(stop - start, dtype=np.bool_)
        for channel in self._stations[instrument].channels.values():
            found |= np.abs(channel.read_unfiltered(start, stop)[0]) >= counts
        return found

    def release(self, instrument: Instrument, index: int) -> None:
        """Say that nobody will ask for samples before ``index`` any more."""
        self._stations[instrument].kept_from = index
        self._forget(self._stations[instrument])

    # -- packets ------------------------------------------------------------------------------

    def _take(self, packet: Packet, late: list[Packet]) -> int | None:
        """Buffer one packet; the time of its last accepted sample, or None."""
        summary, nslc = self.summary, packet.nslc
        rate = check(packet, self.spec.components, self.spec.sampling_rate)
        if isinstance(rate, Refusal):
            self._refuse(packet, rate)
            return None
        feed = self._feeds.get(nslc) or self._admit(packet)
        if feed is None:
            return None
        newest = None
        unused = len(packet)
        limit_ns = self._stations[feed.instrument].watermark_ns - self._lateness_ns
        accepted = feed.accepted
        for piece in usable_pieces(packet, rate):
            unused -= len(piece)
            good, too_late, duplicates = split_late(piece, limit_ns, accepted, nslc)
            summary.skip("samples", "late", sum(map(len, too_late)), nslc)
            summary.skip("samples", "duplicate", duplicates, nslc)
            late.extend(too_late)
            if len(good):
                half_ns = (good.sample_ns(1) - good.start_ns) // 2
                accepted.add(good.start_ns, good.stop_ns, half_ns)
                feed.channel.add(good)
                newest = max(newest or -FOREVER, good.sample_ns(len(good) - 1))
                if accepted.stop_ns == good.stop_ns:
                    feed.expect(packet, rate, good)
        for what, count in left_out(packet) if unused else ():
            self._explain(nslc, what.reason, f"{nslc}: {what.explanation}.")
            summary.skip("samples", what.reason, count, nslc)
        return newest

    def _admit(self, packet: Packet) -> Feed | None:
        """Make room for a new packet's channel, if it has a place."""
        nslc = packet.nslc
        station = self._stations.get(nslc.instrument, _Station())
        placed = self._roles.place(nslc, frozenset(station.channels))
        if isinstance(placed, Refusal):
            self._refuse(packet, placed)
            return None
        self._stations[nslc.instrument] = station
        self._meet(nslc, station)
        self._note_assumed(nslc.instrument, placed)
        return self._feeds[nslc]

    def _note_assumed(self, instrument: Instrument, orientation: Orientation) -> None:
        """Count an instrument of which the vertical had to be guessed."""
        if orientation.assumed and instrument not in self._assumed:
            self._assumed.add(instrument)
            self.summary.note("orientation assumed", 1, instrument)

    def _meet(self, nslc: NSLC, station: _Station) -> None:
        """Make room for a channel that is new."""
        station.channels[nslc.channel] = Channel(
            nslc,
            self._rate,
            filters.for_channel(self.spec.filters, nslc.channel, self.spec.sampling_rate),
            self._resampling,
            self._lateness_ns,
            self.summary,
        )
        station.accepted[nslc.channel] = Accepted()
        self._feeds[nslc] = Feed(
            nslc.instrument, station.channels[nslc.channel], station.accepted[nslc.channel]
        )

    def _channels(self, instrument: Instrument, component: str, stop: int) -> list[Channel]:
        """Channels that can be a component, best first, of those with data before ``stop``."""
        station = self._stations[instrument]
        if station.usual_from < stop and len(station.usual) == len(station.channels):
            return [station.usual[self.spec.components.index(component)]]
        born, orientation = self._oriented(instrument, stop)
        return [born[code] for code in orientation.slots.get(component, ()) if code in born]

    def _oriented(
        self, instrument: Instrument, stop: int
    ) -> tuple[dict[str, Channel], Orientation]:
        """Channels with data before ``stop``, and the component slots of the instrument then.

        What an instrument has is a matter of event time: a channel that comes later does not
        change what its elders were before.
        """
        channels = self._stations[instrument].channels
        born = {c: ch for c, ch in channels.items() if ch.born is not None and ch.born < stop}
        codes = self._roles.declared(instrument) or frozenset(born)
        return born, self._roles.orient(instrument, codes)

    def _refuse(self, packet: Packet, refusal: Refusal) -> None:
        """Count a packet that can't be used; explain it once for each channel."""
        nslc, reason = packet.nslc, refusal.reason
        if refusal.explanation:
            name = str(nslc) if plain(nslc) else ascii(str(nslc))
            self._explain(nslc, reason, f"{name} is left out: {refusal.explanation}.")
        if packet.samples.size:
            self.summary.skip("samples", reason, packet.samples.size, nslc)
        else:
            self.summary.skip("packets", reason, 1, nslc)

    # -- windows ------------------------------------------------------------------------------

    def _normalised(self, instruments: list[Instrument]) -> Iterator[Window | Skipped]:
        """Closing windows, ready for the model."""
        spec = self.spec
        for instrument in instruments:
            for item in self._closing(instrument, self._stations[instrument]):
                if isinstance(item, RawWindow):
                    data = self._rooms.take()
                    normalise(item.rows, spec.normalisation, data)
                    yield Window(instrument, spec.id, item.index, data, item.mask)
                else:
                    yield item

    def _closing(self, instrument: Instrument, station: _Station) -> Iterator[RawWindow | Skipped]:
        """Windows of one instrument that can close, in order."""
        while station.watermark_ns >= station.due_ns:
            index = station.next_index
            if index is None:
                first = self._next_data(station, -FOREVER)
                if first is None:
                    return
                index = (first - self._length) // self._stride + 1
            start = index * self._stride
            stop = start + self._length
            if station.next_index is not None:
                station.due_ns = time_of(stop - 2, self._rate)
                if station.watermark_ns < station.due_ns:
                    return
            front, window = station.front, None
            if front >= stop:  # samples that are there are final
                window = self._whole(instrument, station, index)
            if window is None:
                front = station.front = self._advance(instrument, station, stop)
                if front < stop:
                    return
                window = self._whole(instrument, station, index)
            first = start if window else self._next_data(station, start)
            if first is not None and first < stop:
                yield window or self._builder.build(
                    instrument, index, *self._oriented(instrument, stop)
                )
                station.next_index = index + 1
            else:  # nothing in this window: go on to where there is something
                settled = (front - self._length) // self._stride + 1
                after = (first or FOREVER) - self._length
                station.next_index = min(settled, after // self._stride + 1)
                if first is None and front >= FOREVER:
                    station.next_index = index + 1
                    return
                yield Skipped(instrument, self.spec.id, index, station.next_index, "no data")
            self._forget(station)

    def _whole(self, instrument: Instrument, station: _Station, index: int) -> RawWindow | None:
        """The usual window, if this is one and its samples are there by now."""
        if len(station.usual) != len(station.channels):  # nobody is born twice: it stays so
            born, orientation = self._oriented(instrument, index * self._stride + self._length)
            slots = [orientation.slots.get(letter, ()) for letter in self.spec.components]
            codes = [slot[0] for slot in slots if len(slot) == 1]
            alone = len(codes) == len(slots) and set(codes) == set(born) == set(station.channels)
            station.usual = tuple(born[code] for code in codes) if alone else ()
            births = [channel.born for channel in station.usual if channel.born is not None]
            station.usual_from = max(births, default=FOREVER)
        if not station.usual:
            return None
        return self._builder.whole(instrument, index, station.usual)

    def _advance(self, instrument: Instrument, station: _Station, target: int) -> int:
        """Settle every channel up to an index; the front of the slowest."""
        front = FOREVER
        if station.watermark_ns < FOREVER and self._waits(instrument, station):
            waited_ns = self._lateness_ns + seconds_to_ns(PHASE_SLACK)
            front = index_from(station.watermark_ns - waited_ns, self._rate)
        for channel in station.channels.values():
            front = min(front, channel.advance(target, station.watermark_ns))
        return front

    def _waits(self, instrument: Instrument, station: _Station) -> bool:
        """Whether some component is expected of which nothing has come yet."""
        if station.complete != len(station.channels):
            seen = frozenset(station.channels)
            if self._roles.missing(instrument, seen):
                if self._roles.declared(instrument) is None:
                    self._tell_undeclared(instrument, seen)
                return True
            station.complete = len(seen)
        return False

    def _tell_undeclared(self, instrument: Instrument, codes: frozenset[str]) -> None:
        """Say once why an instrument is slower than it might be."""
        if instrument not in self._told:
            self._told.add(instrument)
            self.summary.note("waits for undeclared components", 1, instrument)
            _log.info(
                "%s: only %s so far; each window waits %g s for components that may never come. "
                "Declare the channels (expected=..., an inventory, Earthworm's StationFile), "
                "and nobody waits.",
                instrument,
                ", ".join(sorted(codes)),
                self._lateness_ns / 1e9,
            )

    def _next_data(self, station: _Station, start: int) -> int | None:
        found = [
            index
            for channel in station.channels.values()
            if (index := channel.next_data(start)) is not None
        ]
        return min(found, default=None)

    def _forget(self, station: _Station) -> None:
        """Drop samples that neither a coming window nor a later stage needs."""
        if station.next_index is None:
            return
        context = 0 if self._response is None else round(CONTEXT * self.spec.sampling_rate)
        index = station.next_index * self._stride - context
        if self._keep:
            index = min(index, station.kept_from)
        for channel in station.channels.values():
            channel.release(index)

    # -- state --------------------------------------------------------------------------------

    def snapshot(self) -> list[dict[str, Any]]:
        """State of every instrument as plain values and arrays."""
        return [
            {
                "channels": [channel.snapshot() for channel in station.channels.values()],
                "accepted": {code: a.snapshot() for code, a in station.accepted.items()},
                "watermark_ns": station.watermark_ns,
                "next_index": station.next_index,
                "due_ns": station.due_ns,
                "kept_from": station.kept_from,
            }
            for station in self._stations.values()
        ]

    def restore(self, state: list[dict[str, Any]]) -> None:
        """Take over a snapshot's state."""
        self.reset()
        for item in state:
            station = _Station()
            for saved in item["channels"]:
                nslc = NSLC(*saved["nslc"])
                self._stations[nslc.instrument] = station
                self._meet(nslc, station)
                station.channels[nslc.channel].restore(saved)
                station.accepted[nslc.channel].restore(item["accepted"][nslc.channel])
            if station.channels:
                codes = frozenset(station.channels)
                self._note_assumed(nslc.instrument, self._roles.orient(nslc.instrument, codes))
            station.watermark_ns = item["watermark_ns"]
            station.next_index = item["next_index"]
            station.due_ns = item["due_ns"]
            station.kept_from = item["kept_from"]


def _by_priority(components: str) -> list[str]:
    """Components in the order in which their sub-sample offset counts."""
    return sorted(components, key=lambda letter: ("ZNE" + components).index(letter))
