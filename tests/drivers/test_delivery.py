"""The order in which sinks get what the processes left."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from obspy import UTCDateTime

from ml_prediction.core.results import Detection, Pick, detection_order, pick_order
from ml_prediction.core.summary import Summary
from ml_prediction.drivers import delivery
from ml_prediction.drivers.delivery import deliver
from ml_prediction.drivers.share import ShareResult
from ml_prediction.drivers.spool import Spool
from ml_prediction.sinks.folder import OutputFolder

START = UTCDateTime(2020, 1, 1)


def blank(cls: type[Any], **values: Any) -> Any:
    """A pick or detection with nothing but what is given."""
    return cls(**{**dict.fromkeys((field.name for field in fields(cls)), ""), **values})


def pick_at(second: float, name: str, nanoseconds: int = 0) -> Pick:
    time = UTCDateTime(ns=(START + second).ns + nanoseconds)
    return blank(Pick, phase="P", time=time, id=name)  # type: ignore[no-any-return]


def detection_at(onset: float, end: float, name: str) -> Detection:
    times = {"onset": START + onset, "end": START + end}
    return blank(Detection, **times, id=name)  # type: ignore[no-any-return]


class Recorder:
    """A sink that remembers."""

    def __init__(self, fault: OSError | None = None) -> None:
        self.seen: list[str] = []
        self.portions: list[int] = []
        self.aborted = False
        self.fault = fault

    def write(self, picks: list[Pick], detections: list[Detection], probabilities: None) -> None:
        if self.fault is not None:
            raise self.fault
        self.seen += [pick.id for pick in picks]
        self.seen += [detection.id for detection in detections]
        self.portions.append(len(picks) + len(detections))

    def close(self) -> None: ...

    def abort(self) -> None:
        self.aborted = True
        if self.fault is not None:
            raise self.fault


def share(folder: Path, picks: list[Pick], detections: list[Detection]) -> ShareResult:
    first, second = (
        Spool[Pick](folder / "p", pick_order),
        Spool[Detection](folder / "d", detection_order),
    )
    first.add(picks)
    second.add(detections)
    return ShareResult(first.close(), second.close(), None, [], Summary(), [])


@pytest.mark.parametrize(("portion", "portions"), [(1, [1] * 6), (4, [4, 2])])
def test_everything_comes_by_time_in_portions_and_no_detection_before_its_picks(
    portion: int, portions: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = Recorder()
    monkeypatch.setattr(delivery, "make_sinks", lambda *args: [sink])
    monkeypatch.setattr(delivery, "PORTION", portion)
    results = [
        share(
            tmp_path / "a",
            [pick_at(0, "p0"), pick_at(52.05, "p52"), pick_at(60, "p60")],
            [detection_at(0, 50, "long")],
        ),
        share(tmp_path / "b", [pick_at(1, "p1")], [detection_at(1, 2, "short")]),
    ]
    with OutputFolder(tmp_path / "out") as folder:
        delivered = deliver(results, ["csv"], folder)
    # A detection waits for the latest pick that may be its own, and keeps the order of onsets.
    if portion == 1:
        assert sink.seen == ["p0", "p1", "p52", "long", "short", "p60"]
    assert sink.portions == portions
    assert delivered.picks_by_phase == {"P": 4}
    assert delivered.detections == 2


def test_times_that_are_written_alike_are_ordered_by_id(tmp_path: Path) -> None:
    early, late = pick_at(0, "b", nanoseconds=-200), pick_at(0, "a", nanoseconds=200)
    assert sorted([early, late], key=pick_order) == [late, early]
    one = detection_at(0, 1, "b")
    other = replace(one, onset=UTCDateTime(ns=one.onset.ns + 300), id="a")
    assert sorted([one, other], key=detection_order) == [other, one]


def test_every_sink_is_let_go_when_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sinks = [Recorder(OSError(28, "No space left on device")) for _ in range(2)]
    monkeypatch.setattr(delivery, "make_sinks", lambda *args: sinks)
    results = [share(tmp_path / "a", [pick_at(0, "p0")], [])]
    with pytest.raises(OSError, match="No space"), OutputFolder(tmp_path / "out") as folder:
        deliver(results, ["csv"], folder)
    assert all(sink.aborted for sink in sinks)
    assert not (tmp_path / "out").exists()
