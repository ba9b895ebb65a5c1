"""Playing and sniffing, and what is played and recorded, with rings in real shared memory."""

from __future__ import annotations

import io
import math
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from drivers.ring_bench import (
    GNW,
    NAMES,
    NOW,
    SENDER,
    FakeClock,
    MakeRing,
    make_trace,
    messages_of,
    put,
    save,
    wave,
)
from obspy import Stream, Trace, read
from ring_keeper import KeptRing, set_flag

from ml_prediction.cli_rings import app, tank
from ml_prediction.drivers.ring_play import PlayOptions, disturbed, play
from ml_prediction.drivers.ring_state import look
from ml_prediction.drivers.ring_tools import Clock, record, sniff
from ml_prediction.drivers.tank_files import Cut, convert, packets_of
from ml_prediction.earthworm.layout import LAYOUT_32, TERMINATE
from ml_prediction.earthworm.logo import Logo
from ml_prediction.earthworm.messages import TraceBuf, encode_tracebuf
from ml_prediction.earthworm.ring import Ring, RingError, RingName
from ml_prediction.earthworm.sysv import library
from ml_prediction.earthworm.tank import decode_packet, is_tank
from ml_prediction.errors import ConfigurationError, DataError


def make_stream(seed: int) -> Stream:
    """Some channels of any rates, with gaps; times to the microsecond."""
    rng = np.random.default_rng(seed)
    stream = Stream()
    for number in range(int(rng.integers(1, 4))):
        rate = float(rng.choice([1.0, 20.0, 31.25, 40.0, 99.5, 100.0, 200.0, 1000.0]))
        start = NOW + int(rng.integers(0, 2_000_000)) / 1e6
        for _ in range(int(rng.integers(1, 4))):
            count = int(rng.integers(1, int(6 * rate) + 2))
            low, high = (-(2**31), 2**31 - 1) if rng.random() < 0.2 else (-5000, 5000)
            data = rng.integers(low, high, count, endpoint=True).astype(np.int32)
            stream.append(make_trace(data, f"BH{'ZNE'[number]}", rate, start))
            start = round(start + count / rate + float(rng.uniform(2, 9)) / rate, 6)
    return stream


def by_start(stream: Stream) -> list[Trace]:
    return sorted(stream, key=lambda trace: (trace.id, trace.stats.starttime.ns))


def assert_same(one: Stream, other: Stream) -> None:
    assert len(one) == len(other)
    for mine, theirs in zip(by_start(one), by_start(other), strict=True):
        assert mine.id == theirs.id
        assert mine.stats.sampling_rate == theirs.stats.sampling_rate
        # A double of seconds, and miniSEED, are good to a microsecond.
        assert abs(mine.stats.starttime.ns - theirs.stats.starttime.ns) <= 1000
        np.testing.assert_array_equal(mine.data, theirs.data)


@pytest.mark.parametrize("seed", range(12))
def test_what_is_played_recorded_and_converted_is_the_same(
    tmp_path: Path, ring: MakeRing, seed: int
) -> None:
    stream = make_stream(seed)
    source = save(stream, tmp_path / "a.mseed", encoding="INT32", reclen=512)
    name, said = ring(), [""]
    options = PlayOptions(
        seconds=(0.5, 1.0, 7.3)[seed % 3],
        speed=math.inf,
        jitter=3.0 * (seed % 2),
        shuffle=2.0 * (seed % 4 == 3),
        duplicate=0.3 * (seed % 3 == 1),
        seed=seed,
    )
    count = play([source], name, NAMES, said.append, options=options, sender=SENDER)
    recorded = record(name, NAMES, tmp_path / "b.tnk", said.append, seconds=0)
    assert recorded == count == len(messages_of(name))
    assert is_tank(tmp_path / "b.tnk")
    convert(tmp_path / "b.tnk", tmp_path / "c.mseed", said.append)
    assert_same(read(tmp_path / "c.mseed"), stream)
    repeated = count - len({message.payload for message in messages_of(name)})
    assert any(f"{repeated} packets are there more than" in text for text in said) == (repeated > 0)


