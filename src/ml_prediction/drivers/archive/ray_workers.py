"""Units of work on a Ray cluster. Everything that touches Ray is in this module."""

from __future__ import annotations

import logging
import math
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from ml_prediction.drivers.archive.picking import UnitPicks
from ml_prediction.drivers.archive.plan import Station, Unit
from ml_prediction.drivers.archive.workers import (
    LOOK_SECONDS,
    Failure,
    Job,
    Outcome,
    attempt,
)
from ml_prediction.drivers.report import versions
from ml_prediction.drivers.run_config import RunConfig
from ml_prediction.drivers.share import load_configured
from ml_prediction.drivers.signals import children_spared
from ml_prediction.errors import ConfigurationError, MLPredictionError, ServiceError
from ml_prediction.models import Ensemble, Model
from ml_prediction.util.digests import sha256
from ml_prediction.util.machine import cores

LOCAL: Final = "local"
"""Address of a cluster that is this machine, for this run alone."""

TEND_SECONDS: Final = 2.0
"""From one look at the cluster to the next."""

GONE_SECONDS: Final = 20.0
"""A cluster that can't be reached for so long is gone. Ray ends our process after 60 s."""

PATIENCE: Final = 600.0
"""Seconds without any worker, e.g. while others use the whole cluster."""

CONNECT_SECONDS: Final = 10.0
"""To wait for an answer from an address."""

MOST_ON_GPU: Final = 8
"""Workers that share a GPU: each needs its own context in the GPU's memory."""

STORE_BYTES: Final = 100_000_000
"""Ray's shared memory on this machine: what comes out of a unit is small."""

_QUIET: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # it would print to stdout whenever a worker dies
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",  # no GPU was asked for: none is seen, as ever
}

_ADVICE: Final = (
    "This machine must be a node of the cluster (ray start --address=...), with the same versions "
    "of Ray and Python, and with RAY_AUTH_MODE=token if the cluster has a token."
)


@dataclass(slots=True)
class _Place:
    """An actor, and what it is at: ``ref`` is None while it has nothing to do.

    With a ``ref``, but no unit, it has yet to say that it is there. Its ``node`` is then known.
    """

    actor: Any
    ref: Any
    node: str = ""
    unit: Unit | None = None
    since: float = 0.0


