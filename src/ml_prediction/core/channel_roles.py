"""Which channels instruments have, declared or seen, and which component each one is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ml_prediction.core.components import Orientation, assign
from ml_prediction.core.intake import NO_PLACE, UNDECLARED, Refusal
from ml_prediction.util.codes import NSLC, Instrument


class ChannelRoles:
    """Component slots of every instrument.

    Parameters
    ----------
    components
        Component letters of the model.
    expected
        Channels that are known to come.
    dips
        Dip in degrees of channels, where known.
    """

    def __init__(
        self, components: str, expected: Iterable[NSLC], dips: Mapping[NSLC, float]
    ) -> None:
        self._components = components
        self._dips = dict(dips)
        self._known: dict[Instrument, dict[frozenset[str], Orientation]] = {}
        self._declared: dict[Instrument, frozenset[str]] = {}
        for nslc in expected:
            declared = self._declared.get(nslc.instrument, frozenset())
            self._declared[nslc.instrument] = declared | {nslc.channel}

    def declared(self, instrument: Instrument) -> frozenset[str] | None:
        """Channel codes that were declared; None where none was."""
        return self._declared.get(instrument)

    def orient(self, instrument: Instrument, codes: frozenset[str]) -> Orientation:
        """Component slots of an instrument that has these channels."""
        known = self._known.setdefault(instrument, {})
        if codes not in known:
            channels = [NSLC(*instrument[:3], code) for code in codes]
            dips = {c.channel: self._dips[c] for c in channels if c in self._dips}
            pairs = [(c.channel, c.component) for c in channels]
            known[codes] = assign(pairs, self._components, dips)
        return known[codes]

    def forget(self, instrument: Instrument) -> None:
        """Forget what was found out of an instrument, not what was declared."""
        self._known.pop(instrument, None)

    def missing(self, instrument: Instrument, seen: frozenset[str]) -> set[str]:
        """Components that are expected, but of which no channel has been seen."""
        declared = self.declared(instrument)
        wanted = set(self._components)
        if declared is not None:
            wanted = set(self.orient(instrument, declared).slots)
        return wanted - set(self.orient(instrument, seen).slots)

    def place(self, nslc: NSLC, seen: frozenset[str]) -> Orientation | Refusal:
        """Component slots of a channel's instrument, or why the channel has no place.

        Of an instrument that nobody declared, every channel is taken: which of them are used is
        a matter of event time, not of arrival.
        """
        codes = self.declared(nslc.instrument)
        if codes is None:
            return self.orient(nslc.instrument, seen | {nslc.channel})
        if nslc.channel not in codes:
            return UNDECLARED
        orientation = self.orient(nslc.instrument, codes)
        return NO_PLACE if nslc.channel in orientation.unused else orientation
