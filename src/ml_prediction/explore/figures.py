"""Pictures of an evaluation, as PNG."""

from __future__ import annotations

from io import BytesIO
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ml_prediction.explore.arrivals import PHASES
from ml_prediction.explore.evaluation import Evaluation

_COLOURS: Final = {"P": "#0072B2", "S": "#D55E00"}  # Okabe and Ito's palette
_INK: Final = "#999999"
_SIZE_IN: Final = (9.0, 7.0)
_DPI: Final = 100


def draw(evaluation: Evaluation) -> bytes:
    """Precision and recall, residuals, sigma and probability: four panels.

    Parameters
    ----------
    evaluation
        From `ml_prediction.explore.evaluation.evaluate`.

    Returns
    -------
    bytes
        PNG.
    """
    figure = Figure(figsize=_SIZE_IN, layout="constrained")
    FigureCanvasAgg(figure)
    curve, residuals, sigma, probability = figure.subplots(2, 2).ravel()
    for phase in PHASES:
        style = {"color": _COLOURS[phase], "label": phase}
        rows = _of(evaluation.sweep, phase)
        if len(rows):
            curve.plot(rows["recall"], rows["precision"], marker=".", **style)
        found = evaluation.outcomes
        found = found[(found["kind"] == "found") & (found["phase"] == phase)]
        tolerance = float(evaluation.settings["tolerance_s"])
        if len(found):
            edges = np.linspace(-tolerance, tolerance, 51)
            residuals.hist(found["residual_s"], bins=edges, histtype="step", **style)
        rows = _of(evaluation.sigma, phase)
        if len(rows):
            rows = rows[rows["bin"] != "all"]
            sigma.plot(rows["sigma_s"], rows["error_s"], marker="o", **style)
        rows = _of(evaluation.probability, phase)
        if len(rows):
            below, above = rows["right"] - rows["right_low"], rows["right_high"] - rows["right"]
            errors = np.clip([below, above], 0, None)
            probability.errorbar(
                rows["probability"], rows["right"], errors, marker="o", capsize=2, **style
            )
    curve.set(xlabel="recall", ylabel="precision", title="Threshold sweep")
    residuals.set(xlabel="pick minus reference (s)", ylabel="arrivals", title="Residuals")
    sigma.set(xlabel="sigma (s)", ylabel="68 % of errors below (s)", title="Sigma")
    probability.set(xlabel="probability", ylabel="share right", title="Probability")
    for axes in (sigma, probability):
        axes.axline((0, 0), slope=1, color=_INK, linestyle=":")
    for axes in (curve, residuals, sigma, probability):
        if axes.get_legend_handles_labels()[1]:
            axes.legend(frameon=False)
    data = BytesIO()
    figure.savefig(data, format="png", dpi=_DPI)
    return data.getvalue()


def _of(table: pd.DataFrame, phase: str) -> pd.DataFrame:
    return table if table.empty else table[table["phase"] == phase]
