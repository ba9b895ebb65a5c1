"""Rings and logos by names, with Earthworm's tables and without."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml_prediction.drivers.ring_names import read_names
from ml_prediction.earthworm.logo import Logo
from ml_prediction.earthworm.ring import RingName
from ml_prediction.errors import ConfigurationError


def test_names_without_tables() -> None:
    names = read_names({})
    assert names.ring("1000") == RingName("1000", 1000)
    assert names.ring("A_RING=0017") == RingName("A_RING", 17)
    assert names.wanted("INST_UNKNOWN 7 TYPE_TRACEBUF2") == Logo(19, 7, 255)
    assert names.sender(environment={"EW_INSTALLATION": "INST_UW"}) == (255, 255)
    for wrong in ("A_RING", "A_RING=", "A_RING=x", "99999999999"):
        with pytest.raises(ConfigurationError, match=f"ing {wrong}"):
            names.ring(wrong)
    for wrong in ("1,2", "1,2,256", "1,2,TYPE_NONE", "1,2,3,4"):
        with pytest.raises(ConfigurationError):
            names.wanted(wrong)
    for wrong in ("0,1", "1,0", "1", "INST_UW,1"):
        with pytest.raises(ConfigurationError):
            names.sender(wrong)


def test_names_of_a_system(tmp_path: Path) -> None:
    (tmp_path / "earthworm_global.d").write_text(
        "Installation INST_UW 3\nMessage TYPE_TRACEBUF2 19\nInstallation INST_WILDCARD 0\n"
    )
    (tmp_path / "earthworm.d").write_text(
        "Ring WAVE_RING 1000\nRing FLAG_RING 2000\nModule MOD_TANKPLAYER 135\n"
    )
    names = read_names({"EW_PARAMS": str(tmp_path)})
    assert names.flag_ring_key == 2000
    assert names.ring("WAVE_RING") == names.ring("1000") == RingName("WAVE_RING", 1000)
    assert names.ring("PICK_RING=1005") == RingName("PICK_RING", 1005)
    assert names.sender(environment={"EW_INSTALLATION": "INST_UW"}) == (135, 3)
    assert names.logo(Logo(19, 135, 3)) == "INST_UW MOD_TANKPLAYER TYPE_TRACEBUF2"
    with pytest.raises(ConfigurationError, match="INST_XX"):
        names.sender(environment={"EW_INSTALLATION": "INST_XX"})
    with pytest.raises(ConfigurationError, match="NO_RING"):
        names.ring("NO_RING")
