"""Reader of manifests in TOML: ``[defaults]``, ``[assets]`` and ``[[jobs]]``.

A TOML file is read into memory as a whole, so it is not meant for a million jobs. The parser reports no line
numbers; the line of a job is that of its ``[[jobs]]`` header.
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Final

from seedance_async.suggestions import suggestion

if TYPE_CHECKING:
    from collections.abc import Iterator

TABLES: Final = ("defaults", "assets", "jobs")

_HEADER: Final = re.compile(r"^[ \t]*\[\[[ \t]*(?:jobs|\"jobs\"|'jobs')[ \t]*\]\]", re.MULTILINE)
_TABLE: Final = re.compile(r"^[ \t]*\[[ \t]*((?:defaults|assets)\b[^\]\n]*)\]", re.MULTILINE)
_AT_LINE: Final = re.compile(r"\(at line (\d+), column (\d+)\)")


class TomlError(Exception):
    """A problem of a TOML manifest, with its line."""

    def __init__(self, line: int, field: str, reason: str) -> None:
        super().__init__(reason)
        self.line = line
        self.field = field
        self.reason = reason


def read(text: str) -> tuple[dict[str, object], list[tuple[int, dict[str, object]]], dict[str, int]]:
    """Parse a manifest.

    Returns:
        The document without its jobs; each job with its line; and the lines of the other tables by name.

    Raises:
        TomlError: it is not valid TOML, or has an unknown table or key at the top level.
    """
    try:
        document: dict[str, object] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise _syntax_error(text, str(problem)) from None
    except RecursionError:
        raise TomlError(1, "toml", "is nested too deeply") from None
    if foreign := [name for name in document if name not in TABLES]:
        hint = suggestion(foreign[0], TABLES)
        reason = f"has {foreign[0]!r:.60}; a manifest has [defaults], [assets], [[jobs]]{hint}"
        raise TomlError(1, "toml", reason)
    jobs = document.pop("jobs", [])
    if not isinstance(jobs, list) or not all(isinstance(job, dict) for job in jobs):
        raise TomlError(1, "jobs", "must be tables: write [[jobs]] above each")
    return document, list(zip(_lines(text, len(jobs)), jobs, strict=True)), _table_lines(text)


def _syntax_error(text: str, problem: str) -> TomlError:
    """Return the error for a message of the parser, with its line number taken out of the text."""
    found = _AT_LINE.search(problem)
    if found is None:  # at the end of the document
        return TomlError(text.count("\n", 0, len(text.rstrip())) + 1, "toml", problem)
    reason = f"{problem[: found.start()].rstrip()} at column {found[2]}"
    hint = "; text stands in quotes" if "Invalid value" in problem else ""
    return TomlError(int(found[1]), "toml", f"{reason}{hint}")


def _table_lines(text: str) -> dict[str, int]:
    """Return the lines of the tables of defaults and assets, by name, such as ``assets.mira``."""
    return {
        re.sub(r"[\s\"']", "", found[1]): text.count("\n", 0, found.start()) + 1
        for found in _TABLE.finditer(text)
    }


def _lines(text: str, jobs: int) -> Iterator[int]:
    """Return the line of each job; 1 for all if they are not written as ``[[jobs]]`` tables."""
    starts = [text.count("\n", 0, header.start()) + 1 for header in _HEADER.finditer(text)]
    return iter(starts if len(starts) == jobs else [1] * jobs)
