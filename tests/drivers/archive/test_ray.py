"""Archive runs on Ray: the picks of one machine, whatever is killed."""

from __future__ import annotations

import math
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from ray_cluster import RayCluster, environment, processes_of
from small_archive import MIDNIGHT, station, write_sds

import ml_prediction
from ml_prediction import cli
from ml_prediction.core.results import Pick
from ml_prediction.drivers.archive import ray_workers
from ml_prediction.drivers.archive.picking import UnitPicks
from ml_prediction.drivers.archive.plan import Unit
from ml_prediction.drivers.archive.ray_workers import RayWorkers, _Actor, made_of, room_for
from ml_prediction.drivers.archive.workers import Job, run_units
from ml_prediction.drivers.run_config import RunConfig
from ml_prediction.errors import ConfigurationError, ServiceError
from ml_prediction.models import Model
from ml_prediction.sinks.store import open_store

DAYS = ["--from", "2017-05-01", "--to", "2017-05-03"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three stations, the last and first 50 minutes of two days: a second of work for each."""
    root = tmp_path_factory.mktemp("sds")
    for number, code in enumerate(("AAA", "BBB", "CCC")):
        quakes = [MIDNIGHT - 300 + 7 * number, MIDNIGHT - 5.0]
        write_sds(root, station(code, MIDNIGHT - 3000, 6000, quakes))
    return root


@pytest.fixture(scope="module")
def expected(root: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Pick]:
    """What processes of this machine pick."""
    store = str(tmp_path_factory.mktemp("expected") / "p.db")
    assert cli.run(["archive", str(root), *DAYS, "--store", store, "--jobs", "1"]) == 0
    found = picks_in(store)
    assert len(found) >= 12
    return found


@pytest.fixture(scope="module")
def cluster(engine_cache: Path) -> Iterator[RayCluster]:
    """A head; tests add nodes. The last test kills all of it."""
    pytest.importorskip("ray", reason="Ray is not installed")
    with RayCluster() as cluster:
        cluster.add_node()
        yield cluster


def done_in(store: Path) -> int:
    with open_store(str(store), create=False) as opened:
        return sum(state.state == "done" for state in opened.states())


def picks_in(store: str) -> list[Pick]:
    with open_store(store, create=False) as opened:
        return list(opened.picks())


def same(found: list[Pick], expected: list[Pick]) -> bool:
    """Whether picks are equal but for the rounding of other batches."""
    return [(p.id, p.run_id, p.detection_id) for p in found] == [
        (p.id, p.run_id, p.detection_id) for p in expected
    ] and all(abs(a.time - b.time) < 1e-3 for a, b in zip(found, expected, strict=True))


@contextmanager
def archive(
    root: Path, store: Path, *more: str, env: dict[str, str], first: str = ""
) -> Iterator[subprocess.Popen[str]]:
    """A run in a session of its own, which is killed where a test fails."""
    code = f"{first}\nfrom ml_prediction.cli import main\nmain()"
    line = [sys.executable, "-c", code, "archive", str(root), *DAYS, "--store", str(store), *more]
    with subprocess.Popen(
        line,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as run:
        try:
            yield run
        finally:
            run.kill()


def stopped_worker(
    cluster: RayCluster,
    node: subprocess.Popen[bytes],
    run: subprocess.Popen[str],
    but: int | None = None,
) -> int:
    """A process of a node that is at a unit, and stays at it; another than some one."""
    deadline = time.monotonic() + 60
    while True:
        for pid in set(cluster.workers(node)) - {but}:
            os.kill(pid, signal.SIGSTOP)
            if pid in cluster.workers(node):
                return pid
            os.kill(pid, signal.SIGCONT)
        assert run.poll() is None, run.communicate()
        assert time.monotonic() < deadline, "nobody works"
        time.sleep(0.02)


@pytest.mark.slow
def test_this_machine_as_a_cluster_makes_the_same_picks_and_leaves_no_process(
    root: Path, expected: list[Pick], tmp_path: Path
) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    home = tmp_path / "home"
    home.mkdir()
    store = tmp_path / "p.db"
    with RayCluster() as none:  # only its folder is used
        env = environment(none.folder, HOME=str(home))
        del env["RAY_AUTH_MODE"]
        with archive(root, store, "--ray", "local", "--jobs", "2", env=env) as run:
            out, err = run.communicate(timeout=120)
            deadline = time.monotonic() + 60
            while left := list(processes_of(run.pid)):
                assert time.monotonic() < deadline, left
                time.sleep(0.1)
    assert run.returncode == 0, err
    assert out.startswith("6 units, 6 of them now")
    assert len(out.splitlines()) == 1
    assert all("station-days" in line for line in err.splitlines()), err
    assert not (home / ".ray").exists()  # Ray's token would change what `ray start` does
    assert same(picks_in(str(store)), expected)


@pytest.mark.slow
def test_a_worker_and_a_node_that_are_killed_cost_no_pick(
    root: Path, expected: list[Pick], cluster: RayCluster, tmp_path: Path
) -> None:
    node, store = cluster.add_node(), tmp_path / "p.db"
    with archive(root, store, "--ray", cluster.address, env=cluster.environment) as run:
        killed = stopped_worker(cluster, node, run)
        other = stopped_worker(cluster, cluster.head, run)  # or it would have done all by then
        os.kill(killed, signal.SIGKILL)
        stopped_worker(cluster, node, run, but=killed)
        cluster.kill(node)
        os.kill(other, signal.SIGCONT)
        out, err = run.communicate(timeout=120)
    assert run.returncode == 0, err
    assert "0 units failed" in out
    assert "2 nodes, room for 2 workers" in err
    assert same(picks_in(str(store)), expected)


@pytest.mark.slow
def test_a_node_with_another_version_is_refused_by_name(
    root: Path, cluster: RayCluster, tmp_path: Path
) -> None:
    other = "import ml_prediction; ml_prediction.__version__ = '0.0.1'"
    store = tmp_path / "p.db"
    line = ["--ray", cluster.address]
    with archive(root, store, *line, env=cluster.environment, first=other) as run:
        _, err = run.communicate(timeout=120)
    assert run.returncode == 2, err
    assert f"Node {socket.gethostname()} of the Ray cluster" in err
    assert f"ml_prediction {ml_prediction.__version__} (here: 0.0.1)" in err


@pytest.mark.slow
def test_a_unit_that_takes_too_long_is_given_up_and_its_worker_replaced(
    root: Path, cluster: RayCluster, tmp_path: Path
) -> None:
    store = tmp_path / "p.db"
    more = ["--ray", cluster.address, "--unit-timeout", "4"]
    with archive(root, store, *more, env=cluster.environment) as run:
        stopped = stopped_worker(cluster, cluster.head, run)
        out, err = run.communicate(timeout=120)
    assert run.returncode == 0, err
    assert "0 units failed" in out
    with open_store(str(store), create=False) as opened:
        assert sorted(state.attempts for state in opened.states()) == [1, 1, 1, 1, 1, 2]
    assert stopped not in dict(processes_of(cluster.head.pid))


@pytest.mark.slow
def test_a_cluster_that_is_killed_ends_the_run_which_is_resumed_without_it(
    root: Path, expected: list[Pick], cluster: RayCluster, tmp_path: Path
) -> None:
    store = tmp_path / "p.db"
    soon = "from ml_prediction.drivers.archive import ray_workers; ray_workers.GONE_SECONDS = 3.0"
    line = ["--ray", cluster.address]
    with archive(root, store, *line, env=cluster.environment, first=soon) as run:
        os.kill(first := stopped_worker(cluster, cluster.head, run), signal.SIGCONT)
        while not done_in(store):
            assert run.poll() is None, run.communicate()
            time.sleep(0.05)
        assert stopped_worker(cluster, cluster.head, run) == first
        cluster.kill(cluster.head)
        _, err = run.communicate(timeout=60)
    assert run.returncode == 3, err
    assert "is gone" in err
    assert "--resume" in err
    assert 1 <= done_in(store) < 6
    assert cli.run(["archive", str(root), *DAYS, "--store", str(store), "--resume"]) == 0
    assert same(picks_in(str(store)), expected)


def test_without_the_library_the_extra_is_named(
    root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    store = tmp_path / "p.db"
    assert cli.run(["archive", str(root), *DAYS, "--store", str(store), "--ray", "local"]) == 2
    assert "pip install 'ml-prediction[cluster]'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("127.0.0.1:9", "nothing answers there"),
        ("nonsense", "host:port"),
        ("here:99999", "host:port"),
    ],
)
def test_a_wrong_address_is_one_sentence_and_leaves_no_store(
    address: str, words: str, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "p.db"
    assert cli.run(["archive", str(root), *DAYS, "--store", str(store), "--ray", address]) == 2
    said = capsys.readouterr().err
    assert f"--ray {address}: " in said
    assert words in said
    assert len(said.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_where_there_is_no_cluster_auto_says_so(root: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    env = environment(tmp_path)
    with archive(root, tmp_path / "p.db", "--ray", "auto", env=env) as run:
        out, err = run.communicate(timeout=120)
    assert run.returncode == 2, err
    assert out == ""
    assert "must be a node of the cluster" in err
    assert not (tmp_path / "p.db").exists()


# -- what a node is asked for ---------------------------------------------------------------------


@pytest.fixture
def job() -> Job:
    return Job(RunConfig(device="cpu"), "run", 1, None, 60.0)


def test_a_node_says_what_it_lacks(
    job: Job, eqt: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    right = made_of(job.config, [eqt])
    actor = _Actor(job)
    name = socket.gethostname()
    assert actor.begin(tmp_path, tmp_path, right) == (name, None)
    missing = tmp_path / "sds"
    assert actor.begin(tmp_path, missing, right) == (name, f"it has no folder {missing}.")
    weights = f"weights of {eqt.spec.name}"
    _, wrong = actor.begin(tmp_path, tmp_path, {**right, weights: "abc", "odd": "1"})
    assert wrong == f"it has odd missing (here: 1), {weights} {right[weights]} (here: abc)."
    elsewhere = replace(job, config=RunConfig(device="cpu", calibration="none.json"))
    _, wrong = _Actor(elsewhere).begin(tmp_path, tmp_path, right)
    assert wrong is not None
    assert "none.json" in wrong


class LostError(Exception):
    """Stands for Ray's own."""


class FewRay:
    """As much of Ray as there must be to lose actors at chosen moments."""

    exceptions = SimpleNamespace(RayError=LostError)

    def __init__(self) -> None:
        self.cpus = 3.0
        self.dead: set[int] = set()
        self.made = 0

    def remote(self, number: int, *_: object) -> SimpleNamespace:
        def call(what: str) -> SimpleNamespace:
            return SimpleNamespace(remote=lambda *_: (number, what))

        return SimpleNamespace(
            number=number, begin=call("begin"), here=call("here"), work=call("work")
        )

    def options(self, **_: object) -> SimpleNamespace:
        self.made += 1
        return SimpleNamespace(remote=partial(self.remote, self.made))

    def nodes(self) -> list[dict[str, object]]:
        return [{"NodeID": "n", "Alive": True, "Resources": {"CPU": self.cpus}}]

    def wait(self, refs: list[object], **_: object) -> tuple[list[object], list[object]]:
        return refs, []

    def get(self, ref: tuple[int, str]) -> object:
        if ref[0] in self.dead:
            raise LostError("The actor died")
        return UnitPicks([], [], [], (), 0.0) if ref[1] == "work" else ("node", None)

    def kill(self, actor: SimpleNamespace, no_restart: bool) -> None:
        self.dead.add(actor.number)


@pytest.fixture
def few(job: Job, eqt: Model, monkeypatch: pytest.MonkeyPatch) -> tuple[FewRay, RayWorkers]:
    monkeypatch.setattr(ray_workers, "_answers", lambda *_: True)
    few = FewRay()
    workers = RayWorkers(job, "auto", root=Path(), models=[eqt], most=9, tell=lambda _: None)
    for name, value in {
        "ray": few,
        "class": few,
        "job_ref": None,
        "head": "h",
        "node": "n",
    }.items():
        setattr(workers, f"_{name}", value)
    workers._tended, workers._silent, workers._alone = -math.inf, 0.0, 0.0
    return few, workers


def test_idle_actors_of_a_node_that_dies_do_not_cost_a_unit_its_attempts(
    few: tuple[FewRay, RayWorkers],
) -> None:
    ray, workers = few
    unit = Unit("XX", "AAA", date(2017, 5, 1), (), ())
    assert workers.outcomes() == []
    assert workers.idle == 3
    ray.dead = {1, 2, 3}
    ((found, outcome, tried),) = run_units([unit], workers, 3)
    assert found == unit
    assert isinstance(outcome, UnitPicks)
    assert tried == 2


def test_nodes_that_join_get_workers(
    few: tuple[FewRay, RayWorkers], monkeypatch: pytest.MonkeyPatch
) -> None:
    ray, workers = few
    monkeypatch.setattr(ray_workers, "TEND_SECONDS", -1.0)
    workers.outcomes()
    assert workers.idle == 3
    ray.cpus = 20.0
    workers.outcomes()
    assert workers.idle == 9  # at most


def test_sigterm_while_ray_connects_is_an_interrupt_and_no_success(
    root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def end(number: int, _: object) -> None:
        raise SystemExit(number)

    def init(*_: object, **__: object) -> None:
        signal.signal(signal.SIGTERM, end)
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError

    few = FewRay()
    monkeypatch.setattr(few, "init", init, raising=False)
    monkeypatch.setattr(ray_workers, "_ray", lambda _: few)
    store = tmp_path / "p.db"
    assert cli.run(["archive", str(root), *DAYS, "--store", str(store), "--ray", "local"]) == 130
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) is not end


def test_more_threads_than_any_node_has_are_named(few: tuple[FewRay, RayWorkers]) -> None:
    ray, workers = few
    ray.cpus = 0.5
    workers._tend()
    assert "lower `threads`" in workers._trouble
    workers._address = ray_workers.LOCAL
    with pytest.raises(ConfigurationError, match=r"no node has the 1 CPUs .* lower `threads`"):
        workers._tend()


def test_a_run_ends_when_the_head_is_silent_or_no_worker_begins_for_long(
    few: tuple[FewRay, RayWorkers], monkeypatch: pytest.MonkeyPatch
) -> None:
    ray, workers = few
    monkeypatch.setattr(ray_workers, "PATIENCE", -1.0)
    monkeypatch.setattr(ray_workers, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(ray_workers, "TEND_SECONDS", 0.0)
    ray.cpus = 0.0
    with pytest.raises(ServiceError, match=r"no node has.*--resume"):
        workers.outcomes()
    monkeypatch.setattr(ray_workers, "GONE_SECONDS", -1.0)
    monkeypatch.setattr(ray_workers, "_answers", lambda *_: False)
    with pytest.raises(ServiceError, match=r"does not answer.*--resume"):
        workers.outcomes()


@pytest.mark.parametrize(
    ("nodes", "threads", "device", "expected"),
    [
        ([{"CPU": 16.0}, {"CPU": 4.0}, {}], 1, "auto", (20, 0.0)),
        ([{"CPU": 16.0}, {"CPU": 3.0}], 2, "cpu", (9, 0.0)),
        ([{"CPU": 16.0, "GPU": 1.0}], 1, "cpu", (16, 0.0)),
        ([{"CPU": 16.0, "GPU": 1.0}], 1, "auto", (8, 0.125)),
        ([{"CPU": 3.0, "GPU": 2.0}, {"CPU": 64.0}], 1, "cuda", (3, 0.5)),
        ([{"CPU": 3.0, "GPU": 1.0}, {"CPU": 2.0, "GPU": 1.0}], 1, "auto", (5, 0.3333)),
    ],
    ids=["cpus", "threads", "no-gpu-wanted", "gpu", "two-gpus", "unequal"],
)
def test_actors_share_what_nodes_have(
    nodes: list[dict[str, float]], threads: int, device: str, expected: tuple[int, float]
) -> None:
    assert room_for(nodes, threads, device) == expected
