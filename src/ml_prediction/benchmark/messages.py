"""What the parent and its workers say to each other: a line of JSON each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from ml_prediction.benchmark.contenders.base import Found, Job, Setup


@dataclass(frozen=True, slots=True)
class Ready:
    """A worker has loaded and warmed its contender.

    Attributes
    ----------
    versions
        Of the packages that do the work.
    missing
        Why there is nothing to run: a package is not installed. Empty if there is.
    """

    versions: Mapping[str, str] = field(default_factory=dict)
    missing: str = ""


@dataclass(frozen=True, slots=True)
class Round:
    """One timed round.

    Attributes
    ----------
    seconds
        Wall time from the files to the result.
    cpu_seconds
        Of all threads of the process.
    peak_mib
        Largest resident memory.
    stages
        Wall seconds by stage.
    others
        Cores that other processes kept busy meanwhile; None where the system does not tell.
    """

    seconds: float
    cpu_seconds: float
    peak_mib: float
    stages: Mapping[str, float]
    others: float | None = None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """From plain JSON values."""
        return cls(**values)


def encode_setup(factory: str, setup: Setup) -> str:
    """The worker's argument."""
    return json.dumps({"factory": factory, "setup": asdict(setup)})


def decode_setup(text: str) -> tuple[str, Setup]:
    """Factory of a contender, and what it must know."""
    values = json.loads(text)
    fields = values["setup"]
    return values["factory"], Setup(**{**fields, "blinding": tuple(fields["blinding"])})


def encode_job(job: Job) -> dict[str, Any]:
    """A command to run one round."""
    fields = asdict(job) | {"folder": str(job.folder)}
    return {"command": "run", "job": fields}


def decode_job(values: Mapping[str, Any]) -> Job:
    """The job of a command."""
    fields = values["job"]
    return Job(**{**fields, "folder": Path(fields["folder"])})


def decode_picks(values: list[list[Any]]) -> list[Found]:
    """Picks of an answer."""
    return [Found(*item) for item in values]
