"""Earthworm's configuration files, as its own tokenizer reads them."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ml_prediction.earthworm.syntax import Line, params_folder, read_lines
from ml_prediction.errors import ConfigurationError


def lines_of(
    params: Path, content: str | bytes, environment: dict[str, str] | None = None
) -> list[Line]:
    """Lines of a file with this content."""
    path = params / "module.d"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("latin-1"))
    return list(read_lines(path, params, environment or {}))


def tokens_of(
    params: Path, content: str | bytes, environment: dict[str, str] | None = None
) -> list[list[str]]:
    return [[line.keyword, *line.values] for line in lines_of(params, content, environment)]


# -- tokens ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "tokens"),
    [
        ("", []),
        (" \t \n\n", []),
        ("# all a comment", []),
        (" \t# all a comment", []),
        ("#Ring X 1", []),
        ("Ring WAVE_RING 1000 # public", [["Ring", "WAVE_RING", "1000", "#", "public"]]),
        ("Ring\tWAVE_RING \t1000", [["Ring", "WAVE_RING", "1000"]]),
        ("  Ring A", [["Ring", "A"]]),
        ("Ring A#1", [["Ring", "A#1"]]),
        ('Process "pick_ew pick_ew.d" x', [["Process", "pick_ew pick_ew.d", "x"]]),
        ('Text ""', [["Text", ""]]),
        ('Text "# none" y', [["Text", "# none", "y"]]),
        ("Text [two words] z", [["Text", "two words", "z"]]),
        ('Text [a "quoted" word]', [["Text", 'a "quoted" word']]),
        ('Text "never closed', [["Text", "never closed"]]),
        ("a\nb 1\n\n# c\nd", [["a"], ["b", "1"], ["d"]]),
    ],
)
def test_tokens(tmp_path: Path, content: str, tokens: list[list[str]]) -> None:
    assert tokens_of(tmp_path, content) == tokens
    assert tokens_of(tmp_path, content.replace("\n", "\r\n") + "\r\n") == tokens


words = st.text(st.characters(codec="latin-1", exclude_categories=["C", "Z"]), min_size=1).filter(
    lambda word: word[0] not in '"[#@' and "${" not in word
)


@given(table=st.lists(st.lists(words, min_size=1, max_size=5), max_size=5), data=st.data())
@settings(
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_words_between_blanks_come_back(
    tmp_path: Path, table: list[list[str]], data: st.DataObject
) -> None:
    blanks = st.text(" \t", min_size=1, max_size=3)
    text = "".join(
        "".join(data.draw(blanks) + word for word in row)
        + data.draw(st.sampled_from(["\n", "\r\n"]))
        for row in table
    )
    assert tokens_of(tmp_path, text) == table


@pytest.mark.parametrize("byte", [0x85, 0xA0, 0xE9, 0x0B, 0x0C, 0x1C, 0x1D, 0x1E])
def test_only_line_feeds_end_a_line(tmp_path: Path, byte: int) -> None:
    content = b"# Universit" + bytes([byte]) + b" Ring HIDDEN 1\nRing A 1\n"
    assert tokens_of(tmp_path, content) == [["Ring", "A", "1"]]
    (line,) = lines_of(tmp_path, b"\n" + content[:12] + b"\nRing A 1")
    assert line.number == 3


def test_a_line_knows_where_it_is(tmp_path: Path) -> None:
    (line,) = lines_of(tmp_path, "# first\n\nKey one two\n")
    assert (line.path, line.number) == (tmp_path / "module.d", 3)
    assert line.place == f"{tmp_path / 'module.d'}, line 3"
    assert [line.value(), line.value(1)] == ["one", "two"]


def test_missing_values_are_named(tmp_path: Path) -> None:
    (line,) = lines_of(tmp_path, "\nKey one\n")
    with pytest.raises(
        ConfigurationError, match=r"module\.d, line 2: Key has 1 value, and needs more"
    ):
        line.value(2)
    (line,) = lines_of(tmp_path, "Key")
    with pytest.raises(
        ConfigurationError, match=r"module\.d, line 1: Key has 0 values, and needs more"
    ):
        line.value()


@pytest.mark.parametrize("text", ["-6", "256", "1.0", "x", "0x10", "1_0", "9" * 30, "", "²"])
def test_what_is_no_whole_number_within_the_limits_is_refused(tmp_path: Path, text: str) -> None:
    (line,) = lines_of(tmp_path, f'Key "{text}"')
    with pytest.raises(ConfigurationError, match=r"line 1: Key .* no whole number from -5 to 255"):
        line.integer(0, -5, 255)


@given(number=st.integers(-5, 255))
@settings(derandomize=True, deadline=None)
def test_whole_numbers_within_the_limits_are_read(number: int) -> None:
    for text in {str(number), f"{number:+}", f"{number:05}"}:
        assert Line("Key", (text,), Path("x.d"), 1).integer(0, -5, 255) == number


def test_lines_have_a_longest_length(tmp_path: Path) -> None:
    assert tokens_of(tmp_path, "x" * 2048) == [["x" * 2048]]
    with pytest.raises(ConfigurationError, match=r"module\.d, line 2 has 2049 characters.*2048"):
        lines_of(tmp_path, "a\n" + "x" * 2049)


# -- files ----------------------------------------------------------------------------------------


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"Can't read .*none\.d \(No such file"):
        list(read_lines(tmp_path / "none.d", tmp_path, {}))


def test_a_file_is_looked_for_among_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "some.d").write_text("Key 1")
    (line,) = read_lines(Path("some.d"), tmp_path, {})
    assert line.path == tmp_path / "some.d"


def test_a_file_that_is_there_as_it_is_named_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("params", "here"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "some.d").write_text(f"{folder}\n")
    monkeypatch.chdir(tmp_path / "here")
    (line,) = read_lines(Path("some.d"), tmp_path / "params", {})
    assert line.keyword == "here"


@pytest.mark.parametrize("spelling", ["@other.d", "@ other.d", '"@other.d"', "  @other.d  # why"])
def test_included_lines_stand_where_they_are_included(tmp_path: Path, spelling: str) -> None:
    (tmp_path / "other.d").write_text("b 1\nc 2\n")
    lines = lines_of(tmp_path, f"a\n{spelling}\nd\n")
    assert [line.keyword for line in lines] == ["a", "b", "c", "d"]
    assert [line.path.name for line in lines] == ["module.d", "other.d", "other.d", "module.d"]
    assert [line.number for line in lines] == [1, 1, 2, 3]


def test_includes_are_relative_to_the_configuration_not_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "first.d").write_text("@second.d\n")
    (tmp_path / "sub" / "second.d").write_text("wrong\n")
    (tmp_path / "second.d").write_text("right\n")
    assert tokens_of(tmp_path, "@sub/first.d") == [["right"]]


def test_an_include_may_have_an_absolute_path(tmp_path: Path) -> None:
    other = tmp_path / "elsewhere.d"
    other.write_text("there\n")
    params = tmp_path / "params"
    params.mkdir()
    assert tokens_of(params, f"@{other}") == [["there"]]


def test_a_missing_include_is_named_with_the_line_that_wants_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"module\.d, line 2: Can't read .*none\.d"):
        lines_of(tmp_path, "a\n@none.d\n")


def test_four_includes_may_be_nested(tmp_path: Path) -> None:
    for number in range(7):
        (tmp_path / f"{number}.d").write_text(f"key {number}\n@{number + 1}.d\n")
    (tmp_path / "4.d").write_text("key 4\n")
    found = [line.value() for line in read_lines(tmp_path / "0.d", tmp_path, {})]
    assert found == ["0", "1", "2", "3", "4"]
    (tmp_path / "4.d").write_text("key 4\n@5.d\n")
    with pytest.raises(ConfigurationError, match=r"4\.d, line 2: .*5\.d would be"):
        list(read_lines(tmp_path / "0.d", tmp_path, {}))


def test_a_file_that_includes_itself_ends(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"module\.d, line 1: .*module\.d"):
        lines_of(tmp_path, "@module.d")


# -- variables ------------------------------------------------------------------------------------


def test_variables_come_from_the_environment(tmp_path: Path) -> None:
    environment = {"A": "one", "B_2": "two three"}
    assert tokens_of(tmp_path, "Key ${A} x${A}y ${B_2}", environment) == [
        ["Key", "one", "xoney", "two", "three"]
    ]
    assert tokens_of(tmp_path, 'Key "${B_2}" $A', environment) == [["Key", "two three", "$A"]]


def test_common_variables_come_first(tmp_path: Path) -> None:
    (tmp_path / "earthworm_commonvars.d").write_text(
        '# SetEnvVariable A no\nSetEnvVariable A common\nSetEnvVariable B "two words"\nOther A no\n'
    )
    environment = {"A": "environment", "C": "environment"}
    assert tokens_of(tmp_path, "Key ${A} ${C} [${B}]", environment) == [
        ["Key", "common", "environment", "two words"]
    ]


def test_common_variables_are_taken_as_they_stand(tmp_path: Path) -> None:
    (tmp_path / "earthworm_commonvars.d").write_text("SetEnvVariable A ${HOST}_1\n")
    assert tokens_of(tmp_path, "Key ${A}", {"HOST": "here"}) == [["Key", "${HOST}_1"]]


def test_a_line_with_an_unknown_variable_stays_as_it_is_and_warns(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        tokens = tokens_of(tmp_path, "a\nKey ${A} ${NONE}\n# ${ALSO_NONE}\n", {"A": "one"})
    assert tokens == [["a"], ["Key", "${A}", "${NONE}"]]
    (record,) = caplog.records
    assert "module.d, line 2" in record.getMessage()
    assert "NONE" in record.getMessage()


# -- the folder -----------------------------------------------------------------------------------


def test_the_folder_is_that_of_the_environment(tmp_path: Path) -> None:
    assert params_folder({"EW_PARAMS": f"{tmp_path}/"}) == tmp_path
    with pytest.raises(ConfigurationError, match="EW_PARAMS is not set"):
        params_folder({})
    with pytest.raises(ConfigurationError, match=r"EW_PARAMS = .*none.* is no folder"):
        params_folder({"EW_PARAMS": str(tmp_path / "none")})
