"""Earthworm's numbers of rings, modules, message types and installations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ml_prediction.earthworm.logo import Logo
from ml_prediction.earthworm.ring import RingName
from ml_prediction.earthworm.tables import Tables, read_tables
from ml_prediction.errors import ConfigurationError

KINDS = ["Ring", "Module", "Message", "Installation"]
GLOBAL = """\
# numbers for everybody
 Installation  INST_WILDCARD  0   # Sacred
 Installation  INST_UNKNOWN 255
 Message TYPE_WILDCARD 0
 Message TYPE_TRACEBUF2   19  # waves
"""
LOCAL = """\
Ring WAVE_RING 1000 # public
Ring PICK_RING 1005
Module MOD_WILDCARD 0
Module MOD_PICKER 96
Message TYPE_STOP 113
Something ELSE 1
"""


def tables_of(params: Path, local: str = LOCAL, everywhere: str = GLOBAL) -> Tables:
    (params / "earthworm_global.d").write_text(everywhere, encoding="latin-1")
    (params / "earthworm.d").write_text(local, encoding="latin-1")
    return read_tables(params, {})


def of_kind(tables: Tables, kind: str) -> Mapping[str, int]:
    return {
        "Ring": tables.rings,
        "Module": tables.modules,
        "Message": tables.messages,
        "Installation": tables.installations,
    }[kind]


def test_names_have_their_numbers_from_both_files(tmp_path: Path) -> None:
    tables = tables_of(tmp_path)
    assert tables.ring("WAVE_RING") == RingName("WAVE_RING", 1000)
    assert tables.module("MOD_PICKER") == 96
    assert (tables.message("TYPE_TRACEBUF2"), tables.message("TYPE_STOP")) == (19, 113)
    assert tables.installation("INST_UNKNOWN") == 255
    assert tables.logo("INST_UNKNOWN", "MOD_PICKER", "TYPE_STOP") == Logo(
        type=113, module=96, installation=255
    )
    assert tables.logo("INST_WILDCARD", "MOD_WILDCARD", "TYPE_WILDCARD") == Logo(0, 0, 0)
    assert hash(tables) == hash(tables_of(tmp_path))


names = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=32)


@given(
    table=st.dictionaries(names, st.integers(0, 255), max_size=20).filter(
        lambda table: len(set(table.values())) == len(table)
    ),
    kind=st.sampled_from(KINDS),
    twice=st.booleans(),
)
@settings(
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
)
def test_what_is_written_is_read(
    tmp_path: Path, table: dict[str, int], kind: str, twice: bool
) -> None:
    text = "".join(f" {kind} {name}\t{number} # why\n" for name, number in table.items())
    tables = tables_of(tmp_path, text, text if twice else "")
    assert dict(of_kind(tables, kind)) == table
    assert not any(of_kind(tables, other) for other in KINDS if other != kind)


def test_the_key_of_the_flag_ring(tmp_path: Path) -> None:
    assert tables_of(tmp_path).flag_ring_key == 9999
    assert tables_of(tmp_path, "Ring FLAG_RING 2000\n").flag_ring_key == 2000


@pytest.mark.parametrize("missing", ["earthworm_global.d", "earthworm.d"])
def test_both_files_are_needed(tmp_path: Path, missing: str) -> None:
    tables_of(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(ConfigurationError, match=rf"Can't read .*{missing}"):
        read_tables(tmp_path, {})


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_with_two_numbers_is_a_conflict(tmp_path: Path, kind: str) -> None:
    with pytest.raises(
        ConfigurationError,
        match=rf"earthworm\.d, line 2: {kind} ONE 8 contradicts {kind} ONE 7",
    ):
        tables_of(tmp_path, f"\n{kind} ONE 8", f"{kind} ONE 7")


@pytest.mark.parametrize("kind", KINDS)
def test_a_number_with_two_names_is_a_conflict(tmp_path: Path, kind: str) -> None:
    with pytest.raises(
        ConfigurationError,
        match=rf"earthworm\.d, line 1: {kind} TWO 7 contradicts {kind} ONE 7",
    ):
        tables_of(tmp_path, f"{kind} TWO 7", f"{kind} ONE 7")


def test_the_kinds_do_not_conflict_with_each_other(tmp_path: Path) -> None:
    tables = tables_of(tmp_path, "".join(f"{kind} SAME 7\n" for kind in KINDS))
    assert {of_kind(tables, kind)["SAME"] for kind in KINDS} == {7}


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("Module M 256", r"Module '256' is no whole number from 0 to 255"),
        ("Module M -1", r"Module '-1' is no whole number"),
        ("Message T 300", r"Message '300' is no whole number from 0 to 255"),
        ("Installation I x", r"Installation 'x' is no whole number from 0 to 255"),
        ("Ring R 2147483648", r"Ring '2147483648' is no whole number"),
        ("Ring R", r"Ring has 1 value, and needs more"),
        ("Module", r"Module has 0 values, and needs more"),
        ("Ring " + "R" * 33 + " 5", r"more than 32 characters"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, line: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"earthworm\.d, line 2: .*{complaint}"):
        tables_of(tmp_path, f"# first\n{line}\n")


@pytest.mark.parametrize("key", [0, 2**31 - 1])
def test_ring_keys_have_31_bits(tmp_path: Path, key: int) -> None:
    assert tables_of(tmp_path, f"Ring R {key}").ring("R").key == key


def test_unknown_names_say_what_to_add_where(tmp_path: Path) -> None:
    tables = tables_of(tmp_path)
    for kind, ask in (
        ("Ring", tables.ring),
        ("Module", tables.module),
        ("Message", tables.message),
        ("Installation", tables.installation),
    ):
        with pytest.raises(
            ConfigurationError,
            match=rf"{kind} NONE is in neither .*add a line '{kind} NONE NUMBER'",
        ):
            ask("NONE")
    with pytest.raises(ConfigurationError, match="Ring wave_ring is in neither"):
        tables.ring("wave_ring")


def test_tables_may_include_files_and_hold_latin_1_and_variables(tmp_path: Path) -> None:
    (tmp_path / "more.d").write_text("Module MOD_MORE 5\n")
    (tmp_path / "earthworm_commonvars.d").write_text("SetEnvVariable KEY 1234\n")
    tables = tables_of(tmp_path, "# Universität\r\n@more.d\r\nRing R ${KEY}\r\n")
    assert tables.module("MOD_MORE") == 5
    assert tables.ring("R").key == 1234
