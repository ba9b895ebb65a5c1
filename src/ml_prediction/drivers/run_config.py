"""Everything that one run of driver_local can be told, typed and frozen."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from obspy import UTCDateTime
from pydantic import Field, ValidationInfo, field_validator

from ml_prediction.config import FrozenConfig, PipelineConfig, Positive
from ml_prediction.errors import ConfigurationError
from ml_prediction.models.engine import EngineName
from ml_prediction.models.ensemble import Rule

Format = Literal["csv", "parquet", "quakeml", "markers", "mseed"]


class RunConfig(FrozenConfig):
    """What driver_local does: model, input, output, and the pipeline's own table."""

    model: str | Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        "EQTransformer",
        description="Architecture, by its name in SeisBench, or NAME:WEIGHTS. Several in a list "
        "each pick for themselves, unless 'combine' is set.",
    )
    weights: str = Field(
        "original",
        description="Trained weights: a name, or the path of SeisBench's .pt or .json. Models "
        "that name their own keep these.",
    )
    combine: Rule | None = Field(
        None,
        description="How several models pick together: max, mean, or semblance (the highest "
        "probability, times how well the models agree).",
        examples=["semblance"],
    )
    shares: tuple[Positive, ...] | None = Field(
        None,
        description="Weight of each model in the mean; if not set, equal ones.",
        examples=[[2.0, 1.0]],
    )
    engine: EngineName = Field(
        "auto",
        description="What computes the model: torch, openvino (compiled, on the CPU), "
        "openvino-bf16 (the same with bfloat16: quicker on processors with AMX, less exact), or "
        "auto: the fastest in float32 for the model and the device.",
    )
    device: str = Field("auto", description="Where the model runs: auto, cpu, cuda or mps.")
    threads: Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="CPU threads of the model in each process; if not set, all that there are "
        "(openvino: at most 16), shared by the jobs.",
        examples=[2],
    )
    calibration: str | None = Field(
        None,
        description="What sigma is made of: a file that `ml-prediction calibrate` wrote, instead "
        "of the package's own.",
        examples=["calibration.json"],
    )
    out: str = Field("picks", description="Folder that the results go to.")
    overwrite: bool = Field(
        False, description="Replace the results of an earlier run in that folder."
    )
    formats: tuple[Format, ...] = Field(
        ("csv", "quakeml", "markers"),
        min_length=1,
        description="What is written: csv, parquet, quakeml, markers (for snuffler), "
        "mseed (the probabilities).",
    )
    plot: bool = Field(
        False, description="One picture per instrument, of its first six hours at most."
    )
    channels: tuple[str, ...] = Field(
        ("*",), min_length=1, description="Channel codes to use, as glob patterns, e.g. HH?."
    )
    starttime: str | None = Field(
        None, description="Leave out what is earlier (UTC).", examples=["2009-08-24T00:20:00"]
    )
    endtime: str | None = Field(
        None, description="Leave out what is later (UTC).", examples=["2009-08-24T00:21:00"]
    )
    inventory: str | None = Field(
        None, description="Station metadata that ObsPy can read.", examples=["stations.xml"]
    )
    jobs: Annotated[int, Field(ge=1)] = Field(
        1, description="Processes that share the instruments. The picks do not depend on it."
    )
    pipeline: PipelineConfig = Field(
        default_factory=PipelineConfig, description="What the pipeline does with the data."
    )

    @field_validator("starttime", "endtime")
    @classmethod
    def _is_time(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                UTCDateTime(value)
            except (TypeError, ValueError) as error:
                raise ValueError("not a time; write it like 2009-08-24T00:20:00") from error
        return value

    @field_validator("endtime")
    @classmethod
    def _ends_after_start(cls, value: str | None, info: ValidationInfo) -> str | None:
        start = info.data.get("starttime")
        if value is not None and start is not None and UTCDateTime(value) <= UTCDateTime(start):
            raise ValueError(f"endtime must be later than starttime ({start})")
        return value

    @field_validator("formats")
    @classmethod
    def _each_once(cls, value: tuple[Format, ...]) -> tuple[Format, ...]:
        return tuple(dict.fromkeys(value))

    @classmethod
    def from_tables(cls, *tables: dict[str, Any]) -> Self:
        """One configuration from several nested tables; later ones win, key by key.

        Raises
        ------
        ConfigurationError
            If a key is unknown, a value is not allowed, or options contradict each other.
        """
        merged: dict[str, Any] = {}
        for table in tables:
            if not isinstance(table.get("pipeline", {}), dict):
                raise ConfigurationError("'pipeline' must be a table: its options go below it.")
            merged = _merge(merged, table)
        pipeline = merged.pop("pipeline", {})
        _refuse_misplaced(merged, pipeline)
        # The inner table first: its unknown keys are then explained by its own list of options.
        config = cls.make(pipeline=PipelineConfig.make(**pipeline), **merged)
        if config.pipeline.response == "remove" and config.inventory is None:
            raise ConfigurationError(
                "response = remove needs the stations' metadata: add --inventory FILE."
            )
        return config

    @property
    def models(self) -> tuple[str, ...]:
        """What ``model`` names, as several."""
        return (self.model,) if isinstance(self.model, str) else self.model

    @property
    def start(self) -> UTCDateTime | None:
        """Start time as ObsPy's UTCDateTime."""
        return None if self.starttime is None else UTCDateTime(self.starttime)

    @property
    def end(self) -> UTCDateTime | None:
        """End time as ObsPy's UTCDateTime."""
        return None if self.endtime is None else UTCDateTime(self.endtime)


def _refuse_misplaced(top: dict[str, Any], pipeline: dict[str, Any]) -> None:
    """TOML's easiest mistake: an option above or below the line that starts its table."""
    run_options, pipeline_options = set(RunConfig.model_fields), set(PipelineConfig.model_fields)
    sentences = [
        f"Option {name!r} belongs into the table [pipeline]: write it below that line."
        for name in sorted(top.keys() & (pipeline_options - run_options))
    ]
    sentences += [
        f"Option {name!r} does not belong into the table [pipeline]: write it above that line."
        for name in sorted(pipeline.keys() & (run_options - pipeline_options))
    ]
    if sentences:
        raise ConfigurationError(" ".join(sentences))


def _merge(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    merged = dict(old)
    for key, value in new.items():
        before = merged.get(key)
        if isinstance(before, dict) and isinstance(value, dict):
            value = _merge(before, value)
        merged[key] = value
    return merged
