from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from bundle_center import QUAKE, history

from ml_prediction.errors import ConfigurationError, DataError
from ml_prediction.explore.bundle_tables import contributions_csv, contributions_of_csv
from ml_prediction.explore.comcat_history import (
    COLUMNS,
    history_frame,
    history_of,
    libcomcat_is_installed,
)

TESTED = [
    pytest.param(False, id="by us"),
    pytest.param(
        True,
        id="by libcomcat",
        marks=pytest.mark.skipif(
            not libcomcat_is_installed(), reason="usgs-libcomcat is not installed: make test-comcat"
        ),
    ),
]


def document(*, superseded: bool = True) -> dict[str, Any]:
    return replace(QUAKE, products=history()).detail("http://127.0.0.1", superseded)


@pytest.mark.parametrize("libcomcat", TESTED)
def test_every_version_of_every_contributor_is_there_in_order_of_time(libcomcat: bool) -> None:
    found = history_of(document(), libcomcat=libcomcat)
    assert [(row.product, row.code, row.version, row.elapsed_min) for row in found] == [
        ("origin", "xx1", 1, 2.5),
        ("origin", "us7abc", 1, 8.0),
        ("origin", "", 2, 9.0),
        ("moment-tensor", "us7abc", 1, 60.0),
        ("origin", "xx1", 2, 95.0),
    ]
    assert [row.magnitude for row in found if row.code] == [2.876, 3.3, 3.14, 3.1]  # not rounded
    assert (found[0].latitude, found[0].longitude, found[0].depth_km) == (47.651, -122.4567, 19.87)
    assert [row.review_status for row in found] == ["", "automatic", "", "", "reviewed"]
    assert found[3].method == "Mw"
    assert math.isnan(found[2].magnitude)


@pytest.mark.skipif(
    not libcomcat_is_installed(), reason="usgs-libcomcat is not installed: make test-comcat"
)
def test_libcomcat_and_our_own_reading_give_the_same_fields() -> None:
    ours, theirs = (history_of(document(), libcomcat=way) for way in (False, True))
    assert history_frame(ours).equals(history_frame(theirs))


@pytest.mark.parametrize("libcomcat", TESTED)
def test_an_event_without_products_has_no_history(libcomcat: bool) -> None:
    assert history_of(QUAKE.detail("", True), libcomcat=libcomcat) == ()


def test_a_history_as_csv_is_exact() -> None:
    found = history_of(document(), libcomcat=False)
    assert repr(contributions_of_csv(contributions_csv(found))) == repr(found)  # NaN is not NaN
    assert contributions_csv(()).decode().strip().split(",") == list(COLUMNS)


def test_times_are_utc_in_the_table() -> None:
    table = history_frame(history_of(document(), libcomcat=False))
    assert str(table["update_time"].dtype) == "datetime64[ns, UTC]"
    assert str(table["origin_time"][0]) == "2024-05-01 23:59:00.120000+00:00"
    assert table["origin_time"].isna().tolist() == [False, False, True, False, False]


def test_a_broken_document_is_named() -> None:
    broken = document()
    del broken["properties"]["products"]["origin"][1]["updateTime"]
    with pytest.raises(DataError, match="'xx1' can't be read"):
        history_of(broken, libcomcat=False)


def test_libcomcat_must_be_there_where_it_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"ml-prediction\[comcat\]"):
        history_of(document(), libcomcat=True)
