"""Reader of manifests in TOML: ``[defaults]``, ``[assets]`` and ``[[jobs]]``.

TOML is read whole, so it is for productions and not for a million lines. Its parser tells no lines; that of a
job is the one where its ``[[jobs]]`` stands.
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

TABLES: Final = ("defaults", "assets", "jobs")

_HEADER: Final = re.compile(r"^[ \t]*\[\[[ \t]*(?:jobs|\"jobs\"|'jobs')[ \t]*\]\]", re.MULTILINE)
_AT_LINE: Final = re.compile(r"at line (\d+)")


class TomlError(Exception):
    """What is wrong with a file, and at which line."""

    def __init__(self, line: int, field: str, reason: str) -> None:
        super().__init__(reason)
        self.line = line
        self.field = field
        self.reason = reason


def read(text: str) -> tuple[dict[str, object], list[tuple[int, dict[str, object]]]]:
    """The document without its jobs, and each job with its line.

    Raises:
        TomlError: it is no TOML, or has something else on top.
    """
    try:
        document: dict[str, object] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        found = _AT_LINE.search(str(problem))
        raise TomlError(int(found[1]) if found else 1, "toml", str(problem)) from None
    if foreign := [name for name in document if name not in TABLES]:
        raise TomlError(1, "toml", f"has {foreign[0]!r:.60}; a manifest has [defaults], [assets], [[jobs]]")
    jobs = document.pop("jobs", [])
    if not isinstance(jobs, list) or not all(isinstance(job, dict) for job in jobs):
        raise TomlError(1, "jobs", "must be tables: write [[jobs]] above each")
    return document, list(zip(_lines(text, len(jobs)), jobs, strict=True))


def _lines(text: str, jobs: int) -> Iterator[int]:
    """The line of each job; 1 where they are not written as tables of their own."""
    starts = [text.count("\n", 0, header.start()) + 1 for header in _HEADER.finditer(text)]
    return iter(starts if len(starts) == jobs else [1] * jobs)
