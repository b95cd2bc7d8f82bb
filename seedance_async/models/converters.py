"""attrs converters for request fields.

They never fail: a value that cannot be converted is kept, so that the field's rule reports it together with
everything else that is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from seedance_async.models.links import Link

_WHOLE_SECONDS: Final = re.compile(r"[1-9][0-9]?")


def whole_seconds(value: int | str) -> int:
    """Convert ``"8"`` to 8."""
    if isinstance(value, str) and _WHOLE_SECONDS.fullmatch(value):
        return int(value)
    return value  # type: ignore[return-value]  # kept for the rule to report


def url_text(value: str | Link | None) -> str | None:
    """Convert a link to the text that a manifest has for it."""
    return str(value) if isinstance(value, Link) else value


def url_tuple(value: Sequence[str | Link] | None) -> tuple[str, ...]:
    """Convert any sequence to a tuple, and None to an empty one; a single text is not a sequence of URLs."""
    if value is None:
        return ()
    if isinstance(value, str | bytes | bytearray) or not isinstance(value, Sequence):
        return value  # type: ignore[return-value]  # kept for the rule to report
    return tuple(str(url) if isinstance(url, Link) else url for url in value)
