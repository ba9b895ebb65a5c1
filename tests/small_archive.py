"""A small SDS archive with earthquakes on both sides of midnights, and over one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import obspy
from obspy import Stream, Trace, UTCDateTime

MIDNIGHT = UTCDateTime(2017, 5, 2)
RATE = 100.0


def station(code: str, start: UTCDateTime, seconds: float, quakes: Sequence[UTCDateTime]) -> Stream:
    """Noise with ObsPy's example earthquake: P at 4.7 s and S at 5.7 s after each given time.

    The noise is that of the record before the earthquake, so often that nothing repeats exactly.
    """
    rng = np.random.default_rng(sum(code.encode()))
    example = obspy.read()
    stream = Stream()
    for trace in example:
        before = trace.data[:400].astype(np.float64)
        samples = rng.normal(before.mean(), before.std(), round(seconds * RATE))
        for quake in quakes:
            at = round((quake - start) * RATE)
            samples[at : at + 2500] = trace.data[:2500]
        channel = f"HH{trace.stats.channel[-1]}"
        stats: dict[str, object] = {"network": "XX", "station": code, "channel": channel}
        stats |= {"sampling_rate": RATE, "starttime": start}
        stream.append(Trace(np.round(samples).astype(np.int32), stats))
    return stream


def write_sds(root: Path, stream: Stream) -> None:
    """Append traces to day files, half a minute at a time: what begins on a day is in its file."""
    for trace in stream:
        step = 3000
        for first in range(0, len(trace), step):
            piece = trace.slice(
                trace.stats.starttime + first / RATE,
                trace.stats.starttime + (first + step - 1) / RATE,
            )
            day = piece.stats.starttime
            net, sta, loc, cha = piece.id.split(".")
            folder = root / f"{day.year}" / net / sta / f"{cha}.D"
            folder.mkdir(parents=True, exist_ok=True)
            name = f"{net}.{sta}.{loc}.{cha}.D.{day.year}.{day.julday:03d}"
            with (folder / name).open("ab") as file:
                piece.write(file, format="MSEED", reclen=512)
