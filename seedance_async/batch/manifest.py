"""Reader of a batch's input file, one job at a time: JSON lines, CSV, a JSON array, or TOML.

``entries`` documents the fields of an entry. A ``results.jsonl`` is also a valid manifest.

Only one job is in memory at a time (except for TOML); a JSON array is split into elements as it is read.
Problems are not raised but yielded instead of jobs, with their line and field, so that all of them can be
reported at once.

CSV has only text. A cell is converted for its field: ``true`` and ``false``, whole numbers, and lists of URLs
separated by white space, commas or semicolons (or a JSON list). Empty cells and blank rows are ignored. The
delimiter (comma, semicolon or tab) is derived from the header.
"""

from __future__ import annotations

import codecs
import io
import json
import re
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

import attrs

from seedance_async import wire
from seedance_async.batch import manifest_toml
from seedance_async.batch.cells import ASKED_SEED, cell
from seedance_async.batch.entries import LINT, OWN_FIELDS, RESULT_FIELDS, Entries, Line, Spot
from seedance_async.batch.json_advice import advice
from seedance_async.batch.manifest_csv import DOUBLE, SINGLE, Row, Rows
from seedance_async.batch.manifest_source import STDIN, base_of, fingerprint, opened
from seedance_async.batch.manifest_toml import TomlError
from seedance_async.models import REQUEST_TYPES
from seedance_async.models.display import shown_url
from seedance_async.prompts.in_manifests import PROMPT_FIELDS
from seedance_async.suggestions import suggestion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from os import PathLike

__all__ = ["STDIN", "Line", "entries_of", "fingerprint", "read"]

MAX_LINE_BYTES: Final = wire.MAX_BODY_BYTES
CHUNK_CHARACTERS: Final = 65_536


def entries_of(
    source: str | PathLike[str], ignored: frozenset[str] = frozenset(), *, base: Path | None = None
) -> Entries:
    """Return the converter of a manifest's entries to jobs, which also collects its assets.

    Args:
        source: path of the manifest.
        ignored: codes of rules that are not applied to any prompt.
        base: the directory that paths of local files are relative to; None for the manifest's.
    """
    return Entries(base or base_of(source), ignored)


def read(source: str | PathLike[str], entries: Entries | None = None) -> Iterator[Line]:
    """Read a manifest; ``-`` is standard input.

    Args:
        source: path of the manifest.
        entries: converts its entries; None for a new converter.

    Raises:
        ManifestError: it cannot be opened. Problems of its content are yielded line by line instead.
    """
    with opened(source) as file:
        yield from read_file(file, source, entries)


def read_file(
    file: io.BufferedReader, source: str | PathLike[str], entries: Entries | None = None
) -> Iterator[Line]:
    """Read a manifest from an open file.

    Args:
        file: positioned at its beginning.
        source: its path, for the file format and for relative paths in it.
        entries: converts its entries; None for a new converter.
    """
    yield from _reader(source, file)(file, entries or entries_of(source))


def _reader(
    source: str | PathLike[str], file: io.BufferedReader
) -> Callable[[io.BufferedReader, Entries], Iterator[Line]]:
    """Return the reader for the file, by its suffix or its first bytes."""
    head = file.peek(4096)[:4096].removeprefix(codecs.BOM_UTF8)
    suffix = Path(source).suffix.lower()
    if foreign := _foreign(head):
        return lambda *_: iter([_problem(1, "manifest", foreign)])
    if suffix in {".csv", ".tsv"}:
        return _csv
    is_yaml = suffix in {".yaml", ".yml"} or _YAML.match(head)
    if is_yaml and not head.lstrip().startswith((b"{", b"[")):  # JSON is YAML, too
        return lambda *_: iter([_problem(1, "manifest", _NO_YAML)])
    if suffix == ".toml" or _TOML.search(head):
        return _toml
    if head.lstrip().startswith(b"["):
        return _json_array
    is_lines = suffix in {".jsonl", ".ndjson", ".json"} or head.lstrip().startswith(b"{")
    return _json_lines if is_lines else _csv


