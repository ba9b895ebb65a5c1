"""FDSN web services, through ObsPy's client: an answer is whole and of its kind, or an error.

Bodies are handed over as they came, so that what is kept is what the server sent. A request that
fails in passing is made again (`retry`); what a failure means is sorted in `faults`.
"""

from __future__ import annotations

import http.client
import json
import re
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from email.utils import parsedate_to_datetime
from io import BytesIO
from typing import Any, Final
from urllib.request import BaseHandler
from xml.etree import ElementTree

from obspy import UTCDateTime
from obspy.clients.fdsn.client import Client, download_url, raise_on_error
from obspy.clients.fdsn.header import URL_MAPPINGS, FDSNException, FDSNTimeoutException

from ml_prediction.data.faults import (
    BadRequestError,
    DamagedError,
    StalledError,
    TransientError,
    UnreachableError,
    of_status,
)
from ml_prediction.data.records import check_records
from ml_prediction.data.retry import Gate, Patience, patiently
from ml_prediction.errors import ConfigurationError, DataError

Line = tuple[str, str, str, str, UTCDateTime, UTCDateTime]
"""Of a bulk request: network, station, location, channel, start, end."""

OK: Final = 200
_SAID: Final = 200  # characters of a server's words that are repeated
_NO_MINISEED: Final = re.compile(r"text/|html|json|xml", re.IGNORECASE)


