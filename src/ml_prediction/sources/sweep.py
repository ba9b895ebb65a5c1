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
from ml_prediction.core.packets import Packet
from ml_prediction.sources import foreign, miniseed
from ml_prediction.sources.decoding import decode
from ml_prediction.sources.file_info import FileInfo
from ml_prediction.sources.pieces import Pieces
from ml_prediction.sources.problems import UNREADABLE, ProblemLedger
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
        self._waiting: list[tuple[int, int, Pieces]] = []

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
                once = len({packet.nslc for packet in ready}) == len(ready)
                yield ready if once else join(ready)

    def _open(self, info: FileInfo) -> None:
        self._ledger.restart(info.path)
        report = self._ledger.reporter(info.path)
        try:
            if info.format == MINISEED:
                for block in miniseed.index(info.path, self._selection, report):
                    entry = (block.start_ns, next(self._serial), info.path, block)
                    heapq.heappush(self._blocks, entry)
            else:
                # a view would keep the whole file in memory
                self._wait(read_foreign(info, self._selection, report), copies=True)
        except foreign.READ_ERRORS as error:
            if info.tells:
                reason, text = not_read(info.path, info.format, error)
                report(reason, text, 1, "file")

    def _decode(self, path: Path, block: miniseed.Block) -> None:
        report = self._ledger.reporter(path)
        try:
            self._wait(decode(path, block, report))
        except OSError as error:
            text = f"{path}: {block.length} bytes can't be read any more ({error}); not used."
            report(UNREADABLE, f"{text} Check the file and its rights.", 1, "record")

    def _wait(self, packets: Iterable[Packet], *, copies: bool = False) -> None:
        for packet in packets:
            if not self._selection.wants(packet.nslc):
                continue
            trimmed = self._selection.trim(packet)
            if trimmed is None:
                continue
            if copies and trimmed is not packet:
                trimmed = replace(trimmed, samples=trimmed.samples.copy())
            pieces = Pieces(trimmed, self._width_ns, copies=copies)
            heapq.heappush(self._waiting, (pieces.start_ns, next(self._serial), pieces))

    def _take(self, end_ns: int) -> list[Packet]:
        """Every piece before a time, in time order."""
        ready, waiting = [], self._waiting
        while waiting and waiting[0][0] < end_ns:
            _, serial, pieces = waiting[0]
            ready.append(pieces.take())
            if pieces.left:
                heapq.heapreplace(waiting, (pieces.start_ns, serial, pieces))
            else:
                heapq.heappop(waiting)
        return ready
