"""Files of any kind, swept once through event time.

Every batch covers one interval of a grid of fixed width counted from the epoch; a record that
reaches over an interval's end is split there. So no sample is handed over after a sample of any
channel that is younger by more than the width, and the same files give the same batches always.

Memory: a miniSEED file is indexed when the sweep reaches its start; 32 KiB of it are decoded when
it reaches theirs; what has been handed over is forgotten. A file that is not miniSEED is in memory
whole while the sweep is inside its span: a channel-day at 100 Hz is 35 MB, so convert archives of
such files to miniSEED.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

from ml_prediction.core.joining import join
from ml_prediction.core.packets import Packet, samples_before
from ml_prediction.sources import foreign, miniseed
from ml_prediction.sources.file_info import FileInfo
from ml_prediction.sources.problems import ProblemLedger
from ml_prediction.sources.scan import MINISEED, not_read, read_foreign
from ml_prediction.sources.selection import Selection


class Sweep:
    """One pass over files in time order.

    Parameters
    ----------
    files
        What to read.
    selection
        Channels and time range.
    ledger
        Told of everything that is not handed over.
    width_ns
        Length of a batch in nanoseconds.
    """

    def __init__(
        self,
        files: Iterable[FileInfo],
        selection: Selection,
        ledger: ProblemLedger,
        width_ns: int,
    ) -> None:
        self._selection = selection
        self._ledger = ledger
        self._width_ns = width_ns
        self._serial = count()
        # Three heaps by time; the serial number keeps ties in the order of the files.
        self._files = [(info.open_ns, next(self._serial), info) for info in files]
        heapq.heapify(self._files)
        self._blocks: list[tuple[int, int, Path, miniseed.Block]] = []
        self._waiting: list[tuple[int, int, Packet, int]] = []

    def batches(self) -> Iterator[list[Packet]]:
        """Batches in time order, none empty; empty time is skipped."""
        while True:
            nexts = [h[0][0] for h in (self._files, self._blocks, self._waiting) if h]
            if not nexts:
                return
            end_ns = (min(nexts) // self._width_ns + 1) * self._width_ns
            while self._files and self._files[0][0] < end_ns:
                self._open(heapq.heappop(self._files)[2])
            while self._blocks and self._blocks[0][0] < end_ns:
                _, _, path, block = heapq.heappop(self._blocks)
                self._decode(path, block)
            ready = self._take(end_ns)
            if ready:
                yield join(ready)

    def _open(self, info: FileInfo) -> None:
        self._ledger.restart(info.path)
        report = self._ledger.reporter(info.path)
        try:
            if info.format == MINISEED:
                for block in miniseed.index(info.path, self._selection, report):
                    entry = (block.start_ns, next(self._serial), info.path, block)
                    heapq.heappush(self._blocks, entry)
            else:
                self._wait(read_foreign(info, self._selection, report))
        except foreign.READ_ERRORS as error:
            if info.tells:
                reason, text = not_read(info.path, info.format, error)
                report(reason, text, 1, "file")

    def _decode(self, path: Path, block: miniseed.Block) -> None:
        report = self._ledger.reporter(path)
        try:
            self._wait(miniseed.decode(path, block, report))
        except OSError as error:
            text = f"{path}: {block.length} bytes can't be read any more ({error}); not used."
            report("unreadable", f"{text} Check the file and its rights.", 1, "record")

    def _wait(self, packets: Iterable[Packet]) -> None:
        for packet in packets:
            if not self._selection.wants(packet.nslc):
                continue
            trimmed = self._selection.trim(packet)
            if trimmed is not None:
                if trimmed is not packet:
                    trimmed = _copied(trimmed)
                heapq.heappush(self._waiting, (trimmed.start_ns, next(self._serial), trimmed, 0))

    def _take(self, end_ns: int) -> list[Packet]:
        """Everything before a time, in time order; the rest of a split packet waits on."""
        ready = []
        while self._waiting and self._waiting[0][0] < end_ns:
            _, serial, packet, start = heapq.heappop(self._waiting)
            stop = samples_before(packet, end_ns)
            if stop < len(packet):
                # Always split from the whole packet, so that times round once only.
                heapq.heappush(self._waiting, (packet.sample_ns(stop), serial, packet, stop))
            whole = start == 0 and stop == len(packet)
            ready.append(packet if whole else _copied(packet.slice(start, stop)))
        return ready


def _copied(packet: Packet) -> Packet:
    """With samples of its own: a view would keep the whole array alive."""
    return replace(packet, samples=packet.samples.copy())
