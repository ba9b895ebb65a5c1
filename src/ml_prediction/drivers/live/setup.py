"""A live run put together from a ``.d`` file and Earthworm's environment."""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np

from ml_prediction.config import PipelineConfig
from ml_prediction.core.pipeline import Pipeline
from ml_prediction.drivers.live.alarms import Alarm, Alarms
from ml_prediction.drivers.live.archive import Archive
from ml_prediction.drivers.live.ew_log import EarthwormLog
from ml_prediction.drivers.live.heart import Heart, Pulse
from ml_prediction.drivers.live.inlet import Inlet
from ml_prediction.drivers.live.journal import Journal
from ml_prediction.drivers.live.late_archive import LateArchive
from ml_prediction.drivers.live.live_run import (
    STATE_VERSION,
    LiveRun,
    Parts,
    check_state,
    place_of,
)
from ml_prediction.drivers.live.metrics import serve, write_status
from ml_prediction.drivers.live.outlet import Outlet
from ml_prediction.drivers.live.postman import Postman
from ml_prediction.drivers.live.probabilities import ProbabilityPoster
from ml_prediction.drivers.live.selection import Selection, select
from ml_prediction.drivers.live.selection_watch import SelectionWatch
from ml_prediction.drivers.live.silence import Silence
from ml_prediction.drivers.live.snapshots import SnapshotFile
from ml_prediction.drivers.live.twins import Twins, other_hearts
from ml_prediction.earthworm.config import LiveConfig
from ml_prediction.earthworm.flags import told_to_end
from ml_prediction.earthworm.logo import Logo
from ml_prediction.earthworm.ring import Ring, RingError, RingName
from ml_prediction.earthworm.tables import Tables
from ml_prediction.errors import ConfigurationError, DataError
from ml_prediction.models import Ensemble, Model, load_models
from ml_prediction.models.engine import ConcurrentEngine
from ml_prediction.sinks.earthworm import PickStyle
from ml_prediction.sources.earthworm import WaveformDecoder, decoders
from ml_prediction.util.machine import collections_spared

LOADING_SECONDS: Final = 600.0
"""The model may take so long to load: the first time, it is compiled."""

SMALL_BATCH: Final = 4
"""Windows of a pass of an engine that is not compiled: no pass is to last over half a second."""

LONGEST_PASS: Final = 0.5
"""Seconds."""

PROBABILITY_PATIENCE: Final = 0.05
ENDING_PATIENCE: Final = 0.3
"""Seconds to wait for a ring's lock: of the probabilities' ring, and when we are to end."""

WAIT_SECONDS: Final = 1.0
"""From one look for a ring that is not there to the next."""

_log = logging.getLogger(__name__)
Made = TypeVar("Made")


@dataclass(slots=True)
class Surroundings:
    """What a live run has around it.

    Attributes
    ----------
    config, tables
        Of the module and the system.
    installation
        Number of our installation.
    state_folder
        Where files go that outlive the process.
    log
        Its lost lines are told in the status.
    ending
        Whether a signal has asked us to end.
    """

    config: LiveConfig
    tables: Tables
    installation: int
    state_folder: Path
    log: EarthwormLog
    ending: Callable[[], bool]
    latest: dict[str, Any] = field(default_factory=dict)

    def logo(self, message: str) -> Logo:
        """Logo of our messages of a type."""
        return Logo(self.tables.message(message), self.config.my_module_id, self.installation)


def run_live(around: Surroundings) -> None:
    """One live run from its first heartbeat to its last.

    Raises
    ------
    RingError
        If a ring is not there, or no ring; run stand-alone, it is waited for.
    ConfigurationError
        If the model can't be loaded, or settings don't fit it.
    """
    config = around.config
    with ExitStack() as stack:
        outlet = _when_there(around, lambda: Outlet(config.out_ring), config.out_ring)
        if outlet is None:
            return
        stack.callback(outlet.close)
        pulse = Pulse()
        pulse.tick(LOADING_SECONDS)
        heart = Heart(
            outlet.put,
            around.logo("TYPE_HEARTBEAT"),
            config.heart_beat_int,
            pulse,
            lambda: _told_to_end(around, outlet),
        )
        heart.start()
        stack.callback(heart.end)
        alarms = Alarms(outlet.put, around.logo("TYPE_ERROR"))
        try:
            run = _assemble(around, stack, outlet, pulse, alarms)
            if run is not None:
                with collections_spared():
                    run.run()
        except Exception as error:
            engine = isinstance(error, RuntimeError)
            alarms.tell(Alarm.ENGINE if engine else Alarm.STATE, str(error))
            raise


