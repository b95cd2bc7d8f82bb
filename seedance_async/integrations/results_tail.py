"""Reader of a batch's ``results.jsonl`` while lines are added to it, from a given place.

The file is rewritten when a run ends (``batch.results``). A place therefore identifies the line before it, so
that reading never continues in the middle of another file. Blocking.
"""

from __future__ import annotations

import os
import re
import zlib
from typing import TYPE_CHECKING, BinaryIO, Final

from attrs import frozen

from seedance_async.batch.journal.remains import RESULTS
from seedance_async.batch.results_reading import MOST_LINE_BYTES, json_object
from seedance_async.safe_files import BINARY, NOT_THROUGH_LINKS

if TYPE_CHECKING:
    from pathlib import Path

AT_ONCE: Final = 100
"""Most lines that are read at once."""

SECRET_FIELDS: Final = frozenset({"urls"})
"""Signed URLs are not sent to listeners; the files are in the batch's directory."""

_PLACE: Final = re.compile(r"([0-9]{1,20})-([0-9]{1,15})-([0-9]{1,15})-([0-9]{1,10})")


@frozen
class Place:
    """The place after a line.

    Attributes:
        inode: of the file.
        start: of the line, in bytes.
        end: of the line; the next one begins here.
        checksum: of the line.
    """

    inode: int = 0
    start: int = 0
    end: int = 0
    checksum: int = 0

    @classmethod
    def parse(cls, text: str | None) -> Place:
        """Return the place that a text means; the beginning if it means none."""
        found = _PLACE.fullmatch(text or "")
        return cls(*map(int, found.groups())) if found else cls()

    def __str__(self) -> str:
        return f"{self.inode}-{self.start}-{self.end}-{self.checksum}"

    def is_in(self, file: BinaryIO) -> bool:
        """Whether this file has the line at this place."""
        if self.inode != os.fstat(file.fileno()).st_ino or self.end - self.start > MOST_LINE_BYTES:
            return False
        file.seek(self.start)
        return self.checksum == zlib.crc32(file.read(max(0, self.end - self.start)))


@frozen
class Line:
    """The line of a job.

    Attributes:
        facts: its fields, without ``urls``.
        place: after the line.
    """

    facts: dict[str, object]
    place: Place


class Tail:
    """Reader of new lines, from one call to the next.

    Args:
        directory: of the batch.
        place: where to begin.
    """

    def __init__(self, directory: Path, place: Place) -> None:
        self._path = directory / RESULTS
        self._place = place
        self._returned: dict[str, int] = {}  # checksums of lines by the names of their jobs

    def read(self) -> list[Line] | None:
        """Return the next lines with something new; None at the end of the file.

        Raises:
            OSError: the file cannot be read, or is a link.
        """
        try:
            file = os.fdopen(os.open(self._path, os.O_RDONLY | NOT_THROUGH_LINKS | BINARY), "rb")
        except FileNotFoundError:
            return None
        with file:
            if not self._place.is_in(file):
                self._place = Place()
            file.seek(self._place.end)
            raw = self._next_lines(file)
        return [line for text in raw if (line := self._line(*text)) is not None] if raw else None

    def _next_lines(self, file: BinaryIO) -> list[tuple[bytes, Place]]:
        inode = os.fstat(file.fileno()).st_ino
        found: list[tuple[bytes, Place]] = []
        while len(found) < AT_ONCE and (text := file.readline(MOST_LINE_BYTES)).endswith(b"\n"):
            start = self._place.end
            self._place = Place(inode, start, start + len(text), zlib.crc32(text))
            found.append((text, self._place))
        return found

    def _line(self, text: bytes, place: Place) -> Line | None:
        """Return a line that differs from the last one returned for its job; else None."""
        facts = json_object(text)
        name = facts.get("name")
        if not isinstance(name, str) or self._returned.get(name) == place.checksum:
            return None
        self._returned[name] = place.checksum
        return Line({key: value for key, value in facts.items() if key not in SECRET_FIELDS}, place)
