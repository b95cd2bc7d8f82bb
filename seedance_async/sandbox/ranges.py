"""The byte range of a request, by RFC 9110 sections 13.1.5 (If-Range) and 14 (Range).

A single range is served as 206. Several ranges in one request, units other than bytes and invalid headers are
ignored, as the RFC allows, and the whole file is served. Pure.
"""

from __future__ import annotations

import re
from typing import Final

from attrs import frozen


@frozen
class Slice:
    """The bytes from ``start`` up to but not including ``stop``."""

    start: int
    stop: int


class UnsatisfiableError(Exception):
    """The range lies past the end of the file: 416."""


def requested_slice(
    header: str | None, *, size: int, if_range: str | None = None, etag: str = ""
) -> Slice | None:
    """The requested slice, or None for the whole file.

    Raises:
        UnsatisfiableError: the range starts past the end.
    """
    single = _SINGLE.fullmatch(header.strip()) if header else None
    if single is None or (if_range is not None and if_range != etag):
        return None
    first, last = single[1], single[2]
    if not first:
        return _last_bytes(int(last), size) if last else None
    start = int(first)
    stop = min(int(last) + 1, size) if last else size
    if start >= size:
        raise UnsatisfiableError
    return Slice(start, stop) if start < stop else None


def _last_bytes(count: int, size: int) -> Slice:
    if count == 0:
        raise UnsatisfiableError
    return Slice(max(0, size - count), size)


_SINGLE: Final = re.compile(r"bytes=\s*([0-9]*)\s*-\s*([0-9]*)", re.ASCII)
