from __future__ import annotations

import threading

import pytest

from ml_prediction.data.faults import NoDataError, StoppedError, TransientError
from ml_prediction.data.fdsn import seconds_of
from ml_prediction.data.retry import Gate, Patience, patiently

SHORT = Patience(attempts=4, first_wait=0.001, longest_wait=1.0)


def failing(times: int, error: Exception) -> tuple[list[int], object]:
    calls: list[int] = []

    def call() -> str:
        calls.append(1)
        if len(calls) <= times:
            raise error
        return "done"

    return calls, call


def test_waits_grow_and_end() -> None:
    patience = Patience(attempts=5, first_wait=1.0, longest_wait=5.0)
    assert [patience.wait(n, None) for n in range(1, 6)] == [1.0, 2.0, 4.0, 5.0, None]


def test_a_server_that_says_how_long_is_heeded_but_not_for_ever() -> None:
    patience = Patience(attempts=5, longest_wait=60.0)
    assert patience.wait(1, 17.0) == 17.0
    assert patience.wait(1, 61.0) is None


@pytest.mark.parametrize("times", [0, 1, 3])
def test_passing_failures_are_overcome(times: int) -> None:
    calls, call = failing(times, TransientError("later"))
    told: list[float] = []
    assert patiently(call, SHORT, Gate(), lambda _, pause: told.append(pause)) == "done"  # type: ignore[arg-type]
    assert len(calls) == times + 1
    assert len(told) == times


def test_patience_ends() -> None:
    calls, call = failing(9, TransientError("later"))
    with pytest.raises(TransientError, match="later"):
        patiently(call, SHORT, Gate())  # type: ignore[arg-type]
    assert len(calls) == SHORT.attempts


def test_final_answers_are_not_asked_for_again() -> None:
    calls, call = failing(9, NoDataError("none"))
    with pytest.raises(NoDataError):
        patiently(call, SHORT, Gate())  # type: ignore[arg-type]
    assert len(calls) == 1


def test_a_pause_holds_everybody() -> None:
    now = [100.0]
    gate = Gate(lambda: now[0])
    gate.hold(5.0)
    waited: list[float] = []

    def wait(seconds: float) -> bool:
        waited.append(seconds)
        now[0] += seconds
        return False

    gate.stopped.wait = wait  # type: ignore[assignment,method-assign]
    gate.wait(1.0)
    assert waited[0] == 5.0
    gate.wait()
    assert waited[-1] == 0.0


def test_a_stop_ends_a_wait_at_once() -> None:
    gate = Gate()
    gate.hold(3600.0)
    threading.Timer(0.05, gate.stopped.set).start()
    with pytest.raises(StoppedError):
        gate.wait()


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("120", 120.0),
        ("Thu, 01 Jan 1970 00:16:50 GMT", 10.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    assert seconds_of(header, 1000.0) == seconds
