"""Strict reader of CSV as defined in RFC 4180, which reports wrong quotes with their position.

Each row becomes a paid job, so nothing is guessed. Python's own reader accepts a stray quote as text, or lets
a cell continue over the rows below, so that several jobs become one with a wrong prompt. Here a quote must
open a cell, and a quoted cell that contains what looks like further rows is refused. After a problem, reading
continues in the next line, so that all problems are found.

Beyond the RFC, because it is common: blanks around a cell are ignored, except inside quotes.

Only one row is in memory at a time. Pure.
"""

from __future__ import annotations

import re
from collections import deque
from functools import cache
from typing import TYPE_CHECKING, Final, TextIO

from attrs import define, field, frozen

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

DOUBLE: Final = "“”„‟«»"
"""Characters that word processors use instead of a double quote."""

SINGLE: Final = "'\u2018\u2019\u201a\u201b"

DOUBLED: Final = 'quote the whole cell and double each " inside it, as in "24"" wheels"'


@frozen
class Row:
    """One row, or its problem.

    Attributes:
        number: the line where it begins, from 1.
        cells: its cells, without the empty ones at the end, which spreadsheets add; empty for a blank row.
        fault: the problem as ``(index of the cell from 0, reason)``; None if there is none.
    """

    number: int
    cells: tuple[str, ...] = ()
    fault: tuple[int, str] | None = None


class Rows:
    """The rows of a text.

    Args:
        text: opened with ``newline=""``.
        longest: most characters of a row.
    """

    def __init__(self, text: TextIO, *, longest: int) -> None:
        self.number: int = 0
        self._text = text
        self._longest = longest
        self._again: deque[str] = deque()

    def line(self) -> str:
        """Return the next line with its line end; empty at the end of the text; a long line is cut."""
        line = self._again.popleft() if self._again else self._read()
        self.number += bool(line)
        return line

    def unread(self, *lines: str) -> None:
        """Put back the lines that were read last."""
        self._again.extendleft(reversed(lines))
        self.number -= len(lines)

    def rows(self, delimiter: str, *, words: Collection[str] = (), at: int | None = None) -> Iterator[Row]:
        """Yield all remaining rows.

        Args:
            delimiter: the character between two cells.
            words: the possible values of one column, in lower case, to recognise a row inside a cell.
            at: index of that column.
        """
        while first := self.line():
            yield self._row(first, delimiter, words, at)

    def _row(self, first: str, delimiter: str, words: Collection[str], at: int | None) -> Row:
        number, below = self.number, list[str]()
        parser = _Parser(delimiter)
        fault = parser.take(first)
        size = len(first)
        while fault is None and parser.is_open and size <= self._longest and (line := self.line()):
            below.append(line)
            size += len(line)
            fault = parser.take(line)
        if size > self._longest:
            fault = len(parser.cells), f"is longer than {self._longest} characters, or a quote is not closed"
        elif fault is None and parser.is_open:
            fault = len(parser.cells), _not_closed(first)
        elif fault is None and at is not None and below:
            fault = _swallowed(parser.cells, delimiter, words, at)
        fault = fault or parser.foreign_quote()
        if fault is not None:
            self.unread(*below)
            return Row(number, fault=fault)
        return Row(number, parser.row())

    def _read(self) -> str:
        line = rest = self._text.readline(self._longest + 1)
        while len(rest) > self._longest and not rest.endswith(("\n", "\r")):
            rest = self._text.readline(self._longest + 1)
        return line


@define
class _Cell:
    text: str
    quoted: bool = False


