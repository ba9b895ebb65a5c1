"""Instrument response removal, on blocks whose place does not depend on packets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from obspy import Inventory
from obspy.core.util.obspy_types import ObsPyException

from ml_prediction.core.history import Floats
from ml_prediction.errors import DataError
from ml_prediction.util.codes import NSLC
from ml_prediction.util.times import to_utc

CONTEXT = 30.0  # seconds of data before a window, for the deconvolution to settle
WATER_LEVEL = 60.0  # dB below the largest response
PASS = (0.1, 0.2, 0.8, 0.95)  # Hz, Hz, and shares of the Nyquist frequency

Complexes = npt.NDArray[np.complex128]
Unit = Literal["m/s", "m/s**2"]


@dataclass(frozen=True, slots=True)
class Response:
    """Removes the response of channels that an inventory knows.

    Attributes
    ----------
    inventory
        Station metadata with responses.
    """

    inventory: Inventory
    _cache: dict[tuple[NSLC, int, int, float], Complexes] = field(default_factory=dict, repr=False)

    def unit(self, nslc: NSLC) -> Unit:
        """Unit after removal: acceleration for accelerometers (xN?), else velocity."""
        return "m/s**2" if nslc.channel[1:2].upper() == "N" else "m/s"

    def remove(self, nslc: NSLC, time_ns: int, block: Floats, rate: float) -> Floats:
        """Ground motion of a block without gaps.

        Spectral division with a water level 60 dB below the largest response, and a cosine
        pass band from 0.1-0.2 Hz to 0.8-0.95 of the Nyquist frequency, as in ObsPy's
        ``Trace.remove_response``.

        Parameters
        ----------
        nslc
            Channel.
        time_ns
            When: responses change.
        block
            Counts, shape (sample,).
        rate
            Sampling rate in Hz.

        Raises
        ------
        DataError
            If the inventory has no response for the channel at that time.
        """
        size = 1 << (2 * len(block) - 1).bit_length()
        inverse = self._inverse(nslc, time_ns, size, rate)
        ramp = np.hanning(2 * (len(block) // 20) + 1)[: len(block) // 20]
        tapered = block - block.mean()
        tapered[: len(ramp)] *= ramp
        spectrum = np.fft.rfft(tapered, size)
        return np.asarray(np.fft.irfft(spectrum * inverse, size)[: len(block)])

    def _inverse(self, nslc: NSLC, time_ns: int, size: int, rate: float) -> Complexes:
        response = self._response(nslc, time_ns)
        key = (nslc, id(response), size, rate)  # the inventory keeps the response, so the id holds
        if key not in self._cache:
            frequencies = np.fft.rfftfreq(size, 1 / rate)
            output = "ACC" if self.unit(nslc) == "m/s**2" else "VEL"
            gain = np.zeros(len(frequencies), dtype=np.complex128)
            try:
                gain[1:] = response.get_evalresp_response_for_frequencies(
                    frequencies[1:], output=output
                )
            except (ObsPyException, ValueError, TypeError, NotImplementedError) as error:
                raise DataError(
                    f"{nslc} is left out: its response in the inventory can't be evaluated "
                    f"({error}); mend it, or keep the response."
                ) from error
            self._cache[key] = _invert(gain) * _pass_band(frequencies, rate / 2)
        return self._cache[key]

    def _response(self, nslc: NSLC, time_ns: int) -> Any:
        network, station, location, channel = nslc
        time = to_utc(time_ns)
        try:
            return self.inventory.get_response(f"{network}.{station}.{location}.{channel}", time)
        except Exception as error:  # ObsPy raises nothing more special
            raise DataError(
                f"{nslc} is left out: the inventory has no response for it at {time}; add one, "
                "or keep the response."
            ) from error


def _invert(gain: Complexes) -> Complexes:
    size = np.abs(gain)
    floor = size.max() * 10 ** (-WATER_LEVEL / 20)
    lifted = np.where(size < floor, gain / np.maximum(size, 1e-300) * floor, gain)
    return np.divide(1, lifted, out=np.zeros_like(gain), where=lifted != 0)


def _pass_band(frequencies: Floats, nyquist: float) -> Floats:
    corners = (PASS[0], PASS[1], PASS[2] * nyquist, PASS[3] * nyquist)
    rise = np.clip((frequencies - corners[0]) / (corners[1] - corners[0]), 0, 1)
    fall = np.clip((corners[3] - frequencies) / (corners[3] - corners[2]), 0, 1)
    return np.asarray((1 - np.cos(np.pi * rise)) / 2 * (1 - np.cos(np.pi * fall)) / 2)


def inventory_channels(inventory: Inventory | None) -> list[NSLC]:
    """Channels that an inventory names."""
    if inventory is None:
        return []
    return [
        NSLC.clean(network.code, station.code, channel.location_code, channel.code)
        for network in inventory
        for station in network
        for channel in station
    ]


def channel_dips(inventory: Inventory | None) -> dict[NSLC, float]:
    """Dip in degrees of the channels for which an inventory gives one."""
    if inventory is None:
        return {}
    return {
        NSLC.clean(network.code, station.code, channel.location_code, channel.code): channel.dip
        for network in inventory
        for station in network
        for channel in station
        if channel.dip is not None
    }
