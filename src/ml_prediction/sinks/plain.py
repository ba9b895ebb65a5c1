"""Codes and texts that no output format chokes on, whatever a damaged header had in them.

The pipeline refuses such codes, but sinks also take picks that were made elsewhere.
"""

from __future__ import annotations


def plain_code(code: str) -> str:
    """Code in which blanks and what can't be printed (control characters, ...) are ``_``."""
    return "".join("_" if c.isspace() or not c.isprintable() else c for c in code)


def plain_text(text: str) -> str:
    """Text in which what can't be printed is ``_``; blanks stay."""
    return "".join(c if c.isprintable() else "_" for c in text)
