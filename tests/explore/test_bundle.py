from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from bundle_center import PICKS, RATE, TIME, Archive, quakeml, waveforms
from fdsn_servers import Center, Fault, free_port
from obspy import Stream, Trace, read, read_events, read_inventory
from obspy.clients.fdsn.client import Client

from ml_prediction import EventBundle, Pick
from ml_prediction.data.faults import (
    DamagedError,
    NotOfferedError,
    StalledError,
    TransientError,
    UnreachableError,
)
from ml_prediction.data.fdsn import Server
from ml_prediction.errors import ConfigurationError, DataError, ServiceError
from ml_prediction.explore.bundle_extent import channels_in, channels_of
from ml_prediction.explore.bundle_waveforms import as_server
from ml_prediction.models import Model, combine

ALL = 10  # channels of the picked stations


def test_each_step_returns_a_new_bundle(server: Server) -> None:
    first = EventBundle.from_comcat("xx1", server)
    second = first.fetch_waveforms(server, 60.0)
    third = second.fetch_stations(server)
    assert (len(first.miniseed), len(second.miniseed), len(third.miniseed)) == (0, ALL, ALL)
    assert (second.stationxml, first.asked) == (None, ())
    assert len(third.notes) == 3
    with pytest.raises(AttributeError):
        third.quakeml = b""  # type: ignore[misc]


def test_the_waveforms_are_those_of_the_archive(bundle: EventBundle) -> None:
    archive = waveforms()
    for trace in bundle.stream:
        (whole,) = archive.select(id=trace.id)
        cut = whole.slice(trace.stats.starttime, trace.stats.endtime)
        assert np.array_equal(cut.data, trace.data)
    assert {trace.id for trace in bundle.stream} == {
        t.id for t in archive if t.stats.station != "LONE"
    }


def test_the_window_is_from_before_the_origin_to_after_the_farthest_s(bundle: EventBundle) -> None:
    stream = bundle.stream.merge()
    end = stream[0].stats.endtime
    assert all(trace.stats.starttime == TIME - 60 for trace in stream)
    assert all(trace.stats.endtime == end for trace in stream)
    farthest = bundle.distances_km["YY", "FAR"]
    assert end - TIME == pytest.approx((farthest**2 + 20**2) ** 0.5 / 3 + 60, abs=2 / RATE)


def test_stations_are_those_with_picks_within_a_radius_or_named(server: Server) -> None:
    bare = EventBundle.from_comcat("xx1", server)
    within = bare.fetch_waveforms(server, radius_km=110.0)
    assert {code.split(".")[1] for code in within.miniseed} == {"NEAR", "MIDD", "LONE"}
    named = bare.fetch_waveforms(server, stations=["YY.LONE"], channels=["E??"])
    assert set(named.miniseed) == {"YY.LONE..EHZ"}
    with pytest.raises(ConfigurationError, match=r"NET\.STA"):
        bare.fetch_waveforms(server, stations=["LONE"])


def test_what_is_there_is_not_asked_for_again(quake_center: Center, server: Server) -> None:
    bundle = EventBundle.from_comcat("xx1", server).fetch_waveforms(server).fetch_stations(server)
    asked = len(quake_center.log)
    assert bundle.fetch_waveforms(server) is bundle
    assert bundle.fetch_stations(server) is bundle
    assert len(quake_center.log) == asked
    wider = bundle.fetch_waveforms(server, (70.0, 60.0), stations=["YY.LONE"])
    assert len(wider.miniseed) == ALL + 1
    assert channels_in(wider.fetch_stations(server).inventory) == channels_of(wider)
    assert (
        len([c for n in wider.fetch_stations(server).inventory or () for s in n for c in s]) == 11
    )


