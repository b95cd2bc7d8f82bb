"""The rows of local files in jobs: a reference to the content, the path, and the URL that was sent for it.

Part of ``Store``; methods that change rows run inside one of its transactions.
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
        """Replace the local files of a job; ``inputs`` has the paths by content reference."""
        self.file.write("DELETE FROM inputs WHERE job = ?", number)
        self.has_inputs = self.has_inputs or bool(inputs)
        for ref, path in inputs.items():
            self.file.write("INSERT INTO inputs (job, ref, path) VALUES (?, ?, ?)", number, ref, path)

    def place_inputs(self, number: int, inputs: Mapping[str, str]) -> None:
        """Store the present paths of a job's files: moving files does not change the job."""
        for ref, path in inputs.items():
            self.file.write("UPDATE inputs SET path = ? WHERE job = ? AND ref = ?", path, number, ref)

    def known_inputs(self) -> dict[str, str]:
        """Return, by path, the content references of files that were sent with a job."""
        if not self.has_inputs:
            return {}
        return dict(self.file.rows("SELECT path, ref FROM inputs WHERE url IS NOT NULL ORDER BY job"))

    def resolve_inputs(self, number: int, urls: Mapping[str, str]) -> None:
        """Store the URL that replaces each local file of a job that is about to be sent.

        Raises:
            JournalError: one of them has no URL.
        """
        if not self.has_inputs:
            return
        for ref, url in self.file.rows("SELECT ref, url FROM inputs WHERE job = ?", number):
            if ref not in urls and url is None:
                raise JournalError(f"a local file of job {number} has no URL")
            if ref in urls:
                self.file.write("UPDATE inputs SET url = ? WHERE job = ? AND ref = ?", urls[ref], number, ref)

    def input_urls(self, number: int) -> dict[str, str | None]:
        """Return the URLs sent, or to be sent, for a job's local files, by content reference."""
        if not self.has_inputs:
            return {}
        return dict(self.file.rows("SELECT ref, url FROM inputs WHERE job = ?", number))


def with_marks(fields: Mapping[str, object]) -> dict[str, object]:
    """Return the fields of a stored request with its content references as ``LocalFile`` values."""
    return {name: _marked(value) if name in MEDIA_FIELDS else value for name, value in fields.items()}


def _marked(value: object) -> object:
    if isinstance(value, list):
        return [_marked(each) for each in value]
    return LocalFile(value) if isinstance(value, str) and value.startswith(REF) else value
