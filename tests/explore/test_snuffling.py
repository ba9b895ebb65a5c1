"""The real snuffler, without a screen, in a process of its own: Qt ends badly in a shared one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ml_prediction import EventBundle
from ml_prediction.errors import ConfigurationError
from ml_prediction.explore.snuffling import pile_of
from ml_prediction.models import Model

pytest.importorskip("pyrocko", reason="pyrocko is not installed")

SCRIPT = """
import sys
from ml_prediction import EventBundle

def act(window):
    view = window.get_view()
    print(len(view.get_markers()), len(view.pile.nslc_ids), flush=True)
    phases = [m for m in view.get_markers() if hasattr(m, "get_phasename")]
    first = next(m for m in phases if m.get_phasename() == "P" and not m._automatic)
    first.tmin += 0.5
    first.tmax += 0.5
    window.close()

def hook(window):
    from pyrocko.gui.qt_compat import qc
    qc.QTimer.singleShot(300, lambda: act(window))

bundle = EventBundle.load(sys.argv[1])
edited = bundle.snuffle(launch_hook=hook, instant_close=True)
edited.save(sys.argv[1])
"""


@pytest.fixture(scope="module")
def picked(bundle: EventBundle, eqt: Model) -> EventBundle:
    return bundle.pick(eqt, probabilities=True)


@pytest.mark.slow
def test_the_real_snuffler_shows_everything_and_gives_edits_back(
    tmp_path: Path, picked: EventBundle
) -> None:
    pytest.importorskip("PyQt5.QtWidgets", reason="PyQt5 is not installed, or can't be loaded")
    folder = picked.save(tmp_path / "xx1")
    shown = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT, str(folder)],
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if "could not load the Qt platform plugin" in shown.stderr.lower():
        pytest.skip("Qt has no offscreen platform here")
    assert shown.returncode == 0, shown.stderr
    markers, channels = map(int, shown.stdout.split())
    assert markers == 1 + 5 + len(picked.picks)
    assert channels == 10 + len({trace.id for trace in picked.probability_stream()})
    edited = EventBundle.load(folder)
    assert "1 moved" in edited.notes[-1]
    moved = [
        new.time - old.time
        for old, new in zip(picked.event.picks, edited.event.picks, strict=True)
        if new.time != old.time
    ]
    assert moved == [pytest.approx(0.5, abs=1e-5)]


def test_probabilities_are_beside_the_waveforms(picked: EventBundle, phasenet: Model) -> None:
    channels = {code[3] for code in pile_of(picked).nslc_ids if code[1] == "MIDD"}
    assert channels == {"HHZ", "HHN", "HHE", "HHP", "HHS", "HHD"}
    both = pile_of(picked.pick(phasenet, probabilities=True))
    channels = {code[3] for code in both.nslc_ids if code[1] == "FAR"}
    assert {"EHP EQTransformer:original", "EHP PhaseNet:original"} < channels


def test_without_a_screen_it_says_so(picked: EventBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    if sys.platform == "darwin":
        pytest.skip("there is always one")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigurationError, match="needs a screen"):
        picked.snuffle()
