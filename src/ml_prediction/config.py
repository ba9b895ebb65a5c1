"""Typed, frozen configuration. Unknown keys are errors."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    field_validator,
)

from ml_prediction.errors import ConfigurationError
from ml_prediction.util.digests import sha256
from ml_prediction.util.frozen import FrozenMap


def _as_dict(thresholds: Mapping[str, float]) -> dict[str, float]:
    return dict(thresholds)


SiteRule = Literal["max", "mean"]
Positive = Annotated[float, Field(gt=0)]
Probability = Annotated[float, Field(gt=0, le=1)]
Thresholds = Annotated[
    Mapping[str, Probability], AfterValidator(FrozenMap), PlainSerializer(_as_dict)
]
"""By label. A FrozenMap, so that a configuration is immutable and hashable all through."""


class FrozenConfig(BaseModel):
    """Base of all configuration: immutable, and strict about names."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=True)

    @classmethod
    def make(cls, **options: Any) -> Self:
        """Build from options, with errors as one readable sentence each.

        Raises
        ------
        ConfigurationError
            If an option is unknown or its value is not allowed.
        """
        try:
            return cls(**options)
        except ValidationError as error:
            raise ConfigurationError(explain(error, cls)) from error


class PipelineConfig(FrozenConfig):
    """What the pipeline does with packets. None means: as the model's own default."""

    stride: Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="Samples from one window start to the next, at the model's rate.",
        examples=[3000],  # the examples are EQTransformer's own values
    )
    horizon: Positive = Field(
        math.inf,
        description="Seconds: a sample's probability uses the windows that end at most so long "
        "after it. inf: all of them.",
    )
    thresholds: Thresholds = Field(
        default_factory=FrozenMap,
        description="Trigger threshold by label (P, S, Detection). Triggers end at half of it.",
        examples=[{"P": 0.1, "S": 0.1, "Detection": 0.3}],
    )
    stacking: Literal["max", "mean"] | None = Field(
        None, description="How overlapping windows are merged.", examples=["max"]
    )
    blinding: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]] | None = Field(
        None,
        description="Samples thrown away at the start and end of each window's output.",
        examples=[[500, 500]],
    )
    lateness: Annotated[float, Field(ge=0, le=3600)] = Field(
        10.0,
        description="Seconds that a gap waits for data that may still come, in event time.",
    )
    one_component: Literal["zero", "clone", "skip"] = Field(
        "zero",
        description="Vertical only: horizontals are zeros, copies of the vertical, or no picks.",
    )
    site: SiteRule | None = Field(
        None,
        description="How the probabilities of a site's instruments (e.g. HH and EN of one station "
        "and location) are merged, so that each arrival is picked once. If not set, each "
        "instrument is picked for itself.",
        examples=["max"],
    )
    resampling: Literal["linear", "minimum"] = Field(
        "linear", description="Phase of the anti-alias filter. Minimum phase never rings early."
    )
    response: Literal["keep", "remove"] = Field(
        "keep",
        description="Remove the instrument response (needs an inventory): m/s or m/s**2.",
    )
    quality: tuple[Positive, Positive, Positive, Positive] = Field(
        (0.02, 0.05, 0.15, 0.5),
        description="Largest sigma in seconds of quality 0, 1, 2 and 3; above is 4.",
    )
    batch_size: Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="Most windows in one forward pass, over all instruments.",
        examples=[16],
    )

    @field_validator("quality")
    @classmethod
    def _ascending(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if list(value) != sorted(value):
            raise ValueError("the four limits must ascend")
        return value

    @property
    def hash(self) -> str:
        """First 12 hexadecimal digits of the SHA-256 of everything set here."""
        text = json.dumps(self.model_dump(), sort_keys=True)
        return sha256(text.encode())[:12]


def explain(error: ValidationError, cls: type[BaseModel]) -> str:
    """Pydantic's complaints in the user's words, one sentence each."""
    sentences = []
    for item in error.errors():
        name = ".".join(str(part) for part in item["loc"]) or cls.__name__
        if item["type"] == "extra_forbidden":
            known = ", ".join(sorted(cls.model_fields))
            sentences.append(f"Unknown option {name!r}; known are: {known}.")
        else:
            complaint = _complaint(item["type"], item["input"], item["msg"], item.get("ctx", {}))
            sentences.append(f"Option {name!r} = {item['input']!r}: {complaint}.")
    return " ".join(sentences)


def _complaint(kind: str, value: object, message: str, context: Mapping[str, Any]) -> str:
    """What is wrong, where Pydantic's own words are those of a programmer."""
    if kind in ("tuple_type", "list_type"):
        return f"a list is wanted, like [{json.dumps(value if isinstance(value, str) else '...')}]"
    if kind == "dict_type":
        return "a table is wanted, with a name for each value"
    if kind == "value_error":
        return str(context["error"])
    return message
