"""What comes out: picks and detections."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from obspy import UTCDateTime

from ml_prediction.util.codes import NSLC, Instrument
from ml_prediction.util.times import isoformat, to_microseconds

Polarity = Literal["up", "down", "unknown"]


@dataclass(frozen=True, slots=True)
class Pick:
    """One phase arrival.

    Attributes
    ----------
    network, station, location, channel
        Channel that the pick is put on: the vertical for P, N or 1 for S, or what exists.
    phase
        Label of the model: P or S.
    time
        Arrival: centre (mu) of the fitted normal, or the peak where ``fit_ok`` is False.
    sigma
        Expected timing error, one standard deviation, in seconds: k times the width, and not less
        than that of rounding to a sample.
    probability
        Highest stacked probability.
    scale
        Amplitude A of the fitted normal.
    quality
        0 (best) to 4, from sigma; 4 where the fit is not good.
    onset, end
        First sample above the threshold, last sample above half of it.
    misfit
        Root mean square of the fit's residuals, in probability.
    polarity, polarity_confidence
        First motion on the vertical (P only), and a confidence of 0 to 1.
    amplitude
        Largest absolute deviation from the noise mean within 1 s after the pick, in counts.
    snr
        Standard deviation of signal over noise; NaN where the data are not there.
    model, weights
        Names.
    peak_time
        Sample of the highest probability.
    width, mu_error
        Standard deviation of the fitted normal, and standard error of its centre, in seconds.
    fit_ok
        Whether the centre of the fit lies within 0.1 s of the peak, and its width is at least two
        samples.
    coverage
        Share of valid samples within 2 s of the pick.
    members
        Ids of the models that agreed; at a site with the instrument: ``PhaseNet:original@HH``.
    detection_id
        Detection that the pick belongs to; None where there is none or it is not over yet.
    weights_sha256, versions
        What exactly computed the pick.
    config_hash, run_id
        What exactly was asked for, and in which run.
    id
        ``instrument/phase/models/index``: index of the peak at the model's rate.
    amplitude_physical, amplitude_unit
        As amplitude, after response removal, where that was asked for.
    """

    network: str
    station: str
    location: str
    channel: str
    phase: str
    time: UTCDateTime
    sigma: float
    probability: float
    scale: float
    quality: int
    onset: UTCDateTime
    end: UTCDateTime
    misfit: float
    polarity: Polarity
    amplitude: float
    snr: float
    model: str
    weights: str
    peak_time: UTCDateTime
    width: float
    mu_error: float
    fit_ok: bool
    coverage: float
    members: tuple[str, ...]
    detection_id: str | None
    config_hash: str
    run_id: str
    id: str
    polarity_confidence: float
    weights_sha256: str
    versions: str
    amplitude_physical: float | None = None
    amplitude_unit: str | None = None

    @property
    def instrument(self) -> Instrument:
        """Instrument that the pick is of."""
        return NSLC(self.network, self.station, self.location, self.channel).instrument

    @property
    def model_id(self) -> str:
        """Architecture and weights, as ``ModelSpec.id``."""
        return f"{self.model}:{self.weights}"

    def __hash__(self) -> int:
        return hash(self.id)  # a UTCDateTime has no hash

    def to_dict(self) -> dict[str, Any]:
        """Every field under its name; times as ISO 8601 UTC with microseconds."""
        return _plain(asdict(self))


@dataclass(frozen=True, slots=True)
class Detection:
    """One interval in which the model sees an earthquake.

    Attributes
    ----------
    network, station, location, channel
        ``channel`` is the instrument's band and instrument code, e.g. ``HH``.
    onset, end
        First sample above the threshold, last sample above half of it.
    probability, peak_time
        Highest stacked probability, and when.
    pick_ids
        Picks whose peak lies from 2 s before the onset to 2 s after the end.
    id
        ``instrument/Detection/model/index``: of the onset, since the top of a detection is flat.
    """

    network: str
    station: str
    location: str
    channel: str
    onset: UTCDateTime
    end: UTCDateTime
    probability: float
    peak_time: UTCDateTime
    pick_ids: tuple[str, ...]
    model: str
    weights: str
    config_hash: str
    run_id: str
    id: str
    weights_sha256: str
    versions: str

    @property
    def instrument(self) -> Instrument:
        """Instrument that the detection is of."""
        return Instrument(self.network, self.station, self.location, self.channel)

    def __hash__(self) -> int:
        return hash(self.id)  # a UTCDateTime has no hash

    def to_dict(self) -> dict[str, Any]:
        """Every field under its name; times as ISO 8601 UTC with microseconds."""
        return _plain(asdict(self))


def pick_order(pick: Pick) -> tuple[int, str]:
    """Sort key of picks: time as it is written (finer differences are rounding), then id."""
    return to_microseconds(pick.time), pick.id


def detection_order(detection: Detection) -> tuple[int, str]:
    """Sort key of detections: onset, then id."""
    return to_microseconds(detection.onset), detection.id


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {
        key: isoformat(value)
        if isinstance(value, UTCDateTime)
        else ";".join(value)
        if isinstance(value, tuple)
        else value
        for key, value in values.items()
    }
