"""Types of result files, by their first bytes, and their names; the server's are not used. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from attrs import frozen

from seedance_async.errors import ValidationError
from seedance_async.filenames import safe
from seedance_async.models import VideoOutput

if TYPE_CHECKING:
    from seedance_async.models import Task

MAX_NAME_BYTES: Final = 200
"""Of 255 that file systems allow; the rest is for ``-last-frame`` and temporary extensions."""


@frozen
class Source:
    """One output of a task.

    Attributes:
        url: its address.
        stem: the name of its file, without extension.
        number: number of the output in the task, from 1.
    """

    url: str
    stem: str
    number: int


def sources(task: Task, name: str | None) -> list[Source]:
    """Every output of a task, in the order of ``task.urls``.

    Raises:
        ValidationError: ``name`` is not a plain file name of at most ``MAX_NAME_BYTES``.
    """
    stem = safe(task.id) if name is None else _checked(name)
    if isinstance(task.output, VideoOutput):
        labels = ["", "-last-frame"]
    else:
        labels = [""] if len(task.urls) == 1 else [f"-{number}" for number in range(1, len(task.urls) + 1)]
    named = zip(task.urls, labels, strict=False)
    return [Source(url, stem + label, number) for number, (url, label) in enumerate(named, start=1)]


def _checked(name: str) -> str:
    if re.search(r'[/\\:\x00-\x1f*?"<>|]', name) or not name.strip(". "):
        raise ValidationError(
            [("name", "must be a plain file name, without directories")], subject="download"
        )
    if len(name.encode()) > MAX_NAME_BYTES:
        raise ValidationError([("name", f"must be at most {MAX_NAME_BYTES} bytes")], subject="download")
    return name
