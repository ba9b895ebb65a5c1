"""Channels by patterns and by the three kinds of station files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from obspy import Inventory, UTCDateTime
from obspy.core.inventory import Channel, Network, Station

from ml_prediction.drivers.live.selection import Selection, select
from ml_prediction.earthworm.config import ChannelPattern
from ml_prediction.errors import ConfigurationError
from ml_prediction.util.codes import NSLC, Instrument


def nslc(text: str) -> NSLC:
    return NSLC(*text.split("."))


GNW = [nslc(f"UW.GNW..HH{letter}") for letter in "ENZ"]
MBW = [nslc(f"CC.MBW.01.EH{letter}") for letter in "ENZ"]


def chosen(selection: Selection, *texts: str) -> list[str]:
    return [text for text in texts if selection.wants(nslc(text))]


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "stations.list"
    path.write_text(text)
    return path


# -- patterns ---------------------------------------------------------------------------------


def test_without_anything_all_channels_are_wanted_and_none_is_known_to_come() -> None:
    selection = select((), None)
    assert all(map(selection.wants, [*GNW, *MBW]))
    assert selection == Selection()


def test_patterns_have_earthworms_order_and_two_dashes_for_no_location() -> None:
    patterns = [ChannelPattern("GN?", "HH*", "UW", "--"), ChannelPattern("*", "EHZ", "*", "0[12]")]
    selection = select(patterns, None)
    texts = ("UW.GNW..HHZ", "UW.GNW.00.HHZ", "UW.GNW..ENZ", "CC.MBW.01.EHZ", "CC.MBW.03.EHZ")
    assert chosen(selection, *texts) == ["UW.GNW..HHZ", "CC.MBW.01.EHZ"]
    assert selection.declared == ()


# -- text lists -------------------------------------------------------------------------------


def test_a_list_names_channels_and_declares_those_without_wildcards(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "# our stations\n"
        "// of the old list\n"
        "\n"
        "GNW HHZ UW --   # the vertical\n"
        "GNW HHN UW --\n"
        "  GNW HHN UW --  again and more words\n"
        "MBW EH? CC 01\n"
        "S* [BH]HZ * *\n",
    )
    selection = select((), path)
    assert selection.declared == (nslc("UW.GNW..HHZ"), nslc("UW.GNW..HHN"))
    texts = ("UW.GNW..HHZ", "UW.GNW..HHE", "CC.MBW.01.EHE", "CC.MBW..EHE", "XX.SPN.9.BHZ")
    assert chosen(selection, *texts) == ["UW.GNW..HHZ", "CC.MBW.01.EHE", "XX.SPN.9.BHZ"]
    assert selection.instruments == frozenset()
    assert selection.inventory is None


def test_channels_and_station_file_must_both_want_a_channel(tmp_path: Path) -> None:
    path = write(tmp_path, "GNW HHZ UW --\nMBW EHZ CC 01\n")
    selection = select([ChannelPattern("GNW", "*", "*", "*")], path)
    assert chosen(selection, "UW.GNW..HHZ", "CC.MBW.01.EHZ", "UW.GNW..HHN") == ["UW.GNW..HHZ"]
    assert selection.declared == (nslc("UW.GNW..HHZ"),)


def test_the_list_of_pick_ew_stands_for_whole_instruments(tmp_path: Path) -> None:
    numbers = "3 40 3 60 500 3 .939 3. .4 .015 5. .9961 1200. 132.7 .8 1.5 135000. 8388608"
    path = write(
        tmp_path,
        "#\n# Pick  Pin    Station/    MinBigZC\n# Flag  Numb\n"
        f"   1     0   GNW HHZ UW -- {numbers}\n"
        f"   0     0   OFF HHZ UW -- {numbers}\n"
        f"   1     0   MBW EHZ CC 01 {numbers}\n",
    )
    selection = select((), path)
    assert selection.instruments == {
        Instrument("UW", "GNW", "", "HH"),
        Instrument("CC", "MBW", "01", "EH"),
    }
    texts = ("UW.GNW..HHZ", "UW.GNW..HHE", "UW.GNW..ENZ", "UW.OFF..HHZ", "CC.MBW.01.EHN")
    assert chosen(selection, *texts) == ["UW.GNW..HHZ", "UW.GNW..HHE", "CC.MBW.01.EHN"]
    assert selection.declared == ()  # nobody knows whether there are horizontals


def test_both_kinds_of_lines_may_be_in_one_list(tmp_path: Path) -> None:
    path = write(tmp_path, "1 0 GNW HHZ UW -- 3 40\nMBW EHZ CC 01\n")
    selection = select([ChannelPattern("*", "*", "*", "*")], path)
    assert chosen(selection, "UW.GNW..HHE", "CC.MBW.01.EHZ", "CC.MBW.01.EHN") == [
        "UW.GNW..HHE",
        "CC.MBW.01.EHZ",
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [("GNW HHZ UW\n", 1), ("# x\n\nGNW HHZ UW --\nMBW EHZ\n", 4), ("1 0 GNW\n", 1)],
)
def test_a_line_that_is_too_short_is_named(tmp_path: Path, text: str, line: int) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigurationError) as caught:
        select((), path)
    assert f"{path}, line {line}:" in str(caught.value)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("1 0 GNW BHZ UW", "PICK_FLAG PIN STA CHAN NET LOC"),
        ("1 0 GNW BHZ", "'nothing' is no location"),
        ("1 0 GNW BHZ UW 3 40 3 60 500", "'3' is no location"),
        ("0 0 GNW BHZ UW 3 40 3 60 500", "'3' is no location"),
        ("UW GNW -- BHZ", "wrong place"),
        ("GNW BHZ -- UW", "wrong place"),
        ("GNW UW 00 BHZ", "'BHZ' is none"),
        ("UW GNW BHZ --", "'GNW' is no channel of network 'BHZ'"),
        ("UW GNW HH? 00", "'GNW' is no channel of network 'HH?'"),
    ],
)
def test_a_line_of_another_order_is_refused_with_the_right_one(
    tmp_path: Path, line: str, said: str
) -> None:
    path = write(tmp_path, f"RER BHZ UW --\n{line}\n")
    with pytest.raises(ConfigurationError, match=re.escape(said)) as caught:
        select((), path)
    assert f"{path}, line 2: " in str(caught.value)
    assert "STA CHAN NET LOC (-- for no location)" in str(caught.value)


@pytest.mark.parametrize(
    "line",
    ["* * * *", "0123 HHZ XX --", "GNW * UW ??", "GNW LOG UW --", "ABE BHZ XX 9", "GNW HHZ ABC --"],
)
def test_unusual_lines_in_the_right_order_are_taken(tmp_path: Path, line: str) -> None:
    assert select((), write(tmp_path, line)).listed == (ChannelPattern(*line.split()),)


@pytest.mark.parametrize("text", ["", "# nothing\n", "0 0 GNW HHZ UW -- 3 40\n"])
def test_a_list_without_channels_is_an_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"stations\.list names no channel"):
        select((), write(tmp_path, text))


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nowhere"):
        select((), tmp_path / "nowhere")
    with pytest.raises(ConfigurationError, match="can't be read"):
        select((), tmp_path)


def test_bytes_of_any_kind_in_comments_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "stations.list"
    path.write_bytes(b"# Z\xfcrich \xff\r\n# and so on\x85 MBW\r\nGNW HHZ UW --\r\n")
    assert select((), path).declared == (nslc("UW.GNW..HHZ"),)


def test_a_mark_of_the_byte_order_is_no_part_of_the_first_station(tmp_path: Path) -> None:
    path = tmp_path / "stations.list"
    path.write_bytes(b"\xef\xbb\xbfGNW HHZ UW --\n")
    assert select((), path).declared == (nslc("UW.GNW..HHZ"),)


# -- station metadata -------------------------------------------------------------------------


def channel(code: str, location: str = "", **dates: Any) -> Channel:
    return Channel(code, location, 48.0, -122.0, 0.0, 0.0, azimuth=0.0, dip=-90.0, **dates)


def inventory(*stations: tuple[str, str, list[Channel]]) -> Inventory:
    networks = []
    for network, station, channels in stations:
        made = Station(station, 48.0, -122.0, 0.0, channels=channels)
        networks.append(Network(network, stations=[made]))
    return Inventory(networks, source="test")


def stationxml(tmp_path: Path, made: Inventory) -> Path:
    path = tmp_path / "stations.xml"
    made.write(str(path), format="STATIONXML")
    return path


def three(prefix: str = "HH", location: str = "", **dates: Any) -> list[Channel]:
    return [channel(prefix + letter, location, **dates) for letter in "ENZ"]


def test_stationxml_names_and_declares_its_channels(tmp_path: Path) -> None:
    made = inventory(("UW", "GNW", three()), ("CC", "MBW", three("EH", "01")))
    selection = select((), stationxml(tmp_path, made))
    assert sorted(selection.declared) == sorted([*GNW, *MBW])
    texts = ("UW.GNW..HHZ", "UW.GNW.00.HHZ", "UW.GNW..ENZ", "CC.MBW.01.EHZ")
    assert chosen(selection, *texts) == ["UW.GNW..HHZ", "CC.MBW.01.EHZ"]
    assert selection.inventory is not None


def test_patterns_narrow_the_channels_of_stationxml(tmp_path: Path) -> None:
    made = inventory(("UW", "GNW", three()), ("CC", "MBW", three("EH", "01")))
    path = stationxml(tmp_path, made)
    selection = select([ChannelPattern("MBW", "*", "*", "*")], path)
    assert sorted(selection.declared) == MBW
    assert chosen(selection, "UW.GNW..HHZ", "CC.MBW.01.EHZ") == ["CC.MBW.01.EHZ"]
    with pytest.raises(ConfigurationError, match="no channel that Channels would let in"):
        select([ChannelPattern("NOT", "*", "*", "*")], path)


def test_channels_that_are_closed_are_not_waited_for(tmp_path: Path) -> None:
    closed = three("EN", start_date=UTCDateTime(2000, 1, 1), end_date=UTCDateTime(2005, 1, 1))
    made = inventory(("UW", "GNW", [*three(start_date=UTCDateTime(2005, 1, 1)), *closed]))
    selection = select((), stationxml(tmp_path, made))
    assert sorted(selection.declared) == GNW


def test_where_all_are_closed_it_is_a_replay_of_that_time(tmp_path: Path) -> None:
    dates = {"start_date": UTCDateTime(2000, 1, 1), "end_date": UTCDateTime(2005, 1, 1)}
    selection = select((), stationxml(tmp_path, inventory(("UW", "GNW", three(**dates)))))
    assert sorted(selection.declared) == GNW


def test_stationxml_with_blanks_or_a_byte_order_mark_before_it_is_read(tmp_path: Path) -> None:
    path = stationxml(tmp_path, inventory(("UW", "GNW", three())))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert sorted(select((), path).declared) == GNW


@pytest.mark.parametrize("text", ["<xml", "<?xml version='1.0'?><html></html>"])
def test_xml_that_is_no_station_metadata_is_an_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"stations\.list"):
        select((), write(tmp_path, text))
