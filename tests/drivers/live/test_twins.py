"""Other processes under our logo are told; an earlier process of ours is none of them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing

import pytest
from drivers.live.conftest import MakeRing

from ml_prediction.drivers.live.alarms import Alarms
from ml_prediction.drivers.live.twins import ENDING_SECONDS, Twins, is_running, other_hearts
from ml_prediction.earthworm.logo import Logo
from ml_prediction.earthworm.messages import Heartbeat, decode_error, encode_heartbeat
from ml_prediction.earthworm.ring import Ring

BEAT, ERROR = Logo(3, 77, 255), Logo(2, 77, 255)
NOW = 1_700_000_000


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """Another process."""
    code = "import time; time.sleep(60)"
    with subprocess.Popen([sys.executable, "-S", "-c", code]) as process:
        yield process
        process.kill()


def test_recent_hearts_of_our_logo_are_found(new_ring: MakeRing) -> None:
    with closing(Ring(new_ring()[1])) as ring:
        for logo, time, pid in (
            (BEAT, NOW - 89, 101),
            (BEAT, NOW - 1, 101),
            (BEAT, NOW - 91, 102),
            (BEAT, NOW, os.getpid()),
            (BEAT, NOW, None),
            (Logo(3, 78, 255), NOW, 103),
            (Logo(3, 77, 254), NOW, 104),
        ):
            ring.put(logo, encode_heartbeat(Heartbeat(time, pid)))
        ring.put(BEAT, b"garbage")
        assert other_hearts(ring, BEAT, 30.0, NOW) == [101]


def test_a_process_that_stays_is_told_once(sleeper: subprocess.Popen[bytes]) -> None:
    told: list[str] = []
    now = 0.0
    alarms = Alarms(lambda _, payload: told.append(decode_error(payload).text), ERROR)
    twins = Twins([sleeper.pid], "MOD_X in ring PICK_RING", alarms, lambda: now)
    twins.check()
    assert not told  # it may be an earlier one that is ending
    now = ENDING_SECONDS
    twins.check()
    twins.check()
    (text,) = told
    assert f"process {sleeper.pid} sends as MOD_X in ring PICK_RING, too" in text
    assert "another MyModuleId" in text


def test_a_process_that_was_killed_is_no_twin(sleeper: subprocess.Popen[bytes]) -> None:
    told: list[bytes] = []
    now = 0.0
    alarms = Alarms(lambda _, payload: told.append(payload), ERROR)
    twins = Twins([sleeper.pid], "MOD_X", alarms, lambda: now)
    assert is_running(sleeper.pid)
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert not is_running(sleeper.pid)  # ended, though its parent has not asked for it yet
    now = ENDING_SECONDS
    twins.check()
    assert not told