def _foreign(head: bytes) -> str | None:
    """Return why a file is not UTF-8 text, by its first bytes, and what to do about it; None if it may be."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "is UTF-16; save it as UTF-8"
    if head.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        return "is a spreadsheet or an archive; export the table as 'CSV UTF-8'"
    if b"\0" in head:
        return "is no text; a manifest is JSON lines, a JSON array or CSV, in UTF-8"
    return None


def _problem(number: int, name: str, reason: str) -> Line:
    return Line(number, place=number, problems=((name, reason),))


# --- JSON lines


def _json_lines(file: io.BufferedReader, entries: Entries) -> Iterator[Line]:
    for number, text in enumerate(_bounded_lines(file), start=1):
        if text.strip() == b"{" or (number == 1 and _UNFINISHED.search(text[-9:])):
            yield _problem(number, "json", _ONE_A_LINE)
            return
        if len(text) > MAX_LINE_BYTES:
            yield _problem(number, "json", f"is longer than {MAX_LINE_BYTES} bytes")
        elif text.strip():
            yield from _json_jobs(text, entries, Spot(number, number))


def _bounded_lines(file: io.BufferedReader) -> Iterator[bytes]:
    """Yield each line, or the beginning of a line that is too long."""
    while line := file.readline(MAX_LINE_BYTES + 1):
        rest = line
        while not rest.endswith(b"\n") and rest:
            rest = file.readline(CHUNK_CHARACTERS)
        yield line


def _json_jobs(text: bytes, entries: Entries, spot: Spot) -> Iterator[Line]:
    try:
        fields = wire.loads(text)
    except ValueError as problem:
        return iter([spot.line([("json", _json_reason(text, str(problem)))])])
    if isinstance(fields, dict) and "jobs" in fields and "model" not in fields:
        return iter(
            [spot.line([("jobs", "belongs to TOML: write each job on a line, or one array [{…}, {…}]")])]
        )
    if not isinstance(fields, dict):
        return iter([spot.line([("json", "must be an object with the fields of a job")])])
    return entries.jobs(fields, spot)


def _json_reason(text: bytes, problem: str) -> str:
    """Return the message of the JSON parser with the column in the line, and with what to do."""
    reason = problem.removeprefix("body ")
    if (found := _LINE_OF_JSON.search(reason)) is None:
        return reason
    written = text.decode("utf-8-sig", errors="replace")
    return f"{reason[: found.start()]} at column {found[1]}{advice(written, int(found[1]) - 1)}"


# --- TOML


def _toml(file: io.BufferedReader, entries: Entries) -> Iterator[Line]:
    try:
        document, jobs, lines = manifest_toml.read(file.read().decode("utf-8-sig"))
    except UnicodeDecodeError:
        yield _problem(1, "toml", "is not UTF-8")
        return
    except TomlError as problem:
        yield _problem(problem.line, problem.field, problem.reason)
        return
    yield from entries.prepare(document, {name: Spot(line, line) for name, line in lines.items()})
    for place, (number, fields) in enumerate(jobs, start=1):
        yield from entries.jobs(fields, Spot(number, place))


# --- a JSON array


def _json_array(file: io.BufferedReader, entries: Entries) -> Iterator[Line]:
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    splitter = _ArraySplitter(text)
    try:
        for place, (number, element) in enumerate(splitter.elements(), start=1):
            yield from _json_jobs(element.encode(), entries, Spot(number, place, f"[{place - 1}]."))
    except UnicodeDecodeError:
        yield _problem(splitter.line, "json", "is not UTF-8")
    except ValueError as problem:
        yield _problem(splitter.line, "json", str(problem))
    except RecursionError:
        yield _problem(splitter.line, "json", "is nested too deeply")
    finally:
        text.detach()


class _ArraySplitter:
    """Splits a JSON array into its elements without reading all of it."""

    def __init__(self, text: TextIO) -> None:
        self.line = 1
        self._text = text
        self._buffer = ""
        self._at = 0
        self._decoder = json.JSONDecoder()

    def elements(self) -> Iterator[tuple[int, str]]:
        """Yield the line at which each element begins, and its text.

        Raises:
            ValueError: the text is not a JSON array.
        """
        self._skip("[")
        if self._skip("]", or_else=""):
            return
        while True:
            self._next_token()
            end = self._end_of_value()
            yield self.line, self._buffer[self._at : end]
            self._move_to(end)
            if self._skip("]", or_else=","):
                break
        if self._next_token():
            raise ValueError("continues after the end of its array")

    def _skip(self, token: str, or_else: str | None = None) -> bool:
        """Skip ``token`` and return True, or skip ``or_else``; an empty ``or_else`` skips nothing."""
        found = self._next_token()
        if found != token and or_else not in {"", found}:
            expected = " or ".join(filter(None, (or_else, token)))
            raise ValueError(f"expected {expected}, found {found or 'the end of the file'}")
        if found == token or or_else:
            self._move_to(self._at + 1)
        return found == token

    def _next_token(self) -> str:
        """Move to the next character that is not white space, and return it; empty at the end."""
        while True:
            blank = _BLANK.match(self._buffer, self._at)
            self._move_to(blank.end() if blank else self._at)
            if self._at < len(self._buffer):
                return self._buffer[self._at]
            if not self._read_on():
                return ""

    def _end_of_value(self) -> int:
        while True:
            try:
                _, end = self._decoder.raw_decode(self._buffer, self._at)
            except json.JSONDecodeError as problem:
                if len(self._buffer) - self._at > MAX_LINE_BYTES or not self._read_on():
                    raise ValueError(
                        f"is not JSON: {problem.msg}{advice(problem.doc, problem.pos)}"
                    ) from None
            else:
                return end

    def _read_on(self) -> bool:
        more = self._text.read(CHUNK_CHARACTERS)
        self._buffer = self._buffer[self._at :] + more
        self._at = 0
        return bool(more)

    def _move_to(self, place: int) -> None:
        self.line += self._buffer.count("\n", self._at, place)
        self._at = place


# --- CSV


def _csv(file: io.BufferedReader, entries: Entries) -> Iterator[Line]:
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    try:
        yield from _table(Rows(text, longest=MAX_LINE_BYTES), entries)
    finally:
        text.detach()


def _table(rows: Rows, entries: Entries) -> Iterator[Line]:
    delimiter, header = _header(rows)
    if header is None:
        yield _problem(1, "manifest", "is empty")
        return
    columns = tuple(cell.strip() for cell in header.cells)
    problems = (("csv", header.fault[1]),) if header.fault else tuple(_header_problems(columns))
    if problems:
        yield Line(header.number, place=1, problems=problems)
        return
    place = 0
    for row in rows.rows(delimiter, words=_MODELS, at=columns.index("model")):
        if row.cells or row.fault:
            place += 1
            yield from _row_jobs(row, columns, entries, Spot(row.number, place))


def _header(rows: Rows) -> tuple[str, Row | None]:
    """Return the delimiter, and the first row that is not blank (None if there is none)."""
    given = None
    while line := rows.line():
        if given is None and (found := _DELIMITER_LINE.fullmatch(line)):
            given = found[1]
            continue
        rows.unread(line)
        delimiter = given or max(",;\t", key=line.count)
        row = next(rows.rows(delimiter))
        if row.cells or row.fault:
            return delimiter, row
    return ",", None


def _header_problems(columns: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yield the problems of a header: unknown, repeated or missing columns, or no header at all."""
    has_model = any("'model'" in _about_column(cell) for cell in columns) or "model" in columns
    if not has_model and not _COLUMNS & set(columns):
        yield "csv", f"{_READ_AS_CSV}, and it begins with {shown_url(columns[0])}. {_OTHERWISE}"
        return
    for column, times in Counter(columns).items():
        if column not in _COLUMNS:
            yield "column", f"{column!r:.60} is not a field of a job{_about_column(column)}"
        elif times > 1:
            yield "column", f"{column!r} is there {times} times; leave one of them"
    if not has_model:
        yield "column", f"'model' is missing: {_READ_AS_CSV}"


