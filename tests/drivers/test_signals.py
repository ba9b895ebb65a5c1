from __future__ import annotations

import signal

import pytest

from ml_prediction.drivers.signals import ending_signals_interrupt


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_an_ending_signal_interrupts_once(name: str) -> None:
    number = getattr(signal, name)
    before = signal.getsignal(number)
    interrupts = 0
    with ending_signals_interrupt():
        for sent in (number, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            try:
                signal.raise_signal(sent)  # in this thread: others may have been started
            except KeyboardInterrupt:
                interrupts += 1  # the others come while we clean up
    assert interrupts == 1
    assert signal.getsignal(number) is before


def test_nohup_stays() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ending_signals_interrupt():
            signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
