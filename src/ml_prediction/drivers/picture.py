"""Material for pictures, kept on disk until everything is known: at most six hours a group."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final
from zlib import crc32

from obspy import Stream, Trace

from ml_prediction.core.joining import join
from ml_prediction.core.packets import Packet, packets_from_trace
from ml_prediction.core.results import Detection, Pick
from ml_prediction.drivers.spool import items_of
from ml_prediction.sinks.plot import plot_instrument
from ml_prediction.sources.problems import Problem
from ml_prediction.util.codes import NSLC, Instrument
from ml_prediction.util.times import NANOSECONDS, to_ns

LONGEST_NS: Final = 6 * 3600 * NANOSECONDS
"""A picture shows so much, from the instrument's first sample on."""

DRAWING_ERRORS: Final = (ValueError, OSError, RuntimeError, OverflowError)
"""What Matplotlib, or the disk, may say to odd data."""


class PictureStore:
    """Waveforms, probability traces and picks of the start of each instrument's data.

    Parameters
    ----------
    folder
        Where to keep them; made if needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._first_ns: dict[Instrument, int] = {}
        self._with_results: set[Instrument] = set()
        self._paths: dict[Instrument, Path] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def add_packets(self, packets: Iterable[Packet]) -> None:
        """Keep waveforms."""
        kept: dict[Instrument, list[object]] = {}
        for packet in packets:
            instrument = packet.nslc.instrument
            first_ns = self._first_ns.setdefault(instrument, packet.start_ns)
            if len(packet) and packet.start_ns < first_ns + LONGEST_NS:
                kept.setdefault(instrument, []).append(packet)
        self._write(kept)

    def add_result(self, results: Iterable[Pick | Detection | Trace]) -> None:
        """Keep what became final: picks, detections, probability traces."""
        kept: dict[Instrument, list[object]] = {}
        for result in results:
            instrument, time_ns = _place(result)
            first_ns = self._first_ns.get(instrument)
            if first_ns is not None and time_ns < first_ns + LONGEST_NS:
                kept.setdefault(instrument, []).append(result)
                self._with_results.add(instrument)
        self._write(kept)

    def draw(self, thresholds: Mapping[str, float]) -> tuple[list[Path], list[Problem]]:
        """Draw every instrument that gave results, one after another.

        Returns
        -------
        paths, problems
            Pictures, and those that could not be drawn: they never cost the picks.
        """
        paths: list[Path] = []
        problems: list[Problem] = []
        for instrument in sorted(self._with_results):
            path = self._folder / picture_name(instrument)
            try:
                self._draw(path, instrument, thresholds)
                paths.append(path)
            except DRAWING_ERRORS as error:
                path.unlink(missing_ok=True)
                text = f"picture {path.name} can't be drawn ({error}); the picks are not affected."
                problems.append(Problem(Path(path.name), "not drawn", text, 1, "picture"))
        return paths, problems

    def _draw(self, path: Path, instrument: Instrument, thresholds: Mapping[str, float]) -> None:
        waveforms: list[Packet] = []
        probabilities: list[Packet] = []
        picks: list[Pick] = []
        detections: list[Detection] = []
        for item in items_of(self._paths[instrument]):
            if isinstance(item, Packet):
                waveforms.append(item)
            elif isinstance(item, Pick):
                picks.append(item)
            elif isinstance(item, Detection):
                detections.append(item)
            else:
                probabilities.extend(packets_from_trace(item))
        plot_instrument(
            path, _stream(waveforms), _stream(probabilities), picks, detections, thresholds
        )

    def _write(self, kept: dict[Instrument, list[object]]) -> None:
        for instrument, items in kept.items():
            with self._path(instrument).open("ab") as handle:
                for item in items:
                    pickle.dump(item, handle, protocol=pickle.HIGHEST_PROTOCOL)

    def _path(self, instrument: Instrument) -> Path:
        # A number, not the code: codes of damaged headers may not be file names.
        return self._paths.setdefault(instrument, self._folder / f"{len(self._paths)}.items")


def picture_name(instrument: Instrument) -> str:
    """File name of an instrument's picture, e.g. ``UW.HANS..HH.png``."""
    code = str(instrument)
    plain = re.sub(r"[^\w.-]", "_", code, flags=re.ASCII)
    # Damaged headers may have any code; a checksum keeps two of them apart.
    name = f"{plain}.png" if plain == code else f"{plain}-{crc32(code.encode()):08x}.png"
    return f"_{name}" if name.startswith(".") else name  # no network code: not a hidden file


def _place(result: Pick | Detection | Trace) -> tuple[Instrument, int]:
    """Instrument and time of a result."""
    if isinstance(result, Pick):
        return result.instrument, to_ns(result.time)
    if isinstance(result, Detection):
        return result.instrument, to_ns(result.onset)
    stats = result.stats
    nslc = NSLC(stats.network, stats.station, stats.location, stats.channel)
    return nslc.instrument, to_ns(stats.starttime)


def _stream(packets: list[Packet]) -> Stream:
    by_channel: dict[NSLC, list[Packet]] = {}
    for packet in packets:
        by_channel.setdefault(packet.nslc, []).append(packet)
    return Stream([p.to_trace() for parts in by_channel.values() for p in join(parts)])
