"""HTML pages that need nothing else: no files beside them, no network."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from typing import Final

STYLE: Final = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 70em; color: #222 }
table { border-collapse: collapse; margin: 1em 0; font-variant-numeric: tabular-nums }
td, th { padding: 2px 10px; text-align: right; border-bottom: 1px solid #ddd }
img { max-width: 100% }
"""


def page(title: str, parts: Iterable[str], style: str = "") -> str:
    """A whole page; the parts are HTML, the title is text."""
    name = html.escape(title)
    return "\n".join(
        [
            "<!doctype html>",
            f"<html lang='en'><head><meta charset='utf-8'><title>{name}</title>"
            f"<style>{STYLE}{style}</style></head><body>",
            f"<h1>{name}</h1>",
            *parts,
            "</body></html>\n",
        ]
    )


def image(png: bytes, description: str) -> str:
    """A picture, inside the page."""
    data = base64.b64encode(png).decode()
    return f"<img alt='{html.escape(description)}' src='data:image/png;base64,{data}'>"


def paragraph(text: str) -> str:
    """A paragraph of plain text."""
    return f"<p>{html.escape(text)}</p>"


def preformatted(text: str) -> str:
    """Plain text, line by line as it is."""
    return f"<pre>{html.escape(text)}</pre>"


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table of plain text."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in header)
    body = "\n".join(
        "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table>"
