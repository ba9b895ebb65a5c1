"""Stage 4: probability traces to picks and detections."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ml_prediction.core.channel import FOREVER
from ml_prediction.core.description import FARTHEST_CENTRE, FIT_HALF, Describer, Found
from ml_prediction.core.postprocessing import Chunk
from ml_prediction.core.results import Detection, Pick
from ml_prediction.core.summary import Summary
from ml_prediction.core.triggers import Trigger, TriggerTrack
from ml_prediction.models.spec import PICK_LABELS, ModelSpec
from ml_prediction.util.codes import Instrument

LONGEST = {"P": 10.0, "S": 10.0, "Detection": 300.0}  # seconds
LINK = 2.0  # seconds around a detection in which a pick belongs to it
PATIENCE = 600.0  # seconds of data that a complete pick waits for others at most
LOOK_AHEAD = FARTHEST_CENTRE + 0.02  # seconds between a peak and its pick at most


@dataclass(slots=True)
class _Track:
    """Triggers of one instrument, or site."""

    triggers: dict[str, TriggerTrack]
    waiting: list[Found]  # picks whose waveform is not complete
    held: list[Found]  # complete ones, which wait for others to be described with
    picked: list[tuple[int, str]]  # (peak, id) of picks that a detection may claim
    detected: list[Found]  # detections that later picks may belong to
    final: int


class FeatureExtractor:
    """Finds, times and describes picks and detections of one model.

    Parameters
    ----------
    spec
        The model.
    thresholds
        Trigger threshold of each label that is picked.
    describer
        Makes picks and detections of triggers.
    lead
        Of a site: the instrument whose data describe a pick or detection, from the name of the
        site, the label, and a sample. None where each instrument is alone.
    together
        Complete picks wait until there are so many, of all instruments: a fit of many costs
        little more than one. With 1 each leaves at once.
    summary
        Where things are counted.
    """

    def __init__(
        self,
        spec: ModelSpec,
        *,
        thresholds: Mapping[str, float],
        describer: Describer,
        lead: Callable[[Instrument, str, int], Instrument] | None = None,
        together: int = 1,
        summary: Summary | None = None,
    ) -> None:
        self._spec = spec
        self._thresholds = {
            label: value for label, value in thresholds.items() if label in spec.labels
        }
        self._rows = {label: spec.labels.index(label) for label in self._thresholds}
        self._describer = describer
        self._lead = lead
        self._summary = summary or Summary()
        self._together = together
        self._held = 0  # picks, over all instruments
        self._tracks: dict[Instrument, _Track] = {}

    # -- in and out ---------------------------------------------------------------------------

    def add(self, chunks: Sequence[Chunk]) -> tuple[list[Pick], list[Detection]]:
        """Take final probabilities; the picks and detections that are complete by them."""
        for chunk in chunks:
            track = self._tracks.get(chunk.instrument)
            if track is None:
                track = self._tracks[chunk.instrument] = self._new_track()
            for label, row in self._rows.items():
                found = track.triggers[label].add(chunk.start, chunk.values[row])
                if found:
                    self._sort_in(chunk.instrument, track, label, found)
            track.final = max(track.final, chunk.stop)
        touched = dict.fromkeys(chunk.instrument for chunk in chunks)
        picks = self._complete(list(touched), final=False)
        detections = [d for instrument in touched for d in self._detect(instrument, final=False)]
        return picks, detections

    def flush(self) -> tuple[list[Pick], list[Detection]]:
        """Everything that is left."""
        for instrument, track in self._tracks.items():
            for label, triggers in track.triggers.items():
                self._sort_in(instrument, track, label, triggers.finish())
        instruments = list(self._tracks)
        picks = self._complete(instruments, final=True)
        detections = [d for instrument in instruments for d in self._detect(instrument, True)]
        self._tracks.clear()
        return picks, detections

    def forget(self, instrument: Instrument) -> None:
        """Forget an instrument."""
        track = self._tracks.pop(instrument, None)
        self._held -= len(track.held) if track else 0

    def needed_from(self, instrument: Instrument) -> int:
        """First sample of the data that a coming pick may ask for."""
        track = self._tracks.get(instrument)
        if track is None:
            return -FOREVER
        onsets = [found.trigger.onset for found in (*track.held, *track.waiting)]
        scans = [
            triggers.scan for label, triggers in track.triggers.items() if label in PICK_LABELS
        ]
        return min([*onsets, *scans, track.final]) - self._describer.back

    def linked_until(self, instrument: Instrument) -> int:
        """No coming detection claims picks with a peak before this index."""
        track = self._tracks[instrument]
        if "Detection" not in track.triggers:
            return FOREVER
        onsets = [found.trigger.onset for found in track.detected]
        return min([*onsets, track.triggers["Detection"].scan, track.final]) - self._samples(LINK)

    def snapshot(self) -> list[dict[str, Any]]:
        """State as plain values and arrays."""
        return [
            {
                "instrument": list(instrument),
                "triggers": {label: t.snapshot() for label, t in track.triggers.items()},
                "picked": [list(item) for item in track.picked],
                **{name: list(map(_pack, getattr(track, name))) for name in _FOUND},
                "final": track.final,
            }
            for instrument, track in self._tracks.items()
        ]

    def restore(self, state: list[dict[str, Any]]) -> None:
        """Take over a snapshot's state."""
        self._tracks.clear()
        self._held = 0
        for item in state:
            track = self._tracks[Instrument(*item["instrument"])] = self._new_track()
            for label, saved in item["triggers"].items():
                track.triggers[label].restore(saved)
            for name in _FOUND:
                setattr(track, name, list(map(_unpack, item[name])))
            self._held += len(track.held)
            track.picked = [(peak, pick_id) for peak, pick_id in item["picked"]]
            track.final = item["final"]

    # -- triggers -----------------------------------------------------------------------------

    def _new_track(self) -> _Track:
        triggers = {
            label: TriggerTrack(
                threshold, self._samples(LONGEST.get(label, LONGEST["P"])), self._samples(FIT_HALF)
            )
            for label, threshold in self._thresholds.items()
        }
        return _Track(triggers, [], [], [], [], -FOREVER)

    def _sort_in(
        self, instrument: Instrument, track: _Track, label: str, triggers: list[Trigger]
    ) -> None:
        for trigger in triggers:
            if trigger.cut:
                self._summary.note(f"{label} trigger cut", 1, instrument)
            detection = label == "Detection"
            lead = instrument
            if self._lead is not None:
                lead = self._lead(instrument, label, trigger.onset if detection else trigger.peak)
            (track.detected if detection else track.waiting).append(Found(label, trigger, lead))

    # -- picks --------------------------------------------------------------------------------

    def _complete(self, instruments: list[Instrument], final: bool) -> list[Pick]:
        """Picks whose waveform is complete, if there are enough or one has waited long."""
        overdue = final
        ahead = self._describer.after + self._samples(LOOK_AHEAD)
        for instrument in instruments:
            track = self._tracks[instrument]
            rest = []
            for found in track.waiting:
                peak = found.trigger.peak
                if final or peak < self._describer.waveforms.front(found.lead) - ahead:
                    track.held.append(found)
                    self._held += 1
                    if "Detection" in self._thresholds:
                        track.picked.append((peak, self._describer.pick_id(found)))
                else:
                    rest.append(found)
            track.waiting = rest
            overdue = overdue or any(
                self._describer.waveforms.front(found.lead) - ahead - found.trigger.peak
                > self._samples(PATIENCE)
                for found in track.held
            )
        if self._held and (overdue or self._held >= self._together):
            return self._describe()
        return []

    def _describe(self) -> list[Pick]:
        """All complete picks, described at once."""
        ready: list[Found] = []
        for track in self._tracks.values():
            ready += track.held
            track.held = []
        self._held = 0
        picks = self._describer.picks(ready)
        self._summary.picks += len(picks)
        return picks

    # -- detections ---------------------------------------------------------------------------

    def _detect(self, instrument: Instrument, final: bool) -> list[Detection]:
        """Detections that no coming pick can belong to any more."""
        track = self._tracks[instrument]
        if not track.detected:
            oldest = self.linked_until(instrument)
            track.picked = [item for item in track.picked if item[0] >= oldest]
            return []
        link = self._samples(LINK)
        still_open = [found.trigger.onset for found in track.waiting]
        still_open += [t.scan for label, t in track.triggers.items() if label in PICK_LABELS]
        still_open.append(track.triggers["Detection"].scan - link)  # the next may be nearer
        first_open = min(still_open)
        results = []
        while track.detected and (final or track.detected[0].trigger.end + link < first_open):
            found, *others = track.detected
            onset = found.trigger.onset
            claimed = [
                (peak, pick_id)
                for peak, pick_id in track.picked
                if _claims(found.trigger, [other.trigger for other in others], peak, link)
            ]
            taken = set(claimed)
            track.picked = [
                item for item in track.picked if item not in taken and item[0] >= onset - link
            ]
            results.append(
                self._describer.detection(found, [pick_id for _, pick_id in sorted(claimed)])
            )
            track.detected = others
        self._summary.detections += len(results)
        return results

    # -----------------------------------------------------------------------------------------

    def _samples(self, seconds: float) -> int:
        return round(seconds * self._spec.sampling_rate)


def _claims(trigger: Trigger, others: list[Trigger], peak: int, link: int) -> bool:
    """Whether a pick belongs to this detection: the nearest onset wins."""
    if not trigger.onset - link <= peak <= trigger.end + link:
        return False
    distance = abs(trigger.onset - peak)
    return not any(
        other.onset - link <= peak <= other.end + link and abs(other.onset - peak) < distance
        for other in others
    )


_FOUND = ("waiting", "held", "detected")


def _pack(found: Found) -> list[Any]:
    names = ("onset", "end", "peak", "around", "cut")
    values = {name: getattr(found.trigger, name) for name in names}
    return [found.label, values, list(found.lead)]


def _unpack(state: list[Any]) -> Found:
    label, values, lead = state
    return Found(label, Trigger(**values), Instrument(*lead))
