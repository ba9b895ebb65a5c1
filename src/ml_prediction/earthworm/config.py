"""What a module's ``.d`` file says: every keyword of ``ml-prediction earthworm``."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final, Literal, get_args

from ml_prediction.config import SiteRule
from ml_prediction.core.assembly import OneComponent
from ml_prediction.earthworm.logo import Logo
from ml_prediction.earthworm.ring import RingName
from ml_prediction.earthworm.syntax import Line, read_lines
from ml_prediction.earthworm.tables import Tables
from ml_prediction.errors import ConfigurationError
from ml_prediction.models.engine import EngineName
from ml_prediction.models.ensemble import Rule
from ml_prediction.util.codes import NSLC
from ml_prediction.util.frozen import FrozenMap

PickFormat = Literal["PICK_SCNL", "PICK2K"]
Stacking = Literal["max", "mean"]


@dataclass(frozen=True, slots=True)
class ChannelPattern:
    """Channels by glob patterns, in Earthworm's order."""

    station: str
    channel: str
    network: str
    location: str

    def matches(self, nslc: NSLC) -> bool:
        """Whether a channel is one of these."""
        pairs = (
            (nslc.station, self.station),
            (nslc.channel, self.channel),
            (nslc.network, self.network),
            (nslc.location or "--", self.location),
        )
        return all(fnmatchcase(have, want) for have, want in pairs)


@dataclass(frozen=True, slots=True)
class LiveConfig:
    """Everything that a ``.d`` file can say; the keywords are explained in the sample file.

    Attributes are named as the keywords are, in small letters with underscores. ``None`` is what
    is not wanted, or left to the model.
    """

    path: Path
    my_module_id: int
    my_module_name: str
    in_ring: RingName
    out_ring: RingName
    heart_beat_int: int = 30
    log_file: int = 1
    debug: bool = False
    get_logo: tuple[Logo, ...] = ()
    model: tuple[str, ...] = ("EQTransformer",)
    weights: str = "original"
    combine: Rule | None = None
    shares: tuple[float, ...] | None = None
    calibration: Path | None = None
    engine: EngineName = "auto"
    threads: int | None = None
    stride: int | None = None
    horizon: float = math.inf
    threshold: Mapping[str, float] = field(default_factory=FrozenMap)
    stacking: Stacking | None = None
    blinding: tuple[int, int] | None = None
    one_component: OneComponent = "zero"
    site: SiteRule | None = None
    channels: tuple[ChannelPattern, ...] = ()
    station_file: Path | None = None
    quality_table: tuple[float, float, float, float] = (0.02, 0.05, 0.15, 0.5)
    allowed_lateness: float = 10.0
    silence_timeout: float = 120.0
    pick_phases: str = "PS"
    s_component: str = "N"
    pick_format: tuple[PickFormat, ...] = ("PICK_SCNL",)
    phase_token: bool = False
    probability_ring: RingName | None = None
    archive: Path | None = None
    late_archive: Path | None = None
    metrics_port: int | None = None
    metrics_address: str = "127.0.0.1"
    status_file: Path | None = None
    state_dir: Path | None = None
    snapshot_int: float = 60.0
    queue_windows: int = 4000
    stand_alone: bool = False

    @property
    def name(self) -> str:
        """Base name of the configuration file, as in the names of the log files."""
        return self.path.stem


@dataclass(slots=True)
class _Reader:
    """What the parsers need to know."""

    tables: Tables
    params: Path


def read_config(
    path: Path, params: Path, tables: Tables, environment: Mapping[str, str] = os.environ
) -> LiveConfig:
    """A module's configuration.

    Parameters
    ----------
    path
        The ``.d`` file: as it is, or in the folder of the configuration.
    params, tables
        Of the Earthworm system.
    environment
        For variables in the file.

    Raises
    ------
    ConfigurationError
        If a keyword is unknown, missing, or given twice, or a value is not allowed; named with
        file and line.
    """
    lines: dict[str, list[Line]] = {}
    for line in map(_without_remark, read_lines(path, params, environment)):
        keyword = _OTHER_NAMES.get(line.keyword, line.keyword)
        if keyword not in KEYWORDS:
            raise ConfigurationError(_unknown(line))
        known = lines.setdefault(keyword, [])
        if known and keyword not in _REPEATED:
            raise ConfigurationError(
                f"{line.place}: {line.keyword} is given twice, first in {known[0].place}."
            )
        known.append(line)
    missing = [keyword for keyword in _NEEDED if keyword not in lines]
    if missing:
        raise ConfigurationError(f"{path}: {', '.join(missing)} is missing.")
    reader = _Reader(tables, params)
    values: dict[str, Any] = {}
    for keyword, given in lines.items():
        parsed = KEYWORDS[keyword](given, reader)
        values |= parsed if isinstance(parsed, dict) else {field_of(keyword): parsed}
    _check_models(lines)
    config = LiveConfig(path=path, **values)
    if not config.get_logo:
        config = replace(config, get_logo=(_default_logo(tables),))
    return config