class RayWorkers:
    """Actors on a Ray cluster, each with models of its own, as many as the cluster has room for.

    An actor, or a node, that is lost costs the units that it was at. It is replaced while there
    is room, and nodes that join get actors as well.

    Parameters
    ----------
    job
        What actors need to know.
    address
        ``auto`` (the cluster that this machine is a node of), ``local`` (this machine, without a
        cluster), or the head's ``host:port``.
    root
        Of the archive, for nodes to see that they have it.
    models
        As loaded here: those of the nodes must be the same.
    most
        Actors at most.
    tell
        Takes remarks.

    Raises
    ------
    ConfigurationError
        If Ray is not installed or there is no cluster at the address, on entering; in `outcomes`,
        if a node lacks the archive or has other versions or weights.
    ServiceError
        In `outcomes`, if the cluster is gone, or no actor gets room on it.
    """

    def __init__(
        self,
        job: Job,
        address: str,
        *,
        root: Path,
        models: Sequence[Model | Ensemble],
        most: int,
        tell: Callable[[str], None],
    ) -> None:
        self._job, self._address, self._most, self._tell = job, address, most, tell
        self._terms = (Path.cwd(), root, made_of(job.config, models))
        self._places: list[_Place] = []
        self._last: dict[str, Station] = {}  # of each node
        self._told: set[str] = set()
        self._trouble = "its CPUs are taken"

    def __enter__(self) -> Self:
        if self._address not in (LOCAL, "auto"):
            _check(self._address)
        self._ray = _ray(self._address)
        with _sigterm_kept():
            _connect(self._ray, self._address, self._most * self._job.threads)
        context = self._ray.get_runtime_context()
        self._head, self._node = context.gcs_address, context.get_node_id()
        self._class = self._ray.remote(_Actor)
        self._job_ref = self._ray.put(self._job)
        self._tended = -math.inf
        self._silent = self._alone = 0.0  # since when; 0: not
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ray.shutdown()  # the cluster ends the actors of one who leaves

    @property
    def idle(self) -> int:
        """Actors that have begun and have nothing to do."""
        return sum(place.ref is None for place in self._places)

    @property
    def wanted(self) -> Station | None:
        """Station that the node of the next idle actor is at: it has files of it in memory."""
        place = next((place for place in self._places if place.ref is None), None)
        return None if place is None else self._last.get(place.node)

    def start(self, unit: Unit) -> None:
        """Hand a unit to an idle actor."""
        place = next(place for place in self._places if place.ref is None)
        self._last[place.node] = (unit.network, unit.station)
        place.unit, place.since = unit, time.monotonic()
        place.ref = place.actor.work.remote(unit)

    def outcomes(self) -> list[Outcome]:
        """What is done, as soon as there is any; nothing if an actor has become idle first."""
        while True:
            idle = self.idle
            try:
                found = self._look()
            except (self._ray.exceptions.RayError, ConnectionError) as error:
                raise ServiceError(self._gone(_first_line(error))) from error
            if found or self.idle > idle or self.idle == len(self._places) > 0:
                return found

    def _look(self) -> list[Outcome]:
        now = time.monotonic()
        if now - self._tended > TEND_SECONDS:
            self._tend()
            self._tended = now
        refs = [place.ref for place in self._places if place.ref is not None]
        if not refs:
            if not self._places:
                time.sleep(LOOK_SECONDS)
            return []
        self._ray.wait(refs, num_returns=1, timeout=LOOK_SECONDS)
        done, _ = self._ray.wait(refs, num_returns=len(refs), timeout=0)
        found = [self._outcome(place, place.ref in done) for place in list(self._places)]
        return [outcome for outcome in found if outcome is not None]

    def _outcome(self, place: _Place, is_done: bool) -> Outcome | None:
        """What came of the unit that an actor is at; None if it has none, or is still at it."""
        unit, seconds = place.unit, time.monotonic() - place.since
        result: UnitPicks | Failure
        if is_done:
            try:
                answer = self._ray.get(place.ref)
            except self._ray.exceptions.RayError as error:
                self._give_up(place)
                self._ask_idle()
                if unit is None:
                    self._did_not_begin(error)
                    return None
                result = Failure(f"the worker was lost: {_first_line(error)}", seconds)
            else:
                place.ref = place.unit = None
                if unit is None:
                    self._has_begun(place, *answer)
                    return None
                result = answer
        elif unit is not None and seconds > self._job.unit_timeout:
            self._give_up(place)
            result = Failure(f"not done after {self._job.unit_timeout:g} s", seconds)
        else:
            return None
        return None if unit is None else (unit, result)

    def _has_begun(self, place: _Place, node: str, wrong: str | None) -> None:
        if wrong is not None:
            raise ConfigurationError(
                f"Node {node} of the Ray cluster does not do: {wrong} Mend it, or take the node "
                "away, and go on with --resume."
            )
        place.node = node

    def _did_not_begin(self, error: Exception) -> None:
        if getattr(error, "actor_init_failed", False):  # so it could not be imported
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            raise ConfigurationError(
                "A node of the Ray cluster can't run ml_prediction: install the same version "
                f"there. {lines[0]} ... {lines[-1]}"
            )
        self._trouble = _first_line(error)

    def _give_up(self, place: _Place) -> None:
        self._places.remove(place)
        self._ray.kill(place.actor, no_restart=True)
        self._tended = -math.inf  # it may be replaced at once

    def _ask_idle(self) -> None:
        """Let idle actors show that they live: a node takes all of its own with it."""
        for place in self._places:
            if place.ref is None:
                place.ref = place.actor.here.remote()

    def _tend(self) -> None:
        """See that the cluster is there, and that there are actors wherever it has room."""
        now = time.monotonic()
        if not _answers(self._head):
            self._silent = self._silent or now
            if now - self._silent > GONE_SECONDS:
                raise ServiceError(self._gone(f"{self._head} does not answer"))
            return
        self._silent = 0.0
        nodes = {node["NodeID"]: node["Resources"] for node in self._ray.nodes() if node["Alive"]}
        if self._node not in nodes:
            raise ServiceError(self._gone("this machine's node has died"))
        room, gpus = room_for(list(nodes.values()), self._job.threads, self._job.config.device)
        if not room:
            self._trouble = (
                f"no node has the {self._job.threads} CPUs that a worker wants: lower `threads` "
                "in --config"
            )
            if self._address == LOCAL:  # where none will join
                raise ConfigurationError(f"Ray on this machine: {self._trouble}.")
        room = min(room, self._most)
        self._tell_of(set(nodes), room)
        while len(self._places) < room:
            self._add(gpus)
        surplus = [place for place in self._places if place.ref is not None and not place.node]
        for place in surplus[: len(self._places) - room]:
            self._places.remove(place)
            self._ray.kill(place.actor, no_restart=True)
        self._alone = 0.0 if any(place.node for place in self._places) else self._alone or now
        if self._alone and now - self._alone > PATIENCE:
            raise ServiceError(
                f"no worker could begin on the Ray cluster for {PATIENCE / 60:g} minutes: "
                f"{self._trouble}. Go on later with --resume."
            )

    def _add(self, gpus: float) -> None:
        actor = self._class.options(
            num_cpus=self._job.threads, num_gpus=gpus, max_restarts=0, max_task_retries=0
        ).remote(self._job_ref)
        self._places.append(_Place(actor, actor.begin.remote(*self._terms)))

    def _tell_of(self, nodes: set[str], room: int) -> None:
        if nodes != self._told and self._address != LOCAL:
            self._tell(f"Ray cluster {self._head}: {len(nodes)} nodes, room for {room} workers.")
        self._told = nodes

    def _gone(self, reason: str) -> str:
        return (
            f"the Ray cluster {self._head} is gone ({reason}). What is done is in the store: once "
            "there is a cluster, go on with --resume."
        )


