"""What a person did to the markers of a bundle: each marker is found again, changed, new or gone.

Markers have no names. One is a pick's if channel, phase and span are the same to a millisecond,
which is how finely snuffler saves them. What is left is matched within its channel: the same span
with another phase, polarity or origin, then the nearest of the same phase.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, Any, Final

from obspy.core.event import (
    Comment,
    CreationInfo,
    Event,
    QuantityError,
    ResourceIdentifier,
    WaveformStreamID,
)
from obspy.core.event import Pick as CataloguePick

from ml_prediction.core.results import Pick
from ml_prediction.errors import DataError
from ml_prediction.explore.events import one_event
from ml_prediction.explore.markers import Mark, load_markers, marks_of
from ml_prediction.util.codes import NSLC
from ml_prediction.util.times import NANOSECONDS, isoformat, seconds_to_ns, to_ns, to_utc

if TYPE_CHECKING:
    from ml_prediction.explore.bundle import EventBundle

ROUNDING_NS: Final = NANOSECONDS // 1000
FARTHEST_NS: Final = 60 * NANOSECONDS
"""A marker that is farther away than this is another pick."""
_POLARITIES: Final = {1: "positive", -1: "negative"}


@dataclass(frozen=True, slots=True)
class Shown:
    """A marker as it came back; ``polarity`` 0 is up or down, nobody knows."""

    code: NSLC
    phase: str
    start_ns: int
    end_ns: int
    polarity: int | None
    automatic: bool

    @property
    def time_ns(self) -> int:
        """Middle of the span, to the microsecond."""
        return (self.start_ns + self.end_ns + 1000) // 2000 * 1000

    @property
    def sigma(self) -> float | None:
        """Half the span in seconds; None if it is none."""
        half = (self.end_ns - self.start_ns) / 2
        return half / NANOSECONDS if half >= 1000 else None


@dataclass(slots=True)
class Edits:
    """What was done.

    Attributes
    ----------
    event
        Changed copy of the event; None if it is as it was.
    picks
        The models' picks that are left.
    kept, moved, renamed, added, removed
        Numbers of markers: as they were, at another time or span, with another phase, polarity or
        by a person now, new, and gone.
    unused
        Markers that are no phase on one channel.
    gone
        What each removed pick was.
    """

    event: Event | None = None
    picks: tuple[Pick, ...] = ()
    kept: int = 0
    moved: int = 0
    renamed: int = 0
    added: int = 0
    removed: int = 0
    unused: int = 0
    gone: list[str] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        """Whether anything was done."""
        return bool(self.moved or self.renamed or self.added or self.removed)

    @property
    def sentence(self) -> str:
        """What was done, in words."""
        said = (
            f"markers read back: {self.kept} as they were, {self.moved} moved, {self.renamed} "
            f"renamed or confirmed, {self.added} added, {self.removed} removed"
        )
        if self.unused:
            said += f", {self.unused} that are no phase of one channel left out"
        return said + (f"; removed: {'; '.join(self.gone)}" if self.gone else "")


def read_edits(
    bundle: EventBundle,
    markers: str | PathLike[str] | Sequence[Any],
    *,
    remove_all: bool = False,
) -> Edits:
    """Compare markers with those of a bundle; see `EventBundle.from_markers`."""
    given = load_markers(markers) if isinstance(markers, str | PathLike) else list(markers)
    edits = Edits()
    shown = list(_shown(given, edits))
    event = one_event(bundle.quakeml, f"QuakeML of {bundle.event_id}")[0]
    known = list(marks_of(event, bundle.picks))
    left = _Left(known, shown)
    edits.kept = len(left.pair(_same))
    changes = [*left.pair(_same_span), *left.nearest()]
    if known and not edits.kept and not changes and not remove_all:
        name = str(markers) if isinstance(markers, str | PathLike) else "what was given"
        raise DataError(_nothing_left(bundle.event_id, name, known, shown))
    dropped: set[str] = set()
    for mark, marker in changes:
        moved = abs(marker.start_ns - mark.start_ns) + abs(marker.end_ns - mark.end_ns)
        if moved > 2 * ROUNDING_NS:
            edits.moved += 1
        else:
            edits.renamed += 1
        if isinstance(mark.pick, Pick):
            dropped.add(mark.pick.id)
            event.picks.append(_adopted(mark.pick, marker))
        else:
            _change(event, mark, marker)
    for mark in left.marks:
        edits.removed += 1
        edits.gone.append(f"{mark.code} {mark.phase} {isoformat(to_utc(_middle(mark)))}")
        if isinstance(mark.pick, Pick):
            dropped.add(mark.pick.id)
        else:
            _reject(event, mark.pick)
    for marker in left.shown:
        edits.added += 1
        event.picks.append(_new(marker))
    edits.picks = tuple(pick for pick in bundle.picks if pick.id not in dropped)
    touched = any(not isinstance(m.pick, Pick) for m in (*(c[0] for c in changes), *left.marks))
    if touched or changes or left.shown:
        edits.event = event
    return edits


def _nothing_left(event_id: str, name: str, known: Sequence[Mark], shown: Sequence[Shown]) -> str:
    """Why none of the picks would be left, most likely, and what to do."""
    stations = {(mark.code.network, mark.code.station) for mark in known}
    if not shown:
        why = "has no phase markers"
    elif not any((each.code.network, each.code.station) in stations for each in shown):
        there = sorted({f"{each.code.network}.{each.code.station}" for each in shown})
        more = f" and {len(there) - 3} more" if len(there) > 3 else ""
        why = f"has markers of {', '.join(there[:3])}{more}, where {event_id} has no picks"
    else:
        why = f"has no marker of the phase, channel and time of any pick of {event_id}"
    return (
        f"{name} {why}: all {len(known)} picks would be removed; give the markers of this "
        "bundle, or say --remove-all (remove_all=True)."
    )


class _Left:
    """Marks and markers that have not found each other yet."""

    def __init__(self, marks: Iterable[Mark], shown: Iterable[Shown]) -> None:
        self.marks = list(marks)
        self.shown = list(shown)

    def pair(self, alike: Callable[[Mark, Shown], bool]) -> list[tuple[Mark, Shown]]:
        """Pairs of one channel that are alike, each taken out."""
        waiting: dict[NSLC, list[Shown]] = defaultdict(list)
        for marker in self.shown:
            waiting[marker.code].append(marker)
        pairs = []
        for mark in self.marks:
            found = next((m for m in waiting[mark.code] if alike(mark, m)), None)
            if found is not None:
                waiting[mark.code].remove(found)
                pairs.append((mark, found))
        return self._without(pairs)

    def nearest(self) -> list[tuple[Mark, Shown]]:
        """Pairs of one channel and phase, the nearest first; of the same kind of maker before."""
        waiting: dict[tuple[NSLC, str], list[Shown]] = defaultdict(list)
        for marker in self.shown:
            waiting[marker.code, marker.phase].append(marker)
        candidates = [
            (
                mark.automatic != marker.automatic,
                abs(_middle(mark) - marker.time_ns),
                i,
                j,
                mark,
                marker,
            )
            for i, mark in enumerate(self.marks)
            for j, marker in enumerate(waiting[mark.code, mark.phase])
        ]
        pairs: list[tuple[Mark, Shown]] = []
        used: set[int] = set()
        for _, distance, _, _, mark, marker in sorted(candidates, key=lambda c: c[:4]):
            if distance <= FARTHEST_NS and not {id(mark), id(marker)} & used:
                used |= {id(mark), id(marker)}
                pairs.append((mark, marker))
        return self._without(pairs)

    def _without(self, pairs: list[tuple[Mark, Shown]]) -> list[tuple[Mark, Shown]]:
        taken = {id(each) for pair in pairs for each in pair}
        self.marks = [mark for mark in self.marks if id(mark) not in taken]
        self.shown = [marker for marker in self.shown if id(marker) not in taken]
        return pairs


def _same_span(mark: Mark, marker: Shown) -> bool:
    return (
        abs(mark.start_ns - marker.start_ns) <= ROUNDING_NS
        and abs(mark.end_ns - marker.end_ns) <= ROUNDING_NS
    )


def _same(mark: Mark, marker: Shown) -> bool:
    return (
        _same_span(mark, marker)
        and mark.phase == marker.phase
        and mark.automatic == marker.automatic
        and mark.polarity == (marker.polarity or None)
    )


def _shown(markers: Iterable[Any], edits: Edits) -> Iterable[Shown]:
    from ml_prediction.explore.markers import pyrocko_markers

    kinds = pyrocko_markers()
    for marker in markers:
        if isinstance(marker, kinds.EventMarker):
            continue
        codes = list(marker.nslc_ids or ())
        wild = any(letter in part for code in codes for part in code for letter in "*?")
        if not isinstance(marker, kinds.PhaseMarker) or not codes or wild:
            edits.unused += 1
            continue
        for code in codes:
            yield Shown(
                NSLC.clean(*code[:4]),
                marker.get_phasename() or "",
                seconds_to_ns(float(marker.tmin)),
                seconds_to_ns(float(marker.tmax)),
                marker.get_polarity(),
                bool(marker._automatic),  # there is no other way to it
            )


def _middle(mark: Mark) -> int:
    return (mark.start_ns + mark.end_ns) // 2


def _change(event: Event, mark: Mark, marker: Shown) -> None:
    """Give a catalogue pick what its marker says now."""
    pick = mark.pick
    assert isinstance(pick, CataloguePick)
    arrivals = [a for o in event.origins for a in o.arrivals if a.pick_id == pick.resource_id]
    if not _same_span(mark, marker):
        later = (marker.time_ns - to_ns(pick.time)) / NANOSECONDS
        pick.time = to_utc(marker.time_ns)
        pick.time_errors = QuantityError(uncertainty=marker.sigma)
        pick.comments.append(Comment(text=f"moved by {later:+.3f} s in snuffler"))
        for arrival in arrivals:
            if arrival.time_residual is not None:
                arrival.time_residual += later
    if marker.phase != mark.phase:
        pick.phase_hint = marker.phase or None
        for arrival in arrivals:
            arrival.phase = marker.phase
        pick.comments.append(Comment(text=f"{mark.phase or 'no phase'} before, in snuffler"))
    if (marker.polarity or None) != mark.polarity:
        pick.polarity = _POLARITIES.get(marker.polarity or 0, "undecidable")
    pick.evaluation_mode = "automatic" if marker.automatic and mark.automatic else "manual"


def _reject(event: Event, pick: CataloguePick) -> None:
    """Keep a pick's record, but use it no more."""
    pick.evaluation_status = "rejected"
    for origin in event.origins:
        for arrival in origin.arrivals:
            if arrival.pick_id == pick.resource_id:
                arrival.time_weight = 0.0


def _new(marker: Shown) -> CataloguePick:
    text = f"{marker.code}/{marker.phase}/{marker.time_ns}"
    codes = marker.code
    return CataloguePick(
        resource_id=ResourceIdentifier(
            f"smi:local/ml_prediction/marker/{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        ),
        time=to_utc(marker.time_ns),
        time_errors=QuantityError(uncertainty=marker.sigma),
        waveform_id=WaveformStreamID(
            codes.network, codes.station, codes.location, codes.channel or None
        ),
        phase_hint=marker.phase or None,
        polarity=_POLARITIES.get(marker.polarity or 0),
        evaluation_mode="automatic" if marker.automatic else "manual",
        creation_info=CreationInfo(author="snuffler"),
    )


def _adopted(pick: Pick, marker: Shown) -> CataloguePick:
    """An ML pick that a person has changed is that person's."""
    new = _new(marker)
    new.evaluation_mode = "manual"
    new.comments.append(
        Comment(
            text=f"from {pick.model_id}'s pick {pick.id} at {isoformat(pick.time)}, sigma "
            f"{pick.sigma:.4f} s, probability {pick.probability:.4f}"
        )
    )
    return new
