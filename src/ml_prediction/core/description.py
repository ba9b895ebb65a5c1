"""What a trigger becomes: a pick or detection with times, uncertainty, amplitude and polarity."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from ml_prediction.core.fitting import NormalFit, fit_normals
from ml_prediction.core.grid import time_of
from ml_prediction.core.history import Recording
from ml_prediction.core.measures import NOTHING, measure_level, measure_polarity
from ml_prediction.core.response import CONTEXT, Response
from ml_prediction.core.results import Detection, Pick, Polarity
from ml_prediction.core.triggers import Trigger
from ml_prediction.core.windows import fill_gaps
from ml_prediction.errors import DataError
from ml_prediction.models.sigma import expected_error
from ml_prediction.models.spec import ModelSpec
from ml_prediction.util.codes import NSLC, Instrument
from ml_prediction.util.times import NANOSECONDS, to_utc

FIT_HALF = 0.25  # seconds of the peak on each side that are fitted
FARTHEST_CENTRE = 0.1  # seconds between peak and fitted centre
NARROWEST = 2  # samples: PhaseNet's spikes at window edges have 1 to 2, arrivals 5 and more
WORST_QUALITY = 4
COVERAGE = 2.0  # seconds on each side of a pick
LEAST_AFTER = 1.0  # seconds of data after a pick for its amplitude
LOOK_BACK = 5.0 + FARTHEST_CENTRE + 0.1  # seconds of data before a peak that its pick needs


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


class Found(NamedTuple):
    """A trigger, and the instrument of a site whose data describe it."""

    label: str
    trigger: Trigger
    lead: Instrument


class Describer:
    """Describes picks and detections of one model.

    Parameters
    ----------
    spec
        The model.
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
    after
        Seconds after a pick whose data are looked at, 1 to 2: with a short horizon, a pick is not
        to wait longer for its description than for its probability.

    Attributes
    ----------
    waveforms
        As given.
    after, back
        Samples of data after a pick, and before a peak, that a description needs.
    """

    def __init__(
        self,
        spec: ModelSpec,
        *,
        quality: Sequence[float],
        waveforms: Waveforms,
        response: Response | None = None,
        provenance: Provenance | None = None,
        agreeing: Callable[[Instrument, str, int, int], tuple[str, ...]] | None = None,
        after: float = COVERAGE,
    ) -> None:
        self._spec = spec
        self._quality = tuple(quality)
        self.waveforms = waveforms
        self._response = response
        self._provenance = provenance or Provenance()
        self._agreeing = agreeing
        self._rate = spec.rate
        self._context = self._samples(FIT_HALF)
        self.after = self._samples(min(max(after, LEAST_AFTER), COVERAGE))
        self.back = self._samples(LOOK_BACK if response is None else CONTEXT + LOOK_BACK)

    def picks(self, found: Sequence[Found]) -> list[Pick]:
        """Picks of triggers, fitted at once."""
        times = np.arange(-self._context, self._context + 1) / self._spec.sampling_rate
        fit = fit_normals(times, np.array([f.trigger.around for f in found], dtype=np.float64))
        return [self._pick(each, fit, row) for row, each in enumerate(found)]

    def pick_id(self, found: Found) -> str:
        """Id of the pick of a trigger."""
        return f"{found.lead}/{found.label}/{self._spec.id}/{found.trigger.peak}"

    def detection(self, found: Found, pick_ids: Sequence[str]) -> Detection:
        """Detection of a trigger, with the picks that belong to it."""
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

    def _pick(self, found: Found, fit: NormalFit, row: int) -> Pick:
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
        around = self._around(instrument, first, index + self.after + 1)
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
            id=self.pick_id(found),
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
            letter: self.waveforms.waveform(instrument, letter, start, stop)
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
        covered = np.zeros(before + self.after + 1, dtype=np.bool_)
        for data in around.values():
            covered |= data.valid[centre - before : centre + self.after + 1]
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
        stop = index + self.after + 1
        data = self.waveforms.waveform(instrument, letter, index - before, stop)
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

    def _samples(self, seconds: float) -> int:
        return round(seconds * self._spec.sampling_rate)

    def _time(self, instrument: Instrument, index: int, shift: float = 0.0) -> Any:
        """Time of a grid sample, with the instrument's sub-sample offset given back."""
        offset = self.waveforms.offset_ns(instrument, index)
        return to_utc(time_of(index, self._rate) + offset + round(shift * NANOSECONDS))
