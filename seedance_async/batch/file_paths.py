"""The paths of a job's files below the batch directory, by the template of their names."""

from __future__ import annotations

import os
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from seedance_async.filenames import in_ascii, safe

if TYPE_CHECKING:
    from seedance_async.batch.journal import JobEntry
    from seedance_async.batch.names import Template


def path_of(entry: JobEntry, template: Template, *, name: str, task_id: str) -> PurePosixPath:
    """Return the path of a task's files, without extension, relative to the directory.

    Args:
        entry: the job.
        template: template of file names.
        name: the job name that its files have or get.
        task_id: id of the task.
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
    """Return the path, or one in ASCII if the file names' encoding in this locale cannot represent it."""
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        return PurePosixPath(*map(in_ascii, path.parts))
    return path