@define
class _Parser:
    """The parser of one row, which gets its lines one by one."""

    delimiter: str
    cells: list[_Cell] = field(factory=list[_Cell])
    _open: list[str] = field(factory=list[str], init=False)

    @property
    def is_open(self) -> bool:
        """Whether the last cell continues in the next line."""
        return bool(self._open)

    def take(self, line: str) -> tuple[int, str] | None:
        """Parse one more line; return its problem, or None."""
        if self._open:
            self._open.append(line)
            if line.count('"') % 2 == 0:  # no quote in it closes the cell
                return None
            line = "".join(self._open)
            self._open.clear()
        place, patterns = 0, _patterns(self.delimiter)
        while True:
            if found := patterns.quoted.match(line, place):
                self.cells.append(_Cell(found[1].replace('""', '"'), quoted=True))
            elif patterns.opening.match(line, place):
                self._open.append(line[place:])
                return None
            elif (found := patterns.plain.match(line, place)) is None:
                return len(self.cells), _stray(
                    line, begins_quoted=patterns.begins_quoted.match(line, place) is not None
                )
            else:
                self.cells.append(_Cell(found[1].strip()))
            place = found.end()
            if not line.startswith(self.delimiter, place):
                return None
            place += 1

    def foreign_quote(self) -> tuple[int, str] | None:
        """Return the problem of a cell that begins with a wrong quote character and does not end with one."""
        for place, cell in enumerate(self.cells):
            mark = cell.text[:1]
            if cell.quoted or not mark:
                continue
            if mark in DOUBLE and not any(other in DOUBLE for other in cell.text[1:]):
                return place, f'begins with {mark}, which is no quote in CSV; write a straight " at both ends'
            if mark in SINGLE and self._closes_later(place):
                return place, f'begins with {mark}, which is no quote in CSV; write " at both ends'
        return None

    def row(self) -> tuple[str, ...]:
        """Return the texts of the cells, without empty ones at the end."""
        cells = [cell.text for cell in self.cells]
        while cells and not cells[-1].strip():
            cells.pop()
        return tuple(cells)

    def _closes_later(self, place: int) -> bool:
        """Whether a cell in single quotes seems to be split at a delimiter inside it."""
        if self.cells[place].text[-1] in SINGLE:
            return False
        later = (cell for cell in self.cells[place + 1 :] if not cell.quoted)
        return any(cell.text[-1:] in SINGLE and cell.text[:1] not in SINGLE for cell in later if cell.text)


@frozen
class _Patterns:
    quoted: re.Pattern[str]
    opening: re.Pattern[str]
    begins_quoted: re.Pattern[str]
    plain: re.Pattern[str]


_INSIDE: Final = '[^"]*+(?:""[^"]*+)*+'


@cache
def _patterns(delimiter: str) -> _Patterns:
    separator = re.escape(delimiter)
    blanks = " *" if delimiter == "\t" else r"[ \t]*"
    end = rf"(?={separator}|\r|\n|\Z)"
    return _Patterns(
        quoted=re.compile(rf'{blanks}"({_INSIDE})"{blanks}{end}'),
        opening=re.compile(rf'{blanks}"{_INSIDE}\Z'),
        begins_quoted=re.compile(rf'{blanks}"'),
        plain=re.compile(rf'([^"{separator}\r\n]*){end}'),
    )


def _stray(line: str, *, begins_quoted: bool) -> str:
    if begins_quoted:
        return f'continues after the " that closes it{_hint(line)}; {DOUBLED}'
    return f'has a " in it and does not begin with one; {DOUBLED}'


def _not_closed(first: str) -> str:
    return f'opens with a " that is never closed, so that all below would be part of it{_hint(first)}'


def _hint(line: str) -> str:
    curly = next((mark for mark in line if mark in DOUBLE), None)
    return f" ({curly} is no quote in CSV)" if curly else ""


def _swallowed(cells: list[_Cell], delimiter: str, words: Collection[str], at: int) -> tuple[int, str] | None:
    """Return the problem of a cell that contains what looks like another row; None if there is none."""
    for place, cell in enumerate(cells):
        first, *below = cell.text.splitlines() or [""]
        split = [[""] * place + first.split(delimiter), *(line.split(delimiter) for line in below)]
        if below and any(len(row) > max(at, 1) and row[at].strip().casefold() in words for row in split):
            return place, f'opens with a " and continues over what looks like separate rows; {DOUBLED}'
    return None
