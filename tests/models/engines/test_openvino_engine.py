"""The compiled engine: threads, input that is left alone, use from several threads."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ml_prediction.errors import ConfigurationError
from ml_prediction.models import load_model
from ml_prediction.models.engines.openvino_engine import (
    MOST_THREADS,
    WAITING,
    OpenVinoEngine,
)


def engine_of(threads: int | None) -> OpenVinoEngine:
    engine = load_model(device="cpu", engine="openvino", threads=threads).engine
    assert isinstance(engine, OpenVinoEngine)
    return engine


def test_each_thread_has_passes_that_wait_for_it() -> None:
    assert engine_of(3).under_way == 3 * WAITING
    assert 1 <= engine_of(None).threads <= MOST_THREADS
    with pytest.raises(ConfigurationError, match="threads"):
        engine_of(0)


def test_the_number_of_threads_changes_no_bit() -> None:
    windows = np.random.default_rng(0).standard_normal((3, 3, 6000)).astype(np.float32)
    assert np.array_equal(engine_of(1)(windows), engine_of(2)(windows))


def test_a_full_batch_is_not_copied_and_not_changed() -> None:
    engine = engine_of(1)
    windows = (
        np.random.default_rng(0).standard_normal((engine.batch_size, 3, 6000)).astype(np.float32)
    )
    before = windows.copy()
    request = engine.start(windows)
    assert request.batch is windows
    request.result()
    assert np.array_equal(windows, before)


def test_outputs_survive_the_next_request() -> None:
    engine = engine_of(1)
    windows = np.random.default_rng(0).standard_normal((8, 3, 6000)).astype(np.float32)
    first = engine.start(windows[:4]).result()
    kept = first.copy()
    engine.start(windows[4:]).result()
    assert np.array_equal(first, kept)


def test_several_threads_may_share_an_engine() -> None:
    engine = engine_of(2)
    windows = np.random.default_rng(0).standard_normal((12, 3, 6000)).astype(np.float32)
    expected = [engine(window[None]) for window in windows]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda window: engine(window[None]), windows))
    assert all(np.array_equal(a, b) for a, b in zip(expected, found, strict=True))


ENGINES_COME_AND_GO = """
import gc, signal
import numpy as np
import openvino
from openvino import opset13
from ml_prediction.models.engines.openvino_engine import OpenVinoEngine

def build(windows):
    entry = opset13.parameter([windows, 3, 100], np.float32)
    return openvino.Model([opset13.relu(entry)], [entry])

def used_engine():
    engine = OpenVinoEngine(build, components=3, samples=100, labels=3, threads=1)
    engine(np.zeros((1, 3, 100), dtype=np.float32))
    return engine

engines = [used_engine() for _ in range(2)]
while engines:
    del engines[0]  # the elder first
    gc.collect()
heard = []
signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
signal.raise_signal(signal.SIGTERM)
assert heard
"""


def test_signals_are_heard_when_engines_are_gone() -> None:
    ended = subprocess.run([sys.executable, "-c", ENGINES_COME_AND_GO], check=False)
    assert ended.returncode == 0