def _assemble(
    around: Surroundings, stack: ExitStack, outlet: Outlet, pulse: Pulse, alarms: Alarms
) -> LiveRun | None:
    config, folder = around.config, around.state_folder
    selection = select(config.channels, config.station_file)
    (model,) = load_models(
        config.model,
        config.weights,
        rule=config.combine,
        shares=config.shares,
        threads=config.threads,
        engine=config.engine,
        calibration=config.calibration,
    )
    batch = min(filter(None, map(_warm_up, model.members)), default=None)
    for member in model.members:
        _log.info("%r by %s is ready", member, type(member.engine).__name__)
    snapshots = SnapshotFile(folder / "state")
    pipeline, state = _restored(
        lambda: _pipeline(config, model, selection, batch), snapshots, alarms
    )
    place = None if state is None else place_of(state)
    inlet = _when_there(
        around, lambda: Inlet(config.in_ring, config.get_logo, place), config.in_ring, pulse
    )
    if inlet is None:
        return None
    style = PickStyle(
        {name: around.logo(f"TYPE_{name}") for name in config.pick_format},
        config.s_component,
        config.phase_token,
    )
    postman = Postman(_journal(folder), outlet.put, style, config.pick_phases, alarms)
    parts = Parts(
        inlet=inlet,
        decoder=WaveformDecoder(
            decoders(around.tables),
            selection.wants,
            None if config.probability_ring is None else around.logo("TYPE_TRACEBUF2")[1:],
        ),
        pipeline=pipeline,
        most_waiting=config.queue_windows,
        postman=postman,
        snapshots=snapshots,
        snapshot_seconds=config.snapshot_int,
        silence=Silence(config.silence_timeout, _tail_seconds(config, model), pipeline.sites),
        alarms=alarms,
        pulse=pulse,
        told_to_end=lambda: _told_to_end(around, outlet, inlet),
        hurry=lambda: setattr(outlet, "patience", ENDING_PATIENCE),
        publish=_publisher(around, stack, alarms),
        more_status=lambda: {
            "log_lines_lost": around.log.lost,
            "rings_missing": int(inlet.missing) + int(outlet.ring is None),
            "model": model.spec.id,
            "pid": os.getpid(),
        },
        selection_watch=SelectionWatch(config, alarms),
        twins=_look_back(around, postman, alarms),
        probabilities=_probabilities(around, stack, model, selection, alarms, pulse),
        archive=_in_folder("Archive", config.archive, Archive),
        late_archive=_in_folder("LateArchive", config.late_archive, LateArchive),
    )
    run = LiveRun(parts)
    if state is not None:
        run.restore(state)
        _log.info("goes on with the state that was saved")
    inlet.start()
    stack.callback(inlet.end)
    return run


def _when_there(
    around: Surroundings, make: Callable[[], Any], name: RingName, pulse: Pulse | None = None
) -> Any:
    """What needs a ring; None if we are to end before it is there.

    Raises
    ------
    RingError
        If it is not there; run stand-alone, it is waited for.
    """
    told = False
    while not around.ending():
        try:
            return make()
        except RingError as error:
            if not around.config.stand_alone:
                raise
            if not told:
                _log.warning("%s Waiting for it.", error)
            told = True
            if pulse is not None:
                pulse.tick(LOADING_SECONDS)
            time.sleep(WAIT_SECONDS)
    return None


def _told_to_end(around: Surroundings, outlet: Outlet, inlet: Inlet | None = None) -> bool:
    rings = [outlet.ring, None if inlet is None else inlet.ring]
    attached = [ring for ring in rings if ring is not None]
    return around.ending() or told_to_end(
        attached, around.tables.flag_ring_key, os.getpid(), everybody=not around.config.stand_alone
    )


def _restored(
    make: Callable[[], Pipeline], snapshots: SnapshotFile, alarms: Alarms
) -> tuple[Pipeline, Any]:
    """A pipeline, and the state that it has taken over; None where there is none of use."""
    pipeline = make()
    try:
        state = snapshots.load()
        if state is None:
            return pipeline, None
        if state["version"] != STATE_VERSION:
            raise DataError("it was saved by another version")
        check_state(state)
        pipeline.restore_state(state["pipeline"])
        return pipeline, state
    except (DataError, OSError, LookupError, TypeError, ValueError, AttributeError) as error:
        alarms.tell(Alarm.STATE, f"the saved state {snapshots.path} can't be used: {error}")
        return make(), None