def test_packets_come_in_order_of_their_ends_and_on_the_grid_of_their_trace(tmp_path: Path) -> None:
    long = make_trace(np.arange(10_000, dtype=np.int32), "BHZ", 31.25, NOW + 0.123456)
    fast = make_trace(np.arange(3000, dtype=np.int32), "BHN", 2000.0, NOW)
    source = save(Stream([long, fast]), tmp_path / "a.mseed")
    cuts = list(packets_of([source], print))
    assert [cut.end for cut in cuts] == sorted(cut.end for cut in cuts)
    bufs = [decode_packet(cut.payload) for cut in cuts]
    assert {len(buf.samples) for buf in bufs if buf.nslc.channel == "BHN"} == {1000}
    slow = [buf for buf in bufs if buf.nslc.channel == "BHZ"]
    assert {len(buf.samples) for buf in slow} == {31, 10_000 % 31}
    for number, buf in enumerate(slow):
        assert buf.starttime == pytest.approx(NOW + 0.123456 + number * 31 / 31.25, abs=3e-7)
        assert buf.endtime == pytest.approx(
            buf.starttime + (len(buf.samples) - 1) / 31.25, abs=3e-7
        )


def test_the_pace_is_that_of_the_packets_times_the_speed(tmp_path: Path, ring: MakeRing) -> None:
    source = save(
        make_trace(np.arange(1000, dtype=np.int32), start=NOW - 86_400.5), tmp_path / "a.mseed"
    )
    name, fake, arrivals = ring(), FakeClock(), []
    with closing(Ring(name)) as watched:
        before = watched.keyin

        def sleep(seconds: float) -> None:
            nonlocal before
            if watched.keyin > before:
                arrivals.append(fake.time)
                before = watched.keyin
            fake.sleep(seconds)

        clock = Clock(now=lambda: fake.time, steady=lambda: fake.time, sleep=sleep)
        options = PlayOptions(speed=4.0, restamp=True)
        play([source], name, NAMES, print, options=options, sender=SENDER, clock=clock)
    assert fake.time - NOW == pytest.approx(9 / 4, abs=1e-6)
    assert np.diff(arrivals) == pytest.approx(0.25, abs=1e-6)
    bufs = [decode_packet(message.payload) for message in messages_of(name)]
    assert 0 <= NOW - bufs[0].endtime < 1
    assert (bufs[0].starttime - (NOW - 86_400.5)) % 1 == 0  # one whole number of seconds
    assert np.diff([buf.starttime for buf in bufs]) == pytest.approx(1.0, abs=1e-6)


def test_playing_ends_when_earthworm_stops(
    tmp_path: Path, ring: MakeRing, rings: list[KeptRing]
) -> None:
    source = save(make_trace(np.arange(1000, dtype=np.int32)), tmp_path / "a.mseed")
    name, fake, said = ring(), FakeClock(), [""]
    fake.at_sleep = [print, print, lambda: set_flag(rings[0], TERMINATE)]
    options = PlayOptions()
    assert (
        1
        <= play(
            [source], name, NAMES, said.append, options=options, sender=SENDER, clock=fake.clock
        )
        <= 3
    )
    assert "Earthworm stops" in said[-1]


@pytest.mark.parametrize("end", ["interrupt", "destroyed"])
def test_what_was_played_is_told_however_it_ends(
    tmp_path: Path, ring: MakeRing, rings: list[KeptRing], end: str
) -> None:
    source = save(make_trace(np.arange(1000, dtype=np.int32)), tmp_path / "a.mseed")
    name, fake, said = ring(), FakeClock(), [""]

    def interrupt() -> None:
        raise KeyboardInterrupt

    fake.at_sleep = [print] * 4 + [interrupt if end == "interrupt" else rings[0].destroy]
    with pytest.raises(KeyboardInterrupt if end == "interrupt" else RingError):
        play(
            [source],
            name,
            NAMES,
            said.append,
            options=PlayOptions(),
            sender=SENDER,
            clock=fake.clock,
        )
    assert said[1:] == ["ring TEST_RING: 3 packets were played."]


def test_packets_that_would_be_too_long_are_shorter_and_told_once(tmp_path: Path) -> None:
    data, said = np.arange(4000, dtype=np.int32), [""]
    stream = Stream([make_trace(data, channel) for channel in ("BHN", "BHZ")])
    source = save(stream, tmp_path / "a.mseed")
    cuts = list(packets_of([source, source], said.append, seconds=20.0))
    assert {len(decode_packet(cut.payload).samples) for cut in cuts} == {1000}
    (text,) = said[1:]
    assert "a.mseed: packets of UW.GNW..BHN are of 1000 samples, not 2000 (--packet 20)" in text
    said.clear()
    list(packets_of([source], said.append, seconds=10.0))
    assert not said


