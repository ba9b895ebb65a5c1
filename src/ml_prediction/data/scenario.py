"""Test scenarios: what is fetched, from where, and why. One TOML file each, read strictly."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, Field, PlainSerializer, ValidationError, model_validator

from ml_prediction.config import FrozenConfig, Positive, explain
from ml_prediction.config_toml import read_toml
from ml_prediction.errors import ConfigurationError
from ml_prediction.util.digests import sha256

_FOLDER: Final = "scenarios"


def _utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


Time = Annotated[
    datetime, AfterValidator(_utc), PlainSerializer(lambda time: time.isoformat(), str)
]
"""A time without a zone is UTC."""
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
"""Names folders and files, too."""
Codes = Annotated[
    tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9?*-]+$")], ...], Field(min_length=1)
]
"""Codes or patterns of FDSN requests: ? is one character, * any number, -- no location."""
Count = Annotated[int, Field(ge=0)]


class Region(FrozenConfig):
    """A circle or ring around a point on the surface."""

    latitude: Annotated[float, Field(ge=-90, le=90)] = Field(description="Degrees north.")
    longitude: Annotated[float, Field(ge=-180, le=180)] = Field(description="Degrees east.")
    radius_km: Positive = Field(description="Nothing farther away.")
    min_radius_km: Annotated[float, Field(ge=0)] = Field(0.0, description="Nothing nearer.")


class Gappy(FrozenConfig):
    """Keep only stations with many gaps, the gappiest first."""

    min_gaps: Annotated[int, Field(ge=1)] = Field(
        description="Gaps that the gappiest channel of a station has at least."
    )
    max_stations: Annotated[int, Field(ge=1)] = Field(description="Stations kept at most.")


class Expected(FrozenConfig):
    """What a fetch must bring at least to count as complete."""

    stations: Count = Field(0, description="Stations with waveforms.")
    channels: Count = Field(0, description="Channels with waveforms.")
    channel_days: Count = Field(0, description="Days with waveforms, summed over channels.")
    events: Count = Field(0, description="Earthquakes.")
    codes: tuple[Annotated[str, Field(pattern=r"^\w+\.\w+$")], ...] = Field(
        (), description="Stations that must be among them, as NET.STA."
    )


class Part(FrozenConfig):
    """One time span on one server: what makes up a folder of its own."""

    name: Name
    what: str = Field(description="What it is, in one line.")
    server: str = Field(
        "EARTHSCOPE", description="Of waveforms and stations: ObsPy's short name, or a URL."
    )
    start: Time
    end: Time
    channels: Codes
    networks: Codes = ("*",)
    stations: Codes = ("*",)
    locations: Codes = ("*",)
    region: Region | None = None
    nearest: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Keep so many stations, the nearest to the region's centre."
    )
    six_component: bool = Field(
        False, description="Only stations with three channels of velocity and of acceleration."
    )
    gappy: Gappy | None = None
    event_server: str = "USGS"
    event_ids: tuple[Name, ...] = Field((), description="ComCat's identifiers.")
    event_min_magnitude: float | None = Field(
        None, description="Catalogue of the region and time, from this magnitude on."
    )
    expect: Expected = Expected()

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if self.end <= self.start:
            raise ValueError("end must be later than start")
        if self.region is None and (self.nearest or self.event_min_magnitude is not None):
            raise ValueError("nearest and event_min_magnitude need a region")
        if self.region is None and set(self.stations) == {"*"}:
            raise ValueError("a region or station codes are needed, or it is all the world")
        return self


class Scenario(FrozenConfig):
    """A named set of real data.

    Raises
    ------
    ConfigurationError
        By `make`, `load` and `read`: if something is missing, unknown or not allowed.
    """

    name: Name
    what: str = Field(description="What it is, in one line.")
    why: str = Field(description="What it is good for.")
    licence: str = Field(description="Terms of the data, and whom to cite.")
    parts: Annotated[tuple[Part, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        twice = [n for n, count in Counter(p.name for p in self.parts).items() if count > 1]
        if twice:
            raise ValueError(f"two parts have the name {twice[0]}")
        return self

    @property
    def hash(self) -> str:
        """SHA-256 of all that decides which data are fetched: not of words and expectations."""
        parts = {"__all__": {"what", "expect"}}
        table = self.model_dump(
            mode="json", exclude={"what": True, "why": True, "licence": True, "parts": parts}
        )
        text = json.dumps(table, sort_keys=True)
        return sha256(text.encode())


def read(path: str | Path) -> Scenario:
    """Scenario of a TOML file; errors name it."""
    table = read_toml(path)
    try:
        return Scenario(**table)
    except ValidationError as error:
        raise ConfigurationError(f"Scenario {str(path)!r}: {_sentences(error)}") from error


def names() -> list[str]:
    """Names of the scenarios in the package, sorted."""
    return sorted(item.name[:-5] for item in _packaged().iterdir() if item.name.endswith(".toml"))


def load(name: str) -> Scenario:
    """Scenario by name, or of a file whose name ends in ``.toml``."""
    if name.endswith(".toml"):
        return read(name)
    known = {known.lower(): known for known in names()}
    if name.lower() not in known:
        listed = ", ".join(known.values())
        raise ConfigurationError(
            f"Unknown scenario {name!r}; known are: {listed}, or all, or a .toml file."
        )
    return read(Path(str(_packaged() / f"{known[name.lower()]}.toml")))


def _packaged() -> Any:
    return files("ml_prediction.data") / _FOLDER


def _sentences(error: ValidationError) -> str:
    """Pydantic's complaints; what is unknown is said with what is known just there."""
    place = [item["loc"] for item in error.errors() if item["type"] == "extra_forbidden"]
    cls: type[FrozenConfig] = Scenario
    if place:
        inner: dict[str, type[FrozenConfig]] = {
            "region": Region,
            "gappy": Gappy,
            "expect": Expected,
        }
        above = [part for part in place[0][:-1] if isinstance(part, str)]
        cls = inner.get(above[-1], Part) if above else Scenario
    return explain(error, cls)
