"""API key as a value that is absent from reprs and pickles.

A key in a plain ``str`` appears in reprs, tracebacks with locals and pickles. Here only ``reveal`` returns
the text, and only the transport calls it, directly before it sends a request.
"""

from __future__ import annotations

import hashlib
from typing import NoReturn

from seedance_async.errors import ConfigurationError
from seedance_async.scrubbing import MASK, Scrubber


class ApiKey:
    """A bearer key of the API.

    Args:
        text: the key as the dashboard shows it; white space around it is removed.

    Raises:
        ConfigurationError: it is empty, or has characters that are not allowed in a header. The message never
            contains the key.
    """

    __slots__ = ("_scrubber", "_text")

    def __init__(self, text: str) -> None:
        text = text.strip()
        if not text:
            raise ConfigurationError("the API key is empty")
        if not text.isascii() or any(ord(character) < 0x21 or ord(character) == 0x7F for character in text):
            raise ConfigurationError(
                "the API key has spaces, control or non-ASCII characters inside it; paste it again"
            )
        self._text = text
        self._scrubber = Scrubber(text)

    def reveal(self) -> str:
        """The key, for the Authorization header of requests to the API's origin only."""
        return self._text

    def account(self, origin: str) -> str:
        """Name of the account at the API of ``origin``, which tells accounts apart without giving a key away.

        It is the origin, with or without ``www.`` alike, and 16 hexadecimal digits that stand for the key.
        """
        digits = hashlib.sha256(self._text.encode()).hexdigest()[:16]
        return f"{origin} {digits}".replace("://www.", "://")

    def scrub_body(self, body: bytes) -> bytes:
        """An answer's body without the key: some servers repeat the credentials that they refuse."""
        return self._scrubber.body(body)

    def scrub_text(self, text: str) -> str:
        """As ``scrub_body``, for the text of a header."""
        return self._scrubber.text(text)

    def __repr__(self) -> str:
        return f"ApiKey({MASK})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an API key cannot be pickled: pass the key to the other process in another way")
