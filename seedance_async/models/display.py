"""The text form of values in messages, logs and reprs: shortened, and without the credentials in URLs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_MAX_CHARACTERS: Final = 60
_MAX_PROMPT_CHARACTERS: Final = 48
_USER_INFO: Final = re.compile(r"//[^/#]*@")
_USER_INFO_IN_TEXT: Final = re.compile(r"(https?://)[^/#?\s\"'<>]*@", re.IGNORECASE)
_SIGNATURE: Final = re.compile(
    r"((?:X-(?:Amz|Goog)-(?:Signature|Credential|Security-Token)|\bsig(?:nature)?)(?:=|%3D))[^\s&\"'<>]+",
    re.IGNORECASE,
)
_QUERY: Final = re.compile(r"(https?://[^\s?\"'<>]*)\?[^\s\"'<>]+", re.IGNORECASE)


def shown(value: object) -> str:
    """The repr of ``value``, shortened; never fails."""
    try:
        text = repr(value)
    except Exception:  # Python does not print an integer of 5,000 digits; a foreign repr may raise anything
        return f"a value of type {type(value).__name__}"
    return text if len(text) <= _MAX_CHARACTERS else f"{text[:_MAX_CHARACTERS]}… ({len(text)} characters)"


def shown_url(url: str) -> str:
    """``url`` without password and query: with a signature from a log, anyone could open the file."""
    address, mark, _ = url.partition("?")
    return shown(_USER_INFO.sub("//…@", address) + (mark and "?…"))


def without_queries(text: str) -> str:
    """A foreign text in which URLs have no passwords and no queries, as these may be signatures.

    A server that refuses an input may repeat its signed URL, and its message is shown and stored.
    """
    text = _QUERY.sub(r"\1?…", _USER_INFO_IN_TEXT.sub(r"\1…@", text))
    return _SIGNATURE.sub(r"\1…", text)


def shown_optional_url(url: str | None) -> str:
    """Like ``shown_url``; ``"None"`` for None."""
    return "None" if url is None else shown_url(url)


def shown_urls(urls: Sequence[str]) -> str:
    """Like ``shown_url``, for several."""
    return f"({', '.join(map(shown_url, urls))})"


def shown_prompt(text: str) -> str:
    """The beginning of a prompt, and its length."""
    if len(text) <= _MAX_PROMPT_CHARACTERS:
        return repr(text)
    return f"{text[:_MAX_PROMPT_CHARACTERS] + '…'!r} ({len(text)} characters)"
