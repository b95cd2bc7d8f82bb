"""The API key as a value that does not show itself.

A key in a plain ``str`` turns up in reprs, frame dumps and pickles. Here the text leaves by one door only,
``reveal``, and the transport opens it at the last moment before a request is written.
"""

from __future__ import annotations

import hashlib
from typing import Final, NoReturn

from seedance_async.errors import ConfigurationError

MASK: Final = "***"


class ApiKey:
    """A bearer key of the API.

    Args:
        text: the key as the dashboard shows it; white space around it is dropped.

    Raises:
        ConfigurationError: empty, or with characters that cannot stand in a header. The message never
            repeats the key.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        text = text.strip()
        if not text:
            raise ConfigurationError("the API key is empty")
        if not text.isascii() or any(ord(mark) < 0x21 or ord(mark) == 0x7F for mark in text):
            raise ConfigurationError(
                "the API key has spaces, control or non-ASCII characters inside it; paste it again"
            )
        self._text = text

    def reveal(self) -> str:
        """The key itself, for the Authorization header of the API's origin and nothing else."""
        return self._text

    def account(self, origin: str) -> str:
        """Name of the account at the API of ``origin``, which tells accounts apart without giving a key away.

        It is the origin, with or without ``www.`` alike, and 16 hexadecimal digits that stand for the key.
        """
        digits = hashlib.sha256(self._text.encode()).hexdigest()[:16]
        return f"{origin} {digits}".replace("://www.", "://")

    def scrub(self, body: bytes) -> bytes:
        """Remove the key from bytes a server sent: some echo the credentials they refuse."""
        return body.replace(self._text.encode(), MASK.encode())

    def scrub_text(self, text: str) -> str:
        """As ``scrub``, for the value of a header."""
        return text.replace(self._text, MASK)

    def __repr__(self) -> str:
        return f"ApiKey({MASK})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an API key is not pickled: give the other process its own")
