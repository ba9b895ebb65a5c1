"""What of a bundle goes into which file, and back; and what is in it, in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from ml_prediction.core.results import Detection, Pick
from ml_prediction.explore.bundle_folder import plain_names
from ml_prediction.explore.bundle_tables import (
    contributions_csv,
    contributions_of_csv,
    csv_of_picks,
    detections_parquet,
    parquet_of,
    picks_parquet,
)
from ml_prediction.explore.bundle_waveforms import Asked
from ml_prediction.explore.events import place
from ml_prediction.util.codes import NSLC
from ml_prediction.util.frozen import FrozenMap
from ml_prediction.util.times import isoformat, to_utc

if TYPE_CHECKING:
    from ml_prediction.explore.bundle import EventBundle

EVENT: Final = "event.xml"
HISTORY: Final = "history.csv"
STATIONS: Final = "stations.xml"
PICKS: Final = "picks.parquet"
PICKS_CSV: Final = "picks.csv"
DETECTIONS: Final = "detections.parquet"
WAVEFORMS: Final = "waveforms/"
PROBABILITIES: Final = "probabilities/"
MSEED: Final = ".mseed"


def files_of(bundle: EventBundle) -> dict[str, bytes]:
    """Contents of each file."""
    files = {
        EVENT: bundle.quakeml,
        HISTORY: contributions_csv(bundle.contributions),
        PICKS: parquet_of(bundle.picks, Pick),
        PICKS_CSV: csv_of_picks(bundle.picks),
        DETECTIONS: parquet_of(bundle.detections, Detection),
    }
    if bundle.stationxml is not None:
        files[STATIONS] = bundle.stationxml
    for name, code in _named(WAVEFORMS, bundle.miniseed).items():
        files[name] = bundle.miniseed[code]
    for name, model in _named(PROBABILITIES, bundle.probabilities).items():
        files[name] = bundle.probabilities[model]
    return files


def about(bundle: EventBundle) -> dict[str, Any]:
    """What the manifest says besides, as JSON has it."""
    return {
        "event_id": bundle.event_id,
        "notes": list(bundle.notes),
        "waveforms": _named(WAVEFORMS, bundle.miniseed),
        "probabilities": _named(PROBABILITIES, bundle.probabilities),
        "picked_by": list(bundle.picked_by),
        "fetched": list(bundle.fetched),
        "asked": [{**asdict(each), "code": list(each.code)} for each in bundle.asked],
    }


def fields_of(files: Mapping[str, bytes], said: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a bundle by name; KeyError, TypeError or ValueError if the files don't fit."""
    return {
        "event_id": str(said["event_id"]),
        "quakeml": files[EVENT],
        "contributions": contributions_of_csv(files[HISTORY]),
        "stationxml": files.get(STATIONS),
        "miniseed": FrozenMap(
            {str(_code(code)): files[name] for name, code in said["waveforms"].items()}
        ),
        "asked": tuple(
            Asked(
                code=NSLC(*a["code"]),
                start_ns=a["start_ns"],
                end_ns=a["end_ns"],
                outcome=a["outcome"],
                reason=a["reason"],
                server=a.get("server", ""),  # bundles of before have none
            )
            for a in said["asked"]
        ),
        "fetched": tuple(map(str, said["fetched"])),
        "picks": picks_parquet(files[PICKS]),
        "detections": detections_parquet(files[DETECTIONS]),
        "picked_by": tuple(map(str, said["picked_by"])),
        "probabilities": FrozenMap(
            {model: files[name] for name, model in said["probabilities"].items()}
        ),
        "notes": tuple(map(str, said["notes"])),
    }


def describe(bundle: EventBundle) -> list[str]:
    """What is in a bundle, a line each."""
    origin, modes = bundle.origin, [pick.evaluation_mode for pick in bundle.event.picks]
    count, automatic = len(modes), modes.count("automatic")
    lines = [
        f"{bundle.event_id}: M{origin.magnitude:.1f}, {isoformat(to_utc(origin.time_ns))}, "
        f"{place(origin)}, {bundle.depth_km:.1f} km deep",
        f"catalogue: {count - automatic} analyst picks, {automatic} automatic, "
        f"{len(bundle.contributions)} contributions",
    ]
    stations = {tuple(code.split(".")[:2]) for code in bundle.miniseed}
    lines.append(
        f"waveforms: {len(bundle.miniseed)} channels of {len(stations)} stations"
        + ("" if bundle.stationxml is not None else ", without station metadata")
    )
    absent = sum(each.outcome == "absent" for each in bundle.asked)
    if absent:
        lines.append(f"the data centre has nothing of {absent} of {len(bundle.asked)} requests")
    if bundle.failed:
        lines.append(f"failed: {len(bundle.failed)} requests; ask again")
    if bundle.picked_by:
        models = ", ".join(sorted({name.partition(" ")[0] for name in bundle.picked_by}))
        lines.append(f"{models}: {len(bundle.picks)} picks, {len(bundle.detections)} detections")
    return lines


def _code(text: str) -> NSLC:
    return NSLC(*text.split("."))


def _named(folder: str, texts: Iterable[str]) -> dict[str, str]:
    """Channels, or models, by the name of their file."""
    return {f"{folder}{name}{MSEED}": text for text, name in plain_names(texts).items()}
