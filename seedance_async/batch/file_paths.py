"""The place of a job's files below the batch directory, by the template of their names."""

from __future__ import annotations

import os
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from seedance_async.filenames import in_ascii, safe

if TYPE_CHECKING:
    from seedance_async.batch.journal import JobEntry
    from seedance_async.batch.names import Template


def path_of(entry: JobEntry, template: Template, *, name: str, task_id: str) -> PurePosixPath:
    """Where a task's files go, without extension, relative to the directory.

    Args:
        entry: of the job.
        template: what files are called.
        name: the job's own, or the one that its files are to be called after.
        task_id: of the task.
    """
    *folders, last = name.split("/")
    path = PurePosixPath(*map(safe, folders)) / template.render(
        name=last,
        index=f"{entry.number:06d}",
        model=entry.model,
        task_id=task_id,
        take=str(entry.take),
    )
    return _writable(path)


def _writable(path: PurePosixPath) -> PurePosixPath:
    """The path, or one in ASCII where the names of files are in an encoding of this locale that lacks it."""
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        return PurePosixPath(*map(in_ascii, path.parts))
    return path
