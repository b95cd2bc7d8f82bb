"""The attrs converters of request fields.

They never fail: a value that cannot be converted is kept, so that the field's rule reports it together with
all other problems.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from seedance_async.models.links import Link
from seedance_async.models.local_files import FilePath, LocalFile

_WHOLE_SECONDS: Final = re.compile(r"[1-9][0-9]?")


def whole_seconds(value: int | str) -> int:
    """Convert ``"8"`` to 8."""
    if isinstance(value, str) and _WHOLE_SECONDS.fullmatch(value):
        return int(value)
    return value  # type: ignore[return-value]  # kept for the rule to report


def url_text(value: str | Link | FilePath | None) -> str | None:
    """Convert a link to its text in a manifest, and a path to a local file."""
    return None if value is None else _one(value)


def url_tuple(value: Sequence[str | Link | FilePath] | None) -> tuple[str, ...]:
    """Convert any sequence to a tuple, and None to an empty one; a single text is not a sequence of URLs."""
    if value is None:
        return ()
    if isinstance(value, str | bytes | bytearray) or not isinstance(value, Sequence):
        return value  # type: ignore[return-value]  # kept for the rule to report
    return tuple(map(_one, value))


def _one(value: str | Link | FilePath) -> str:
    if isinstance(value, Link):
        return str(value)
    written = getattr(value, "__fspath__", None)
    path = written() if callable(written) else None
    return LocalFile(path) if isinstance(path, str) else value  # type: ignore[return-value]  # kept, as above
