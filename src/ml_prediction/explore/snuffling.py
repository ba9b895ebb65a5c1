"""Snuffler, Pyrocko's waveform browser, with everything that a bundle has."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ml_prediction.errors import ConfigurationError
from ml_prediction.explore.markers import to_markers

if TYPE_CHECKING:
    from ml_prediction.explore.bundle import EventBundle


def pile_of(bundle: EventBundle) -> Any:
    """Pyrocko's pile of waveforms and, sorted beside them, probability traces.

    A probability trace has the codes of its instrument and P, S or D as component; where several
    models have picked, the model's name follows.
    """
    from pyrocko import obspy_compat, pile

    traces = obspy_compat.to_pyrocko_traces(bundle.stream)
    for model in sorted(bundle.probabilities):
        for trace in obspy_compat.to_pyrocko_traces(bundle.probability_stream(model)):
            if len(bundle.probabilities) > 1:
                trace.set_channel(f"{trace.channel} {model}")
            traces.append(trace)
    made = pile.Pile()
    if traces:
        made.add_file(pile.MemTracesFile(None, traces))
    return made


def snuffle(bundle: EventBundle, **options: Any) -> list[Any]:
    """Open snuffler, wait until it is closed, and return the markers as they are then.

    Raises
    ------
    ConfigurationError
        If Pyrocko or PyQt5 is not installed, or there is no screen.
    """
    event, *phases = to_markers(bundle)
    if "QT_QPA_PLATFORM" not in os.environ and not _screen():
        raise ConfigurationError(
            "Snuffler needs a screen, and there is none (DISPLAY is not set). Save the markers "
            "(save_markers, --markers), and open them with the waveforms where there is one."
        )
    _give_back_list_of_backends()
    try:
        from pyrocko import obspy_compat
        from pyrocko.gui.snuffler.snuffler import snuffle as open_window
        from pyrocko.gui.snuffler.snuffler_app import SnufflerWindow  # noqa: F401, says what lacks
    except ImportError as error:
        raise ConfigurationError(
            f"Snuffler can't be imported ({error}): pip install 'ml-prediction[snuffler]'."
        ) from error
    stations = (
        [] if bundle.inventory is None else obspy_compat.to_pyrocko_stations(bundle.inventory)
    )
    _, edited = open_window(
        pile_of(bundle),
        stations=stations,
        events=[event.get_event()],  # gets its marker there
        markers=phases,
        want_markers=True,
        **options,
    )
    return list(edited)


def _give_back_list_of_backends() -> None:
    """Pyrocko (2026.6) looks in a list that Matplotlib had until 3.10."""
    import matplotlib.rcsetup

    if not hasattr(matplotlib.rcsetup, "all_backends"):
        matplotlib.rcsetup.all_backends = ["Qt5Agg"]  # type: ignore[attr-defined,unused-ignore]


def _screen() -> bool:
    return (
        os.name == "nt"
        or os.uname().sysname == "Darwin"
        or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    )
