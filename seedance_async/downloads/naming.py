"""The outputs of a task and the names of their files; the server's file names are not used. Pure."""

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
"""Most bytes of a name: file systems allow 255, and ``-last-frame`` and temporary extensions are added."""


@frozen
class Source:
    """One output of a task.

    Attributes:
        url: its URL.
        stem: the name of its file, without extension.
        number: number of the output in the task, from 1.
    """

    url: str
    stem: str
    number: int


def sources(task: Task, name: str | None) -> list[Source]:
    """Return all outputs of a task, in the order of ``task.urls``.

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
