"""The templates for the paths of a batch's files: validated once, then filled with safe names. Pure."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from string import Formatter
from typing import TYPE_CHECKING, Final

from attrs import field, frozen

from seedance_async.errors import ConfigurationError
from seedance_async.filenames import safe

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FIELDS: Final[Mapping[str, str]] = {
    "name": "the job's name",
    "index": "the job's place in the batch, from 000001",
    "model": "seedance2, gpt-image-2 or nano-banana-pro",
    "task_id": "the server's id of the task",
    "take": "1, or which repetition of its line the job is",
    "ext": "mp4, png, jpg, …: what the file is; at the end only",
}
"""The fields of a template, with their meaning."""

DISTINCT: Final = frozenset({"name", "index", "task_id"})
"""Fields that differ between jobs; without one of them, several jobs would have the same file name."""

DEFAULT: Final = "{name}.{ext}"


@frozen
class Template:
    """The template of the paths of a job's files, below the output directory.

    Args:
        text: a relative path with ``{fields}``. A ``/`` in it makes a folder, but not one in a field's value;
            folders in a job's name come before this path. ``.{ext}`` at the end may be left out.

    Raises:
        ConfigurationError: it has an unknown field, no field of ``DISTINCT``, or leads out of the directory.
    """

    text: str = field(default=DEFAULT)

    def __attrs_post_init__(self) -> None:
        problems = list(_problems(self.text))
        if problems:
            raise ConfigurationError(f"output name {self.text!r}: {'; '.join(problems)}")

    def render(self, **values: str) -> PurePosixPath:
        """Return the relative path of a file without its extension.

        Args:
            values: one value for each of ``FIELDS`` except ``ext``.
        """
        safe_values = {name: safe(value) for name, value in values.items()}
        parts = [part.format(**safe_values) for part in _without_ext(self.text).split("/")]
        return PurePosixPath(*(part if part == safe(part) else safe(part) for part in parts))


def _without_ext(text: str) -> str:
    return text.removesuffix(".{ext}")


def _problems(text: str) -> Iterator[str]:
    try:
        parsed = Formatter().parse(text)
        used = [(name, spec or conversion) for _, name, spec, conversion in parsed if name is not None]
    except ValueError as problem:
        yield str(problem)
        return
    for name, formatting in used:
        if name not in FIELDS or formatting:
            yield f"{{{name}}} is not a field; known are {', '.join(FIELDS)}, without any formatting"
    if not DISTINCT & {name for name, _ in used}:
        yield "needs {name}, {index} or {task_id}, or all jobs would have one file"
    if "{ext}" in _without_ext(text):
        yield "{ext} may stand at its end only"
    if not all(_is_plain(part) for part in _without_ext(text).split("/")):
        yield "must be a plain relative path: no empty parts, no .., nothing a file system forbids"


def _is_plain(part: str) -> bool:
    """Whether a part of a template is a safe file name, with a letter in the place of each field."""
    shape = re.sub(r"\{[a-z_]+\}", "x", part)
    return bool(shape) and shape == safe(shape)
