"""Whether a download goes on where it broke off, and at which byte.

It does if the bytes on disk and those still to come belong to the same version of the file. A version is
known by what the server says of it (a strong ``ETag``, else ``Last-Modified``, and always the length) and not
by its URL: the next URL of the same file is signed anew and has another query. ``If-Range`` leaves the last
word to the server, which sends the whole file where it has another version.

Pure. Says who: RFC 9110, sections 8.8.1 (weak validators do not do), 13.1.5, 14.2 to 14.4 and 15.5.17.
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
    """What a server says of a file, in which all of its parts must agree."""

    length: int
    etag: str | None = None
    last_modified: str | None = None

    @classmethod
    def told(cls, headers: Mapping[str, str], *, length: int | None) -> Version | None:
        """The version a whole answer has; None if it could not be known again."""
        etag, day = headers.get("ETag", ""), headers.get("Last-Modified", "")
        strong = etag if STRONG_ETAG.fullmatch(etag) else None
        dated = day if PRINTABLE.fullmatch(day) else None
        if length is None or length < 1 or not (strong or dated):
            return None
        return cls(length=length, etag=strong, last_modified=dated)

    @classmethod
    def read(cls, text: bytes) -> Version | None:
        """The version that ``text`` once was; None for anything else, such as half of it."""
        try:
            match json.loads(text):
                case {"length": int(length), **told}:
                    headers = {str(name): str(value) for name, value in told.items()}
                    return cls.told(headers, length=length)
                case _:
                    return None
        except (ValueError, RecursionError):
            return None

    def text(self) -> bytes:
        """As kept beside a part."""
        told = {"ETag": self.etag, "Last-Modified": self.last_modified}
        known = {name: value for name, value in told.items() if value}
        return json.dumps({"length": self.length, **known}).encode()

    def start(self, have: int) -> int:
        """The byte to go on with when the first ``have`` are here.

        Of a file that is here whole the last byte is fetched once more: it can always be had if the version
        is still the same, so that 416 always says that it is not.
        """
        return min(have, self.length - 1)

    def ask(self, have: int) -> dict[str, str]:
        """Headers that ask for what is missing when the first ``have`` bytes are here."""
        validator = self.etag or self.last_modified or ""
        return {"Range": f"bytes={self.start(have)}-", "If-Range": validator}

    def fits(self, have: int, headers: Mapping[str, str]) -> bool:
        """Whether a 206 answer carries exactly what was asked for, of this version."""
        told = CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
        if told is None or (int(told[1]), int(told[2])) != (self.start(have), self.length - 1):
            return False
        if told[3] not in {str(self.length), "*"}:
            return False
        if self.etag is not None:
            return headers.get("ETag", self.etag) == self.etag
        return headers.get("Last-Modified", self.last_modified) == self.last_modified


@frozen
class Whole:
    """The body is the file from its first byte; what is here is of no use."""


@frozen
class Rest:
    """The body is the file from byte ``start`` to its end at ``length``."""

    start: int
    length: int


@frozen
class Misfit:
    """What is here and what the server has do not go together: forget it and ask again."""

    reason: str


Fit: TypeAlias = Whole | Rest | Misfit


def fit(version: Version | None, have: int, *, status: int, headers: Mapping[str, str]) -> Fit:
    """What an answer of 200, 206 or 416 means for ``have`` bytes of ``version``."""
    if status == 200:
        return Whole()
    if version is None or not have:
        return Misfit(f"HTTP {status}, although no range was asked for")
    if status == 206 and version.fits(have, headers):
        return Rest(version.start(have), version.length)
    return Misfit(f"HTTP {status}: the file is not what it was, or not the range asked for")
