"""The recognition of local files among the values of URL fields in a manifest or a flag.

Relative paths refer to the manifest's directory, or without a manifest to the working directory.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from seedance_async.models import LocalFile
from seedance_async.models.links import SIGN

if TYPE_CHECKING:
    import os

_NOT_A_PATH: Final = re.compile(
    rf"{re.escape(SIGN)}|[a-z][a-z0-9+.-]*\s*://|(?:asset|blob|data|file|https?)\s*:", re.IGNORECASE
)
"""The start of a URL, a link or an asset. A file with such a name must be written with ``./`` before it."""

_PATH: Final = re.compile(r"[./\\]\w|\w[./\\]")
"""What distinguishes a path from a single word, which is treated as a mistake."""


def as_written(value: object, base: str | os.PathLike[str]) -> object:
    """The value of a URL field, with a ``LocalFile`` in place of each path."""
    if isinstance(value, list | tuple):
        return [as_written(each, base) for each in value]
    if not isinstance(value, str) or _NOT_A_PATH.match(value.strip()) or not _PATH.search(value):
        return value
    text = value.strip()
    try:
        return LocalFile(Path(base).absolute() / (Path(text).expanduser() if text.startswith("~/") else text))
    except (ValueError, RuntimeError):  # no home directory, or no valid path: reported when it is inspected
        return LocalFile(text)
