"""Velocity models that PyOcto is given: a half-space, or layers from a file or from ObsPy."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from ml_prediction.errors import ConfigurationError, DataError, MLPredictionError

Floats = npt.NDArray[np.float64]

DEFAULT: Final = "iasp91"
NAMED: Final = ("iasp91", "ak135")
"""Models that ObsPy has: Kennett and Engdahl (1991); Kennett, Engdahl and Buland (1995)."""

COLUMNS: Final = ("depth", "vp", "vs")
SPACINGS_KM: Final = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)
"""Of the nodes of a travel-time table; in binary, so that a depth is a node exactly."""
MOST_NODES: Final = 2_000_000
"""A table of 32 MB, made in 3 s. Travel times are too long by what half the spacing halves."""
DEEPEST_KM: Final = 800.0
"""Of earthquakes, and more."""
SLOWEST_KM_S, FASTEST_KM_S = 0.05, 20.0
"""S waves in mud, P waves at the core's boundary, and more."""


@dataclass(frozen=True, slots=True)
class VelocityModel:
    """Velocities by depth: linear between rows, constant above the first and below the last.

    Attributes
    ----------
    name
        For people and QuakeML.
    depth_km
        Of the rows, not decreasing; two rows of one depth are a step. Below sea level.
    vp_km_s, vs_km_s
        Velocities.
    """

    name: str
    depth_km: Floats
    vp_km_s: Floats
    vs_km_s: Floats

    @property
    def uniform(self) -> bool:
        """Whether depth makes no difference."""
        return bool(np.ptp(self.vp_km_s) == 0 and np.ptp(self.vs_km_s) == 0)

    def at(self, depths_km: Floats) -> tuple[Floats, Floats]:
        """Velocities of P and S; at a step those below it."""
        upper = np.searchsorted(self.depth_km, depths_km, side="right") - 1
        upper = np.clip(upper, 0, len(self.depth_km) - 1)
        lower = np.minimum(upper + 1, len(self.depth_km) - 1)
        thickness = self.depth_km[lower] - self.depth_km[upper]
        share = np.zeros_like(depths_km)
        np.divide(depths_km - self.depth_km[upper], thickness, out=share, where=thickness > 0)
        share = np.clip(share, 0.0, 1.0)
        vp = self.vp_km_s[upper] + share * (self.vp_km_s[lower] - self.vp_km_s[upper])
        vs = self.vs_km_s[upper] + share * (self.vs_km_s[lower] - self.vs_km_s[upper])
        return vp, vs


def velocity_model(text: str) -> VelocityModel:
    """Velocity model of an option: a name, ``VP,VS`` of a half-space, or a CSV file.

    Raises
    ------
    ConfigurationError
        If it is none of these, or no rock has such velocities.
    DataError
        If the file can't be used; the message names the line.
    """
    if text in NAMED:
        return _of_obspy(text)
    parts = text.split(",")
    if len(parts) == 2:
        try:
            vp, vs = map(float, parts)
        except ValueError:
            pass
        else:
            _check_velocities(vp, vs, f"--velocity {text}", ConfigurationError)
            return VelocityModel(f"{vp:g},{vs:g}", np.zeros(1), np.asarray([vp]), np.asarray([vs]))
    path = Path(text)
    if not path.is_file():
        raise ConfigurationError(
            f"--velocity {text}: no such file; give a CSV file with the columns depth,vp,vs, "
            f"a model of ObsPy ({', '.join(NAMED)}), or VP,VS of a half-space in km/s."
        )
    return _of_file(path)


def spacing_km(width_km: float, depth_km: float) -> float:
    """Distance of a travel-time table's nodes: the finest that is not too many."""
    for spacing in SPACINGS_KM:
        if (width_km / spacing + 1) * (depth_km / spacing + 1) <= MOST_NODES:
            return spacing
    return SPACINGS_KM[-1]


def write_table(model: VelocityModel, width_km: float, depth_km: float, path: Path) -> float:
    """Write the travel-time table that PyOcto reads.

    Parameters
    ----------
    model
        Velocities.
    width_km, depth_km
        How far it must reach.
    path
        Of the table.

    Returns
    -------
    float
        Longest travel time of S in the table, in seconds.

    Raises
    ------
    ConfigurationError
        If pyrocko, which makes the table, is not installed.
    """
    import pandas as pd
    import pyocto

    try:
        import pyrocko.modelling.eikonal  # noqa: F401 (PyOcto's table is made by it)
    except ImportError as error:
        raise ConfigurationError(
            "Travel times of a layered model need pyrocko: pip install 'ml-prediction[associate]', "
            "or give --velocity VP,VS."
        ) from error
    spacing = spacing_km(width_km, depth_km)
    nx, nz = (math.ceil(extent / spacing) + 1 for extent in (width_km, depth_km))
    depths = np.arange(nz + 1) * spacing
    vp, vs = model.at(depths)
    # A row for each node: PyOcto can't divide by the thickness of a step.
    rows = pd.DataFrame({"depth": depths, "vp": vp, "vs": vs})
    pyocto.VelocityModel1D.create_model(rows, spacing, (nx - 1) * spacing, (nz - 1) * spacing, path)
    return float(np.fromfile(path, np.float64, offset=16)[nx * nz :].max())


def _of_obspy(name: str) -> VelocityModel:
    from obspy.taup import TauPyModel

    layers = TauPyModel(name).model.s_mod.v_mod.layers
    layers = layers[(layers["top_depth"] < DEEPEST_KM) & (layers["top_s_velocity"] > 0)]
    columns = [
        np.column_stack([layers[f"top_{kind}"], layers[f"bot_{kind}"]]).ravel()
        for kind in ("depth", "p_velocity", "s_velocity")
    ]
    return VelocityModel(name, *(np.asarray(column, np.float64) for column in columns))


def _of_file(path: Path) -> VelocityModel:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = list(csv.reader(line for line in file if not line.lstrip().startswith("#")))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: can't be read as CSV ({error}).") from error
    header = [name.strip().lower() for name in lines[0]] if lines else []
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise DataError(
            f"{path}: no column {', '.join(missing)}; the first line must name depth (km), "
            "vp and vs (km/s)."
        )
    places = [header.index(name) for name in COLUMNS]
    rows: list[list[float]] = []
    for number, line in enumerate(lines[1:], start=2):
        if not any(cell.strip() for cell in line):
            continue
        try:
            row = [float(line[place]) for place in places]
        except (ValueError, IndexError) as error:
            raise DataError(f"{path}, row {number}: depth, vp and vs must be numbers.") from error
        _check_velocities(row[1], row[2], f"{path}, row {number}")
        if rows and not row[0] >= rows[-1][0]:
            raise DataError(f"{path}, row {number}: depths must not decrease.")
        if len(rows) > 1 and row[0] == rows[-2][0]:
            raise DataError(f"{path}, row {number}: a third row of depth {row[0]:g} km.")
        rows.append(row)
    if not rows:
        raise DataError(f"{path}: has no rows below its first line.")
    depth, vp, vs = np.asarray(rows, np.float64).T
    return VelocityModel(path.name, depth, vp, vs)


def _check_velocities(
    vp: float, vs: float, where: str, kind: type[MLPredictionError] = DataError
) -> None:
    if not SLOWEST_KM_S <= vs < vp <= FASTEST_KM_S:
        raise kind(
            f"{where}: vp {vp:g} and vs {vs:g} km/s; vs must be less than vp, and both from "
            f"{SLOWEST_KM_S:g} to {FASTEST_KM_S:g} km/s."
        )