def _check_models(lines: Mapping[str, list[Line]]) -> None:
    """An arrival is sent once: several models must pick together."""
    models = lines.get("Model", [])
    if len(models) > 1 and "Combine" not in lines:
        raise ConfigurationError(
            f"{models[1].place}: a second Model needs Combine max, mean or semblance: else each "
            "arrival would be sent twice."
        )


def _without_remark(line: Line) -> Line:
    """A line without what follows a ``#``: Earthworm ignores whatever is extra."""
    remarks = (place for place, value in enumerate(line.values) if value.startswith("#"))
    return replace(line, values=line.values[: next(remarks, None)])


def _default_logo(tables: Tables) -> Logo:
    return Logo(tables.message("TYPE_TRACEBUF2"), 0, 0)


def _unknown(line: Line) -> str:
    near = [k for k in (*KEYWORDS, *_OTHER_NAMES) if k.lower() == line.keyword.lower()]
    advice = f"write it {near[0]}" if near else f"known are {', '.join(KEYWORDS)}"
    return f"{line.place}: the keyword {line.keyword!r} is unknown; {advice}."


def field_of(keyword: str) -> str:
    """Attribute of LiveConfig for a keyword: ``HeartBeatInt`` is ``heart_beat_int``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", keyword).lower()


# -- parsers: lines of one keyword to a value, or to several attributes by name -------------------

Parser = Callable[[list[Line], _Reader], Any]


def _flag(lines: list[Line], reader: _Reader) -> bool:
    return bool(lines[0].integer(0, 0, 1))


def _whole(lowest: int, highest: int) -> Parser:
    return lambda lines, reader: lines[0].integer(0, lowest, highest)


def _number(line: Line, index: int, lowest: float, highest: float) -> float:
    text = line.value(index)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not lowest <= value <= highest:
        raise ConfigurationError(
            f"{line.place}: {line.keyword} {text!r} is no number from {lowest:g} to {highest:g}."
        )
    return value


def _seconds(lowest: float, highest: float) -> Parser:
    return lambda lines, reader: _number(lines[0], 0, lowest, highest)


def _one_of(line: Line, index: int, choices: tuple[str, ...]) -> str:
    text = line.value(index)
    if text not in choices:
        raise ConfigurationError(
            f"{line.place}: {line.keyword} {text!r} is none of {', '.join(choices)}."
        )
    return text


def _choice(*choices: str) -> Parser:
    return lambda lines, reader: _one_of(lines[0], 0, choices)


def _module(lines: list[Line], reader: _Reader) -> dict[str, Any]:
    name = lines[0].value()
    with _placed(lines[0]):
        number = reader.tables.module(name)
    if number == 0:
        raise ConfigurationError(f"{lines[0].place}: {name} stands for any module; name one.")
    return {"my_module_name": name, "my_module_id": number}


def _ring(lines: list[Line], reader: _Reader) -> RingName:
    line = lines[0]
    with _placed(line):
        ring = reader.tables.ring(line.value())
    if ring.key == reader.tables.flag_ring_key:
        raise ConfigurationError(
            f"{line.place}: {line.keyword} {ring.name} holds Earthworm's flags, no messages: name "
            "another ring."
        )
    return ring


def _logos(lines: list[Line], reader: _Reader) -> tuple[Logo, ...]:
    logos = []
    for line in lines:
        kind = line.value(2)
        if kind not in ("TYPE_TRACEBUF2", "TYPE_TRACEBUF"):
            raise ConfigurationError(
                f"{line.place}: {kind} has no waveforms for us; "
                "use TYPE_TRACEBUF2 or TYPE_TRACEBUF."
            )
        with _placed(line):
            logos.append(reader.tables.logo(line.value(0), line.value(1), kind))
    return tuple(logos)


def _thresholds(lines: list[Line], reader: _Reader) -> FrozenMap[float]:
    found: dict[str, float] = {}
    for line in lines:
        label = line.value(0)
        if label in found:
            raise ConfigurationError(f"{line.place}: Threshold {label} is given twice.")
        found[label] = _number(line, 1, 1e-6, 1.0)
    return FrozenMap(found)


def _channels(lines: list[Line], reader: _Reader) -> tuple[ChannelPattern, ...]:
    patterns = []
    for line in lines:
        if len(line.values) == 1:
            codes = [code for word in line.value().split(",") if (code := word.strip())]
            if not codes:
                raise ConfigurationError(
                    f"{line.place}: Channels {line.value()!r} names no code: write some, as "
                    "HH?,BH?, or STA CHAN NET LOC."
                )
            patterns += [ChannelPattern("*", code, "*", "*") for code in codes]
        else:
            patterns.append(ChannelPattern(*(line.value(index) for index in range(4))))
    return tuple(patterns)


def _blinding(lines: list[Line], reader: _Reader) -> tuple[int, int]:
    return lines[0].integer(0, 0, 10**6), lines[0].integer(1, 0, 10**6)


def _quality(lines: list[Line], reader: _Reader) -> tuple[float, ...]:
    limits = tuple(_number(lines[0], index, 1e-6, 1e6) for index in range(4))
    if list(limits) != sorted(limits):
        raise ConfigurationError(f"{lines[0].place}: the limits of QualityTable must ascend.")
    return limits


def _phases(lines: list[Line], reader: _Reader) -> str:
    letters = "".join(lines[0].values) or lines[0].value()
    if letters not in ("P", "S", "PS", "SP"):
        raise ConfigurationError(f"{lines[0].place}: PickPhases are P, S, or P S.")
    return letters


def _formats(lines: list[Line], reader: _Reader) -> tuple[str, ...]:
    line = lines[0]
    names = [_one_of(line, index, get_args(PickFormat)) for index in range(len(line.values) or 1)]
    return tuple(dict.fromkeys(names))


def _path(lines: list[Line], reader: _Reader) -> Path:
    path = Path(lines[0].value())
    return path if path.is_absolute() else reader.params / path


def _weights(lines: list[Line], reader: _Reader) -> str:
    return _found(lines[0].value(), reader)


def _models(lines: list[Line], reader: _Reader) -> tuple[str, ...]:
    parts = [line.value().partition(":") for line in lines]
    return tuple(name + colon + _found(weights, reader) for name, colon, weights in parts)


def _found(text: str, reader: _Reader) -> str:
    """A name, or a path: as it is, or in the folder of the configuration."""
    inside = reader.params / text
    return str(inside) if text and not Path(text).exists() and inside.exists() else text


def _shares(lines: list[Line], reader: _Reader) -> tuple[float, ...]:
    line = lines[0]
    return tuple(_number(line, index, 1e-6, 1e6) for index in range(len(line.values) or 1))


def _metrics(lines: list[Line], reader: _Reader) -> dict[str, Any]:
    line = lines[0]
    port: dict[str, Any] = {"metrics_port": line.integer(0, 1, 65535)}
    return {**port, "metrics_address": line.value(1)} if len(line.values) > 1 else port


@contextmanager
def _placed(line: Line) -> Iterator[None]:
    """Say where in the file an error of the tables comes from."""
    try:
        yield
    except ConfigurationError as error:
        raise ConfigurationError(f"{line.place}: {error}") from error


KEYWORDS: Final[Mapping[str, Parser]] = {
    "MyModuleId": _module,
    "InRing": _ring,
    "OutRing": _ring,
    "HeartBeatInt": _whole(1, 3600),
    "LogFile": _whole(0, 2),
    "Debug": _flag,
    "GetLogo": _logos,
    "Model": _models,
    "Weights": _weights,
    "Combine": _choice(*get_args(Rule)),
    "Shares": _shares,
    "Calibration": _path,
    "Engine": _choice(*get_args(EngineName)),
    "Threads": _whole(1, 1024),
    "Stride": _whole(1, 10**6),
    "Horizon": _seconds(1e-3, math.inf),
    "Threshold": _thresholds,
    "Stacking": _choice(*get_args(Stacking)),
    "Blinding": _blinding,
    "OneComponent": _choice(*get_args(OneComponent)),
    "Site": _choice(*get_args(SiteRule)),
    "Channels": _channels,
    "StationFile": _path,
    "QualityTable": _quality,
    "AllowedLateness": _seconds(0, 3600),
    "SilenceTimeout": _seconds(1, 86400),
    "PickPhases": _phases,
    "SComponent": _choice("N", "E", "Z"),
    "PickFormat": _formats,
    "PhaseToken": _flag,
    "ProbabilityRing": _ring,
    "Archive": _path,
    "LateArchive": _path,
    "MetricsPort": _metrics,
    "StatusFile": _path,
    "StateDir": _path,
    "SnapshotInt": _seconds(1, 3600),
    "QueueWindows": _whole(1, 10**7),
    "StandAlone": _flag,
}
"""Every keyword, and what understands its values."""

_NEEDED: Final = ("MyModuleId", "InRing", "OutRing")
_REPEATED: Final = frozenset({"GetLogo", "Model", "Threshold", "Channels"})
_OTHER_NAMES: Final = {
    "MyModId": "MyModuleId",
    "HeartbeatInt": "HeartBeatInt",
    "HeartBeatInterval": "HeartBeatInt",
}
