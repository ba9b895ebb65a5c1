"""How far an archive run is, from what its store has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ml_prediction.sinks.store import UnitState, open_store, without_password

MOST_FAILED = 20
"""Failed units that are listed; all are in the store."""


def show_status(url: str, out: Console) -> int:
    """Print, of each run that a store has, how many units are done and failed, and why.

    Raises
    ------
    ConfigurationError
        If there is no store.
    """
    with open_store(url, create=False) as store:
        records = store.runs()
        if not records:
            out.print(f"{without_password(url)} has no runs.", markup=False)
        for record in records:
            states = store.states(run_id=record.run_id)
            models = ", ".join(f"{model['name']}:{model['weights']}" for model in record.models)
            out.print(f"{record.run_id}: {models} on {record.root}", markup=False)
            for line in lines_of(states):
                out.print(line, markup=False)
            failed = [state for state in states if state.state == "failed"]
            for units, title in ((failed, "failed"), (in_part(states), "done in part")):
                if units:
                    out.print(_table(units[:MOST_FAILED], title))
                if len(units) > MOST_FAILED:
                    out.print(f"... and {len(units) - MOST_FAILED} more units, {title}.")
    return 0


def lines_of(states: Sequence[UnitState]) -> list[str]:
    """What is to be said of a run's units."""
    count = Counter(state.state for state in states)
    done = [state for state in states if state.state == "done"]
    lines = [
        f"  {len(states):,} station-days: {count['done']:,} done, {count['failed']:,} failed, "
        f"{count['planned']:,} to do",
        f"  {sum(state.picks for state in done):,} picks, "
        f"{sum(state.detections for state in done):,} detections",
    ]
    if partly := len(in_part(states)):
        lines.append(
            f"  {partly:,} of the done ones without a part of their files; once these are mended: "
            "--resume --redo-partial"
        )
    rate = rate_of([state.finished for state in states if state.finished is not None])
    if rate is not None:
        left = f"; {count['planned'] / rate:,.1f} h left" if count["planned"] else ""
        lines.append(f"  {rate:,.0f} station-days an hour{left}")
    return lines


def rate_of(finished: Sequence[datetime]) -> float | None:
    """Units an hour, over the newest hour of work at most; None where it can't be told."""
    times = sorted(finished)
    recent = [time for time in times if (times[-1] - time).total_seconds() < 3600]
    if len(recent) < 2 or recent[0] == recent[-1]:
        return None
    return (len(recent) - 1) / (recent[-1] - recent[0]).total_seconds() * 3600


def in_part(states: Sequence[UnitState]) -> list[UnitState]:
    """Units that are done, but without something of their files."""
    return [state for state in states if state.state == "done" and state.reason]


def _table(units: Sequence[UnitState], title: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in (title, "attempts", "reason"):
        table.add_column(name, overflow="fold")
    for state in units:
        table.add_row(f"  {state.key}", str(state.attempts), Text(state.reason))
    return table