def test_tanks_are_played_as_they_are_in_their_own_order(tmp_path: Path, ring: MakeRing) -> None:
    old = encode_tracebuf(TraceBuf(GNW, NOW, NOW, 1.0, np.zeros(1, np.int16), "s2"))
    packets = [wave(NOW + 2), old, wave(NOW + 5), wave(NOW + 4)]
    (tmp_path / "a.tnk").write_bytes(b"".join(packets) + b"rest")
    name, said = ring(), [""]
    options = PlayOptions(speed=math.inf)
    play([tmp_path / "a.tnk"], name, NAMES, said.append, options=options, sender=SENDER)
    messages = messages_of(name)
    assert [message.payload for message in messages] == packets
    assert [message.logo for message in messages] == [
        Logo(19, 99, 255),
        Logo(20, 99, 255),
        Logo(19, 99, 255),
        Logo(19, 99, 255),
    ]
    assert "4 bytes at byte 1458 are a packet cut short; skipped." in said[1]


def test_what_is_random_is_the_same_with_the_same_seed() -> None:
    cuts = [Cut(NOW + n / 2, bytes([n])) for n in range(100)]
    options = PlayOptions(jitter=5.0, shuffle=3.0, duplicate=0.2, seed=7)
    dues = list(disturbed(cuts, options))
    assert dues == list(disturbed(cuts, options))
    assert dues != list(disturbed(cuts, PlayOptions(jitter=5.0, shuffle=3.0, duplicate=0.2)))
    assert [due.time for due in dues] == sorted(due.time for due in dues)
    assert {due.cut for due in dues} == set(cuts)
    assert 105 < len(dues) < 140
    assert [due.cut for due in dues] != sorted(due.cut for due in dues)
    assert all(0 <= due.time - due.cut.end <= 8 for due in dues)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (np.array([0.5, 1.0]), "no whole numbers"),
        (np.array([1.0, math.nan], np.float32), "no whole numbers"),
        (np.array([1.0, math.inf], np.float32), "don't fit into 4 bytes"),
        (np.array([3e9]), "don't fit into 4 bytes"),
    ],
)
def test_samples_that_would_change_are_refused(tmp_path: Path, data: Any, said: str) -> None:
    source = save(make_trace(data), tmp_path / "a.mseed")
    with pytest.raises(DataError, match=rf"a\.mseed: samples of UW\.GNW\.\.BHZ .*{said}"):
        list(packets_of([source], print))


def test_whole_numbers_in_floating_point_are_integers(tmp_path: Path) -> None:
    source = save(make_trace(np.array([-3.0, 2**31 - 1])), tmp_path / "a.mseed")
    (cut,) = packets_of([source], print)
    buf = decode_packet(cut.payload)
    assert (buf.datatype, buf.samples.tolist()) == ("i4", [-3, 2**31 - 1])


def test_a_damaged_record_costs_only_itself(tmp_path: Path) -> None:
    source = save(make_trace(np.arange(4000, dtype=np.int32)), tmp_path / "a.mseed", reclen=512)
    data = bytearray(source.read_bytes())
    data[512:1024] = bytes(512)
    source.write_bytes(data)
    said = [""]
    cuts = list(packets_of([source], said.append))
    samples = np.concatenate([decode_packet(cut.payload).samples for cut in cuts])
    lost = np.setdiff1d(np.arange(4000), samples)
    assert 0 < len(lost) < 1000  # of one record
    assert lost[-1] - lost[0] == len(lost) - 1
    assert len(said) == 2
    assert "512 bytes at byte 512" in said[1]


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nothing\.mseed does not exist"):
        packets_of([tmp_path / "nothing.mseed"], print)
    (tmp_path / "text").write_text("no waveforms")
    with pytest.raises(DataError, match=r"text is neither a tank nor"):
        packets_of([tmp_path / "text"], print)
    with pytest.raises(ConfigurationError, match="--packet 0"):
        packets_of([], print, seconds=0.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"speed": 0.0},
        {"speed": math.nan},
        {"jitter": -1.0},
        {"shuffle": math.inf},
        {"duplicate": 2},
    ],
)
def test_options_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=f"--{next(iter(wrong))}"):
        PlayOptions(**wrong)


