"""Whose times may be believed: everyone's picks beside those of the reference."""

from __future__ import annotations

from ml_prediction.benchmark.picks import Agreement, comparable, compare
from ml_prediction.benchmark.rounds import Cell


def check(cell: Cell) -> None:
    """Compare the picks of all contenders of a cell with SeisBench's, and set their status."""
    dataset = cell.dataset
    limits = {
        span.station: comparable(span, dataset.window, dataset.stride) for span in dataset.spans
    }
    thresholds = dict(cell.model.thresholds)
    reference = next(
        (e.found for e in cell.entries if e.entrant.reference and e.found is not None), None
    )
    for entry in cell.entries:
        if entry.found is None or entry.status != "waiting":
            continue
        if reference is None:
            entry.status, entry.note = "unchecked", "nobody to compare its picks with"
            continue
        entry.agreement = compare(reference, entry.found, limits, thresholds)
        entry.status = "valid" if entry.agreement.agrees else "differs"
        entry.note = "" if entry.agreement.agrees else _complaint(entry.agreement)


def _complaint(agreement: Agreement) -> str:
    if agreement.reference == 0:
        return "SeisBench found no picks to compare with"
    return (
        f"its picks are not SeisBench's: of {agreement.reference} {agreement.missing} are missing, "
        f"and {agreement.extra} are extra"
    )
