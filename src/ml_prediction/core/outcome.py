"""What became final in one call of the pipeline."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

from obspy import Stream

from ml_prediction.core.packets import Packet
from ml_prediction.core.results import Detection, Pick
from ml_prediction.core.summary import Summary
from ml_prediction.core.traces import Fragment, to_stream

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, slots=True, repr=False)
class Result:
    """What became final in one call.

    Attributes
    ----------
    picks, detections
        In order of time.
    links
        Detections by the ids of the picks that belong to them, as far as they are known now.
    fragments
        Probabilities; :attr:`probabilities` has them as a Stream.
    late
        Samples that came too late and were not used.
    linked_until
        For each instrument and model id: picks with a peak before this time (ns) belong to the
        detections known by now, or to none.
    summary
        Totals of the pipeline so far.
    """

    picks: list[Pick]
    detections: list[Detection]
    fragments: list[Fragment]
    late: list[Packet]
    linked_until: dict[tuple[str, str], int]
    summary: Summary
    links: dict[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return (
            f"Result({len(self.picks)} picks, {len(self.detections)} detections, "
            f"{len(self.fragments)} fragments of probabilities, {len(self.late)} late packets)"
        )

    @property
    def probabilities(self) -> Stream:
        """Probability traces (P, S, D) of the instruments, built at each access."""
        return to_stream(self.fragments)

    def to_dataframe(self) -> pandas.DataFrame:
        """Picks as a table: one row each, the fields of Pick as columns, times in UTC."""
        import pandas

        names = [item.name for item in fields(Pick)]
        table = pandas.DataFrame([pick.to_dict() for pick in self.picks], columns=names)
        for name in ("time", "onset", "end", "peak_time"):
            table[name] = pandas.to_datetime(table[name], utc=True, format="ISO8601")
        return table
