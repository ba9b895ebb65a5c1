"""Warnings that are said once for each channel and reason, not once for each packet."""

from __future__ import annotations

import logging

from ml_prediction.util.codes import NSLC, Instrument

_log = logging.getLogger(__name__)


class Once:
    """Says what is wrong with a channel, the first time it happens."""

    def __init__(self) -> None:
        self._said: dict[Instrument, set[tuple[NSLC, str]]] = {}

    def __call__(self, nslc: NSLC, reason: str, sentence: str) -> None:
        """Log a sentence, unless this reason was given for this channel before."""
        said = self._said.setdefault(nslc.instrument, set())
        if (nslc, reason) not in said:
            said.add((nslc, reason))
            _log.warning("%s", sentence)

    def forget(self, instrument: Instrument) -> None:
        """Forget what was said of an instrument's channels: codes in garbage are without end."""
        self._said.pop(instrument, None)
