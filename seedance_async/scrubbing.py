"""The removal of a secret from a server's answer, however the server has encoded it. Pure.

The secret is searched in decoded text: a body is parsed as JSON, and every string in it, including the keys
of objects, is checked as it is and with backslash escapes, percent encodings and HTML entities decoded, also
nested ones. A body that is not JSON is checked as one text. Case is ignored, because some intermediaries
change it. Characters that nobody sees are ignored, such as the NULs of UTF-16, and so are terminals' escape
sequences: what shows a text later may remove them. The Base64 and hexadecimal forms are searched too; Base64
also if other text was encoded together with the secret, such as the user name of a Basic header.

Not recognised: a part of the secret, the secret divided over several strings or by visible characters, and
any value computed from it in another way, such as a hash.
"""

from __future__ import annotations

import html
import json
import re
from base64 import b64encode
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from seedance_async import wire

if TYPE_CHECKING:
    from collections.abc import Callable

MASK: Final = "***"

LAYERS: Final = 5
"""How many nested encodings are decoded; each layer of a hostile 4 MiB body costs time."""

TERMINAL_ESCAPE: Final = r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])"

IGNORABLE: Final = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000e0000-\U000e0fff"
)
"""Unicode's Default_Ignorable_Code_Point, and the marks of annotations."""

UNSEEN: Final = rf"\x00-\x08\x0b-\x1f\x7f-\x9f{IGNORABLE}"
"""Characters that outputs remove or do not show; line ends and tabs divide a text visibly."""

ENCODED: Final = re.compile(rf"[\\%&{UNSEEN}]")
"""The characters of encodings: a text without them needs no decoding."""

ENCODED_BYTES: Final = re.compile(rb"[\\%&\x00-\x08\x0b-\x1f\x7f-\xff]")

LEAST_ENCODED: Final = 8
"""The shortest secret, in characters, whose Base64 is searched: a shorter one may occur by chance."""

ESCAPE: Final = re.compile(
    r"""\\(?:(?-i:U)000(?P<long>[0-9a-f]{5})
    | u(?P<usual>[0-9a-f]{4})
    | u\{(?P<braced>[0-9a-f]{1,5})\}
    | x(?P<byte>[0-9a-f]{2})
    | (?P<octal>[01][0-7]{2})
    | (?P<itself>[\\/"']))""",
    re.IGNORECASE | re.VERBOSE,
)
"""A character in the spellings of JSON, JavaScript, Python, C and shells."""

PERCENT_U: Final = re.compile(r"%u([0-9a-f]{4})", re.IGNORECASE)
"""A character as old servers write it into URLs."""


class Scrubber:
    """The replacement of one secret in foreign data.

    Args:
        secret: printable ASCII, not empty.
    """

    __slots__ = ("_bytes_pattern", "_pattern")

    def __init__(self, secret: str) -> None:
        either = "|".join(map(re.escape, _spellings(secret)))
        self._pattern = re.compile(either, re.IGNORECASE)
        self._bytes_pattern = re.compile(either.encode(), re.IGNORECASE)

    def body(self, body: bytes) -> bytes:
        """A body without the secret; the same bytes if it is not in there."""
        if not ENCODED_BYTES.search(body) and not self._bytes_pattern.search(body):
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
            if self._pattern.search(seen := _visible(decoded)):  # an ESC may not begin a sequence
                decoded = seen
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
    return ESCAPE.sub(_character, PERCENT_U.sub(r"\\u\1", text))


def _character(escape: re.Match[str]) -> str:
    digits = escape[str(escape.lastgroup)]
    if escape.lastgroup == "itself":
        return digits
    return chr(int(digits, 8 if escape.lastgroup == "octal" else 16))


def _visible(text: str, unseen: str = f"[{UNSEEN}]") -> str:
    is_plain = text.isascii() and text.isprintable()  # much faster than the search
    return text if is_plain else re.sub(unseen, "", text)


def _without_sequences(text: str) -> str:
    return _visible(text, f"{TERMINAL_ESCAPE}|[{UNSEEN}]")


def _spellings(secret: str) -> list[str]:
    """The secret, its hexadecimal form, and those parts of its Base64 forms that are always the same."""
    if len(secret) < LEAST_ENCODED:
        return [secret]
    spellings = [secret, secret.encode().hex()]
    for before in range(3):  # bytes of other text encoded in one group with the first of ours
        digits = b64encode(bytes(before) + secret.encode()).decode()
        ours = digits[-(-before * 8 // 6) : (before + len(secret)) * 8 // 6]
        spellings += [ours, ours.translate(_URL_SAFE)]
    return list(dict.fromkeys(spellings))


_URL_SAFE: Final = str.maketrans("+/", "-_")

DECODERS: Final[tuple[Callable[[str], str], ...]] = (_without_sequences, _unescaped, unquote, html.unescape)
