"""One earthquake as one object: catalogue history, analyst picks, stations, waveforms, ML picks.

::

    bundle = (
        EventBundle.from_comcat("uw61965081")
        .fetch_waveforms("EARTHSCOPE")
        .fetch_stations("EARTHSCOPE")
        .pick(load_model("EQTransformer"))
    )
    bundle.save("M4.3")
    bundle.plot("M4.3.png")
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from obspy import Inventory, Stream
from obspy.core.event import Event

from ml_prediction.core.results import Detection, Pick
from ml_prediction.data.transfer import check_parallel
from ml_prediction.errors import ConfigurationError, DataError
from ml_prediction.explore import bundle_steps as steps
from ml_prediction.explore.bundle_choice import choice_of
from ml_prediction.explore.bundle_extent import extent_of
from ml_prediction.explore.bundle_files import about, describe, fields_of, files_of
from ml_prediction.explore.bundle_folder import REMEDY, read_folder, write_folder
from ml_prediction.explore.bundle_steps import PathLike
from ml_prediction.explore.bundle_views import BundleViews
from ml_prediction.explore.bundle_waveforms import CHANNELS, AnyClient, Asked, as_server
from ml_prediction.explore.comcat_history import Contribution
from ml_prediction.explore.events import to_quakeml
from ml_prediction.util.frozen import FrozenMap

if TYPE_CHECKING:
    from ml_prediction.models import Ensemble, Model


@dataclass(frozen=True, eq=False)
class EventBundle(BundleViews):
    """One earthquake. Never changed: each step returns a new bundle.

    Documents are held as they came (QuakeML, StationXML, miniSEED records), so that saving and
    loading lose nothing. What `event`, `inventory` and `stream` return is read from them; changing
    it does not change the bundle, `with_event` and the like do.

    Attributes
    ----------
    event_id
        ComCat's identifier, or the end of the QuakeML event's.
    quakeml
        QuakeML document with this event alone.
    contributions
        ComCat's history, in order of time; `history` has it as a table.
    stationxml
        StationXML; None where there is none yet.
    miniseed
        Records by channel (``NET.STA.LOC.CHA``).
    asked
        What data centres were asked for, and what came of it.
    fetched
        Checksums of the extents (server, stations, channels, times) of which nothing failed.
    picks, detections
        The models'.
    picked_by
        Id and settings of each model that has picked; it may have found nothing.
    probabilities
        Probability traces as miniSEED, by the id of the model.
    notes
        What was done, in words.
    """

    event_id: str
    quakeml: bytes = field(repr=False)
    contributions: tuple[Contribution, ...] = field(default=(), repr=False)
    stationxml: bytes | None = field(default=None, repr=False)
    miniseed: Mapping[str, bytes] = field(default_factory=FrozenMap, repr=False)
    asked: tuple[Asked, ...] = field(default=(), repr=False)
    fetched: tuple[str, ...] = field(default=(), repr=False)
    picks: tuple[Pick, ...] = field(default=(), repr=False)
    detections: tuple[Detection, ...] = field(default=(), repr=False)
    picked_by: tuple[str, ...] = ()
    probabilities: Mapping[str, bytes] = field(default_factory=FrozenMap, repr=False)
    notes: tuple[str, ...] = field(default=(), repr=False)

    # Where bundles come from

    @classmethod
    def from_comcat(
        cls,
        event_id: str,
        client: AnyClient = "USGS",
        *,
        libcomcat: bool | None = None,
        timeout: float = 120.0,
        attempts: int = 6,
    ) -> Self:
        """An event of ComCat: its history, and the QuakeML with the analysts' picks.

        Parameters
        ----------
        event_id
            ComCat's identifier, e.g. ``uw61965081``.
        client
            Server of the event service; other than USGS for a copy of it.
        libcomcat
            Read the history by usgs-libcomcat's classes; None: if it is installed. The fields are
            the same.
        timeout, attempts
            Seconds of silence after which a request has failed, and how often it is made.

        Raises
        ------
        ServiceError
            If the server doesn't give it; NoDataError or NotOfferedError if it has no such event.
        DataError
            If what came is no event.
        """
        return cls(**steps.from_comcat(event_id, as_server(client, timeout, attempts), libcomcat))

    @classmethod
    def from_quakeml(cls, source: PathLike | bytes, event_id: str | None = None) -> Self:
        """An event of a QuakeML file or document.

        Parameters
        ----------
        source
            Path, or the document itself.
        event_id
            Which event, where there are several: the end of its public id. Of a single event, what
            to call it.

        Raises
        ------
        ConfigurationError
            If the file can't be read, or has several events and none is named.
        DataError
            If it is no QuakeML.
        """
        return cls(**steps.from_quakeml(source, event_id))

    @classmethod
    def load(cls, folder: PathLike) -> Self:
        """A bundle that was saved, the same in every byte.

        Raises
        ------
        ConfigurationError
            If there is no bundle.
        DataError
            If a file is missing, or not as it was saved; the message names it.
        """
        path = Path(folder)
        files, said = read_folder(path)
        try:
            return cls(**fields_of(files, said))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, DataError | ConfigurationError):
                raise
            raise DataError(
                f"{path}: its files don't fit together ({error!r}). {REMEDY}"
            ) from error

    def save(self, folder: PathLike) -> Path:
        """Save as a plain folder (see `bundle_folder`); returns it.

        The folder may be new, or an earlier state of this event, which is replaced as a whole.

        Raises
        ------
        ConfigurationError
            If the folder has something else.
        OSError
            If it can't be written.
        """
        path = Path(folder)
        write_folder(path, self.files(), about(self))
        return path

    def files(self) -> dict[str, bytes]:
        """All that `save` writes, by the name of the file."""
        return files_of(self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, EventBundle):
            return NotImplemented
        return self.files() == other.files() and about(self) == about(other)

    def __hash__(self) -> int:
        return hash((self.event_id, self.quakeml))

    def __str__(self) -> str:
        return "\n".join(self.describe())

    def describe(self) -> list[str]:
        """What is in it, a line each."""
        return describe(self)

    # Steps

    def with_event(self, event: Event, note: str = "event given") -> Self:
        """The same with another state of the event, e.g. after an analyst's changes."""
        return self._with(note, {"quakeml": to_quakeml(event)})

    def with_waveforms(self, source: Stream | PathLike | Sequence[PathLike]) -> Self:
        """The same with waveforms of a stream, or of miniSEED files, added.

        Records of files are kept byte for byte.

        Raises
        ------
        ConfigurationError
            If a file can't be read.
        DataError
            If it is no miniSEED.
        """
        return self._with(*steps.add_waveforms(self, source))

    def with_stations(self, source: Inventory | PathLike) -> Self:
        """The same with the stations of an inventory, or of a StationXML file.

        Raises
        ------
        ConfigurationError
            If the file can't be read.
        DataError
            If it is no StationXML.
        """
        return self._with(*steps.read_stations(source))

    def fetch_waveforms(
        self,
        client: AnyClient = "EARTHSCOPE",
        pad: float | tuple[float, float] = 60.0,
        channels: Sequence[str] = CHANNELS,
        *,
        radius_km: float | None = None,
        stations: Iterable[str] | None = None,
        parallel: int = 4,
        again: bool = False,
        cache: PathLike | None = None,
        done: Callable[[int, int], None] | None = None,
        timeout: float = 120.0,
        attempts: int = 6,
    ) -> Self:
        """The same with waveforms of an FDSN data centre.

        What is there already is not asked for again; where all is there, it is this bundle itself.
        What fails is kept in `failed`, with a warning in the log; the rest is there, and the same
        call again asks for what is missing.

        Parameters
        ----------
        client
            ObsPy's short name, URL, or client of the data centre.
        pad
            Seconds before the origin time, and after the S wave has passed the farthest station
            (distance over 3 km/s; also after the last analyst pick); one number is for both.
        channels
            Codes or patterns; a text is several between commas.
        radius_km
            All stations within; None: those with catalogue picks.
        stations
            ``NET.STA`` codes, instead of either.
        parallel
            Requests at the same time.
        again
            Ask again for what the data centre said it has not.
        cache
            Folder for what came until all has come, so that a killed run loses nothing.
        done
            Hears of bytes that are done, and of all; estimates.
        timeout, attempts
            Seconds of silence after which a request has failed, and how often it is made.

        Raises
        ------
        ConfigurationError
            If it is not known which stations are wanted, or an argument is out of range.
        ServiceError
            If the stations can't be found, or nothing at all came.
        """
        check_parallel(parallel)
        choice = choice_of(pad, channels, radius_km, stations)
        server = as_server(client, timeout, attempts)
        extent = extent_of(self, choice)
        found = steps.fetch_waveforms(
            self,
            server,
            extent,
            parallel=parallel,
            again=again,
            cache=None if cache is None else Path(cache),
            done=done,
        )
        return self if found is None else self._with(*found)

    def fetch_stations(
        self, client: AnyClient = "EARTHSCOPE", *, timeout: float = 120.0, attempts: int = 6
    ) -> Self:
        """The same with StationXML, responses included, of all channels with waveforms.

        Without waveforms, of the channels with catalogue picks. Unchanged where all are there.

        Raises
        ------
        ServiceError
            If the data centre doesn't give it.
        """
        found = steps.fetch_stations(self, lambda: as_server(client, timeout, attempts))
        return self if found is None else self._with(*found)

    def pick(
        self,
        model: Model | Ensemble | Sequence[Model | Ensemble],
        *,
        probabilities: bool = False,
        **options: Any,
    ) -> Self:
        """The same with the picks of a model, an ensemble, or several; each instrument by itself.

        Earlier picks of the same models are replaced, those of others stay. Times are rounded to
        microseconds, as in every output.

        Parameters
        ----------
        model
            From :func:`ml_prediction.load_model` or :func:`ml_prediction.combine`.
        probabilities
            Whether to keep the probability traces.
        **options
            As of :func:`ml_prediction.pick`, e.g. ``stride=500`` or ``thresholds={"P": 0.3}``.

        Raises
        ------
        ConfigurationError
            If there are no waveforms, or the settings are wrong.
        """
        from ml_prediction.explore.bundle_picks import pick_bundle

        return self._with(*pick_bundle(self, model, probabilities, options))

    # Snuffler and pictures

    def to_markers(self) -> list[Any]:
        """Pyrocko's markers: the event, catalogue picks, ML picks; sigma is half a marker's span.

        Raises
        ------
        ConfigurationError
            If Pyrocko is not installed.
        """
        from ml_prediction.explore.markers import to_markers

        return to_markers(self)

    def save_markers(self, path: PathLike) -> None:
        """Write the markers as a file for snuffler, to the microsecond."""
        from ml_prediction.explore.markers import save_markers

        save_markers(self.to_markers(), path)

    def from_markers(self, markers: PathLike | Sequence[Any], *, remove_all: bool = False) -> Self:
        """The same after a person's changes to its markers.

        A catalogue pick whose marker was moved, renamed or given a polarity is changed so; one
        whose marker is gone gets the status ``rejected``; a marker that was added is a new manual
        pick. An ML pick that was moved becomes a manual pick; one whose marker is gone is left out.
        What did not change keeps every field. `notes` says what was done.

        Parameters
        ----------
        markers
            Marker file that snuffler has saved, or the markers themselves.
        remove_all
            Allow that none of the picks is left.

        Raises
        ------
        ConfigurationError
            If Pyrocko is not installed, or the file can't be read.
        DataError
            If it is no marker file, or none of its markers is one of the bundle's picks.
        """
        from ml_prediction.explore.marker_edits import read_edits

        edits = read_edits(self, markers, remove_all=remove_all)
        if not edits.changed:
            return self
        changes: dict[str, Any] = {"picks": edits.picks}
        if edits.event is not None:
            changes["quakeml"] = to_quakeml(edits.event)
        return self._with(edits.sentence, changes)

    def snuffle(self, **options: Any) -> Self:
        """Open snuffler with waveforms, probabilities and markers; returns the edited bundle.

        Parameters
        ----------
        **options
            As of ``pyrocko.gui.snuffler.snuffle``, e.g. ``ntracks=24``.

        Raises
        ------
        ConfigurationError
            If Pyrocko or PyQt5 is not installed: ``pip install 'ml-prediction[snuffler]'``.
        """
        from ml_prediction.explore.snuffling import snuffle

        return self.from_markers(snuffle(self, **options), remove_all=True)  # a person saw it

    def plot(self, path: PathLike | None = None, **options: Any) -> Any:
        """Record section by distance, with picks and their sigma.

        Parameters
        ----------
        path
            Where to write it (.png, .pdf, .svg); None: nowhere.
        **options
            As of `ml_prediction.explore.section_plot.draw_section`.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        ConfigurationError
            If there are no waveforms, or the path is that of no picture.
        """
        from ml_prediction.explore.section_plot import check_picture, draw_section

        if path is not None:
            check_picture(Path(path))
        figure = draw_section(self, **options)
        if path is not None:
            figure.savefig(path)
        return figure

    def _with(self, note: str, changes: Mapping[str, Any]) -> Self:
        return replace(self, notes=(*self.notes, note), **changes)
