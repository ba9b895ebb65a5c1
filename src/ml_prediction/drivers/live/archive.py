"""What a live run has found, as the same files that driver_local writes, in a folder for each day.

Results are appended to a spool as they come, which a killed process leaves whole. Another process
makes the day's files of it now and then, so that the live one is never kept from its work.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Final, TypeVar, get_type_hints

from obspy import UTCDateTime

from ml_prediction.core.results import Detection, Pick, detection_order, pick_order
from ml_prediction.drivers.live.journal import SAME_NS
from ml_prediction.sinks.base import make_sinks
from ml_prediction.sinks.folder import OutputFolder
from ml_prediction.util.times import to_ns, to_utc

FORMATS: Final = ("csv", "quakeml", "markers")
REFRESH_SECONDS: Final = 600.0
"""From one making of a day's files to the next, if something new has come."""

SPOOL: Final = "spool.jsonl"
MOST_UNWRITTEN: Final = 50_000
"""Results that wait for a disk with room; beyond that the oldest are given up."""

_log = logging.getLogger(__name__)
Found = TypeVar("Found", Pick, Detection)


class Archive:
    """Collects results by the UTC day of a pick's peak, or a detection's onset.

    Parameters
    ----------
    folder
        One folder for each day goes there.

    Attributes
    ----------
    given_up
        Results that are lost, because the disk took none for too long.

    Raises
    ------
    OSError
        If it can't be made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._changed = {path.parent.name for path in folder.glob(f"*/{SPOOL}") if _is_newer(path)}
        self._making: set[str] = set()
        self._whole: set[str] = set()
        self._due = time.monotonic() + REFRESH_SECONDS
        self._worker: subprocess.Popen[bytes] | None = None
        self._unwritten: deque[tuple[str, str]] = deque()  # day, line
        self.given_up = 0

    def add(self, picks: Iterable[Pick], detections: Iterable[Detection]) -> None:
        """Append results. Those that were there before may come again.

        Raises
        ------
        OSError
            If the disk is full or the like; what could not be written is kept for the next call.
        """
        for pick in picks:
            self._put("pick", pick, pick.peak_time)
        for detection in detections:
            self._put("detection", detection, detection.onset)
        while len(self._unwritten) > MOST_UNWRITTEN:
            self._unwritten.popleft()
            self.given_up += 1
        for day in dict.fromkeys(day for day, _ in self._unwritten):
            (self.folder / day).mkdir(exist_ok=True)
            path = self.folder / day / SPOOL
            with path.open("ab", buffering=0) as handle:
                size = handle.tell()
                data = "".join(line for its, line in self._unwritten if its == day).encode()
                if day not in self._whole:  # a killed process may have left half a line
                    data = (b"\n" if size else b"") + data
                if handle.write(data) != len(data):
                    handle.truncate(size)
                    raise OSError(f"{path}: only a part could be written")
            self._whole.add(day)
            self._changed.add(day)
            self._unwritten = deque(item for item in self._unwritten if item[0] != day)

    def refresh(self, *, now: bool = False) -> None:
        """Have the files of the changed days made, if it is time to, by another process."""
        if self._worker is not None:
            status = self._worker.poll()
            if status is None:
                return
            self._worker = None
            if status:
                _log.warning("the archive's files could not be made; status %d", status)
                self._changed |= self._making
        if not self._changed or not (now or time.monotonic() >= self._due):
            return
        self._due = time.monotonic() + REFRESH_SECONDS
        folders = [str(self.folder / day) for day in sorted(self._changed)]
        command = [sys.executable, "-m", "ml_prediction.drivers.live.archive", *folders]
        try:
            self._worker = subprocess.Popen(  # outlives us where we are stopped
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            _log.warning("the archive's files can't be made now: %s", error)
            return
        self._making, self._changed = self._changed, set()

    def _put(self, kind: str, found: Pick | Detection, when: UTCDateTime) -> None:
        times = {
            item.name: to_ns(value)
            for item in fields(found)
            if isinstance(value := getattr(found, item.name), UTCDateTime)
        }
        line = json.dumps({"kind": kind, **found.to_dict(), **times})
        self._unwritten.append((when.strftime("%Y-%m-%d"), f"{line}\n"))


def _is_newer(spool: Path) -> bool:
    """Whether something has come after the day's files were made."""
    try:
        return spool.stat().st_mtime_ns >= (spool.parent / "picks.csv").stat().st_mtime_ns
    except OSError:
        return True


def make_files(folder: Path) -> None:
    """Write a day's files from its spool: whole or not at all, over older ones.

    Raises
    ------
    OSError
        If the spool can't be read, or the disk is full.
    """
    picks, detections = read_spool(folder / SPOOL)
    links = {pick_id: item.id for item in detections for pick_id in item.pick_ids}
    linked = [replace(pick, detection_id=links.get(pick.id)) for pick in picks]
    with OutputFolder(folder, overwrite=True) as output:
        sinks = make_sinks(FORMATS, output)
        for sink in sinks:
            sink.write(linked, detections, None)
            sink.close()


def read_spool(path: Path) -> tuple[list[Pick], list[Detection]]:
    """Results of a spool in order of time, each once."""
    found: dict[str, Pick | Detection] = {}
    with path.open(encoding="utf-8", errors="replace") as handle:
        for line in handle:
            try:
                value = json.loads(line)
                is_pick = value["kind"] == "pick"
                item = _restored(Pick, value) if is_pick else _restored(Detection, value)
                found[value["id"]] = item
            except (ValueError, LookupError, TypeError, AttributeError):
                continue  # the process was killed while it wrote, or the disk has lost something
    picks = [item for item in found.values() if isinstance(item, Pick)]
    detections = [item for item in found.values() if isinstance(item, Detection)]
    picks.sort(key=pick_order)
    same = dict(_once(picks))
    detections = [
        replace(each, pick_ids=tuple(dict.fromkeys(same.get(i, i) for i in each.pick_ids)))
        for each in detections
    ]
    return [p for p in picks if same[p.id] == p.id], sorted(detections, key=detection_order)


def _once(picks: Sequence[Pick]) -> Iterator[tuple[str, str]]:
    """Ids, each with that of the same pick as it was computed first, before a restart."""
    last: dict[tuple[str, str, str], tuple[int, str]] = {}
    for pick in picks:
        key = (str(pick.instrument), pick.phase, pick.model_id)
        peak_ns = to_ns(pick.peak_time)
        if key not in last or abs(peak_ns - last[key][0]) > SAME_NS:
            last[key] = (peak_ns, pick.id)
        yield pick.id, last[key][1]


def _restored(kind: type[Found], value: dict[str, Any]) -> Found:
    """From what `to_dict` made."""
    hints = get_type_hints(kind)
    arguments: dict[str, Any] = {}
    for item in fields(kind):
        content, hint = value[item.name], hints[item.name]
        if hint is UTCDateTime:
            content = to_utc(content)
        elif hint == tuple[str, ...]:
            content = tuple(part for part in content.split(";") if part)
        arguments[item.name] = content
    return kind(**arguments)


def main(arguments: Sequence[str]) -> int:
    """Make the files of several folders."""
    for argument in arguments:
        make_files(Path(argument))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
