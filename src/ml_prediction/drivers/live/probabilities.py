"""Probability traces into a ring of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ml_prediction.core.traces import Fragment
from ml_prediction.drivers.live.alarms import Alarm, Alarms
from ml_prediction.earthworm.logo import Logo
from ml_prediction.earthworm.messages import MessageError
from ml_prediction.earthworm.ring import RingError
from ml_prediction.errors import ConfigurationError
from ml_prediction.models.spec import ModelSpec
from ml_prediction.sinks.earthworm import (
    probability_channel,
    probability_location,
    probability_messages,
)
from ml_prediction.util.codes import NSLC, Instrument


class ProbabilityPoster:
    """Puts fragments of probability traces into a ring as TRACEBUF2.

    Parameters
    ----------
    put
        Puts a message.
    logo
        Of the messages.
    spec
        The model: its letters are the location code.
    declared
        Channels that are known to come.
    alarms
        Where trouble is told.

    Attributes
    ----------
    lost
        Fragments that the ring did not take.

    Raises
    ------
    ConfigurationError
        If two declared instruments would have one channel code.
    """

    def __init__(
        self,
        put: Callable[[Logo, bytes], None],
        logo: Logo,
        spec: ModelSpec,
        declared: Iterable[NSLC],
        alarms: Alarms,
    ) -> None:
        self._put = put
        self._logo = logo
        self._location = probability_location(spec.name, spec.weights)
        self._alarms = alarms
        self.lost = 0
        self._owners: dict[NSLC, Instrument] = {}
        for instrument in dict.fromkeys(nslc.instrument for nslc in declared):
            other = self._owner(instrument)
            if other != instrument:
                raise ConfigurationError(
                    f"ProbabilityRing: {instrument} and {other} would have the same channel codes "
                    f"(location {self._location}); leave one of them out with Channels."
                )

    def post(self, fragments: Iterable[Fragment]) -> None:
        """Put fragments; those of an instrument whose codes another has are left out, and told."""
        waiting = list(fragments)
        for number, fragment in enumerate(waiting):
            other = self._owner(fragment.instrument)
            if other != fragment.instrument:
                self._alarms.tell(
                    Alarm.MALFORMED,
                    f"no probabilities of {fragment.instrument}: {other} has the same codes",
                )
                continue
            try:
                for payload in probability_messages(fragment, self._location):
                    self._put(self._logo, payload)
            except MessageError as error:
                self._alarms.tell(Alarm.MALFORMED, f"probabilities can't be sent: {error}")
            except RingError as error:  # they are of use now or not at all
                self.lost += len(waiting) - number
                self._alarms.tell(Alarm.RING, str(error))
                return

    def _owner(self, instrument: Instrument) -> Instrument:
        """Whose the codes of an instrument's traces are."""
        return self._owners.setdefault(
            probability_channel(instrument, "P", self._location), instrument
        )
