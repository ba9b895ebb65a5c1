"""Drivers join a source, a pipeline and sinks."""

import logging

# Its remarks on fonts and read-only homes help nobody; set before anything here imports it.
logging.getLogger("matplotlib").setLevel(logging.ERROR)