def _about_column(cell: str) -> str:
    """Return a hint about an unknown column: wrong quotes around it, or the name that was meant."""
    bare = cell.strip(_QUOTES)
    if bare == cell or bare not in _COLUMNS:
        return suggestion(bare, _COLUMNS)
    return f': {cell[0]} is no quote in CSV; write {bare!r} without quotes, or with a straight " at both ends'


def _row_jobs(row: Row, columns: tuple[str, ...], entries: Entries, spot: Spot) -> Iterator[Line]:
    if row.fault:
        at, reason = row.fault
        return iter([spot.line([(columns[at] if at < len(columns) else "csv", reason)])])
    if len(row.cells) > len(columns):
        surplus = row.cells[len(columns)]
        reason = f"has {len(row.cells)} cells, and the header {len(columns)} columns; the first beyond them"
        return iter([spot.line([("csv", f"{reason} is {shown_url(surplus)}. {_COMMA_INSIDE}")])])
    cells = {
        name: text
        for name, text in zip(columns, row.cells, strict=False)
        if text.strip() or name == ASKED_SEED  # empty means that no seed was requested
    }
    if foreign := [name for name, text in cells.items() if _NOT_UTF8.search(text)]:
        return iter([spot.line((name, _SAVE_AS_UTF8) for name in foreign)])
    return entries.jobs({name: cell(name, text) for name, text in cells.items()}, spot)


