"""Pick a whole stream in one call."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from obspy import Inventory, Stream, Trace

from ml_prediction.config import PipelineConfig
from ml_prediction.core.linking import DetectionLinker
from ml_prediction.core.outcome import Result
from ml_prediction.core.packets import Packet, to_packets
from ml_prediction.core.pipeline import Pipeline
from ml_prediction.core.results import detection_order, pick_order
from ml_prediction.models.engine import Model
from ml_prediction.models.ensemble import Ensemble


def pick(
    stream: Stream | Trace | Iterable[Trace | Packet],
    model: Model | Ensemble | Sequence[Model | Ensemble],
    config: PipelineConfig | None = None,
    *,
    inventory: Inventory | None = None,
    run_id: str = "",
    **options: Any,
) -> Result:
    """Pick phases on a stream.

    Parameters
    ----------
    stream
        Traces of any channels, rates, lengths and gaps, in any order, in counts. Not changed.
        A single trace will do.
    model
        From :func:`ml_prediction.load_model` or :func:`ml_prediction.combine`; or several.
    config
        Settings; None for the defaults.
    inventory
        Station metadata, for orientations and response removal.
    run_id
        Put on every pick.
    **options
        Settings by name, over those of ``config``, e.g. ``stride=1500`` or
        ``thresholds={"P": 0.3}``.

    Returns
    -------
    Result
        ``picks`` (with the ids of their detections), ``detections``, ``probabilities`` (a
        Stream) and ``summary``.

    Raises
    ------
    ConfigurationError
        If settings are unknown, wrong, or don't fit the model.
    DataError
        If the stream has something else than traces.
    """
    packets = to_packets(stream)
    pipeline = Pipeline(
        model,
        config,
        expected={packet.nslc for packet in packets},
        inventory=inventory,
        run_id=run_id,
        **options,
    )
    linker = DetectionLinker()
    parts = [pipeline.push(packets), pipeline.flush()]
    picks, detections = [], []
    for part in parts:
        linked, found = linker.add(part)
        picks += linked
        detections += found
    picks += linker.close()
    return Result(
        sorted(picks, key=pick_order),
        sorted(detections, key=detection_order),
        [fragment for part in parts for fragment in part.fragments],
        [packet for part in parts for packet in part.late],
        {},
        pipeline.summary,
        {pick: detection for part in parts for pick, detection in part.links.items()},
    )
