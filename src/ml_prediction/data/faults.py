"""What a web service can do instead of answering, sorted by what to do about it.

::

    ServiceError
    ├── NoDataError        204: there is none; asking again is useless
    ├── TooLargeError      413, 414: ask for less at a time
    ├── RefusedError       401, 403: not for us
    ├── NotOfferedError    404, 501, ...: the server has no such service
    ├── BadRequestError    any other status: the request is wrong, or the server
    └── TransientError     ask again later, as it says where it says so (429, 500, 502, 503, 504)
        ├── StalledError      (also TimeoutError) nothing came for too long
        ├── DamagedError      the answer was cut short, or is something else than was asked for
        └── UnreachableError  no connection
"""

from __future__ import annotations

from typing import Final

from ml_prediction.errors import ServiceError

NO_DATA: Final = 204
_LARGE: Final = (413, 414)
_REFUSED: Final = (401, 403)
_NOT_OFFERED: Final = (404, 405, 410, 501)
_TRANSIENT: Final = (408, 425, 429, 500, 502, 503, 504)


class NoDataError(ServiceError):
    """The server has nothing of what was asked for."""

    reason = "no data"


class TooLargeError(ServiceError):
    """The server gives so much in several requests only."""


class RefusedError(ServiceError):
    """The data are not open."""

    reason = "not open"


class NotOfferedError(ServiceError):
    """The server has no such service, or no such document."""

    reason = "not found"


class BadRequestError(ServiceError):
    """The server does not understand, or does not want to."""

    reason = "bad request"


class TransientError(ServiceError):
    """The same request may succeed later.

    Parameters
    ----------
    message
        What happened.
    retry_after
        Seconds that the server asks to wait; None if it does not say.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class StalledError(TransientError, TimeoutError):
    """Nothing came for longer than the time-out."""


class DamagedError(TransientError):
    """The answer was cut short, or is not what was asked for."""


class UnreachableError(TransientError):
    """No connection to the server."""


class StoppedError(ServiceError):
    """The caller wants no more requests to be made."""


def of_status(status: int, message: str, retry_after: float | None) -> ServiceError:
    """Error of an HTTP status other than 200."""
    if status == NO_DATA:
        return NoDataError(message)
    if status in _LARGE:
        return TooLargeError(message)
    if status in _REFUSED:
        return RefusedError(message)
    if status in _NOT_OFFERED:
        return NotOfferedError(message)
    if status in _TRANSIENT:
        return TransientError(message, retry_after)
    return BadRequestError(message)
