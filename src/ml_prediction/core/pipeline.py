"""The four stages joined: push packets, get what became final."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from obspy import Inventory, Trace, UTCDateTime

from ml_prediction.config import PipelineConfig
from ml_prediction.core.channel import FOREVER
from ml_prediction.core.grid import time_of
from ml_prediction.core.intake import EARLIEST_NS, LATEST_NS
from ml_prediction.core.lane import (
    Family,
    Finder,
    Member,
    checked_models,
    expected_channels,
    families,
)
from ml_prediction.core.outcome import Result
from ml_prediction.core.packets import Packet, to_packets
from ml_prediction.core.postprocessing import Chunk
from ml_prediction.core.prediction import Output
from ml_prediction.core.results import Detection, Pick, detection_order, pick_order
from ml_prediction.core.sites import Site, sites_of
from ml_prediction.core.state import from_bytes, to_bytes
from ml_prediction.core.stopwatch import Stopwatch
from ml_prediction.core.summary import OF_INPUT, Summary
from ml_prediction.core.traces import Fragment
from ml_prediction.core.windows import Skipped, Window
from ml_prediction.errors import ConfigurationError, DataError
from ml_prediction.models.engine import Model
from ml_prediction.models.ensemble import Ensemble
from ml_prediction.util.codes import NSLC, Instrument
from ml_prediction.util.times import seconds_to_ns, to_ns

if TYPE_CHECKING:
    pass

SNAPSHOT_VERSION = 6
_STATE = ("preprocessors", "members", "finders")


@dataclass(slots=True)
class _Harvest:
    """What one call collects."""

    picks: list[Pick] = field(default_factory=list)
    detections: list[Detection] = field(default_factory=list)
    fragments: list[Fragment] = field(default_factory=list)
    late: list[Packet] = field(default_factory=list)
    linked: dict[tuple[str, str], int] = field(default_factory=dict)


class Pipeline:
    """Packets in, picks out, incrementally. For any cutting and order of packets, the same picks.

    Parameters
    ----------
    model
        From :func:`ml_prediction.load_model` or :func:`ml_prediction.combine`; or several, each
        of which picks for itself.
    config
        Settings; None for the defaults.
    expected
        Channels that are known to come, so that nobody waits for others. Of these are sites made,
        where ``site`` is set: each then waits for all its instruments, until :meth:`advance` or
        :meth:`finish` tell that one is silent.
    inventory
        Station metadata: orientations, and responses where these are to be removed. Its
        channels count as expected.
    run_id
        Put on every pick.
    probabilities
        Whether results have the probability traces; without them a run is a little faster.
    overlap
        Let the model work on while the caller fetches more packets. What it finds then comes out
        of a later call, at the latest of :meth:`flush`; it is the same. For files, not for live.
    queue
        For live: :meth:`push` only prepares windows, and :meth:`work` has the model work on them.
        At most so many windows of each model wait; beyond that the oldest are dropped, counted as
        ``windows: overload``. None: `push` does everything.
    emit
        Start and end: only picks with their peak, and detections with their onset, from the start
        on and before the end come out. What is pushed besides is context, see
        :func:`ml_prediction.core.context.context_of`: a day picked so is what it is in one
        stream. Probabilities and the summary's counts have the context, too.
    places
        Whether to count windows, and what is skipped, for each instrument, too: `places`.
    clock
        Monotonic seconds, only for the summary's account of where time went.
    **options
        Settings by name, over those of ``config``.

    Attributes
    ----------
    sites
        Instruments that pick together; none where ``site`` is not set.

    Raises
    ------
    ConfigurationError
        If settings are unknown, wrong, or don't fit the model.

    Examples
    --------
    >>> pipeline = Pipeline(model, stride=1500)  # doctest: +SKIP
    >>> part = pipeline.push(traces)  # doctest: +SKIP
    >>> last = pipeline.flush()  # doctest: +SKIP
    """

    def __init__(
        self,
        model: Model | Ensemble | Sequence[Model | Ensemble],
        config: PipelineConfig | None = None,
        *,
        expected: Iterable[NSLC] = (),
        inventory: Inventory | None = None,
        run_id: str = "",
        probabilities: bool = True,
        overlap: bool = False,
        queue: int | None = None,
        emit: tuple[UTCDateTime, UTCDateTime] | None = None,
        places: bool = False,
        clock: Callable[[], float] = time.perf_counter,
        **options: Any,
    ) -> None:
        base = {} if config is None else config.model_dump(exclude_unset=True)
        self.config = PipelineConfig.make(**{**base, **options})
        models = checked_models(model)
        if self.config.response == "remove" and inventory is None:
            raise ConfigurationError(
                "Response removal needs station metadata: give an inventory (StationXML)."
            )
        known = {label for item in models for label in item.spec.thresholds}
        for label in self.config.thresholds:
            if label not in known:
                raise ConfigurationError(
                    f"Threshold for {label!r}, but the model picks only {', '.join(sorted(known))}."
                )
        self._probabilities = probabilities
        self._emit = None if emit is None else (to_ns(emit[0]), to_ns(emit[1]))
        channels = expected_channels(expected, inventory)
        self.sites: list[Site] = [] if self.config.site is None else sites_of(channels)
        self._families = families(
            models, self.config, channels, self.sites, inventory, run_id, overlap, queue
        )
        for family in self._families if places else ():
            family.summary.places = {}
        self._watch = Stopwatch(self._families[0].summary.seconds, clock)
        self._declared = sorted(map(str, channels))
        self._queued = queue is not None
        self._ended: set[Instrument] = set()  # those whose time goes on without data
        self._unheard: set[Instrument] = set()  # of sites, those that nothing is known of
        self._listen()

    @property
    def summary(self) -> Summary:
        """Totals so far, over all models. A restored pipeline counts from its restart on."""
        total = Summary()
        for number, family in enumerate(self._families):
            own = family.summary.copy()
            own.windows *= len(family.members)  # made once, seen by each
            total.add(own, same_packets=number > 0)
        return total

    @property
    def places(self) -> dict[Instrument, Counter[str]]:
        """Windows that models saw, and what was skipped, by instrument; see the parameter."""
        total: dict[Instrument, Counter[str]] = {}
        for number, family in enumerate(self._families):
            for instrument, counts in (family.summary.places or {}).items():
                own = total.setdefault(instrument, Counter())
                for key, count in counts.items():
                    if number == 0 or not key.startswith(OF_INPUT):
                        own[key] += count * (len(family.members) if key == "windows" else 1)
        return total

    @property
    def _members(self) -> list[Member]:
        return [member for family in self._families for member in family.members]

    @property
    def _finders(self) -> list[Finder]:
        return [finder for family in self._families for finder in family.finders]

    def push(self, traces: Trace | Packet | Iterable[Trace | Packet]) -> Result:
        """Take packets, all of them at the same moment, and return what became final.

        Parameters
        ----------
        traces
            ObsPy traces or packets, of any channels, in any order. Sample values are counts.

        Raises
        ------
        DataError
            If there is something else among them. Nothing is taken then.
        """
        packets = to_packets(traces)
        if self._ended:
            self._ended.difference_update(packet.nslc.instrument for packet in packets)
        harvest = _Harvest()
        for number, family in enumerate(self._families):
            with self._watch.stage("preprocessing"):
                windows, late = family.preprocessor.add(packets)
            if number == 0:
                harvest.late = late
            self._run(family, windows, harvest)
        if self._unheard:
            self._hear(packets, harvest)
        return self._result(harvest)

    @property
    def waiting(self) -> int:
        """Windows that the models have not reported on."""
        return sum(member.predictor.waiting for member in self._members)

    @property
    def failures(self) -> int:
        """Forward passes that failed, one after another, up to now; of the model with most."""
        return max(member.predictor.failures for member in self._members)

    def work(self) -> Result:
        """Have each model work on what waits, until its next forward pass is done.

        Only with a queue is there anything to do. A call lasts about as long as one pass.
        """
        harvest = _Harvest()
        for family in self._families:
            for member in family.members:
                self._report(family, member, member.predictor.step(), harvest)
        return self._result(harvest)

    def advance(self, instrument: Instrument, time: UTCDateTime) -> Result:
        """Say that an instrument's time is at least so late, though it sends nothing.

        Windows that waited for its data close; with a queue they wait there. Its site does not
        wait for it, even if nothing of it has ever come. What comes later for that time is late.
        """
        harvest = _Harvest()
        time_ns = to_ns(UTCDateTime(time))
        self._pass_over(instrument, time_ns, harvest)
        for family in self._families:
            self._ended.discard(instrument)
            if not self._queued:
                self._drain(family, harvest)
            if family.preprocessor.knows(instrument):
                self._ended.add(instrument)
            self._run(family, family.preprocessor.advance(instrument, time_ns), harvest)
            if not self._queued:
                self._drain(family, harvest)
        if not self._queued:
            self._ended.discard(instrument)
        return self._result(harvest)

    def finish(self, instrument: Instrument) -> Result:
        """Say that an instrument's data end: what is left of it comes out, as by :meth:`flush`.

        Its site goes on without it. What comes of it later is late.
        """
        harvest = _Harvest()
        for family in self._families:
            self._drain(family, harvest)
            self._run(family, family.preprocessor.advance(instrument, FOREVER), harvest)
            self._drain(family, harvest)
        for member in self._members:
            self._extract(member, member.stacker.flush(instrument), harvest)
        for finder in self._finders:
            self._find(finder, finder.finish(instrument), harvest)
        return self._result(harvest)

    def forget(self, instrument: Instrument) -> None:
        """Drop all that is known of an instrument, as if it had never sent anything.

        For one that has been silent for over an hour: nothing of it is left to come out then.
        """
        self._ended.discard(instrument)
        self._listen()
        for family in self._families:
            family.preprocessor.forget(instrument)
        for member in self._members:
            member.stacker.forget(instrument)
        for finder in self._finders:
            finder.forget(instrument)

    def shed(self, most: int) -> None:
        """Drop the oldest windows of the queue until so many are left, as under overload."""
        for member in self._members:
            member.predictor.shed(most)

    def flush(self) -> Result:
        """Say that the data end: everything that is left comes out, and the pipeline is empty."""
        harvest = _Harvest()
        for family in self._families:
            self._run(family, family.preprocessor.flush(), harvest)
            self._drain(family, harvest)
        for member in self._members:
            self._extract(member, member.stacker.flush(), harvest)
        for finder in self._finders:
            self._finish(finder, harvest)
        for family in self._families:
            family.preprocessor.reset()
        self._listen()
        harvest.linked.clear()
        return self._result(harvest)

    def snapshot(self) -> bytes:
        """The whole state between two calls, for :meth:`restore`."""
        return to_bytes(self.state())

    def state(self) -> dict[str, Any]:
        """What :meth:`snapshot` packs: nested plain values and arrays.

        The arrays are this pipeline's own: `core.state.gather` them before its next call. That
        takes a fiftieth of the time of packing, which can be left to another thread.
        """
        return {
            "version": SNAPSHOT_VERSION,
            "identity": self._identity(),
            "ended": [list(instrument) for instrument in sorted(self._ended)],
            "preprocessors": [family.preprocessor.snapshot() for family in self._families],
            "members": [
                {"predictor": member.predictor.snapshot(), "stacker": member.stacker.snapshot()}
                for member in self._members
            ],
            "finders": [finder.snapshot() for finder in self._finders],
        }

    def restore(self, snapshot: bytes) -> None:
        """Take over a snapshot, as if this pipeline had seen all that the other saw.

        Raises
        ------
        DataError
            If it is damaged, or was made with other settings or weights.
        """
        self.restore_state(from_bytes(snapshot))

    def restore_state(self, state: Any) -> None:
        """Take over what :meth:`state` returned, as :meth:`restore` does."""
        if not isinstance(state, dict) or state.get("version") != SNAPSHOT_VERSION:
            raise DataError("The snapshot was made by another version; start without it.")
        if state.keys() != {*_STATE, "version", "identity", "ended"}:
            raise DataError("The snapshot is not complete; start without it.")
        if state["identity"] != self._identity():
            raise DataError(
                "The snapshot was made with other settings or weights; use the same, or start "
                "without it."
            )
        self._ended = {Instrument(*codes) for codes in state["ended"]}
        self._listen()
        for family, saved in zip(self._families, state["preprocessors"], strict=True):
            family.preprocessor.restore(saved)
        for member, saved in zip(self._members, state["members"], strict=True):
            member.predictor.restore(saved["predictor"])
            member.stacker.restore(saved["stacker"])
        for finder, saved in zip(self._finders, state["finders"], strict=True):
            finder.restore(saved)

    # -----------------------------------------------------------------------------------------

    def _run(self, family: Family, windows: Iterator[Window | Skipped], harvest: _Harvest) -> None:
        """Windows through the other stages of all models that see them, a batch at a time."""
        windows = self._watch.each("preprocessing", windows)
        if len(family.members) == 1:
            self._report(
                family, family.members[0], family.members[0].predictor.add(windows), harvest
            )
            return
        made = list(windows)
        for member in family.members:
            self._report(family, member, member.predictor.add(made), harvest)

    def _drain(self, family: Family, harvest: _Harvest) -> None:
        """Wait for all that the models of a family work on."""
        for member in family.members:
            self._report(family, member, member.predictor.drain(), harvest)

    def _report(
        self,
        family: Family,
        member: Member,
        batches: Iterator[list[Output | Skipped]],
        harvest: _Harvest,
    ) -> None:
        """Outputs of one model through the stages after it."""
        watch = self._watch
        for batch in watch.each("prediction", batches):
            with watch.stage("postprocessing"):
                chunks = [
                    chunk
                    for item in batch
                    if family.preprocessor.knows(item.instrument)  # not forgotten meanwhile
                    for chunk in member.stacker.add(
                        item, open_end=item.instrument not in self._ended
                    )
                ]
            self._extract(member, chunks, harvest)

    def _extract(self, member: Member, chunks: list[Chunk], harvest: _Harvest) -> None:
        """Traces of one model to where picks are found in them, if need be with the others'."""
        with self._watch.stage("postprocessing"):
            chunks = member.finder.add(member.number, chunks)
        self._find(member.finder, chunks, harvest)

    def _pass_over(self, instrument: Instrument, time_ns: int, harvest: _Harvest) -> None:
        """Let sites not wait for what would be late, of an instrument of which nothing has come."""
        if instrument in self._unheard:
            before_ns = time_ns - seconds_to_ns(self.config.lateness)
            for finder in self._finders:
                self._find(finder, finder.pass_over(instrument, before_ns), harvest)

    def _hear(self, packets: Sequence[Packet], harvest: _Harvest) -> None:
        """See of whom something can be used; others' packets, e.g. of 5 Hz, tell the time alone."""
        for packet in packets:
            instrument = packet.nslc.instrument
            if instrument in self._unheard and EARLIEST_NS <= packet.start_ns <= LATEST_NS:
                self._pass_over(instrument, packet.start_ns, harvest)
                if all(family.preprocessor.knows(instrument) for family in self._families):
                    self._unheard.discard(instrument)

    def _listen(self) -> None:
        self._unheard = {instrument for site in self.sites for instrument in site}

    def _find(self, finder: Finder, chunks: list[Chunk], harvest: _Harvest) -> None:
        if not chunks:
            return
        if self._probabilities:
            with self._watch.stage("postprocessing"):
                for chunk in chunks:
                    harvest.fragments += finder.fragments(chunk)
        with self._watch.stage("feature extraction"):
            picks, detections = finder.extractor.add(chunks)
            for instrument in {chunk.instrument for chunk in chunks}:
                finder.release(instrument)
                linked = finder.extractor.linked_until(instrument)
                for member in finder.members(instrument):
                    key = (str(member), finder.spec.id)
                    harvest.linked[key] = time_of(linked, finder.spec.rate)
        harvest.picks += picks
        harvest.detections += detections

    def _finish(self, finder: Finder, harvest: _Harvest) -> None:
        """What is left where nothing follows."""
        self._find(finder, finder.flush(), harvest)
        with self._watch.stage("feature extraction"):
            picks, detections = finder.extractor.flush()
        finder.reset()
        harvest.picks += picks
        harvest.detections += detections

    def _result(self, harvest: _Harvest) -> Result:
        return Result(
            sorted((p for p in harvest.picks if self._emits(p.peak_time)), key=pick_order),
            sorted((d for d in harvest.detections if self._emits(d.onset)), key=detection_order),
            harvest.fragments,
            harvest.late,
            harvest.linked,
            self.summary,
            {pick: detection.id for detection in harvest.detections for pick in detection.pick_ids},
        )

    def _emits(self, time: UTCDateTime) -> bool:
        return self._emit is None or self._emit[0] <= to_ns(time) < self._emit[1]

    def _identity(self) -> list[str]:
        """What a snapshot depends on: settings, channels, and models but for their versions.

        Both members and what they make together, which has the rule in its name and hash.
        """
        every = [each.model.spec for each in self._members]
        every += [finder.spec for finder in self._finders]
        specs = [replace(spec, versions={}, origin="") for spec in every]
        text = repr((specs, self._declared))
        return [self.config.hash, hashlib.sha256(text.encode()).hexdigest()]