class _Actor:
    """What runs on a node."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def begin(
        self, folder: Path, root: Path, expected: Mapping[str, str]
    ) -> tuple[str, str | None]:
        """Load the models; name of the node, and what is wrong with it, if anything is."""
        node = socket.gethostname()  # which memory of files belongs to
        with suppress(OSError):  # only needed where paths are relative
            os.chdir(folder)
        try:
            if not root.is_dir():
                return node, f"it has no folder {root}."
            self._models = load_configured(self._job.config, self._job.threads)
            return node, _difference(expected, made_of(self._job.config, self._models))
        except (MLPredictionError, OSError) as error:
            return node, str(error)

    def here(self) -> tuple[str, None]:
        """Name of the node."""
        return socket.gethostname(), None

    def work(self, unit: Unit) -> UnitPicks | Failure:
        """Pick a unit."""
        return attempt(unit, self._job, self._models)


def room_for(nodes: Sequence[Mapping[str, float]], threads: int, device: str) -> tuple[int, float]:
    """How many actors a cluster holds, and each one's share of a GPU.

    If the device may be a GPU, and there are any, only nodes with GPUs are used.

    Parameters
    ----------
    nodes
        Resources of each node: ``CPU``, ``GPU``.
    threads
        CPUs for each actor.
    device
        As in `RunConfig`.
    """
    sizes = [(int(node.get("CPU", 0)) // threads, int(node.get("GPU", 0))) for node in nodes]
    with_gpu = [(places, gpus) for places, gpus in sizes if places and gpus]
    if device == "cpu" or not with_gpu:
        return sum(places for places, _ in sizes), 0.0
    on_one = min(MOST_ON_GPU, max(math.ceil(places / gpus) for places, gpus in with_gpu))
    room = sum(min(places, on_one * gpus) for places, gpus in with_gpu)
    return room, math.floor(1e4 / on_one) / 1e4  # Ray counts in 1/10,000


def made_of(config: RunConfig, models: Sequence[Model | Ensemble]) -> dict[str, str]:
    """What picks depend on, besides the settings: the same everywhere, or picks differ."""
    found = versions()
    for model in models:
        found[f"weights of {model.spec.name}"] = model.spec.weights_sha256
    if config.calibration is not None:
        body = Path(config.calibration).read_bytes()
        found[f"file {config.calibration}"] = sha256(body)
    return found


def _difference(here: Mapping[str, str], there: Mapping[str, str]) -> str | None:
    names = sorted(key for key in here.keys() | there.keys() if here.get(key) != there.get(key))
    if not names:
        return None
    said = [f"{n} {there.get(n, 'missing')} (here: {here.get(n, 'missing')})" for n in names]
    return f"it has {', '.join(said)}."


def _ray(address: str) -> Any:
    """The library, which takes settings from the environment when it is imported."""
    settings = dict(_QUIET)
    if address != LOCAL:
        settings["RAY_NUM_REDIS_GET_RETRIES"] = "1"  # else what is no Ray is asked for minutes
    elif not {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys():
        # Its ports are open to the network. A token for this run alone: Ray's own would stay in
        # the home folder, and change what a later `ray start` does.
        settings |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    for name, value in settings.items():
        if "ray" not in sys.modules:
            os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise ConfigurationError(
            f"Ray can't be imported ({error}): pip install 'ml-prediction[cluster]', or use --jobs."
        ) from error
    return ray


@contextmanager
def _sigterm_kept() -> Iterator[None]:
    """Keep the handler of SIGTERM, which Ray takes when it connects."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        with suppress(ValueError):  # not the main thread, where Ray leaves it alone
            signal.signal(signal.SIGTERM, handler)


def _connect(ray: Any, address: str, cpus: int) -> None:
    silent = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    try:
        if address == LOCAL:
            with children_spared():
                ray.init(
                    LOCAL,
                    num_cpus=min(cores(), cpus),
                    object_store_memory=STORE_BYTES,
                    include_dashboard=False,
                    **silent,
                )
        else:
            ray.init(address, **silent)
    except SystemExit as error:  # Ray's own answer to a SIGTERM while it connects
        raise KeyboardInterrupt from error
    except (ray.exceptions.RayError, ConnectionError, RuntimeError, ValueError) as error:
        advice = "" if address == LOCAL else f" {_ADVICE}"
        raise ConfigurationError(f"--ray {address}: {_first_line(error)}.{advice}") from error


def _check(address: str) -> None:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ConfigurationError(f"--ray {address}: write auto, local, or host:port.")
    if not _answers(address, CONNECT_SECONDS):  # of which Ray would need minutes to be sure
        raise ConfigurationError(
            f"--ray {address}: nothing answers there. Name the address that `ray start --head` "
            "told (host:port), auto on a node of the cluster, or local."
        )


def _answers(address: str, seconds: float = 3.0) -> bool:
    """Whether something listens at ``host:port``."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), seconds).close()
    except OSError:
        return False
    return True


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__).rstrip(".")
