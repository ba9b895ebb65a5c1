"""SeisBench's ``filter_args`` and ``filter_kwargs`` as FilterSpecs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ml_prediction.errors import ConfigurationError
from ml_prediction.models.spec import FilterSpec

_CORNERS: Final = 4  # ObsPy's default
_OPTIONS: Final = frozenset({"freqmin", "freqmax", "freq", "corners", "zerophase"})


def filters_of(model: Any, name: str) -> tuple[tuple[FilterSpec, ...], bool]:
    """Read the filters of a SeisBench model.

    As in ObsPy, a band-pass that reaches the Nyquist frequency is a high-pass, and a low-pass that
    reaches it does nothing.

    Parameters
    ----------
    model
        ``seisbench.models.WaveformModel``.
    name
        Name of the model, for messages.

    Returns
    -------
    filters
        In the order in which they are applied.
    zerophase
        Whether one of them is meant to be zero-phase.

    Raises
    ------
    ConfigurationError
        If a filter is of a kind that is not supported, or incomplete.
    """
    arguments, options = model.filter_args, model.filter_kwargs
    if arguments is None and options is None:
        return (), False
    if not isinstance(arguments, Mapping):
        arguments, options = {"*": arguments}, {"*": options}
    nyquist = float(model.sampling_rate) / 2
    filters = []
    zerophase = False
    for channels, positional in arguments.items():
        if channels not in (options or {}):
            raise ConfigurationError(f"{name} has no options for its filter of {channels!r}.")
        chosen = dict(options[channels] or {})
        kind = chosen.pop("type", None) if not positional else positional[0]
        if len(positional or ()) > 1 or not set(chosen) <= _OPTIONS:
            raise ConfigurationError(
                f"{name} has a filter with options that are not supported: "
                f"{[*(positional or ())[1:], *sorted(set(chosen) - _OPTIONS)]}."
            )
        zerophase |= bool(chosen.get("zerophase", False))
        spec = _filter(name, str(kind), chosen, nyquist, str(channels))
        if spec is not None:
            filters.append(spec)
    return tuple(filters), zerophase


def _filter(
    name: str, kind: str, options: Mapping[str, Any], nyquist: float, channels: str
) -> FilterSpec | None:
    """One filter; None where it does nothing."""
    corners = int(options.get("corners", _CORNERS))
    try:
        if kind == "bandpass":
            low, high = float(options["freqmin"]), float(options["freqmax"])
            if high < nyquist * (1 - 1e-6):
                return FilterSpec("bandpass", low, high, corners, channels)
        elif kind == "highpass":
            low = float(options["freq"])
        elif kind == "lowpass":
            high = float(options["freq"])
            return FilterSpec("lowpass", None, high, corners, channels) if high < nyquist else None
        else:
            raise ConfigurationError(
                f"{name} has a filter of kind {kind!r}; bandpass, highpass and lowpass are known."
            )
    except KeyError as error:
        raise ConfigurationError(f"{name} has a {kind} filter without {error}.") from error
    if low >= nyquist:
        raise ConfigurationError(f"{name} has a filter that starts above {nyquist:g} Hz.")
    return FilterSpec("highpass", low, None, corners, channels)
