"""The steps of a bundle in a folder, one after the other, each saved; what is done stays done."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ml_prediction.data.fdsn import Server
from ml_prediction.errors import ConfigurationError
from ml_prediction.explore.bundle import EventBundle
from ml_prediction.explore.bundle_choice import choice_of
from ml_prediction.explore.bundle_extent import extent_of
from ml_prediction.explore.bundle_folder import is_bundle
from ml_prediction.explore.bundle_picks import run_ids
from ml_prediction.explore.bundle_steps import key_of
from ml_prediction.explore.bundle_waveforms import CHANNELS, Asked
from ml_prediction.models import Model
from ml_prediction.models.ensemble import Ensemble

CACHE: Final = ".fetch"
SECTION: Final = "section.png"
MARKERS: Final = "picks.markers"


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a bundle is made.

    Attributes
    ----------
    events
        Server of ComCat; None: the QuakeML of `quakeml`.
    data
        Data centre of waveforms and stations; None: neither.
    quakeml
        File with the event, instead of ComCat.
    pad, channels, radius_km, stations, parallel, again
        As of `EventBundle.fetch_waveforms`.
    models
        That pick; none: no picks.
    probabilities
        Keep the probability traces.
    plot, markers
        Write section.png, picks.markers.
    libcomcat
        As of `EventBundle.from_comcat`.
    """

    events: Server | None
    data: Server | None
    quakeml: Path | None = None
    pad: tuple[float, float] = (60.0, 60.0)
    channels: tuple[str, ...] = CHANNELS
    radius_km: float | None = None
    stations: tuple[str, ...] | None = None
    parallel: int = 4
    again: bool = False
    models: Sequence[Model | Ensemble] = ()
    probabilities: bool = False
    plot: bool = False
    markers: bool = False
    libcomcat: bool | None = None
    told: Callable[[str], None] = field(default=lambda said: None)
    done: Callable[[int, int], None] | None = None


def build(event_id: str, folder: Path, recipe: Recipe) -> EventBundle:
    """Make a bundle, or go on with one that is there.

    Each step is saved before the next. A step that a server fails leaves what there is.

    Parameters
    ----------
    event_id
        What the bundle is called.
    folder
        Of the bundle alone.
    recipe
        How.

    Raises
    ------
    ServiceError
        If a server fails; what came before it is saved.
    ConfigurationError, DataError
        As the steps.
    """
    bundle = _start(event_id, folder, recipe)
    before = bundle.miniseed
    if recipe.data is not None:
        bundle = _fetch(bundle, folder, recipe, recipe.data)
    if recipe.models and bundle.miniseed:
        bundle = _pick(bundle, folder, recipe, before)
    if recipe.markers:
        bundle.save_markers(folder / MARKERS)
    if recipe.plot and bundle.miniseed:
        bundle.plot(folder / SECTION)
    return bundle


def failed_of(bundle: EventBundle, recipe: Recipe) -> tuple[Asked, ...]:
    """What failed of what a recipe asks for; an earlier one may have asked for more."""
    if recipe.data is None or not bundle.failed:
        return ()
    choice = choice_of(recipe.pad, recipe.channels, recipe.radius_km, recipe.stations)
    extent = extent_of(bundle, choice)
    return () if key_of(recipe.data, extent) in bundle.fetched else bundle.failed


def _start(event_id: str, folder: Path, recipe: Recipe) -> EventBundle:
    if is_bundle(folder):
        bundle = EventBundle.load(folder)
        if recipe.quakeml is not None:
            _check_same(bundle, recipe.quakeml, folder)
        return bundle
    if recipe.quakeml is not None:
        bundle = EventBundle.from_quakeml(recipe.quakeml, event_id)
    elif recipe.events is not None:
        recipe.told(f"{event_id}: asking {recipe.events.name} for the event.")
        bundle = EventBundle.from_comcat(event_id, recipe.events, libcomcat=recipe.libcomcat)
    else:
        raise ConfigurationError(f"{event_id}: name a server of events, or a QuakeML file.")
    bundle.save(folder)
    return bundle


def _check_same(bundle: EventBundle, quakeml: Path, folder: Path) -> None:
    """A document that a bundle does not have must not be passed over in silence."""
    given = EventBundle.from_quakeml(quakeml, bundle.event_id)
    # Of several events one is written anew, with other bytes each time.
    if given.quakeml != bundle.quakeml and given.event != bundle.event:
        raise ConfigurationError(
            f"{folder} has a bundle already, of another event or another state of it than "
            f"{quakeml}: leave out --quakeml to go on with it, or choose another --out."
        )


def _fetch(bundle: EventBundle, folder: Path, recipe: Recipe, server: Server) -> EventBundle:
    fetched = bundle.fetch_waveforms(
        server,
        recipe.pad,
        recipe.channels,
        radius_km=recipe.radius_km,
        stations=recipe.stations,
        parallel=recipe.parallel,
        again=recipe.again,
        cache=folder / CACHE,
        done=recipe.done,
    )
    if fetched is not bundle:
        fetched.save(folder)
        shutil.rmtree(folder / CACHE, ignore_errors=True)
        bundle = fetched
    with_stations = bundle.fetch_stations(server) if bundle.miniseed else bundle
    if with_stations is not bundle:
        with_stations.save(folder)
    return with_stations


def _pick(
    bundle: EventBundle, folder: Path, recipe: Recipe, before: Mapping[str, bytes]
) -> EventBundle:
    """Have the models pick that have not, or all where waveforms have come."""
    fresh = bundle.miniseed != before
    waiting = [
        model
        for model in recipe.models
        if fresh
        or not set(run_ids(model, {})) <= set(bundle.picked_by)
        or (recipe.probabilities and model.spec.id not in bundle.probabilities)
    ]
    if not waiting:
        return bundle
    names = ", ".join(model.spec.id for model in waiting)
    recipe.told(f"{bundle.event_id}: {names} on {len(bundle.miniseed)} channels.")
    bundle = bundle.pick(waiting, probabilities=recipe.probabilities)
    bundle.save(folder)
    return bundle
