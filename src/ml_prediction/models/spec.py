"""What a run must know of a model, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal

from ml_prediction.models.sigma import SigmaScale
from ml_prediction.util.frozen import FrozenMap

PICK_LABELS = ("P", "S")

USUAL_SIGMA_SCALE: Final[Mapping[str, SigmaScale]] = FrozenMap({"P": 0.45, "S": 0.45})
"""k of weights that nobody has measured; measured ones lie between 0.3 and 0.65."""


@dataclass(frozen=True, slots=True)
class FilterSpec:
    """A causal Butterworth filter, as the model was trained with.

    Attributes
    ----------
    kind
        bandpass, highpass or lowpass.
    low, high
        Corner frequencies in Hz; None where the kind has none.
    corners
        Order, as in ObsPy's filters.
    channels
        Glob pattern of the channel codes that it applies to.
    """

    kind: Literal["bandpass", "highpass", "lowpass"]
    low: float | None
    high: float | None
    corners: int = 4
    channels: str = "*"


@dataclass(frozen=True, slots=True)
class Normalisation:
    """What is done to each window before the model sees it.

    Demean always; then detrend, scale and taper, in this order.

    Attributes
    ----------
    method
        ``std`` (unbiased), ``peak``, or ``model``: the SeisBench model's own
        ``annotate_batch_pre`` does everything, demeaning included.
    scope
        Statistics over each ``component``, over the ``window`` (all components at once), or
        the ``mean`` over components of each component's statistic.
    detrend
        Remove a straight line from each component.
    taper
        Length of a cosine taper at both ends, in samples; 0 for none.
    epsilon
        Added to the statistic, so that silence stays silence.
    """

    method: Literal["std", "peak", "model"]
    scope: Literal["component", "window", "mean"] = "component"
    detrend: bool = False
    taper: int = 0
    epsilon: float = 1e-10


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Everything about a model and its weights that the stages need; no tensors, no state.

    Attributes
    ----------
    name, weights
        Architecture (SeisBench's class name) and name of the weights, without folder.
    weights_sha256
        SHA-256 of the weights' file, hexadecimal.
    sampling_rate
        Rate of the input and output in Hz.
    in_samples
        Window length in samples.
    components
        Component order of the input, e.g. ``ENZ``.
    labels
        Output labels in order, e.g. ``("Detection", "P", "S")``.
    blinding
        Samples at the start and end of each window's output that are thrown away.
    stacking
        How overlapping windows are merged.
    stride
        Default samples from one window start to the next.
    thresholds
        Default trigger threshold of each label that is picked.
    normalisation, filters
        Preprocessing as trained.
    sigma_scale
        Of each phase: k of ``sigma = k x width``, or a `SigmaMap`, measured on labelled data.
    citation, licence, origin, docstring
        Provenance.
    versions
        Library versions that made the model object, e.g. ``{"seisbench": "0.12.6"}``.
    """

    name: str
    weights: str
    weights_sha256: str
    sampling_rate: float
    in_samples: int
    components: str
    labels: tuple[str, ...]
    blinding: tuple[int, int]
    stacking: Literal["max", "mean"]
    stride: int
    thresholds: Mapping[str, float]
    normalisation: Normalisation
    filters: tuple[FilterSpec, ...] = ()
    sigma_scale: Mapping[str, SigmaScale] = USUAL_SIGMA_SCALE
    citation: str = ""
    licence: str = ""
    origin: str = ""
    docstring: str = ""
    versions: Mapping[str, str] = FrozenMap()

    def __post_init__(self) -> None:
        for name in ("thresholds", "sigma_scale", "versions"):
            object.__setattr__(self, name, FrozenMap(getattr(self, name)))

    @property
    def rate(self) -> Fraction:
        """Sampling rate in Hz, exactly."""
        return Fraction(self.sampling_rate).limit_denominator(1000)

    @property
    def id(self) -> str:
        """Short name: architecture and weights, e.g. ``EQTransformer:original``."""
        return f"{self.name}:{self.weights}"
