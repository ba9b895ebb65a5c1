"""Warnings that are said once for each channel and reason, not once for each packet."""

from __future__ import annotations

import logging

from ml_prediction.util.codes import NSLC

_log = logging.getLogger(__name__)


class Once:
    """Says what is wrong with a channel, the first time it happens."""

    def __init__(self) -> None:
        self._said: set[tuple[NSLC, str]] = set()

    def __call__(self, nslc: NSLC, reason: str, sentence: str) -> None:
        """Log a sentence, unless this reason was given for this channel before."""
        if (nslc, reason) not in self._said:
            self._said.add((nslc, reason))
            _log.warning("%s", sentence)
