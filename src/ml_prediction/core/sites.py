"""Sites: instruments side by side at one place, of which the probability traces are merged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np

from ml_prediction.config import SiteRule
from ml_prediction.core.channel import FOREVER
from ml_prediction.core.coherence import weighted_mean
from ml_prediction.core.gathering import Gathering, Traces
from ml_prediction.core.history import Flags
from ml_prediction.core.intake import STAND_INS
from ml_prediction.core.packets import runs
from ml_prediction.core.postprocessing import Chunk
from ml_prediction.core.summary import Summary
from ml_prediction.models.spec import ModelSpec
from ml_prediction.util.codes import NSLC, Instrument

Site = tuple[Instrument, ...]
"""Instruments of one network, station and location code; the first one gives it its name."""

CLIPPED: Final = 6e6
"""Counts from which on a seismometer counts as clipped: 72 % of what 24 bits hold, the threshold
of the amplitude test in Kleckner et al. (2022), Automated detection of clipping in broadband
earthquake records, Seismological Research Letters 93, 880-896."""

BANDS: Final = frozenset("FGDCEHSB")
"""Band codes of 10 Hz and more (FDSN); what is slower never gives a window."""

SEISMOMETERS: Final = frozenset("HP")
"""Instrument codes (FDSN) of high-gain seismometers and geophones, which clip in strong motion."""

INSTRUMENTS: Final = SEISMOMETERS | frozenset("LNG")
"""With low-gain seismometers and accelerometers (G in older codes): those that make a site."""


def sites_of(channels: Iterable[NSLC]) -> list[Site]:
    """Sites among some channels, each of two instruments or more; seismometers come first."""
    groups: dict[tuple[str, str, str], set[Instrument]] = {}
    for nslc in channels:
        instrument, component = nslc.instrument, nslc.component
        usable = component in "ZNE" or component in STAND_INS
        band, kind = (*instrument.prefix, "", "")[:2]
        if usable and len(instrument.prefix) == 2 and band in BANDS and kind in INSTRUMENTS:
            groups.setdefault(instrument[:3], set()).add(instrument)
    several = [group for _, group in sorted(groups.items()) if len(group) > 1]
    return [tuple(sorted(group, key=_rank)) for group in several]


class Counts(Protocol):
    """Where it is looked up whether an instrument has clipped."""

    def loud(self, instrument: Instrument, start: int, stop: int, counts: float) -> Flags:
        """Samples at which some channel reaches so many counts, shape (stop - start,)."""
        ...


@dataclass(slots=True)
class _Track:
    """What is under way at one site."""

    gathering: Gathering
    clips: dict[int, list[list[int]]] = field(default_factory=dict)  # of a member: first, stop


class SiteMerger:
    """Merges the traces of the instruments of each site; others go through as they are.

    A sample for which an instrument has no probability is left to the others, and so is one for
    which a seismometer has clipped: from the first sample that reaches `CLIPPED` counts until no
    window holds it any more.

    Parameters
    ----------
    spec
        The model, or the ensemble as one.
    rule
        How traces are merged.
    sites
        Which instruments belong together.
    hold
        Samples for which a clipped one spoils the traces after it: the longest window.
    thresholds
        Of the labels that are picked.
    counts
        The data.
    agreeing
        Of an ensemble: members that agree on a pick of one instrument. None for a single model.
    summary
        Where things are counted.
    """

    def __init__(
        self,
        spec: ModelSpec,
        rule: SiteRule,
        sites: Sequence[Site],
        *,
        hold: int,
        thresholds: Mapping[str, float],
        counts: Counts,
        agreeing: Callable[[Instrument, str, int, int], tuple[str, ...]] | None = None,
        summary: Summary | None = None,
    ) -> None:
        self._spec = spec
        self._rule = rule
        self._hold = hold
        self._thresholds = thresholds
        self._counts = counts
        self._agreeing = agreeing
        self._summary = summary or Summary()
        self._sites = {instrument: site for site in sites for instrument in site}
        self._tracks: dict[Site, _Track] = {}

    # -- in and out ---------------------------------------------------------------------------

    def members(self, instrument: Instrument) -> Site:
        """The instruments of a site of which one is named; that one, where it is alone."""
        return self._sites.get(instrument, (instrument,))

    def add(self, chunks: Sequence[Chunk]) -> list[Chunk]:
        """Take final traces of instruments; those of sites that are final by them, and others."""
        found: list[Chunk] = []
        touched: dict[Site, _Track] = {}
        for chunk in chunks:
            site = self._sites.get(chunk.instrument)
            if site is None:
                found.append(chunk)
                continue
            touched[site] = self._take(site, chunk)
        return found + [chunk for item in touched.items() for chunk in self._merged(*item)]

    def pass_over(self, instrument: Instrument, index: int = FOREVER) -> list[Chunk]:
        """Do not wait for what an instrument may have before an index."""
        site = self._sites.get(instrument)
        if site is None:
            return []
        track = self._track(site)
        track.gathering.pass_over(site.index(instrument), index)
        return self._merged(site, track)

    def flush(self) -> list[Chunk]:
        """Everything that is left."""
        return [
            chunk
            for site, track in self._tracks.items()
            for chunk in self._merged(site, track, track.gathering.stop)
        ]

    def reset(self) -> None:
        """Forget all traces."""
        self._tracks.clear()

    def forget(self, instrument: Instrument) -> None:
        """Forget all that is under way at an instrument's site."""
        self._tracks.pop(self.members(instrument), None)

    def release(self, instrument: Instrument, index: int) -> None:
        """Say that nobody will ask about a site's samples before ``index`` any more."""
        track = self._tracks.get(self.members(instrument))
        if track is None:
            return
        track.gathering.release(index)
        for spans in track.clips.values():
            while spans and spans[0][1] <= index:
                del spans[0]

    # -- what later stages ask ----------------------------------------------------------------

    def lead(self, instrument: Instrument, label: str, index: int) -> Instrument:
        """Instrument of a site that has the highest probability itself; the first of equals."""
        site = self._sites.get(instrument)
        if site is None:
            return instrument
        stack, _ = self._stacked(self._tracks[site], index, index + 1)
        values = stack[:, self._spec.labels.index(label), 0]
        return site[int(np.argmax(np.where(np.isnan(values), -1.0, values)))]

    def agreeing(self, instrument: Instrument, label: str, onset: int, end: int) -> tuple[str, ...]:
        """Who reaches the threshold itself between two samples, both included.

        Returns
        -------
        tuple of str
            Models, and the instruments that they agree on: ``EQTransformer:original@HH``. Where
            an instrument is alone, only models.
        """
        site = self._sites.get(instrument)
        if site is None:
            return self._models(instrument, label, onset, end)
        stack, _ = self._stacked(self._tracks[site], onset, end + 1)
        highest = np.fmax.reduce(stack[:, self._spec.labels.index(label)], axis=1)
        found: list[str] = []
        for member, value in zip(site, highest, strict=True):
            alone = value >= np.float32(self._thresholds[label])
            if alone if self._agreeing is None else not np.isnan(value):
                models = self._models(member, label, onset, end)
                found += [f"{model}@{member.prefix}" for model in models]
        return tuple(found)

    def recorded(
        self, instrument: Instrument, first: int, last: int
    ) -> list[tuple[Instrument, int, int]]:
        """Stretches of a site's traces, each with the first instrument that was recorded there."""
        site = self._sites.get(instrument)
        if site is None:
            return [(instrument, first, last)]
        gathering = self._tracks[site].gathering
        free = np.ones(last - first, dtype=np.bool_)
        found = []
        for number, member in enumerate(site):
            here = free & gathering.valid(first, last, number)
            found += [(first + a, first + b, member) for a, b in runs(here)]
            free &= ~here
        return [(member, a, b) for a, b, member in sorted(found)]

    # -- state --------------------------------------------------------------------------------

    def snapshot(self) -> list[dict[str, Any]]:
        """State as plain values and arrays."""
        return [
            {
                "instrument": list(site[0]),
                "clips": [[m, [list(span) for span in spans]] for m, spans in track.clips.items()],
                **track.gathering.snapshot(),
            }
            for site, track in self._tracks.items()
        ]

    def restore(self, state: list[dict[str, Any]]) -> None:
        """Take over a snapshot's state."""
        self._tracks.clear()
        for item in state:
            site = self._sites[Instrument(*item["instrument"])]
            clips = {member: [list(span) for span in spans] for member, spans in item["clips"]}
            self._tracks[site] = _Track(Gathering.restored(item, site), clips)

    # -----------------------------------------------------------------------------------------

    def _track(self, site: Site) -> _Track:
        track = self._tracks.get(site)
        if track is None:
            track = self._tracks[site] = _Track(Gathering.of(len(site)))
        return track

    def _models(self, instrument: Instrument, label: str, onset: int, end: int) -> tuple[str, ...]:
        if self._agreeing is None:
            return (self._spec.id,)
        return self._agreeing(instrument, label, onset, end)

    def _take(self, site: Site, chunk: Chunk) -> _Track:
        """Take a final trace of one instrument, and note where it has clipped."""
        track, member = self._track(site), site.index(chunk.instrument)
        late = track.gathering.add(member, chunk)
        self._summary.skip("probabilities", "late for their site", late, chunk.instrument)
        if chunk.instrument.prefix[1] in SEISMOMETERS and chunk.start < chunk.stop:
            loud = self._counts.loud(chunk.instrument, chunk.start, chunk.stop, CLIPPED)
            for first, last in runs(loud):
                self._note_clip(track, member, chunk.start + first, chunk.start + last)
        return track

    def _note_clip(self, track: _Track, member: int, first: int, last: int) -> None:
        """Leave a member out from its clipped samples on."""
        spans = track.clips.setdefault(member, [])
        if spans and first <= spans[-1][1]:
            spans[-1][1] = last + self._hold
        else:
            spans.append([first, last + self._hold])

    def _merged(self, site: Site, track: _Track, stop: int | None = None) -> list[Chunk]:
        def merge(first: int, last: int) -> Traces:
            return self._merge(site, track, first, last)

        return track.gathering.merged(site[0], len(self._spec.labels), merge, stop)

    def _merge(self, site: Site, track: _Track, first: int, last: int) -> Traces:
        stack, left_out = self._stacked(track, first, last)
        for number in track.clips:
            self._summary.note("clipped", int(left_out[number].any(axis=0).sum()), site[number])
        if self._rule == "max":
            return np.asarray(np.fmax.reduce(stack))
        if not np.isnan(stack).any():  # the usual case; the same bits
            total = np.add.reduce(stack, axis=0, dtype=np.float64)
            return np.asarray(total / len(site), dtype=np.float32)
        rows = stack.reshape(len(site), -1).astype(np.float64)
        mean = weighted_mean(rows, np.ones(len(site))).astype(np.float32)
        return mean.reshape(stack.shape[1:])

    def _stacked(self, track: _Track, first: int, last: int) -> tuple[Traces, Flags]:
        """Traces as they are merged, and where clipped ones are left out, hence NaN.

        Both have the shape (member, label, sample).
        """
        count = len(track.gathering.chunks)
        nothing = np.full((len(self._spec.labels), last - first), np.nan, dtype=np.float32)
        traces = [track.gathering.dense(member, first, last) for member in range(count)]
        stack = np.array([nothing if each is None else each for each in traces])
        left_out = np.zeros(stack.shape, dtype=np.bool_)
        for member, spans in track.clips.items():
            for start, stop in spans:
                left_out[member, :, max(start - first, 0) : max(stop - first, 0)] = True
        if left_out.any():
            known = ~np.isnan(stack)
            left_out &= known & (known & ~left_out).any(axis=0)  # if another has a number
            stack[left_out] = np.nan
        return stack, left_out


def _rank(instrument: Instrument) -> tuple[bool, Instrument]:
    """Seismometers before accelerometers, then by name."""
    return instrument.prefix[1] not in SEISMOMETERS, instrument
