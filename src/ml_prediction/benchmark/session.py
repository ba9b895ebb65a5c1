"""One model: its data, its contenders' processes, and all of its rounds."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from ml_prediction.benchmark.check import check
from ml_prediction.benchmark.contenders.base import Job, Setup
from ml_prediction.benchmark.contenders.registry import ANNOTATE, FLOOR, Entrant
from ml_prediction.benchmark.datasets import Dataset, make_real, make_synthetic, real_files
from ml_prediction.benchmark.options import BenchOptions
from ml_prediction.benchmark.plan import WARM_UP, ModelPlan, Workload
from ml_prediction.benchmark.processes import ContenderFailedError, Worker
from ml_prediction.benchmark.results import cell_figures, title
from ml_prediction.benchmark.rounds import Cell, Entry, Limits, play
from ml_prediction.benchmark.weights import NAME, SharedWeights, lay_out

BATCH_SIZES: Final = (16, 32, 64, 128)
_QUICK_BATCH_SIZES: Final = (8, 32)
_WARM_UP_BATCH: Final = 16
_ROUNDS: Final = 7
_ROUND_SHARE: Final = 1 / 40  # of the whole time: what a round may take
_PATIENCE_S: Final = 1200.0


@dataclass(slots=True)
class ModelSession:
    """Everything that is measured with one model. Use it once.

    Attributes
    ----------
    model, options
        What to do.
    folder
        For data, weights and logs; its owner removes it.
    err
        Where progress is told.
    """

    model: ModelPlan
    options: BenchOptions
    folder: Path
    err: Console
    _stack: ExitStack = field(default_factory=ExitStack)
    _workers: dict[str, Worker] = field(default_factory=dict)
    _missing: dict[str, str] = field(default_factory=dict)
    _versions: dict[str, str] = field(default_factory=dict)
    _rates: dict[str, float] = field(default_factory=dict)
    _skipped: list[str] = field(default_factory=list)

    def run(self, deadline: float) -> dict[str, Any]:
        """Measure until a moment of `time.monotonic`, and return figures as plain JSON values."""
        with self._stack:
            weights = lay_out(self.model.name, self._weights_path(), self.folder / "cache")
            floor = self._floor(weights)
            cells = self._cells()
            self._start_workers(cells, weights)
            sweep = self._sweep(cells)
            best = min(sweep, key=sweep.__getitem__) if sweep else None
            for cell in cells:
                for entry in cell.entries:
                    batch = entry.entrant.batch
                    entry.batch_size = best if batch == "best" else batch
            limits = Limits(
                deadline,
                self.options.minutes * 60 * _ROUND_SHARE,
                1 if self.options.quick else _ROUNDS,
                self._rates,
            )
            forward = self._forward()
            play(cells, self._run_round, limits, time.monotonic)
            for cell in cells:
                check(cell)
            forward = _fastest(forward, self._forward())
            floor = _better(floor, self._floor(weights))
        gflops, mflop = floor.get("gflops"), floor.get("mflop_per_window")
        return {
            "model": self.model.name,
            "weights": NAME,
            "window": self.model.window,
            "mflop_per_window": mflop,
            "sgemm_gflops": gflops,
            "floor_windows_per_s": 1e3 * gflops / mflop if gflops and mflop else None,
            "seisbench_sweep": {str(batch): seconds for batch, seconds in sweep.items()},
            "seisbench_best_batch": best,
            "forward_windows_per_s": forward,
            "versions": self._versions,
            "skipped": self._skipped,
            "cells": [
                cell_figures(cell, threads=self.options.threads, gflops=gflops, mflop=mflop)
                for cell in cells
            ],
        }

    def _weights_path(self) -> Path | None:
        return self.options.weights if self.model.name == "PhaseNet" else None

    # -- data ---------------------------------------------------------------------------------

    def _cells(self) -> list[Cell]:
        cells = []
        for workload in self.options.workloads:
            if workload.models and self.model.name not in workload.models:
                continue
            dataset = self._dataset(workload)
            if dataset is None:
                continue
            entrants = [e for e in self.options.entrants if e.is_ours or not workload.ours_only]
            if entrants:
                cells.append(Cell(self.model, workload, dataset, [Entry(e) for e in entrants]))
        return cells

    def _dataset(self, workload: Workload) -> Dataset | None:
        """Data of a workload; None, and a word about it, where there are none."""
        target = self.folder / workload.key
        if not workload.is_real:
            self._tell(f"making data: {workload.key}")
            return make_synthetic(workload, self.model, target)
        files = real_files(workload, self.options.shared)
        if not files:
            self._skip(f"{workload.key}: the recorded data are not here (--shared DIR)")
            return None
        dataset = make_real(files, workload, self.model, target)
        if not dataset.spans:
            self._skip(f"{workload.key}: the recorded data hold no whole window")
            return None
        return dataset

    # -- processes ----------------------------------------------------------------------------

    def _worker(self, entrant: Entrant, weights: SharedWeights) -> Worker:
        setup = Setup(
            self.model.name,
            str(weights.base),
            weights.for_ours,
            self.model.window,
            self.model.stacking,
            self.model.blinding,
            self.options.threads,
            entrant.engine,
        )
        log = self.folder / f"{entrant.key}.log"
        return Worker(entrant.factory, setup, weights.cache, log)

    def _start_workers(self, cells: list[Cell], weights: SharedWeights) -> None:
        """Load and warm every contender; those that can't be are marked in all cells."""
        warm_up = self._dataset(WARM_UP)
        for entrant in self.options.entrants:
            entries = [e for cell in cells for e in cell.entries if e.entrant == entrant]
            if not entries:
                continue
            self._tell(f"loading: {entrant.title}")
            worker = self._stack.enter_context(self._worker(entrant, weights))
            try:
                if entrant.is_ours:  # the first start exports the model, with torch in its memory
                    with self._worker(entrant, weights) as first:
                        first.start()
                ready = worker.start()
                if not ready.missing and warm_up is not None:
                    figures, _ = worker.run(self._job(warm_up, _WARM_UP_BATCH), _PATIENCE_S)
                    self._rates[entrant.key] = warm_up.windows / figures.seconds
            except ContenderFailedError as error:
                for entry in entries:
                    entry.status, entry.note = "failed", str(error)
                continue
            if ready.missing:
                for entry in entries:
                    entry.status, entry.note = "missing", ready.missing
                continue
            self._workers[entrant.key] = worker
            self._versions.update(ready.versions)

    def _run_round(self, cell: Cell, entry: Entry) -> None:
        """One round of one contender in one cell."""
        worker = self._workers.get(entry.entrant.key)
        if worker is None:
            return
        figures, found = worker.run(self._job(cell.dataset, entry.batch_size), _PATIENCE_S)
        entry.rounds.append(figures)
        if entry.found is None:
            entry.found = found
        self._tell(f"{title(cell)}: {entry.entrant.title} {figures.seconds:.2f} s")

    def _job(self, dataset: Dataset, batch_size: int | None) -> Job:
        thresholds = dict(self.model.thresholds)
        return Job(dataset.folder, dataset.stride, thresholds, batch_size)

    # -- other measurements -------------------------------------------------------------------

    def _sweep(self, cells: list[Cell]) -> dict[int, float]:
        """Seconds of SeisBench on the smallest workload by batch size; its best is the rivals'."""
        worker = self._workers.get(ANNOTATE.key)
        wanted = any(e.batch == "best" for e in self.options.entrants)
        if worker is None or not wanted or not cells:
            return {}
        dataset = cells[0].dataset
        sizes = _QUICK_BATCH_SIZES if self.options.quick else BATCH_SIZES
        found: dict[int, float] = {}
        try:
            for size in (*sizes, *sizes):
                figures, _ = worker.run(self._job(dataset, size), _PATIENCE_S)
                found[size] = min(figures.seconds, found.get(size, figures.seconds))
                self._tell(f"SeisBench, batch size {size}: {figures.seconds:.2f} s")
        except ContenderFailedError as error:
            self._skip(f"sweep of batch sizes: {error}")
        return found

    def _floor(self, weights: SharedWeights) -> dict[str, float]:
        """What the machine can do now, and what a window costs of it; empty if that failed."""
        self._tell("measuring matrix products")
        with self._worker(FLOOR, weights) as worker:
            try:
                worker.start()
                return worker.measure(0.5 if self.options.quick else 3.0)
            except ContenderFailedError as error:
                self._skip(f"matrix products: {error}")
                return {}

    def _forward(self) -> dict[str, float]:
        """Windows per second of our engines alone, by contender."""
        found = {}
        for entrant in self.options.entrants:
            worker = self._workers.get(entrant.key)
            if worker is None or not entrant.is_ours:
                continue
            try:
                measured = worker.measure(0.5 if self.options.quick else 4.0)
            except ContenderFailedError as error:
                self._skip(f"forward passes of {entrant.title}: {error}")
                continue
            found[entrant.key] = measured["forward_windows_per_s"]
        return found

    def _skip(self, what: str) -> None:
        self._skipped.append(what)
        self._tell(f"left out: {what}")

    def _tell(self, what: str) -> None:
        self.err.print(f"{self.model.name}: {what}", markup=False)


def _fastest(first: dict[str, float], second: dict[str, float]) -> dict[str, float]:
    """The higher rate of each contender: other processes can only slow it."""
    return {
        key: max(rates[key] for rates in (first, second) if key in rates)
        for key in {**first, **second}
    }


def _better(first: dict[str, float], second: dict[str, float]) -> dict[str, float]:
    """The higher rate of two measurements: other processes can only slow it."""
    return max(first, second, key=lambda measured: measured.get("gflops", 0.0))
