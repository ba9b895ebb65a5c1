"""One window of one instrument, from the samples of its channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ml_prediction.core import filters
from ml_prediction.core.assembly import Component, OneComponent, assemble, is_flat
from ml_prediction.core.channel import Channel
from ml_prediction.core.components import Orientation
from ml_prediction.core.grid import time_of
from ml_prediction.core.history import Flags, Floats
from ml_prediction.core.response import CONTEXT, Response
from ml_prediction.core.summary import Summary
from ml_prediction.core.warnings_once import Once
from ml_prediction.core.windows import Skipped, everywhere, fill_gaps
from ml_prediction.errors import DataError
from ml_prediction.models.spec import ModelSpec
from ml_prediction.util.codes import Instrument


@dataclass(frozen=True, slots=True)
class RawWindow:
    """A window before normalisation.

    Attributes
    ----------
    instrument, index
        Which one.
    rows
        Samples of each component, shape (sample,): views, good until more data are taken.
    mask
        Shape (component, sample).
    """

    instrument: Instrument
    index: int
    rows: Sequence[Floats]
    mask: Flags


class WindowBuilder:
    """Builds windows, and counts those that can't be used.

    Parameters
    ----------
    spec
        The model.
    stride
        Samples from one window start to the next.
    one_component
        What the horizontals are where there is only a vertical.
    response
        Removes the instrument response; None keeps counts.
    summary
        Where things are counted.
    explain
        Told what is wrong with a channel.
    """

    def __init__(
        self,
        spec: ModelSpec,
        stride: int,
        one_component: OneComponent,
        response: Response | None,
        summary: Summary,
        explain: Once,
    ) -> None:
        self._spec = spec
        self._stride = stride
        self._one_component = one_component
        self._response = response
        self._summary = summary
        self._explain = explain
        self._everywhere = everywhere(len(spec.components), spec.in_samples)

    def whole(
        self, instrument: Instrument, index: int, channels: Sequence[Channel]
    ) -> RawWindow | None:
        """The usual window: every component is all there, and none is flat; else None.

        Parameters
        ----------
        instrument, index
            Which one.
        channels
            One for each component of the model.
        """
        if self._response is not None:
            return None
        start, stop = index * self._stride, index * self._stride + self._spec.in_samples
        rows = []
        for channel in channels:
            block = channel.covering(start, stop)
            if block is None or is_flat(block[-1]):
                return None
            rows.append(block[0])
        self._summary.saw(instrument)
        return RawWindow(instrument, index, rows, self._everywhere)

    def build(
        self,
        instrument: Instrument,
        index: int,
        channels: Mapping[str, Channel],
        orientation: Orientation,
    ) -> RawWindow | Skipped:
        """The window, or the reason why there is none.

        Parameters
        ----------
        instrument, index
            Which one.
        channels
            By code, those with data before its end.
        orientation
            Which of them can be which component.
        """
        spec = self._spec
        start, stop = index * self._stride, index * self._stride + spec.in_samples
        slots = [
            [channels[code] for code in orientation.slots.get(letter, ()) if code in channels]
            for letter in spec.components
        ]
        for code in orientation.unused:
            if code in channels and channels[code].read_unfiltered(start, stop)[1].any():
                self._leave_out(channels[code], "another has its component")
        parts = [self._part(some, start, stop) for some in slots]
        made = assemble(parts, spec.components, spec.in_samples, self._one_component)
        for row in made.flat if made.reason in {None, "flat"} else ():
            nslc = slots[row][0].nslc
            self._summary.note("flat component", 1, nslc)
            sentence = f"{nslc} is constant and not used; check sensor, cable and digitiser."
            self._explain(nslc, "flat", sentence)
        if made.reason is not None:
            self._summary.skip("windows", made.reason, 1, instrument)
            return Skipped(instrument, spec.id, index, index + 1, made.reason, made.recorded)
        for row in made.short:
            self._leave_out(slots[row][0], "too few samples")
        self._summary.saw(instrument)
        return RawWindow(instrument, index, list(made.data), made.mask)

    def _part(self, channels: Sequence[Channel], start: int, stop: int) -> Component | None:
        """One component: of several channels the one that has most of the window."""
        found = [(channel, *channel.read_unfiltered(start, stop)) for channel in channels]
        found.sort(key=lambda item: -int(item[2].sum()))  # stable: the best of equals stays first
        chosen: Component | None = None
        for channel, unfiltered, valid in found:
            if not valid.any():
                continue
            if chosen is not None and chosen.usable:
                self._leave_out(channel, "another is fuller")
                continue
            samples = self._seen(channel, start, stop)
            if samples is not None:
                chosen = Component(samples, unfiltered, valid)
            elif chosen is None:
                chosen = Component(unfiltered, unfiltered, valid, usable=False)
        return chosen

    def _seen(self, channel: Channel, start: int, stop: int) -> Floats | None:
        """Samples as the model is to see them; None where the response is not known."""
        if self._response is None:
            return channel.read(start, stop)[0]
        try:
            return self._ground_motion(channel, self._response, start, stop)
        except DataError as error:  # this channel can't be used; the others can
            self._explain(channel.nslc, "no response", str(error))
            self._leave_out(channel, "no response")
            return None

    def _leave_out(self, channel: Channel, reason: str) -> None:
        self._summary.skip("windows of a channel", reason, 1, channel.nslc)

    def _ground_motion(self, channel: Channel, response: Response, start: int, stop: int) -> Floats:
        """A window without response: from a block on the window grid, filtered afterwards."""
        spec = self._spec
        begin = start - round(CONTEXT * spec.sampling_rate)
        counts, valid = channel.read_unfiltered(begin, stop)
        first = start + int(valid[start - begin :].argmax())  # responses have epochs
        time_ns = time_of(first, spec.rate)
        block = fill_gaps(counts, valid)
        motion = response.remove(channel.nslc, time_ns, block, spec.sampling_rate)
        sections = filters.for_channel(spec.filters, channel.nslc.channel, spec.sampling_rate)
        if sections is not None:
            state = filters.steady_state(sections, float(motion[0]))
            filters.run(sections, motion, state, motion)
        return motion[start - begin :]