class Server:
    """One data centre; may be used by several threads.

    Parameters
    ----------
    name
        ObsPy's short name (EARTHSCOPE, USGS, NCEDC, ...), or the URL that ``/fdsnws`` follows.
    timeout
        Seconds without a byte after which a request has failed.
    patience
        How often a request is made again.
    told
        Hears of failed attempts, and the seconds to the next.

    Raises
    ------
    ConfigurationError
        If the name is neither.
    """

    def __init__(
        self,
        name: str,
        *,
        timeout: float = 120.0,
        patience: Patience | None = None,
        told: Callable[[TransientError, float], None] | None = None,
    ) -> None:
        self.name = name
        self._listener = _Listener()
        self._patience = patience or Patience()
        self._told = told
        self.gate = Gate()
        try:
            # Its discovery of services would be three more requests that can fail.
            self._client = Client(name, timeout=timeout, _discover_services=False)
        except ValueError as error:
            known = ", ".join(sorted(URL_MAPPINGS))
            raise ConfigurationError(
                f"Server {name!r} is neither a URL (http://...) nor one of {known}."
            ) from error
        self._opener: Any = self._client._url_opener  # ObsPy gives no other way to see headers
        self._opener.add_handler(self._listener)

    @property
    def url(self) -> str:
        """Base URL, which ``/fdsnws`` follows."""
        return str(self._client.base_url)

    def waveforms(self, lines: Sequence[Line], attempts: int | None = None) -> bytes:
        """MiniSEED of all lines, as the server sends it: it may begin earlier and end later.

        Parameters
        ----------
        lines
            What is wanted.
        attempts
            At most; None: as this server's patience is.

        Raises
        ------
        ServiceError
            As sorted in `faults`, after as many attempts as make sense.
        """
        return self._ask(
            f"{len(lines)} channels from {lines[0][4]}",
            lambda body: self._client.get_waveforms_bulk(list(lines), filename=body),
            self._check_miniseed,
            attempts,
        )

    def stations(self, lines: Sequence[Line], level: str = "response") -> bytes:
        """StationXML of all lines; raises as `waveforms`."""
        return self._ask(
            f"station metadata of {len(lines)} channels",
            lambda body: self._client.get_stations_bulk(list(lines), level=level, filename=body),
            self._check_xml,
        )

    def find_stations(self, **query: Any) -> bytes:
        """StationXML of what a query finds, with the parameters of ObsPy's ``get_stations``."""
        return self._ask(
            "stations",
            lambda body: self._client.get_stations(filename=body, **query),
            self._check_xml,
        )

    def events(self, **query: Any) -> bytes:
        """QuakeML of what a query finds, with the parameters of ObsPy's ``get_events``."""
        return self._ask(
            "events",
            lambda body: self._client.get_events(filename=body, **query),
            self._check_xml,
        )

    def availability(self, lines: Sequence[Line]) -> str:
        """Time spans without gaps of all lines, as the text of fdsnws-availability.

        Raises
        ------
        NotOfferedError
            Many servers have no such service.
        ServiceError
            As `waveforms`.
        """
        rows = [
            " ".join((n, s, loc or "--", c, _plain(start), _plain(end)))
            for n, s, loc, c, start, end in lines
        ]
        text = "\n".join(("format=text", "merge=quality,samplerate", "nodata=204", *rows, ""))
        url = f"{self.url}{self._client.url_subpath or ''}/availability/1/query"
        return self.document(url, text.encode("ascii")).decode("utf-8", "replace")

    def document(self, url: str, post: bytes | None = None) -> bytes:
        """Whatever is at a URL, e.g. a product of ComCat; raises as `waveforms`."""
        return self._document(url, post, lambda body: None)

    def quakeml_at(self, url: str) -> bytes:
        """QuakeML at a URL; raises as `waveforms`."""
        return self._document(url, None, self._check_xml)

    def json_at(self, url: str, check: Callable[[object], None]) -> dict[str, Any]:
        """JSON object at a URL; raises as `waveforms`.

        Parameters
        ----------
        url
            Where it is.
        check
            Raises DataError if the object is not what was asked for.
        """

        def check_json(body: bytes) -> None:
            try:
                document = json.loads(body)
            except ValueError as error:
                said = _one_line(body[:_SAID].decode("utf-8", "replace"))
                raise DataError(f"no whole JSON document ({error}): {said}") from error
            check(document)

        return dict(json.loads(self._document(url, None, check_json)))

    def _document(self, url: str, post: bytes | None, check: Callable[[bytes], None]) -> bytes:
        def get(body: BytesIO) -> None:
            code, data = download_url(
                url,
                self._opener,
                timeout=self._client.timeout,
                headers=dict(self._client.request_headers),
                data=post,
            )
            raise_on_error(code, data)
            body.write(data)

        return self._ask(url, get, check)

    def _ask(
        self,
        what: str,
        call: Callable[[BytesIO], Any],
        check: Callable[[bytes], None],
        attempts: int | None = None,
    ) -> bytes:
        patience = self._patience
        if attempts is not None:
            patience = replace(patience, attempts=min(attempts, patience.attempts))

        def once() -> bytes:
            body = self._once(what, call)
            try:
                check(body)
            except DataError as error:
                raise DamagedError(f"{self.name}, {what}: {error}") from error
            return body

        return patiently(once, patience, self.gate, self._told)

    def _once(self, what: str, call: Callable[[BytesIO], Any]) -> bytes:
        """Body of one attempt, and its failures as `faults` has them."""
        heard = self._listener.heard
        heard.status, heard.kind, heard.retry_after = 0, "", None
        body = BytesIO()
        place = f"{self.name}, {what}"
        try:
            call(body)
        except (FDSNTimeoutException, TimeoutError) as error:
            raise StalledError(
                f"{place}: nothing came for {self._client.timeout:g} s (--timeout)."
            ) from error
        except (FDSNException, NotImplementedError) as error:  # the latter is ObsPy's 414
            said = _one_line(str(error))
            if not heard.status:
                raise UnreachableError(f"{place}: no answer: {said}") from error
            if heard.status == OK:
                raise BadRequestError(f"{place}: {said}") from error
            raise of_status(
                heard.status, f"{place}: status {heard.status}: {said}", heard.retry_after
            ) from error
        except (http.client.HTTPException, EOFError, zlib.error) as error:
            raise DamagedError(f"{place}: cut short: {_one_line(str(error))}") from error
        except OSError as error:  # a reset connection, or a damaged gzip stream
            raise DamagedError(f"{place}: broken off: {_one_line(str(error))}") from error
        return body.getvalue()

    def _check_miniseed(self, body: bytes) -> None:
        kind = self._listener.heard.kind
        if _NO_MINISEED.search(kind):
            said = _one_line(body[:_SAID].decode("utf-8", "replace"))
            raise DataError(f"{kind} came instead of miniSEED: {said}")
        check_records(body)

    def _check_xml(self, body: bytes) -> None:
        kind = self._listener.heard.kind
        try:
            root = ElementTree.fromstring(body)
        except ElementTree.ParseError as error:
            said = _one_line(body[:_SAID].decode("utf-8", "replace"))
            raise DataError(f"no whole XML document ({error}, {kind}): {said}") from error
        if root.tag.rpartition("}")[2].lower() not in ("fdsnstationxml", "quakeml"):
            raise DataError(f"{kind} with {root.tag} came instead of StationXML or QuakeML")


class _Heard(threading.local):
    """Of the last response to this thread."""

    status = 0
    kind = ""
    retry_after: float | None = None


class _Listener(BaseHandler):
    """Takes down what ObsPy does not hand on."""

    handler_order = 100  # before errors are raised

    def __init__(self) -> None:
        self.heard = _Heard()

    def http_response(self, request: Any, response: Any) -> Any:
        self.heard.status = response.code
        self.heard.kind = response.headers.get("Content-Type") or ""
        self.heard.retry_after = seconds_of(response.headers.get("Retry-After"), time.time())
        return response

    https_response = http_response


def seconds_of(header: str | None, now: float) -> float | None:
    """Seconds that a Retry-After header asks for: a number, or a date (RFC 9110, 10.2.3).

    Parameters
    ----------
    header
        Its value; None if there is none.
    now
        Seconds since 1970.
    """
    if header is None:
        return None
    if header.strip().isdigit():
        return float(header)
    try:
        return max(parsedate_to_datetime(header).timestamp() - now, 0.0)
    except ValueError:
        return None


def _plain(time: UTCDateTime) -> str:
    return str(time).rstrip("Z")


def _one_line(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= _SAID else words[: _SAID - 1] + "…"
