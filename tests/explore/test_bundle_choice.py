"""What of waveforms is wanted is checked before any server is asked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from bundle_center import quakeml
from fdsn_servers import Center

from ml_prediction import EventBundle
from ml_prediction.data.fdsn import Server
from ml_prediction.data.transfer import get_all
from ml_prediction.errors import ConfigurationError
from ml_prediction.explore.bundle_choice import choice_of

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"pad": float("nan")}, "pad"),
    ({"pad": float("inf")}, "pad"),
    ({"pad": (1.0, float("nan"))}, "pad"),
    ({"pad": -1e5}, "pad"),
    ({"pad": 1e12}, "pad"),
    ({"pad": (1.0,)}, "pad"),
    ({"pad": "60"}, "pad"),
    ({"channels": ()}, "channels"),
    ({"channels": ""}, "channels"),
    ({"channels": ["HH?", ""]}, "channels"),
    ({"channels": "HH? BH?"}, "channels"),
    ({"radius_km": 0}, "radius_km"),
    ({"radius_km": -1.0}, "radius_km"),
    ({"radius_km": float("nan")}, "radius_km"),
    ({"radius_km": 30_000.0}, "radius_km"),
    ({"radius_km": 10.0, "stations": ["YY.FAR"]}, "radius_km.*stations"),
    ({"stations": []}, "stations"),
    ({"stations": ["LONE"]}, r"stations.*'LONE'.*NET\.STA"),
    ({"stations": ["YY.L*"]}, "stations"),
    ({"stations": ["A.B.C"]}, "stations"),
    ({"parallel": 0}, "parallel"),
]


@pytest.mark.parametrize(("arguments", "words"), WRONG, ids=str)
def test_what_is_out_of_range_is_named_and_nobody_is_asked(
    quake_center: Center, server: Server, arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        EventBundle.from_quakeml(quakeml()).fetch_waveforms(server, **arguments)
    assert not quake_center.log


def test_a_text_is_several_codes_between_commas() -> None:
    given: Any = np.float32(60)
    one = choice_of(given, "HH?, EN?", None, "XX.NEAR,YY.FAR")
    assert one == choice_of((60, 60), ["HH?", "EN?"], None, ["YY.FAR", "XX.NEAR"])
    assert one.channels == ("HH?", "EN?")
    assert one.stations == (("XX", "NEAR"), ("YY", "FAR"))


def test_picks_without_a_network_cost_themselves(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    odd = quakeml().replace(b'networkCode="YY"', b'networkCode=""')
    assert odd != quakeml()
    found = EventBundle.from_quakeml(odd).fetch_waveforms(server, channels="??Z")
    assert set(found.miniseed) == {"XX.NEAR..HHZ", "XX.NEAR..ENZ", "XX.MIDD..HHZ"}
    assert "no waveforms for picks of .FAR" in caplog.text


def test_a_transfer_without_threads_is_refused(server: Server) -> None:
    with pytest.raises(ConfigurationError, match="parallel"):
        get_all([], server, None, 0, lambda units: None)  # type: ignore[arg-type]
