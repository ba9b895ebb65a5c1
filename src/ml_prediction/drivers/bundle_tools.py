"""What `bundle` and `catalog` do: bundles in folders, with progress and an exit status."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from ml_prediction.drivers.progress import ConsoleProgress
from ml_prediction.explore.bundle import EventBundle
from ml_prediction.explore.bundle_folder import MANIFEST, plain_name
from ml_prediction.explore.bundle_recipe import MARKERS, SECTION, Recipe, build, failed_of
from ml_prediction.explore.bundle_waveforms import Asked, as_server
from ml_prediction.explore.catalog import BundleCatalog, Outcome
from ml_prediction.models import Ensemble, Model
from ml_prediction.models.choice import load_models
from ml_prediction.models.ensemble import Rule

DONE: Final = 0
FAILED: Final = 3
INCOMPLETE: Final = 4
ORIGINAL: Final = "original"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the options of both commands say."""

    events: str
    data: str | None
    pad: tuple[float, float]
    channels: tuple[str, ...]
    radius_km: float | None
    stations: tuple[str, ...] | None
    models: tuple[str, ...]
    weights: str | None
    combine: Rule | None
    probabilities: bool
    plot: bool
    markers: bool
    parallel: int
    timeout: float
    attempts: int
    again: bool

    def recipe(self, err: Console, quakeml: Path | None = None) -> Recipe:
        """The recipe; models are loaded."""

        def told(error: Exception, pause: float) -> None:
            err.print(f"{error} Again in {pause:g} s.", markup=False)

        def server(name: str) -> Any:
            return as_server(name, self.timeout, self.attempts, told)

        return Recipe(
            events=None if quakeml is not None else server(self.events),
            data=None if self.data is None else server(self.data),
            quakeml=quakeml,
            pad=self.pad,
            channels=self.channels,
            radius_km=self.radius_km,
            stations=self.stations,
            parallel=self.parallel,
            again=self.again,
            models=self._models(),
            probabilities=self.probabilities,
            plot=self.plot,
            markers=self.markers,
            told=lambda said: err.print(said, markup=False),
        )

    def _models(self) -> list[Model | Ensemble]:
        if not self.models:
            return []
        return load_models(self.models, self.weights or ORIGINAL, rule=self.combine)


def run_bundle(
    event: str,
    folder: Path,
    wanted: Wanted,
    quakeml: Path | None,
    snuffle: bool,
    out: Console,
    err: Console,
) -> int:
    """Make one bundle, and say what is in it; returns the exit status."""
    place = folder / plain_name(event)
    recipe = wanted.recipe(err, quakeml)
    with _Bar(err) as bar:
        bundle = build(event, place, replace(recipe, done=bar.update))
    lost = failed_of(bundle, recipe)  # before edits, which may change what is asked for
    if snuffle:
        edited = bundle.snuffle()
        if edited is not bundle:
            edited.save(place)
            bundle = edited
    for line in bundle.describe():
        out.print(line, markup=False)
    _tell_failures(bundle, lost, err)
    out.print(f"In {place}/: {', '.join(_names(place, wanted))}", markup=False)
    if lost:
        return FAILED
    return DONE if bundle.miniseed or wanted.data is None else INCOMPLETE


def run_edit(folder: Path, markers: Path, out: Console, *, remove_all: bool = False) -> int:
    """Read a person's markers back into a bundle."""
    bundle = EventBundle.load(folder)
    edited = bundle.from_markers(markers, remove_all=remove_all)
    if edited is bundle:
        out.print("The markers are those of the bundle; nothing to change.", markup=False)
        return DONE
    edited.save(folder)
    out.print(edited.notes[-1], markup=False)
    return DONE


def run_catalog(catalog: BundleCatalog, wanted: Wanted | None, out: Console, err: Console) -> int:
    """Make the bundles of a catalogue, and print its table; None: only list it."""
    if wanted is None:
        for line in catalog.describe():
            out.print(line, markup=False)
        out.print(f"{len(catalog)} events, in {catalog.folder}/.", markup=False)
        return DONE
    if not len(catalog):
        out.print(
            "The search found no earthquakes: widen it, with another --out.",
            markup=False,
        )
        return INCOMPLETE
    outcome = Outcome()
    recipe = wanted.recipe(err)
    complete = 0

    def rate(done: float, elapsed: float) -> str:
        return f"{done:.0f} of {len(catalog)} events"

    with ConsoleProgress(err, len(catalog), 0.0, label="events", rate=rate) as progress:
        for bundle in catalog.build(recipe, outcome, progress.update):
            complete += bundle.event_id not in outcome.failed
            out.print("; ".join(bundle.describe()), markup=False)
    for event_id, why in outcome.failed.items():
        err.print(f"failed: {event_id}: {why}", markup=False)
    complete -= len(outcome.empty)
    out.print(f"{complete} of {len(catalog)} bundles complete, in {catalog.folder}/.", markup=False)
    if outcome.empty:
        out.print(f"without waveforms: {', '.join(outcome.empty)}", markup=False)
    if outcome.failed:
        err.print("What was got is kept; the same command tries the rest again.", markup=False)
        return FAILED
    return INCOMPLETE if outcome.empty else DONE


def _tell_failures(bundle: EventBundle, lost: Sequence[Asked], err: Console) -> None:
    for each in lost[:5]:
        err.print(f"failed: {each}", markup=False)
    if len(lost) > 5:
        err.print(f"failed: {len(lost) - 5} more", markup=False)
    if lost:
        err.print("What was got is kept; the same command tries the rest again.", markup=False)
    elif bundle.failed:
        err.print(
            f"{len(bundle.failed)} requests of an earlier command failed, first "
            f"{bundle.failed[0]} That command tries them again.",
            markup=False,
        )


def _names(place: Path, wanted: Wanted) -> list[str]:
    extra = {SECTION: wanted.plot, MARKERS: wanted.markers}
    made = [name for name, is_made in extra.items() if is_made and (place / name).is_file()]
    return [MANIFEST, *made]


class _Bar:
    """Progress of one download, whose size is known when it begins."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: ConsoleProgress | None = None

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *reason: Any) -> None:
        self._close(*reason)

    def update(self, done: int, total: int) -> None:
        """Take bytes done, and in all."""
        if self._bar is None:
            self._bar = ConsoleProgress(
                self._console, total, 0.0, label="fetching", rate=_megabytes
            )
            self._bar.__enter__()
        self._bar.update(done)
        if done >= total:
            self._close(None, None, None)

    def _close(self, *reason: Any) -> None:
        if self._bar is not None:
            bar, self._bar = self._bar, None
            bar.__exit__(*reason)


def _megabytes(done: float, elapsed: float) -> str:
    return f"{done / 1e6:,.1f} MB (an estimate)"
