"""A real earthquake: the M4.3 near Port Townsend, beside the network's analysts."""

from __future__ import annotations

import csv
from pathlib import Path

import obspy
import pytest
from core.packetise import assert_same_picks
from obspy import Stream, UTCDateTime

from ml_prediction.core.outcome import Result
from ml_prediction.core.run import pick
from ml_prediction.models import Model

ARRIVALS = {"P": ("HANS", "NATEM", "MCW"), "S": ("HANS", "NATEM")}
TOLERANCE = {"EQTransformer": {"P": 0.5, "S": 0.3}, "PhaseNet": {"P": 0.25, "S": 0.25}}
MODELS = ["eqt", "phasenet"]


@pytest.fixture(scope="module")
def stream(shared: Path) -> Stream:
    return obspy.read(shared / "data/Full_Array/uw61965081_PortTownsend_M4.3.mseed")


@pytest.fixture(scope="module")
def analysts(shared: Path) -> dict[tuple[str, str], UTCDateTime]:
    """Arrival times by station and phase."""
    with (shared / "data/Full_Array/picks.csv").open(encoding="utf-8") as handle:
        return {
            (row["station"], row["phase"]): UTCDateTime(row["time"])
            for row in csv.DictReader(handle)
        }


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest) -> Model:
    found: Model = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="module")
def result(stream: Stream, model: Model) -> Result:
    return pick(stream, model)


def test_arrivals_are_where_the_analysts_have_them(
    result: Result, model: Model, analysts: dict[tuple[str, str], UTCDateTime]
) -> None:
    for phase, stations in ARRIVALS.items():
        for station in stations:
            residuals = [
                abs(p.time - analysts[station, phase])
                for p in result.picks
                if (p.station, p.phase) == (station, phase)
            ]
            assert min(residuals) <= TOLERANCE[model.spec.name][phase], (station, phase)


@pytest.mark.parametrize("prefix", ["HH", "EN"])
def test_each_instrument_of_a_site_is_picked_as_if_alone(
    result: Result, model: Model, stream: Stream, prefix: str
) -> None:
    alone = pick(stream.select(channel=prefix + "?"), model).picks
    assert alone
    assert_same_picks(alone, [p for p in result.picks if p.channel.startswith(prefix)])