def test_sniffed_lines_say_what_each_message_is(ring: MakeRing) -> None:
    name, out, said = ring(), io.StringIO(), [""]
    trace = Logo(19, 99, 255)
    put(
        name,
        (trace, wave(NOW - 10)),
        (trace, wave(NOW - 9)),
        (trace, wave(NOW - 6)),
        (trace, wave(NOW - 6)),
        (trace, wave(NOW - 8)),
        (trace, wave(NOW - 5.5)),
        (trace, wave(NOW - 4.5, rate=50.0)),
        (trace, b"short"),
        (Logo(3, 1, 255), b"1700000000 42\n\0"),
        (Logo(14, 1, 255), b"line 1\nline 2\n"),
        (Logo(200, 1, 0), b"\x80\x01\x02"),
    )
    assert sniff(name, NAMES, out, said.append, oldest=True, seconds=0, clock=FakeClock().clock)
    lines = out.getvalue().splitlines()
    assert lines[0] == (
        "INST_UNKNOWN MOD=99 TYPE_TRACEBUF2 seq   0   464 bytes  GNW.BHZ.UW.-- "
        "2023-11-14T22:13:10.000000Z - 2023-11-14T22:13:10.990000Z 100 Hz 100 samples i4 "
        "data latency 9.0 s feed latency 0.0 s"
    )
    endings = ["feed latency 0.0 s"] * 2 + [
        "[gap 2.000 s]",
        "[repeated]",
        "[out of order: 2.000 s behind]",
        "[overlap 0.500 s]",
        "[rate was 100 Hz]",
        "5 bytes are fewer than the 64 of the header.",
        "  1700000000 42",
        "  line 1 | line 2",
        "INST_WILDCARD MOD=1 TYPE=200 seq   0     3 bytes",
    ]
    for line, ending in zip(lines, endings, strict=True):
        assert line.endswith(ending)


def test_sniffing_begins_with_what_is_new_and_ends_by_its_count(ring: MakeRing) -> None:
    name, out, fake = ring(), io.StringIO(), FakeClock()
    beat, other = Logo(3, 1, 255), Logo(3, 2, 255)
    put(name, (beat, b"before"))
    fake.at_sleep = [
        lambda: put(name, (beat, b"first"), (other, b"not wanted")),
        lambda: put(name, (beat, b"second"), (beat, b"third")),
    ]
    wanted = [NAMES.wanted("0,1,TYPE_HEARTBEAT")]
    assert sniff(name, NAMES, out, print, wanted=wanted, count=2, clock=fake.clock) == 2
    assert [line.split()[-1] for line in out.getvalue().splitlines()] == ["first", "second"]


def test_losses_are_told(ring: MakeRing) -> None:
    name, said, fake = ring(8), [""], FakeClock()
    logo = Logo(3, 1, 255)
    with closing(Ring(name)) as writer:
        writer.put(logo, b"x" * 1000)

        def burst() -> None:
            for _ in range(40):
                writer.put(logo, b"x" * 1000)

        fake.at_sleep = [burst]
        sniff(name, NAMES, io.StringIO(), said.append, oldest=True, seconds=0.3, clock=fake.clock)
    assert said[1:] == [
        "ring TEST_RING: 33 or more of INST_UNKNOWN MOD=1 TYPE_HEARTBEAT missed "
        "(overwritten before they were read)."
    ]
    put(name, (logo, b"again from 0"))
    said.clear()
    sniff(name, NAMES, io.StringIO(), said.append, oldest=True, seconds=0, clock=fake.clock)
    assert "(gap in their sequence numbers)" in said[0]


def test_following_ends_with_earthworm_and_fails_with_the_ring(
    ring: MakeRing, rings: list[KeptRing]
) -> None:
    name, out = ring(), io.StringIO()
    put(name, (Logo(3, 1, 255), b"1"))
    set_flag(rings[0], TERMINATE)
    assert sniff(name, NAMES, out, print, oldest=True, clock=FakeClock().clock) == 1
    set_flag(rings[0], 0)
    fake = FakeClock()
    fake.at_sleep = [rings[0].destroy]
    with pytest.raises(RingError, match=r"TEST_RING.* was destroyed"):
        sniff(name, NAMES, out, print, clock=fake.clock)


