"""Stage 4: probability traces to picks and detections."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from ml_prediction.core.channel import FOREVER
from ml_prediction.core.fitting import NormalFit, fit_normals
from ml_prediction.core.grid import time_of
from ml_prediction.core.history import Recording
from ml_prediction.core.measures import NOTHING, measure_level, measure_polarity
from ml_prediction.core.postprocessing import Chunk
from ml_prediction.core.response import CONTEXT, Response
from ml_prediction.core.results import Detection, Pick, Polarity
from ml_prediction.core.summary import Summary
from ml_prediction.core.triggers import Trigger, TriggerTrack
from ml_prediction.core.windows import fill_gaps
from ml_prediction.errors import DataError
from ml_prediction.models.sigma import expected_error
from ml_prediction.models.spec import PICK_LABELS, ModelSpec
from ml_prediction.util.codes import NSLC, Instrument
from ml_prediction.util.times import NANOSECONDS, to_utc

FIT_HALF = 0.25  # seconds of the peak on each side that are fitted
FARTHEST_CENTRE = 0.1  # seconds between peak and fitted centre
LONGEST = {"P": 10.0, "S": 10.0, "Detection": 300.0}  # seconds
LINK = 2.0  # seconds around a detection in which a pick belongs to it
NARROWEST = 2  # samples: PhaseNet's spikes at window edges have 1 to 2, arrivals 5 and more
WORST_QUALITY = 4
COVERAGE = 2.0  # seconds on each side of a pick
LEAST_AFTER = 1.0  # seconds of data after a pick for its amplitude
PATIENCE = 600.0  # seconds of data that a complete pick waits for others at most
LOOK_AHEAD = FARTHEST_CENTRE + 0.02  # seconds between a peak and its pick at most
LOOK_BACK = 5.0 + FARTHEST_CENTRE + 0.1  # seconds of data before a peak that it needs


class Waveforms(Protocol):
    """Where features find the resampled, unfiltered data."""

    def front(self, instrument: Instrument) -> int:
        """Samples before this index are final."""
        ...

    def waveform(
        self, instrument: Instrument, component: str, start: int, stop: int
    ) -> Recording | None:
        """Samples of one channel; None without that component."""
        ...

    def offset_ns(self, instrument: Instrument, index: int) -> int:
        """Sub-sample offset from the grid."""
        ...


@dataclass(frozen=True, slots=True)
class Provenance:
    """What every pick and detection says of its making."""

    config_hash: str = ""
    run_id: str = ""
    versions: str = ""


class _Found(NamedTuple):
    """A trigger, and the instrument of a site whose data describe it."""

    label: str
    trigger: Trigger
    lead: Instrument


@dataclass(slots=True)
class _Track:
    """Triggers of one instrument, or site."""

    triggers: dict[str, TriggerTrack]
    waiting: list[_Found]  # picks whose waveform is not complete
    held: list[_Found]  # complete ones, which wait for others to be described with
    picked: list[tuple[int, str]]  # (peak, id) of picks that a detection may claim
    detected: list[_Found]  # detections that later picks may belong to
    final: int


class FeatureExtractor:
    """Finds, times and describes picks and detections of one model.

    Parameters
    ----------
    spec
        The model.
    thresholds
        Trigger threshold of each label that is picked.
    quality
        Largest sigma in seconds of quality 0, 1, 2 and 3.
    waveforms
        The data.
    response
        For amplitudes in physical units; None for none.
    provenance
        Put on every result.
    agreeing
        Of what is merged: which members agree on a pick, from the instrument, the label, and the
        first and last sample of its trigger. None for a single model.
    lead
        Of a site: the instrument whose data describe a pick or detection, from the name of the
        site, the label, and a sample. None where each instrument is alone.
    after
        Seconds after a pick whose data are looked at, 1 to 2: with a short horizon, a pick is not
        to wait longer for its description than for its probability.
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
        quality: Sequence[float],
        waveforms: Waveforms,
        response: Response | None = None,
        provenance: Provenance | None = None,
        agreeing: Callable[[Instrument, str, int, int], tuple[str, ...]] | None = None,
        lead: Callable[[Instrument, str, int], Instrument] | None = None,
        after: float = COVERAGE,
        together: int = 1,
        summary: Summary | None = None,
    ) -> None:
        self._spec = spec
        self._thresholds = {
            label: value for label, value in thresholds.items() if label in spec.labels
        }
        self._rows = {label: spec.labels.index(label) for label in self._thresholds}
        self._quality = tuple(quality)
        self._waveforms = waveforms
        self._response = response
        self._provenance = provenance or Provenance()
        self._agreeing = agreeing
        self._lead = lead
        self._summary = summary or Summary()
        self._rate = spec.rate
        self._context = self._samples(FIT_HALF)
        self._after = self._samples(min(max(after, LEAST_AFTER), COVERAGE))
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
        back = LOOK_BACK if self._response is None else CONTEXT + LOOK_BACK
        return min([*onsets, *scans, track.final]) - self._samples(back)

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
                threshold, self._samples(LONGEST.get(label, LONGEST["P"])), self._context
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
            (track.detected if detection else track.waiting).append(_Found(label, trigger, lead))

    # -- picks --------------------------------------------------------------------------------

    def _complete(self, instruments: list[Instrument], final: bool) -> list[Pick]:
        """Picks whose waveform is complete, if there are enough or one has waited long."""
        overdue = final
        ahead = self._after + self._samples(LOOK_AHEAD)
        for instrument in instruments:
            track = self._tracks[instrument]
            rest = []
            for found in track.waiting:
                peak = found.trigger.peak
                if final or peak < self._waveforms.front(found.lead) - ahead:
                    track.held.append(found)
                    self._held += 1
                    if "Detection" in self._thresholds:
                        track.picked.append((peak, self._id(found)))
                else:
                    rest.append(found)
            track.waiting = rest
            overdue = overdue or any(
                self._waveforms.front(found.lead) - ahead - found.trigger.peak
                > self._samples(PATIENCE)
                for found in track.held
            )
        if self._held and (overdue or self._held >= self._together):
            return self._describe()
        return []

    def _describe(self) -> list[Pick]:
        """All complete picks, fitted at once."""
        ready: list[_Found] = []
        for track in self._tracks.values():
            ready += track.held
            track.held = []
        self._held = 0
        times = np.arange(-self._context, self._context + 1) / self._spec.sampling_rate
        fit = fit_normals(times, np.array([f.trigger.around for f in ready], dtype=np.float64))
        picks = [self._pick(found, fit, row) for row, found in enumerate(ready)]
        self._summary.picks += len(picks)
        return picks

    def _id(self, found: _Found) -> str:
        return f"{found.lead}/{found.label}/{self._spec.id}/{found.trigger.peak}"

    def _pick(self, found: _Found, fit: NormalFit, row: int) -> Pick:
        phase, trigger, instrument = found
        rate = self._spec.sampling_rate
        mu, width = float(fit.mu[row]), float(fit.width[row])
        wide = width * rate >= NARROWEST
        fit_ok = bool(fit.converged[row]) and abs(mu) <= FARTHEST_CENTRE and wide
        shift = mu if fit_ok else 0.0
        rounding = 1 / (math.sqrt(12) * rate)  # a fit to one or two samples may claim any width
        scale = self._spec.sigma_scale.get(phase, 1.0)
        sigma = max(expected_error(scale, width, trigger.probability), rounding)
        index = trigger.peak + round(shift * rate)
        first = index - self._samples(LOOK_BACK)
        around = self._around(instrument, first, index + self._after + 1)
        letter = self._letter(phase, around)
        level = NOTHING
        polarity: Polarity = "unknown"
        confidence = 0.0
        code = instrument.prefix + letter
        if letter in around:
            code, samples, valid = around[letter]
            level = measure_level(samples, valid, index - first, rate)
            if phase == "P" and letter == "Z":
                spread = max(1, round(min(sigma, 0.2) * rate))
                polarity, confidence = measure_polarity(samples, level, index - first, spread, rate)
        nslc = NSLC(*instrument[:3], code)
        physical, unit = self._physical(instrument, letter, index)
        mu_error = math.sqrt(max(float(fit.covariance[row, 1, 1]), 0.0))
        return Pick(
            *nslc,
            phase=phase,
            time=self._time(instrument, trigger.peak, shift),
            sigma=sigma,
            probability=trigger.probability,
            scale=float(fit.scale[row]),
            quality=sum(sigma > limit for limit in self._quality) if fit_ok else WORST_QUALITY,
            onset=self._time(instrument, trigger.onset),
            end=self._time(instrument, trigger.end),
            misfit=float(fit.misfit[row]),
            polarity=polarity,
            amplitude=level.amplitude,
            snr=level.snr,
            model=self._spec.name,
            weights=self._spec.weights,
            peak_time=self._time(instrument, trigger.peak),
            width=width,
            mu_error=mu_error,
            fit_ok=fit_ok,
            coverage=self._coverage(around, index - first),
            members=self._members(instrument, phase, trigger),
            detection_id=None,
            config_hash=self._provenance.config_hash,
            run_id=self._provenance.run_id,
            id=self._id(found),
            polarity_confidence=round(confidence, 3),
            weights_sha256=self._spec.weights_sha256,
            versions=self._provenance.versions,
            amplitude_physical=physical,
            amplitude_unit=unit,
        )

    def _members(self, instrument: Instrument, phase: str, trigger: Trigger) -> tuple[str, ...]:
        if self._agreeing is None:
            return (self._spec.id,)
        return self._agreeing(instrument, phase, trigger.onset, trigger.end)

    def _around(self, instrument: Instrument, start: int, stop: int) -> dict[str, Recording]:
        """What the components have there, of those that have anything."""
        found = {
            letter: self._waveforms.waveform(instrument, letter, start, stop)
            for letter in self._spec.components
        }
        return {
            letter: data for letter, data in found.items() if data is not None and data.valid.any()
        }

    def _letter(self, phase: str, around: Mapping[str, object]) -> str:
        """Component that a pick is put on: Z for P, N for S, or what exists around it."""
        order = "ZNE" if phase == "P" else "NEZ"
        return min(around, key=lambda c: (order + c).index(c), default=order[0])

    def _coverage(self, around: Mapping[str, Recording], centre: int) -> float:
        """Share of samples near a pick that some component has."""
        before = self._samples(COVERAGE)
        covered = np.zeros(before + self._after + 1, dtype=np.bool_)
        for data in around.values():
            covered |= data.valid[centre - before : centre + self._after + 1]
            if covered.all():
                return 1.0
        return round(float(covered.mean()), 4)

    def _physical(
        self, instrument: Instrument, letter: str, index: int
    ) -> tuple[float | None, str | None]:
        """Amplitude after response removal, on a block that depends on the pick alone."""
        if self._response is None:
            return None, None
        before = self._samples(CONTEXT)
        stop = index + self._after + 1
        data = self._waveforms.waveform(instrument, letter, index - before, stop)
        if data is None or not data.valid.any():
            return None, None
        nslc = NSLC(*instrument[:3], data.code)
        time_ns = time_of(index, self._rate)
        try:
            motion = self._response.remove(
                nslc, time_ns, fill_gaps(data.samples, data.valid), self._spec.sampling_rate
            )
        except DataError:  # said and counted where the window was made
            return None, None
        level = measure_level(motion, data.valid, before, self._spec.sampling_rate)
        if math.isnan(level.amplitude):
            return None, None
        return level.amplitude, self._response.unit(nslc)

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
            results.append(self._detection(found, [pick_id for _, pick_id in sorted(claimed)]))
            track.detected = others
        self._summary.detections += len(results)
        return results

    def _detection(self, found: _Found, pick_ids: list[str]) -> Detection:
        label, trigger, instrument = found
        return Detection(
            network=instrument.network,
            station=instrument.station,
            location=instrument.location,
            channel=instrument.prefix,
            onset=self._time(instrument, trigger.onset),
            end=self._time(instrument, trigger.end),
            probability=trigger.probability,
            peak_time=self._time(instrument, trigger.peak),
            pick_ids=tuple(pick_ids),
            model=self._spec.name,
            weights=self._spec.weights,
            config_hash=self._provenance.config_hash,
            run_id=self._provenance.run_id,
            id=f"{instrument}/{label}/{self._spec.id}/{trigger.onset}",
            weights_sha256=self._spec.weights_sha256,
            versions=self._provenance.versions,
        )

    # -----------------------------------------------------------------------------------------

    def _samples(self, seconds: float) -> int:
        return round(seconds * self._spec.sampling_rate)

    def _time(self, instrument: Instrument, index: int, shift: float = 0.0) -> Any:
        """Time of a grid sample, with the instrument's sub-sample offset given back."""
        offset = self._waveforms.offset_ns(instrument, index)
        return to_utc(time_of(index, self._rate) + offset + round(shift * NANOSECONDS))


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


def _pack(found: _Found) -> list[Any]:
    names = ("onset", "end", "peak", "around", "cut")
    values = {name: getattr(found.trigger, name) for name in names}
    return [found.label, values, list(found.lead)]


def _unpack(state: list[Any]) -> _Found:
    label, values, lead = state
    return _Found(label, Trigger(**values), Instrument(*lead))