def _look_back(around: Surroundings, postman: Postman, alarms: Alarms) -> Twins:
    """See what an earlier run has sent, in a ring of our own: others may lose the outlet's."""
    config, beats = around.config, around.logo("TYPE_HEARTBEAT")
    hearts: list[int] = []
    try:
        with closing(Ring(config.out_ring)) as ring:
            waiting = postman.look_back(ring)
            hearts = other_hearts(ring, beats, config.heart_beat_int, time.time())
    except RingError as error:
        _log.warning("%s What it has of ours can't be seen.", error)
    else:
        if waiting:
            _log.info("%d picks of an earlier run are still to be sent", waiting)
    return Twins(hearts, f"{config.my_module_name} in ring {config.out_ring.name}", alarms)


def _tail_seconds(config: LiveConfig, model: Model | Ensemble) -> float:
    """Seconds of silence in which an instrument's last windows close."""
    specs = [member.spec for member in model.members]
    windows = [(s.in_samples + (config.stride or s.stride)) / s.sampling_rate for s in specs]
    return max(windows) + config.allowed_lateness + 10.0


def _pipeline(
    config: LiveConfig, model: Model | Ensemble, selection: Selection, batch: int | None
) -> Pipeline:
    settings = PipelineConfig.make(
        stride=config.stride,
        horizon=config.horizon,
        thresholds=dict(config.threshold),
        stacking=config.stacking,
        blinding=config.blinding,
        lateness=config.allowed_lateness,
        one_component=config.one_component,
        site=config.site,
        quality=config.quality_table,
        batch_size=batch,
    )
    return Pipeline(
        model,
        settings,
        expected=selection.declared,
        inventory=selection.inventory,
        run_id=f"{config.my_module_name}-{config.name}",
        probabilities=config.probability_ring is not None,
        queue=config.queue_windows,
    )


def _warm_up(model: Model) -> int | None:
    """Let the engine compile what it compiles at the first pass.

    Returns
    -------
    int or None
        Windows of a pass, so that none lasts over half a second here; None for the engine's own.
    """
    spec = model.spec
    sizes = {SMALL_BATCH}
    if isinstance(model.engine, ConcurrentEngine):
        sizes = {1, 4, 16, model.engine.batch_size}
    for size in sorted(sizes):
        windows = np.zeros((size, len(spec.components), spec.in_samples), dtype=np.float32)
        model.engine(windows)
    started = time.perf_counter()
    model.engine(windows)
    seconds = time.perf_counter() - started
    if seconds > LONGEST_PASS:
        return max(1, 1 << (int(size * LONGEST_PASS / seconds).bit_length() - 1))
    return None if isinstance(model.engine, ConcurrentEngine) else SMALL_BATCH


def _journal(folder: Path) -> Journal:
    try:
        return Journal(folder / "picks.journal")
    except OSError as error:
        raise ConfigurationError(
            f"{folder / 'picks.journal'} can't be used ({error.strerror}): make room, or name "
            "another StateDir."
        ) from error


def _in_folder(keyword: str, folder: Path | None, make: Callable[[Path], Made]) -> Made | None:
    """What writes into a folder that the configuration names, if it does.

    Raises
    ------
    ConfigurationError
        If it can't be made, or not be written to.
    """
    if folder is None:
        return None
    try:
        made = make(folder)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise ConfigurationError(
            f"{keyword} {folder} can't be used ({error.strerror}): name another folder."
        ) from error
    return made


def _probabilities(
    around: Surroundings,
    stack: ExitStack,
    model: Model | Ensemble,
    selection: Selection,
    alarms: Alarms,
    pulse: Pulse,
) -> ProbabilityPoster | None:
    name = around.config.probability_ring
    if name is None:
        return None
    outlet = _when_there(around, lambda: Outlet(name, PROBABILITY_PATIENCE), name, pulse)
    if outlet is None:
        return None
    stack.callback(outlet.close)
    logo = around.logo("TYPE_TRACEBUF2")
    return ProbabilityPoster(outlet.put, logo, model.spec, selection.declared, alarms)


def _publisher(
    around: Surroundings, stack: ExitStack, alarms: Alarms
) -> Callable[[dict[str, Any]], None]:
    """What takes the newest status: for the file, and for whoever asks for metrics."""
    config = around.config
    told = 0

    def publish(status: dict[str, Any]) -> None:
        nonlocal told
        around.latest = status
        lost = around.log.lost
        if lost > told:  # the alarm itself may be a line that is lost
            alarms.tell(Alarm.DISK, "the log can't be written", lost - told)
            told = lost
        if config.status_file is not None:
            try:
                write_status(config.status_file, status)
            except OSError as error:
                alarms.tell(Alarm.DISK, f"{config.status_file} can't be written: {error}")

    if config.metrics_port is not None:
        stack.callback(serve(lambda: around.latest, config.metrics_port, config.metrics_address))
    return publish
