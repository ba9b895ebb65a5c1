"""The exceptions of ml_prediction.

::

    MLPredictionError
    ├── ConfigurationError   (also ValueError)   wrong use: an option, a file name
    ├── DataError            (also ValueError)   input that can't be used: a file, a header
    ├── ServiceError         a server or database didn't do what was asked
    └── InternalError        (also RuntimeError) a broken promise of ours: please report it

Every message names the file, channel or value that is at fault and says what to do.
"""

from __future__ import annotations


class MLPredictionError(Exception):
    """Base of all errors that this package raises on purpose."""


class ConfigurationError(MLPredictionError, ValueError):
    """A setting, argument or installation is wrong; the message says how to mend it."""


class DataError(MLPredictionError, ValueError):
    """A piece of input can't be used; other input is not affected."""


class ServiceError(MLPredictionError):
    """A server or database didn't do what was asked; the message names it and what it said."""


class InternalError(MLPredictionError, RuntimeError):
    """Something that can't happen did happen."""