def test_overlapping_times_are_merged_without_doubles(server: Server) -> None:
    bare = EventBundle.from_comcat("xx1", server)
    short, long = (bare.fetch_waveforms(server, (before, 60)) for before in (30.0, 60.0))
    both = bare.fetch_waveforms(server, (30.0, 60)).fetch_waveforms(server, (60.0, 60))
    assert sum(len(trace) for trace in short.stream) < sum(len(trace) for trace in long.stream)
    merged = both.stream.merge()
    assert sum(len(trace) for trace in merged) == sum(len(trace) for trace in long.stream)
    assert not merged.get_gaps()
    assert len(merged) == len({trace.id for trace in merged})


def test_a_midnight_between_makes_no_gap(bundle: EventBundle) -> None:
    assert bundle.stream[0].stats.endtime.day != bundle.stream[0].stats.starttime.day
    assert len(bundle.stream.merge()) == ALL
    assert bundle.stream.get_gaps() == []


def test_an_obspy_client_is_a_server_too(quake_center: Center) -> None:
    client = Client(quake_center.url, timeout=7, _discover_services=False)
    assert as_server(client).url == quake_center.url
    client.user = "somebody"
    with pytest.raises(ConfigurationError, match="logs in as somebody"):
        as_server(client)


def test_an_unknown_event_is_a_clear_error(server: Server) -> None:
    with pytest.raises(NotOfferedError, match="no event 'nonsense'"):
        EventBundle.from_comcat("nonsense", server)


@pytest.mark.parametrize("service", ["event", "product"])
@pytest.mark.parametrize(
    ("kind", "status"),
    [("status", 500), ("status", 429), ("truncate", 0), ("drop", 0), ("html", 0)],
)
def test_a_catalogue_that_fails_in_passing_is_asked_again(
    quake_center: Center, server: Server, service: str, kind: str, status: int
) -> None:
    quake_center.faults = [Fault(service, kind, status)]
    assert EventBundle.from_comcat("xx1", server).quakeml == quakeml()
    quake_center.faults = [Fault(service, kind, status, times=9)]
    with pytest.raises(TransientError):
        EventBundle.from_comcat("xx1", server)


def test_a_silent_catalogue_is_a_time_out(quake_center: Center) -> None:
    quake_center.faults = [Fault("event", "stall", times=9)]
    with pytest.raises(StalledError, match=r"0\.3 s"):
        EventBundle.from_comcat("xx1", quake_center.url, timeout=0.3, attempts=1)


