"""What is in a bundle, as ObsPy and pandas have it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from io import BytesIO
from pathlib import Path

import pandas as pd
from obspy import Inventory, Stream, read_inventory
from obspy.core.event import Event

from ml_prediction.core.results import Detection, Pick
from ml_prediction.errors import ConfigurationError, DataError
from ml_prediction.explore import bundle_waveforms as waveforms
from ml_prediction.explore.arrivals import Origin
from ml_prediction.explore.bundle_files import EVENT
from ml_prediction.explore.bundle_waveforms import Asked
from ml_prediction.explore.comcat_history import Contribution, history_frame
from ml_prediction.explore.distances import epicentral_km
from ml_prediction.explore.events import one_event, origin_of
from ml_prediction.explore.quakeml_arrivals import catalogue_arrivals


class BundleViews:
    """Views of an `EventBundle`, which has these fields and is never changed."""

    event_id: str
    quakeml: bytes
    contributions: tuple[Contribution, ...]
    stationxml: bytes | None
    miniseed: Mapping[str, bytes]
    asked: tuple[Asked, ...]
    picks: tuple[Pick, ...]
    detections: tuple[Detection, ...]
    probabilities: Mapping[str, bytes]

    @cached_property
    def event(self) -> Event:
        """The earthquake as ObsPy reads it; look only (see `with_event`)."""
        return one_event(self.quakeml, f"QuakeML of {self.event_id}")[0]

    @cached_property
    def origin(self) -> Origin:
        """Preferred origin.

        Raises
        ------
        DataError
            If the event has none with time and place.
        """
        found = origin_of(self.event)
        if found is None:
            raise DataError(f"{self.event_id}: its QuakeML has no origin with time and place.")
        return found

    @property
    def arrivals(self) -> pd.DataFrame:
        """The catalogue's P and S picks as a table, see `ml_prediction.explore.arrivals`."""
        return catalogue_arrivals([self.event], Path(EVENT)).table

    @property
    def history(self) -> pd.DataFrame:
        """ComCat's contributions as a table, one row for each version."""
        return history_frame(self.contributions)

    @property
    def stream(self) -> Stream:
        """Waveforms, read anew at each access."""
        return waveforms.to_stream(self.miniseed)

    @cached_property
    def inventory(self) -> Inventory | None:
        """Stations as ObsPy reads them; look only (see `with_stations`)."""
        if self.stationxml is None:
            return None
        return read_inventory(BytesIO(self.stationxml), format="STATIONXML")

    def probability_stream(self, model: str | None = None) -> Stream:
        """Probability traces of a model, or of all; channels are HHP, HHS, HHD and the like.

        Raises
        ------
        ConfigurationError
            If there are none of that model.
        """
        if model is not None and model not in self.probabilities:
            raise ConfigurationError(
                f"No probabilities of {model!r}; there are those of "
                f"{', '.join(sorted(self.probabilities)) or 'none'}: pick(..., probabilities=True)."
            )
        stream = Stream()
        for name in sorted(self.probabilities) if model is None else [model]:
            stream += waveforms.read_records(self.probabilities[name])
        return stream

    def picks_frame(self) -> pd.DataFrame:
        """The models' picks as a table, one row each, times in UTC."""
        from ml_prediction.core.outcome import Result
        from ml_prediction.core.summary import Summary

        return Result(list(self.picks), [], [], [], {}, Summary()).to_dataframe()

    @cached_property
    def distances_km(self) -> Mapping[tuple[str, str], float]:
        """Epicentral distance by network and station: of StationXML, else of the arrivals."""
        table = self.arrivals
        known = table[table["distance_km"].notna()]
        of_arrivals = zip(
            zip(known["network"], known["station"], strict=True), known["distance_km"], strict=True
        )
        return {**dict(of_arrivals), **epicentral_km(self.origin, self.inventory)}

    @property
    def failed(self) -> tuple[Asked, ...]:
        """What a data centre failed to give: the step that asked for it asks for it again."""
        return tuple(each for each in self.asked if each.outcome == "failed")

    @property
    def depth_km(self) -> float:
        """Depth of the preferred origin; NaN if unknown."""
        found = self.event.preferred_origin() or self.event.origins[0]
        return float("nan") if found.depth is None else float(found.depth) / 1000
