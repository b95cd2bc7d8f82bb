"""The rows of local files in jobs: by which content each is known, where it is, and which URL went for it.

Part of ``Store``; what changes something runs within a transaction of its.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from seedance_async.batch.journal.queries import Queries
from seedance_async.errors import JournalError
from seedance_async.media.inspection import REF
from seedance_async.models import MEDIA_FIELDS, LocalFile

if TYPE_CHECKING:
    from collections.abc import Mapping


class InputRows(Queries):
    """The local files of one batch.

    Attributes:
        has_inputs: whether there are any.
    """

    has_inputs: bool = False

    def write_inputs(self, number: int, inputs: Mapping[str, str]) -> None:
        """Put these files in the place of those that a job had: by what stands for the content, the path."""
        self.file.write("DELETE FROM inputs WHERE job = ?", number)
        self.has_inputs = self.has_inputs or bool(inputs)
        for ref, path in inputs.items():
            self.file.write("INSERT INTO inputs (job, ref, path) VALUES (?, ?, ?)", number, ref, path)

    def place_inputs(self, number: int, inputs: Mapping[str, str]) -> None:
        """Put down where the files of a job are now: it stays the same job when they are moved."""
        for ref, path in inputs.items():
            self.file.write("UPDATE inputs SET path = ? WHERE job = ? AND ref = ?", path, number, ref)

    def known_inputs(self) -> dict[str, str]:
        """By path, the content of files that a job was sent with."""
        if not self.has_inputs:
            return {}
        return dict(self.file.rows("SELECT path, ref FROM inputs WHERE url IS NOT NULL ORDER BY job"))

    def resolve_inputs(self, number: int, urls: Mapping[str, str]) -> None:
        """Put down which URL goes in the place of each local file of a job that is about to be sent.

        Raises:
            JournalError: there is none for one of them.
        """
        if not self.has_inputs:
            return
        for ref, url in self.file.rows("SELECT ref, url FROM inputs WHERE job = ?", number):
            if ref not in urls and url is None:
                raise JournalError(f"a local file of job {number} has no URL")
            if ref in urls:
                self.file.write("UPDATE inputs SET url = ? WHERE job = ? AND ref = ?", urls[ref], number, ref)

    def input_urls(self, number: int) -> dict[str, str | None]:
        """The URLs that went, or are about to go, in the place of a job's local files."""
        if not self.has_inputs:
            return {}
        return dict(self.file.rows("SELECT ref, url FROM inputs WHERE job = ?", number))


def with_marks(fields: Mapping[str, object]) -> dict[str, object]:
    """The fields of a stored request, in which what stands for local files is marked as files are."""
    return {name: _marked(value) if name in MEDIA_FIELDS else value for name, value in fields.items()}


def _marked(value: object) -> object:
    if isinstance(value, list):
        return [_marked(each) for each in value]
    return LocalFile(value) if isinstance(value, str) and value.startswith(REF) else value
