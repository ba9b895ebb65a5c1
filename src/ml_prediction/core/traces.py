"""Probability traces as an ObsPy Stream, in the form of the source."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from obspy import Stream, Trace

from ml_prediction.core.packets import runs
from ml_prediction.core.postprocessing import Chunk
from ml_prediction.util.codes import Instrument
from ml_prediction.util.times import to_utc

# N is the north component, so noise is X. Other labels (EQTP's polarities) have no letter.
LETTERS = {"P": "P", "S": "S", "Detection": "D", "Noise": "X", "N": "X"}


@dataclass(frozen=True, slots=True)
class Fragment:
    """Contiguous probabilities of one instrument with one sub-sample offset.

    Attributes
    ----------
    instrument
        Whose.
    model
        Id of the model.
    labels
        Names of the rows.
    sampling_rate
        In Hz.
    start, start_ns
        Index on the grid, and time, of the first sample.
    values
        Shape (label, sample), float32.
    """

    instrument: Instrument
    model: str
    labels: tuple[str, ...]
    sampling_rate: float
    start: int
    start_ns: int
    values: npt.NDArray[np.float32]


def data_runs(chunk: Chunk) -> list[tuple[int, int]]:
    """Stretches (start, stop) of a chunk in which there are data; between them are gaps."""
    if chunk.valid.all() and len(chunk.valid):
        return [(chunk.start, chunk.stop)]
    return [(chunk.start + a, chunk.start + b) for a, b in runs(chunk.valid)]


def to_stream(fragments: Iterable[Fragment], noise: bool = False) -> Stream:
    """Join fragments to traces.

    Parameters
    ----------
    fragments
        In any order.
    noise
        Whether to include the noise label.

    Returns
    -------
    obspy.Stream
        One trace for each stretch of data and label of P, S, Detection and Noise; the channel
        code is band + instrument + P, S, D or X. NaN where there is no probability.
    """
    groups: dict[tuple[Instrument, str], list[Fragment]] = {}
    for fragment in sorted(fragments, key=lambda f: (f.instrument, f.model, f.start)):
        groups.setdefault((fragment.instrument, fragment.model), []).append(fragment)
    stream = Stream()
    for (instrument, _), parts in groups.items():
        for joined in _joined(parts):
            head = joined[0]
            for row, label in enumerate(head.labels):
                letter = LETTERS.get(label)
                if letter is None or (letter == "X" and not noise):
                    continue
                trace = Trace(data=np.concatenate([part.values[row] for part in joined]))
                stats = trace.stats
                stats.network, stats.station, stats.location = instrument[:3]
                stats.channel = instrument.prefix + letter
                stats.sampling_rate = head.sampling_rate
                stats.starttime = to_utc(head.start_ns)
                stream.append(trace)
    return stream


def _joined(parts: list[Fragment]) -> list[list[Fragment]]:
    """Fragments that follow each other without a break or a change of offset."""
    chains: list[list[Fragment]] = []
    for part in parts:
        if chains:
            last = chains[-1][-1]
            count = part.start - last.start
            expected_ns = last.start_ns + count * 1e9 / last.sampling_rate
            touching = count == last.values.shape[1]
            if touching and abs(part.start_ns - expected_ns) < 1000:
                chains[-1].append(part)
                continue
        chains.append([part])
    return chains