_ONE_A_LINE: Final = (
    "begins an object that continues below: write each job complete on its own line, or all of them as one "
    "array [{…}, {…}]"
)
_UNFINISHED: Final = re.compile(rb'(?:[{\[:]|["\w],)\s*\Z')
"""The end of a first line behind which its job continues."""

_DELIMITER_LINE: Final = re.compile(r"sep=([^\w\s\"]|\t)\r?\n?", re.IGNORECASE)
"""A first line that declares the delimiter for Excel, before the header."""

_READ_AS_CSV: Final = "the manifest is read as CSV, whose first row names the columns, as model,prompt does"
_OTHERWISE: Final = (
    "Plain prompts need that row above them and a model in each row; JSON lines begin with {, a JSON array "
    "with ["
)
_COMMA_INSIDE: Final = "A cell with the delimiter inside stands in quotes"
_QUOTES: Final = f"{DOUBLE}{SINGLE}`"
_LINE_OF_JSON: Final = re.compile(r": line 1 column (\d+) \(char \d+\)$")
"""The position in an error message of the JSON parser; its line number is not that of the manifest."""

_NOT_UTF8: Final = re.compile(r"[\udc80-\udcff]")
_SAVE_AS_UTF8: Final = "is not UTF-8; save the file as 'CSV UTF-8'"
_NO_YAML: Final = (
    "is YAML, which is not read: write it as TOML, with [[jobs]] above each job's fields (name = value), "
    "or as JSON lines, one {…} a line"
)
_YAML: Final = re.compile(rb"\s*(?:---\s|jobs:|- +[a-z_]+:\s)")
_TOML: Final = re.compile(rb"^\s*\[(?:\[\s*jobs\s*\]|\s*(?:defaults|assets)\b)", re.MULTILINE)
_BLANK: Final = re.compile(r"[ \t\r\n]*")
_MODELS: Final = frozenset(REQUEST_TYPES)
_COLUMNS: Final = frozenset(
    chain(
        OWN_FIELDS,
        RESULT_FIELDS,
        PROMPT_FIELDS,
        [ASKED_SEED, LINT],
        *((at.name for at in attrs.fields(kind)) for kind in REQUEST_TYPES.values()),
    )
)
