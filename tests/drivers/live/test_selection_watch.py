"""A selection that lets nothing in is told, once."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml_prediction.core.packets import Packet
from ml_prediction.drivers.live.alarms import Alarm, Alarms
from ml_prediction.drivers.live.selection_watch import PATIENCE, SelectionWatch
from ml_prediction.earthworm.config import ChannelPattern, LiveConfig
from ml_prediction.earthworm.logo import Logo
from ml_prediction.earthworm.messages import decode_error
from ml_prediction.earthworm.ring import RingName
from ml_prediction.sources.earthworm import Arrivals
from ml_prediction.util.codes import NSLC

GNW = NSLC("UW", "GNW", "", "BHZ")
UNWANTED = Arrivals(unwanted=5, unwanted_channel=GNW)


class Bench:
    """A watch, its clock, and what it has told."""

    def __init__(self, *channels: ChannelPattern, station_file: Path | None = None) -> None:
        ring = RingName("WAVE_RING", 1000)
        config = LiveConfig(
            Path("x.d"), 1, "MOD_X", ring, ring, channels=channels, station_file=station_file
        )
        self.now = 1000.0
        self.told: list[str] = []
        self.alarms = Alarms(
            lambda _, payload: self.told.append(decode_error(payload).text), Logo(2, 1, 1)
        )
        self.watch = SelectionWatch(config, self.alarms, lambda: self.now)

    def after(self, seconds: float, *arrivals: Arrivals) -> list[str]:
        self.now += seconds
        for each in arrivals:
            self.watch.note(each)
        self.watch.check()
        return self.told


def test_it_is_told_once_with_the_keywords_and_a_channel() -> None:
    bench = Bench(ChannelPattern("*", "HHZ", "*", "*"), station_file=Path("/x/stations"))
    assert not bench.after(500)  # nothing has come
    assert not bench.after(0, UNWANTED)
    assert not bench.after(PATIENCE - 1, UNWANTED)
    (text,) = bench.after(1)
    assert "none of 10 packets of WAVE_RING, as GNW BHZ UW --, is selected by Channels and " in text
    assert "StationFile /x/stations" in text
    assert len(bench.after(500, UNWANTED)) == 1
    assert bench.alarms.counts[Alarm.STATE] == 1


@pytest.mark.parametrize("first", [True, False])
def test_one_packet_that_is_selected_is_enough(first: bool) -> None:
    bench = Bench(station_file=Path("stations"))
    wanted = Arrivals([Packet.__new__(Packet)])
    arrivals = [wanted, UNWANTED] if first else [UNWANTED, wanted]
    bench.after(0, *arrivals)
    assert not bench.after(PATIENCE + 1, UNWANTED)
