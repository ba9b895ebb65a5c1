"""Picks wait for the detection that they belong to, and no longer."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from obspy import UTCDateTime

from ml_prediction.core.linking import DetectionLinker
from ml_prediction.core.outcome import Result
from ml_prediction.core.results import Detection, Pick
from ml_prediction.core.summary import Summary
from ml_prediction.util.times import to_ns

BEGIN = UTCDateTime(2024, 1, 1)
MODEL = "EQTransformer:original"


def values_of(kind: type[Any], **given_values: Any) -> dict[str, Any]:
    """The given values, and something for the rest."""
    return dict.fromkeys(kind.__dataclass_fields__, "") | given_values


def pick(second: float, station: str = "GNW", phase: str = "P") -> Pick:
    time = BEGIN + second
    return Pick(
        **values_of(
            Pick,
            network="UW",
            station=station,
            channel="HHZ",
            time=time,
            peak_time=time,
            phase=phase,
            model="EQTransformer",
            weights="original",
            detection_id=None,
            id=f"UW.{station}..HH/{phase}/{MODEL}/{round(second * 100)}",
        )
    )


def detection(name: str, *picks: Pick) -> Detection:
    return Detection(**values_of(Detection, id=name, pick_ids=tuple(p.id for p in picks)))


def result(
    picks: list[Pick] | None = None,
    detections: list[Detection] | None = None,
    until: float | None = None,
    station: str = "GNW",
) -> Result:
    limits = {}
    if until is not None:
        limits[f"UW.{station}..HH", MODEL] = to_ns(BEGIN + until)
    found = detections or []
    links = {pick_id: item.id for item in found for pick_id in item.pick_ids}
    return Result(picks or [], found, [], [], limits, Summary(), links)


def test_a_pick_waits_until_its_detection_is_known() -> None:
    linker, one = DetectionLinker(), pick(10)
    assert linker.add(result([one], until=8)) == ([], [])
    found, detections = linker.add(result(detections=[detection("D1", one)], until=40))
    assert [item.detection_id for item in found] == ["D1"]
    assert [item.id for item in detections] == ["D1"]
    assert linker.close() == []


def test_a_pick_that_no_detection_may_claim_goes_without() -> None:
    linker, one = DetectionLinker(), pick(10)
    assert linker.add(result([one], until=10))[0] == []
    assert linker.add(result(until=10.01))[0] == [one]


def test_a_pick_with_its_detection_goes_at_once_whatever_the_limit() -> None:
    linker, one = DetectionLinker(), pick(10)
    (found,), _ = linker.add(result([one], [detection("D1", one)], until=0))
    assert found.detection_id == "D1"


def test_limits_are_for_one_instrument() -> None:
    linker = DetectionLinker()
    mine, theirs = pick(10), pick(10, "SEP")
    found, _ = linker.add(result([mine, theirs], until=20, station="SEP"))
    assert found == [theirs]
    assert linker.close() == [mine]


def test_settled_picks_come_in_order_of_time() -> None:
    linker = DetectionLinker()
    picks = [pick(second) for second in (30, 10, 20)]
    found, _ = linker.add(result(picks, until=100))
    assert [item.time - BEGIN for item in found] == [10, 20, 30]


def test_what_is_left_at_the_end_comes_out() -> None:
    linker = DetectionLinker()
    picks = [pick(second) for second in (30, 10, 20)]
    linker.add(result(picks, until=5))
    assert [item.time - BEGIN for item in linker.close()] == [10, 20, 30]
    assert linker.close() == []


@settings(derandomize=True, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 100), st.booleans(), st.integers(0, 30)), max_size=20))
def test_every_pick_comes_out_once_with_its_detection(
    events: list[tuple[int, bool, int]],
) -> None:
    linker = DetectionLinker()
    picks = {n: pick(10 * n + second / 100) for n, (second, _, _) in enumerate(events)}
    out: list[Pick] = []
    for n, (_, _, _) in enumerate(events):
        done = [m for m, (_, _, delay) in enumerate(events) if m + delay == n]
        named = [detection(f"D{m}", picks[m]) for m in done if events[m][1]]
        found, _ = linker.add(result([picks[n]], named))
        out += found
    late = [m for m, (_, _, delay) in enumerate(events) if m + delay >= len(events)]
    named = [detection(f"D{m}", picks[m]) for m in late if events[m][1]]
    out += linker.add(result([], named, until=10_000))[0] + linker.close()
    wanted = {picks[n].id: f"D{n}" if linked else None for n, (_, linked, _) in enumerate(events)}
    assert {item.id: item.detection_id for item in out} == wanted
    assert len(out) == len(events)


def test_what_was_handed_out_is_forgotten() -> None:
    linker = DetectionLinker()
    handed = 0
    for number in range(500):
        one = pick(20 * number)
        found, _ = linker.add(result([one], [detection(f"D{number}", one)], until=20 * number + 9))
        handed += len(found)
    assert handed == 500
    assert not linker._links
    assert not linker._held
