"""The rows of projects: whose costs a job is, where its line in the manifest says so.

A project is no part of what is asked for: to change it edits no job.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seedance_async.batch.journal.file import File


def any_at_all(file: File) -> bool:
    """Whether any job of the batch has a project of its own."""
    return file.row("SELECT 1 FROM projects LIMIT 1") is not None


def put(file: File, number: int, project: str | None) -> None:
    """Give a job this project; None takes away the one it has. Part of a transaction."""
    if project is None:
        file.write("DELETE FROM projects WHERE job = ?", number)
    else:
        file.write("INSERT OR REPLACE INTO projects VALUES (?, ?)", number, project)


def copy(file: File, source: int, target: int) -> None:
    """Give a job the project of another one. Part of a transaction."""
    put(file, target, None)
    file.write("INSERT INTO projects SELECT ?, project FROM projects WHERE job = ?", target, source)
