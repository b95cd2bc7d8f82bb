"""What a manifest or a flag has where a URL is asked for: a local file, or something else.

Relative paths are those of the manifest's directory, or of the current one where there is none.
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
"""How a URL, a link or an asset begins. A file that is called so is written with ``./`` before it."""

_PATH: Final = re.compile(r"[./\\]\w|\w[./\\]")
"""What every path has that is not a mere word, which is taken for a mistake."""


def as_written(value: object, base: str | os.PathLike[str]) -> object:
    """The value of a field that holds URLs, with a ``LocalFile`` in the place of each path."""
    if isinstance(value, list | tuple):
        return [as_written(each, base) for each in value]
    if not isinstance(value, str) or _NOT_A_PATH.match(value.strip()) or not _PATH.search(value):
        return value
    text = value.strip()
    try:
        return LocalFile(Path(base).absolute() / (Path(text).expanduser() if text.startswith("~/") else text))
    except (ValueError, RuntimeError):  # no home, or text that is none: told when the file is looked at
        return LocalFile(text)
