"""Advice for the usual mistakes in JSON written by hand, by the text where its parser stopped. Pure."""

from __future__ import annotations

import re
from typing import Final

_AT: Final = (
    (re.compile(r"//|#|/\*"), "JSON has no comments: remove it"),
    (re.compile(r"['\u2018\u2019\u201c-\u201f\u00ab\u00bb]"), 'write straight " around names and texts'),
    (re.compile(r"True\b|False\b|None\b"), "write true, false or null"),
    (re.compile(r"[A-Za-z_]\w*\s*:"), 'write " around names'),
    (re.compile(r"\\"), r"write a backslash as \\"),
    (re.compile(r",\s*[}\]]"), "leave out the comma in front of the bracket"),
    (re.compile(r",\s*\Z"), "leave out the comma at the end of the line"),
    (re.compile(r"[{\[]"), "write each job on its own line"),
)


def advice(text: str, place: int) -> str:
    """Return what to do about a syntax error at ``place``, for the end of a message; empty if unknown."""
    if re.match(r"[\x00-\x1f]", text[place:]):  # between values the parser would have skipped it
        return r"; write a line break in a text as \n, and a tab as \t"
    here = text[place:].lstrip()
    if text[:place].rstrip().endswith(",") and here.startswith(("}", "]")):
        return "; leave out the comma in front of it"
    found = next((words for pattern, words in _AT if pattern.match(here)), None)
    return f"; {found}" if found else ""
