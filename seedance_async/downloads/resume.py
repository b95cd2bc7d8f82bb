"""Decisions about resuming a download: which range to request, and what an answer contains. Pure.

A download is resumed if the bytes on disk and the missing ones belong to the same version of the file. A
version is identified by the server's headers (a strong ``ETag``, or else ``Last-Modified``, and always the
length), not by the URL: a renewed URL of the same file has another signature in its query. With ``If-Range``
the server compares versions, and sends the whole file if it has another one.

Source: RFC 9110, sections 8.8.1 (weak validators are not sufficient), 13.1.5, 14.2 to 14.4 and 15.5.17.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final, TypeAlias

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

STRONG_ETAG: Final = re.compile(r'"[!#-~\x80-\xff]*"')
PRINTABLE: Final = re.compile(r"[ -~]{1,100}")
CONTENT_RANGE: Final = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", re.ASCII)


@frozen(kw_only=True)
class Version:
    """The identity of a file's content at the server, which must be the same for all parts of a download.

    Attributes:
        length: length of the whole file, in bytes.
        etag: a strong ``ETag``; None if there is none.
        last_modified: the header as received; None if there is none.
    """

    length: int
    etag: str | None = None
    last_modified: str | None = None

    @classmethod
    def from_headers(cls, headers: Mapping[str, str], *, length: int | None) -> Version | None:
        """Return the version from the headers of a whole file; None if they do not identify it."""
        etag, day = headers.get("ETag", ""), headers.get("Last-Modified", "")
        strong = etag if STRONG_ETAG.fullmatch(etag) else None
        dated = day if PRINTABLE.fullmatch(day) else None
        if length is None or length < 1 or not (strong or dated):
            return None
        return cls(length=length, etag=strong, last_modified=dated)

    @classmethod
    def from_json(cls, text: bytes) -> Version | None:
        """Return the version that ``to_json`` wrote; None for anything else, such as truncated text."""
        try:
            match json.loads(text):
                case {"length": int(length), **validators}:
                    headers = {str(name): str(value) for name, value in validators.items()}
                    return cls.from_headers(headers, length=length)
                case _:
                    return None
        except (ValueError, RecursionError):
            return None

    def to_json(self) -> bytes:
        """Return the content of the version file."""
        validators = {"ETag": self.etag, "Last-Modified": self.last_modified}
        known = {name: value for name, value in validators.items() if value}
        return json.dumps({"length": self.length, **known}).encode()

    def resume_offset(self, have: int) -> int:
        """Return the first byte to request when the first ``have`` bytes are on disk.

        If all bytes are on disk, the last one is requested again: a server with the same version always has
        it, so 416 always means another version.
        """
        return min(have, self.length - 1)

    def range_headers(self, have: int) -> dict[str, str]:
        """Return the headers that request the missing bytes when the first ``have`` are on disk."""
        validator = self.etag or self.last_modified or ""
        return {"Range": f"bytes={self.resume_offset(have)}-", "If-Range": validator}

    def matches(self, have: int, headers: Mapping[str, str]) -> bool:
        """Whether a 206 answer has exactly the range that was requested, of this version."""
        content = CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
        if content is None or (int(content[1]), int(content[2])) != (
            self.resume_offset(have),
            self.length - 1,
        ):
            return False
        if content[3] not in {str(self.length), "*"}:
            return False
        if self.etag is not None:
            return headers.get("ETag", self.etag) == self.etag
        return headers.get("Last-Modified", self.last_modified) == self.last_modified


@frozen
class FullBody:
    """The body is the file from its first byte; the bytes on disk are not used."""


@frozen
class Remainder:
    """The body is the file from byte ``start`` to its end at ``length``."""

    start: int
    length: int


@frozen
class Mismatch:
    """The bytes on disk do not belong to the server's version: the download starts again."""

    reason: str


Interpretation: TypeAlias = FullBody | Remainder | Mismatch


def interpret(
    version: Version | None, have: int, *, status: int, headers: Mapping[str, str]
) -> Interpretation:
    """Interpret a 200, 203, 206 or 416 answer for a part with ``have`` bytes of ``version``."""
    if status in {200, 203}:
        return FullBody()
    if version is None or not have:
        if status == 206 and _is_whole(headers):  # of a cache that asked for a range itself
            return FullBody()
        return Mismatch(f"HTTP {status}, although no range was requested")
    if status == 206 and version.matches(have, headers):
        return Remainder(version.resume_offset(have), version.length)
    return Mismatch(f"HTTP {status}: the file has changed, or it is not the range requested")


def _is_whole(headers: Mapping[str, str]) -> bool:
    """Whether the range of a 206 answer is the whole file, as far as the answer says."""
    content = CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
    if content is None or int(content[1]):
        return False
    return content[3] in {"*", str(int(content[2]) + 1)}