@pytest.mark.parametrize(
    ("kind", "status"),
    [("status", 500), ("status", 503), ("truncate", 0), ("drop", 0), ("html", 0)],
)
def test_waveforms_that_fail_keep_what_came_and_a_second_call_completes_them(
    quake_center: Center,
    server: Server,
    bundle: EventBundle,
    kind: str,
    status: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    start = EventBundle.from_comcat("xx1", server)
    quake_center.faults = [Fault("dataselect", kind, status, times=99, containing="FAR")]
    first = start.fetch_waveforms(server)
    assert {each.code.station for each in first.failed} == {"FAR"}
    assert "of 20 requests for waveforms failed, first YY.FAR..EHZ" in caplog.text
    assert first.miniseed == {k: v for k, v in bundle.miniseed.items() if "FAR" not in k}
    quake_center.faults, asked = [], len(quake_center.requests("dataselect"))
    second = first.fetch_waveforms(server)
    assert second.failed == ()
    assert second.miniseed == bundle.miniseed
    posted = quake_center.requests("dataselect")[asked:]
    assert not any("NEAR" in body for body in posted)  # only what was missing


def test_what_failed_is_asked_for_again_after_another_extent(
    quake_center: Center, server: Server, bundle: EventBundle
) -> None:
    near = {"stations": ["XX.NEAR", "XX.MIDD"]}
    start = EventBundle.from_comcat("xx1", server)
    quake_center.faults = [Fault("dataselect", "status", 500, times=99, containing="MIDD")]
    first = start.fetch_waveforms(server, **near)  # type: ignore[arg-type]
    assert len(first.failed) == 6
    quake_center.faults = []
    other = first.fetch_waveforms(server, stations=["YY.FAR"])
    assert other.failed == first.failed
    assert other.fetch_waveforms(server, stations=["YY.FAR"]) is other
    again = other.fetch_waveforms(server, **near)  # type: ignore[arg-type]
    assert again.failed == ()
    assert set(again.miniseed) == set(bundle.miniseed)
    assert again.fetch_waveforms(server, **near) is again  # type: ignore[arg-type]


def test_what_came_with_a_longer_time_failed_no_more(quake_center: Center, server: Server) -> None:
    start = EventBundle.from_comcat("xx1", server)
    quake_center.faults = [Fault("dataselect", "status", 500, times=99, containing="MIDD")]
    first = start.fetch_waveforms(server, 30.0)
    quake_center.faults = []
    shorter = first.fetch_waveforms(server, 10.0)
    assert shorter.failed == first.failed
    assert shorter.fetch_waveforms(server, 60.0).failed == ()


def test_an_extent_that_fails_when_asked_again_is_not_complete(
    quake_center: Center, server: Server
) -> None:
    start = EventBundle.from_comcat("xx1", server)
    quake_center.faults = [Fault("dataselect", "status", 204, times=2, containing="MIDD")]
    first = start.fetch_waveforms(server)
    quake_center.faults = [Fault("dataselect", "status", 500, times=99, containing="MIDD")]
    second = first.fetch_waveforms(server, again=True)
    assert second.failed
    quake_center.faults = []
    assert second.fetch_waveforms(server).failed == ()


def test_413_asks_for_less_and_gets_all(
    quake_center: Center, server: Server, bundle: EventBundle
) -> None:
    quake_center.faults = [Fault("dataselect", "status", 413, times=3)]
    assert EventBundle.from_comcat("xx1", server).fetch_waveforms(server).miniseed == (
        bundle.miniseed
    )


def test_429_waits_as_long_as_it_says(
    quake_center: Center, server: Server, bundle: EventBundle
) -> None:
    again = {"Retry-After": "0"}
    quake_center.faults = [Fault("dataselect", "status", 429, headers=again)]
    assert EventBundle.from_comcat("xx1", server).fetch_waveforms(server).miniseed == (
        bundle.miniseed
    )


def test_204_is_absent_and_asked_for_again_on_request_only(
    quake_center: Center, server: Server, bundle: EventBundle
) -> None:
    start = EventBundle.from_comcat("xx1", server)
    quake_center.faults = [Fault("dataselect", "status", 204, times=99)]
    none = start.fetch_waveforms(server)
    assert (none.miniseed, none.failed) == ({}, ())
    assert {each.outcome for each in none.asked} == {"absent"}
    quake_center.faults = []
    assert none.fetch_waveforms(server) is none
    assert none.fetch_waveforms(server, again=True).miniseed == bundle.miniseed


def test_what_one_centre_has_not_is_asked_of_another(
    quake_archive: Archive, quake_center: Center, server: Server, bundle: EventBundle
) -> None:
    quake_center.faults = [Fault("dataselect", "status", 204, times=99)]
    none = EventBundle.from_comcat("xx1", server).fetch_waveforms(server)
    with quake_archive.center() as other:
        assert none.fetch_waveforms(other.url).miniseed == bundle.miniseed


def test_nothing_at_all_is_an_error(quake_center: Center, server: Server) -> None:
    start = EventBundle.from_comcat("xx1", server)
    quake_center.faults = [Fault("dataselect", "status", 500, times=999)]
    with pytest.raises(ServiceError, match=r"No waveforms came: .*500"):
        start.fetch_waveforms(server)
    quake_center.faults = [Fault("dataselect", "reset", times=999)]
    with pytest.raises(ServiceError, match=r"No waveforms came: .*no answer"):
        start.fetch_waveforms(server)
    quake_center.faults = [Fault("station", "drop", times=9)]
    with pytest.raises(DamagedError):
        start.fetch_waveforms(server)


def test_a_centre_that_is_not_there(bundle: EventBundle, server: Server) -> None:
    gone = as_server(f"http://127.0.0.1:{free_port()}", attempts=1)
    with pytest.raises(UnreachableError):
        bundle.fetch_waveforms(gone)
    with pytest.raises(UnreachableError):
        EventBundle.from_comcat("xx1", gone)
    assert bundle.fetch_stations(gone) is bundle  # nothing is missing


def test_stations_that_fail_leave_the_bundle_as_it_is(quake_center: Center, server: Server) -> None:
    bundle = EventBundle.from_comcat("xx1", server).fetch_waveforms(server)
    quake_center.faults = [Fault("station", "truncate", times=9)]
    with pytest.raises(DamagedError, match="cut short"):
        bundle.fetch_stations(server)
    quake_center.faults = [Fault("station", "status", 204, times=9)]
    assert bundle.fetch_stations(server) is bundle


def test_without_waveforms_the_picked_channels_metadata_come(server: Server) -> None:
    found = EventBundle.from_comcat("xx1", server).fetch_stations(server).inventory
    channels = {(s.code, c.code) for n in found or () for s in n for c in s}
    assert channels == {(station, channel) for _, station, channel, _ in PICKS}


def test_picks_of_several_models_stay_apart(
    bundle: EventBundle, eqt: Model, phasenet: Model
) -> None:
    both = bundle.pick([eqt, phasenet], probabilities=True, thresholds={"P": 0.1})
    assert {pick.model for pick in both.picks} == {"EQTransformer", "PhaseNet"}
    assert {pick.station for pick in both.picks} >= {"NEAR", "MIDD"}
    assert {pick.channel[:2] for pick in both.picks if pick.station == "NEAR"} == {"HH", "EN"}
    traces = both.probability_stream("PhaseNet:original")
    assert {trace.stats.channel for trace in traces} == {"HHP", "HHS", "ENP", "ENS", "EHP", "EHS"}
    again = both.pick(phasenet)  # replaces its own
    ours = [pick for pick in again.picks if pick.model == "EQTransformer"]
    assert ours == [pick for pick in both.picks if pick.model == "EQTransformer"]
    assert set(again.probabilities) == {"EQTransformer:original"}
    with pytest.raises(ConfigurationError, match="PhaseNet:original"):
        again.probability_stream("PhaseNet:original")


def test_probabilities_are_the_pipelines(bundle: EventBundle, phasenet: Model) -> None:
    import ml_prediction as mlp

    result = mlp.pick(bundle.stream, phasenet, inventory=bundle.inventory)
    kept = bundle.pick(phasenet, probabilities=True)
    found = kept.probability_stream().merge()
    for trace in result.probabilities:
        (same,) = found.select(id=trace.id).slice(trace.stats.starttime, trace.stats.endtime)
        valid = ~np.isnan(trace.data)
        first = round((same.stats.starttime - trace.stats.starttime) * RATE)
        assert np.array_equal(trace.data[valid], same.split()[0].data)
        assert first == int(np.argmax(valid))
    assert [pick.id for pick in kept.picks] == [pick.id for pick in result.picks]
    assert list(kept.picks_frame()["id"]) == [pick.id for pick in result.picks]


def test_an_ensemble_picks_like_a_model(bundle: EventBundle, eqt: Model, phasenet: Model) -> None:
    picked = bundle.pick(combine([eqt, phasenet], "mean"), probabilities=True)
    assert picked.picks
    assert {pick.model_id for pick in picked.picks} <= set(picked.probabilities)
    assert all(isinstance(pick, Pick) for pick in picked.picks)


def test_a_bundle_without_waveforms_cannot_be_picked(server: Server, eqt: Model) -> None:
    with pytest.raises(ConfigurationError, match="fetch some first"):
        EventBundle.from_comcat("xx1", server).pick(eqt)


def test_waveforms_and_stations_of_ones_own(tmp_path: Path, bundle: EventBundle) -> None:
    waves, stations = tmp_path / "waves.mseed", tmp_path / "stations.xml"
    waves.write_bytes(b"".join(bundle.miniseed.values()))
    stations.write_bytes(bundle.stationxml or b"")
    own = EventBundle.from_quakeml(quakeml(), "xx1").with_waveforms(waves).with_stations(stations)
    assert own.miniseed == bundle.miniseed  # byte for byte
    assert own.stationxml == bundle.stationxml
    assert own.distances_km == pytest.approx(bundle.distances_km)
    other = own.with_stations(read_inventory(str(stations))).with_waveforms(bundle.stream)
    for one, two in zip(other.stream.merge(), own.stream.merge(), strict=True):
        assert np.array_equal(one.data, two.data)


def test_a_stream_with_gaps_and_floats_is_kept_exactly() -> None:
    rng = np.random.default_rng(1)
    header = {"network": "XX", "station": "A", "channel": "HHZ", "sampling_rate": 50.0}
    samples = rng.normal(size=500)
    parts = [
        Trace(samples[first:last], {**header, "starttime": TIME + first / 50.0})
        for first, last in ((0, 100), (150, 500))
    ]
    stream = Stream(parts).merge()  # a masked array
    kept = EventBundle.from_quakeml(quakeml()).with_waveforms(stream).stream
    assert [len(trace) for trace in kept] == [100, 350]
    assert np.array_equal(kept[0].data, samples[:100])
    assert np.array_equal(kept[1].data, samples[150:])


def test_a_location_of_two_dashes_is_the_empty_one() -> None:
    trace = waveforms()[0]
    trace.stats.location = "--"
    body = BytesIO()
    trace.write(body, format="MSEED")
    stream = read(BytesIO(body.getvalue()))
    bundle = EventBundle.from_quakeml(quakeml()).with_waveforms(stream)
    assert list(bundle.miniseed) == ["XX.NEAR..HHZ"]
    assert [trace.id for trace in bundle.stream] == ["XX.NEAR..HHZ"]


def test_one_event_of_several_must_be_named(tmp_path: Path) -> None:
    catalogue = read_events(BytesIO(quakeml()))
    second = read_events(BytesIO(quakeml().replace(b"eventid=xx1", b"eventid=xx2")))[0]
    catalogue.append(second)
    path = tmp_path / "two.xml"
    catalogue.write(str(path), format="QUAKEML")
    with pytest.raises(ConfigurationError, match=r"2 events \(xx1, xx2\)"):
        EventBundle.from_quakeml(path)
    one = EventBundle.from_quakeml(path, "xx2")
    assert (one.event_id, len(one.event.picks)) == ("xx2", len(PICKS))
    with pytest.raises(DataError, match="no event xx3"):
        EventBundle.from_quakeml(path, "xx3")


@pytest.mark.parametrize("body", [b"", b"no XML", b"<html/>", b"<a><b/></a>", quakeml()[:900]])
def test_a_document_that_is_no_quakeml_is_an_error(body: bytes) -> None:
    with pytest.raises(DataError, match="the QuakeML document: can't be read as QuakeML"):
        EventBundle.from_quakeml(body)


@pytest.mark.parametrize("step", ["event", "waveforms", "stations"])
def test_a_file_that_is_something_else_is_named(tmp_path: Path, step: str) -> None:
    path = tmp_path / "notes.txt"
    with pytest.raises(ConfigurationError, match=r"notes\.txt"):
        _read(step, path)
    path.write_text("not at all", encoding="utf-8")
    with pytest.raises(DataError, match=r"notes\.txt"):
        _read(step, path)


def _read(step: str, path: Path) -> EventBundle:
    bundle = EventBundle.from_quakeml(path if step == "event" else quakeml())
    return bundle.with_stations(path) if step == "stations" else bundle.with_waveforms(path)
