"""Between stages 3 and 4: the probability traces of several models to one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from ml_prediction.core.coherence import Floats, semblance, weighted_mean
from ml_prediction.core.gathering import Gathering, Traces
from ml_prediction.core.postprocessing import Chunk
from ml_prediction.models.ensemble import Ensemble
from ml_prediction.util.codes import Instrument

SEMBLANCE_WINDOW: Final = 0.5
"""Seconds over which coherence is measured, as in ELEP."""

SEMBLANCE_ORDER: Final = 4
"""Power of the coherence, as in ELEP."""


class Combiner:
    """Merges the traces of members, sample by sample, as far as all of them have come.

    A sample for which a member has no probability is left to the others. The result does not
    depend on how the traces are cut.

    Parameters
    ----------
    ensemble
        Members and rule, see `ml_prediction.models.ensemble.combine`.
    thresholds
        Of the labels that are picked, where they are not the members' own.
    """

    def __init__(self, ensemble: Ensemble, thresholds: Mapping[str, float]) -> None:
        specs = [model.spec for model in ensemble.members]
        self._spec = ensemble.spec
        self._rule = ensemble.rule
        self._rows = [
            [spec.labels.index(label) if label in spec.labels else None for spec in specs]
            for label in self._spec.labels
        ]
        self._shares = np.array(ensemble.shares)
        self._ids = [spec.id for spec in specs]
        self._thresholds = [{**spec.thresholds, **thresholds} for spec in specs]
        semblant = ensemble.rule == "semblance"
        self._half = round(SEMBLANCE_WINDOW * self._spec.sampling_rate / 2) if semblant else 0
        self._tracks: dict[Instrument, Gathering] = {}

    def add(self, member: int, chunks: Sequence[Chunk]) -> list[Chunk]:
        """Take final traces of one member; the merged ones that are final by them."""
        touched: dict[Instrument, Gathering] = {}
        for chunk in chunks:
            track = self._tracks.get(chunk.instrument)
            if track is None:
                track = self._tracks[chunk.instrument] = Gathering.of(len(self._ids), self._half)
            track.add(member, chunk)
            touched[chunk.instrument] = track
        return [chunk for item in touched.items() for chunk in self._merged(*item)]

    def flush(self, instrument: Instrument | None = None) -> list[Chunk]:
        """Everything that is left; what the members' own ends brought is in already.

        Parameters
        ----------
        instrument
            Of which; None for all.
        """
        chosen = list(self._tracks) if instrument is None else [instrument]
        tracks = [(each, self._tracks[each]) for each in chosen if each in self._tracks]
        return [chunk for each, track in tracks for chunk in self._merged(each, track, track.stop)]

    def reset(self) -> None:
        """Forget all traces."""
        self._tracks.clear()

    def agreeing(self, instrument: Instrument, label: str, onset: int, end: int) -> tuple[str, ...]:
        """Members that reach their own threshold themselves between two samples, both included."""
        track = self._tracks[instrument]
        row = self._rows[self._spec.labels.index(label)]
        found = []
        for member, at in enumerate(row):
            if at is None:
                continue
            trace = track.dense(member, onset, end + 1)
            threshold = np.float32(self._thresholds[member][label])
            if trace is not None and np.fmax.reduce(trace[at]) >= threshold:
                found.append(self._ids[member])
        return tuple(found)

    def release(self, instrument: Instrument, index: int) -> None:
        """Say that nobody will ask about samples before ``index`` any more."""
        track = self._tracks.get(instrument)
        if track is not None:
            track.release(index)

    def forget(self, instrument: Instrument) -> None:
        """Forget an instrument."""
        self._tracks.pop(instrument, None)

    def snapshot(self) -> list[dict[str, Any]]:
        """State as plain values and arrays."""
        return [
            {"instrument": list(instrument), **track.snapshot()}
            for instrument, track in self._tracks.items()
        ]

    def restore(self, state: list[dict[str, Any]]) -> None:
        """Take over a snapshot's state."""
        self._tracks.clear()
        for item in state:
            instrument = Instrument(*item["instrument"])
            owners = [instrument] * len(self._ids)
            self._tracks[instrument] = Gathering.restored(item, owners, self._half)

    # -----------------------------------------------------------------------------------------

    def _merged(
        self, instrument: Instrument, track: Gathering, stop: int | None = None
    ) -> list[Chunk]:
        def merge(first: int, last: int) -> Traces:
            return self._merge(track, first, last)

        return track.merged(instrument, len(self._rows), merge, stop)

    def _merge(self, track: Gathering, first: int, last: int) -> Traces:
        """Values of one stretch of merged traces."""
        low, high = first - self._half, last + self._half
        members = [track.dense(number, low, high) for number in range(len(self._ids))]
        values = np.full((len(self._rows), last - first), np.nan, dtype=np.float32)
        for number, row in enumerate(self._rows):
            having = [
                (member[at], share)
                for member, at, share in zip(members, row, self._shares, strict=True)
                if at is not None and member is not None
            ]
            if having:
                traces = np.array([trace for trace, _ in having], dtype=np.float64)
                shares = np.array([share for _, share in having])
                values[number] = self._rule_applied(traces, shares, low)
        return values

    def _rule_applied(self, traces: Floats, shares: Floats, start: int) -> Floats:
        if self._rule == "mean":
            return weighted_mean(traces, shares)
        if self._rule == "max":
            return np.asarray(np.fmax.reduce(traces))
        inner = slice(self._half, traces.shape[1] - self._half)
        highest = np.fmax.reduce(traces[:, inner])
        return np.asarray(semblance(traces, self._half, start) ** SEMBLANCE_ORDER * highest)