@pytest.mark.parametrize("options", [{}, {"layout": LAYOUT_32}])
def test_the_state_of_a_ring(ring: MakeRing, rings: list[KeptRing], options: Any) -> None:
    name = ring(16, **options)
    trace, beat = Logo(19, 99, 255), Logo(3, 1, 255)
    put(name, (trace, wave(NOW)), (beat, b"1"), (trace, wave(NOW + 1)), (trace, b"?"))
    set_flag(rings[0], 1234, **options)
    rings[0].set_lock_value(0)
    state = look(name, NAMES)
    bits, head, transport = (32, 20, 12) if options else (64, 40, 24)
    assert (state.bits, state.size, state.usable) == (bits, 16_384, 16_384 - head)
    assert state.used == 2 * 464 + 2 + 4 * transport
    assert (state.flag, state.lock, state.attached, state.unreadable) == (1234, 0, 0, 1)
    assert state.logos == {trace: (3, 929), beat: (1, 1)}
    assert (state.oldest, state.newest) == ((NOW, NOW + 0.99), (NOW + 1, NOW + 1.99))
    with pytest.raises(RingError, match="There is no ring"):
        look(
            RingName(
                "NO_RING",
                next(k for k in range(0x6D6C0000, 0x6D6D0000) if library().shmget(k, 0, 0) < 0),
            ),
            NAMES,
        )


def test_floats_and_large_steps_survive_a_tank(tmp_path: Path) -> None:
    stream = Stream(
        [
            make_trace(np.linspace(-1, 1, 500, dtype=np.float32), "BHZ"),
            make_trace(np.linspace(-1, 1, 500), "BHN"),
            make_trace(np.array([2**31 - 1, -(2**31), 0] * 50, np.int32), "BHE"),
        ]
    )
    source, said = tmp_path / "a.mseed", [""]
    source.write_bytes(b"".join(_bytes(trace) for trace in stream))
    convert(source, tmp_path / "b", said.append)
    assert "floating point stay so" in said[-1]
    convert(tmp_path / "b", tmp_path / "c", said.append)
    back = read(tmp_path / "c")
    assert_same(back, stream)
    assert {trace.data.dtype for trace in back} == {np.dtype(t) for t in ("f4", "f8", "i4")}


def _bytes(trace: Trace) -> bytes:
    buffer = io.BytesIO()
    encoding = "INT32" if trace.data.dtype == np.int32 else None
    trace.write(buffer, format="MSEED", encoding=encoding)
    return buffer.getvalue()


def test_the_commands(
    tmp_path: Path,
    ring: MakeRing,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("EW_PARAMS", raising=False)
    program = typer.Typer()
    program.add_typer(app)
    program.command()(tank)
    command = typer.main.get_command(program)

    def run(*arguments: object) -> str:
        assert not command.main([str(each) for each in arguments], standalone_mode=False)
        return capsys.readouterr().out

    source = save(make_trace(np.arange(250, dtype=np.int32)), tmp_path / "a.mseed")
    other = save(make_trace(np.arange(250, dtype=np.int32), "BHN"), tmp_path / "b.mseed")
    key = ring().key
    run("ring", "play", source, other, key, "--now", "--logo", "INST_UNKNOWN,7")
    with pytest.raises(ConfigurationError, match=r"--now .* --speed 5"):
        run("ring", "play", source, key, "--now", "--speed", 5)
    lines = run(
        "ring", "sniff", f"X={key}", "--oldest", "--count", 4, "--logo", "0,7,TYPE_TRACEBUF2"
    ).splitlines()
    assert [line.split()[7] for line in lines] == ["GNW.BHZ.UW.--", "GNW.BHN.UW.--"] * 2
    assert "messages     6" in run("ring", "stat", key)
    run("ring", "record", key, tmp_path / "c.tnk", "--seconds", 0)
    run("tank", tmp_path / "c.tnk", tmp_path / "d.mseed")
    assert_same(read(tmp_path / "d.mseed"), read(source) + read(other))
    with pytest.raises(ConfigurationError, match="--seconds -1"):
        run("ring", "sniff", key, "--seconds", -1)
