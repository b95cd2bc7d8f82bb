"""Removal of a secret from what a server sends, however the server has encoded it. Pure.

The secret is looked for in decoded text: a body is parsed as JSON, and every string in it, keys of objects
included, is checked as it is and with backslash escapes, percent encodings and HTML entities decoded, also
one inside another. A body that is not JSON is checked as one text. Upper and lower case count as equal,
because some intermediaries change it. A NUL between two characters, as in UTF-16, is ignored.

Not recognised: a piece of the secret, the secret divided over several strings, and whatever has to be
computed from it, such as Base64 or a hash.
"""

from __future__ import annotations

import html
import json
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from seedance_async import wire

if TYPE_CHECKING:
    from collections.abc import Callable

MASK: Final = "***"

LAYERS: Final = 5
"""Encodings inside one another that are decoded; each layer of a hostile 4 MiB body costs time."""

ENCODED: Final = re.compile(r"[\\%&\0]")
"""The characters without which a text is its own decoded form."""

ENCODED_BYTES: Final = re.compile(ENCODED.pattern.encode())

ESCAPE: Final = re.compile(
    r"\\(?:u([0-9a-f]{4})|u\{([0-9a-f]{1,5})\}|x([0-9a-f]{2})|([\\/\"']))", re.IGNORECASE
)


class Scrubber:
    """Replaces one secret in foreign data.

    Args:
        secret: printable ASCII, not empty.
    """

    __slots__ = ("_folded", "_pattern")

    def __init__(self, secret: str) -> None:
        self._folded = secret.lower().encode()
        self._pattern = re.compile(re.escape(secret), re.IGNORECASE)

    def body(self, body: bytes) -> bytes:
        """A body without the secret; the same bytes if it is not in there."""
        if not ENCODED_BYTES.search(body) and self._folded not in body.lower():
            return body  # nearly every answer; this costs some microseconds
        try:
            received = wire.loads(body)
        except ValueError:
            text = body.decode(errors="replace")
            clean = self.text(text)
            return body if clean == text else clean.encode(errors="replace")
        kept = self._value(received)
        return body if kept == received else json.dumps(kept).encode()

    def text(self, text: str) -> str:
        """A text without the secret; decoded if an encoding of the secret was in there."""
        text = self._pattern.sub(MASK, text)
        if not ENCODED.search(text):
            return text
        decoded, found = text, False
        for _ in range(LAYERS):
            outer = decoded
            for decode in DECODERS:
                decoded, times = self._pattern.subn(MASK, decode(decoded))
                found = found or times > 0
            if decoded == outer:
                break
        return decoded if found else text

    def _value(self, value: object) -> object:
        """A decoded JSON value without the secret; ``wire.loads`` has limited its depth."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self._value(entry) for entry in value]
        if isinstance(value, dict):
            return {self.text(name): self._value(entry) for name, entry in value.items()}
        return value


def _unescaped(text: str) -> str:
    return ESCAPE.sub(_character, text)


def _character(escape: re.Match[str]) -> str:
    digits = escape[1] or escape[2] or escape[3]
    return chr(int(digits, 16)) if digits else escape[4]


def _without_nulls(text: str) -> str:
    return text.replace("\0", "")


DECODERS: Final[tuple[Callable[[str], str], ...]] = (_without_nulls, _unescaped, unquote, html.unescape)
