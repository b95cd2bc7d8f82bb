"""The rows of projects: the project to which a job's costs belong, if its line in the manifest names one.

A project is not part of the request, so changing it does not edit the job.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seedance_async.batch.journal.file import File


def any_at_all(file: File) -> bool:
    """Whether any job of the batch has a project of its own."""
    return file.row("SELECT 1 FROM projects LIMIT 1") is not None


def put(file: File, number: int, project: str | None) -> None:
    """Set the project of a job; None removes it. Part of a transaction."""
    if project is None:
        file.write("DELETE FROM projects WHERE job = ?", number)
    else:
        file.write("INSERT OR REPLACE INTO projects VALUES (?, ?)", number, project)


def copy(file: File, source: int, target: int) -> None:
    """Copy the project of one job to another. Part of a transaction."""
    put(file, target, None)
    file.write("INSERT INTO projects SELECT ?, project FROM projects WHERE job = ?", target, source)
