"""How what was given to a request is read, and how it is shown again.

Reading never fails: what cannot be read is kept as it came, so that the field's rule can name it together
with everything else that is wrong. Showing is for people and logs: long prompts are cut, and a URL loses what
could open a private file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from seedance_async.models.rules import shown_url

_WHOLE_SECONDS: Final = re.compile(r"[1-9][0-9]?")
_SHOWN_PROMPT_CHARACTERS: Final = 48


def whole_seconds(value: int | str) -> int:
    """Read ``"8"`` as 8."""
    if isinstance(value, str) and _WHOLE_SECONDS.fullmatch(value):
        return int(value)
    return value  # type: ignore[return-value]  # kept for the rule to name


def url_tuple(value: Sequence[str] | None) -> tuple[str, ...]:
    """Read any sequence as a tuple, and None as an empty one; a lone text is no sequence of URLs."""
    if value is None:
        return ()
    return tuple(value) if _is_list(value) else value  # type: ignore[return-value]  # kept for the rule to name


def is_given(media: object) -> bool:
    """Whether a media field holds anything, be it right or wrong."""
    return media is not None and not (isinstance(media, tuple) and not media)


def shown_prompt(text: str) -> str:
    """The beginning of a prompt, and how long it is."""
    if len(text) <= _SHOWN_PROMPT_CHARACTERS:
        return repr(text)
    return f"{text[:_SHOWN_PROMPT_CHARACTERS] + '…'!r} ({len(text)} characters)"


def shown_optional_url(url: str | None) -> str:
    """A URL without password and query."""
    return "None" if url is None else shown_url(url)


def shown_urls(urls: Sequence[str]) -> str:
    """URLs without passwords and queries."""
    return f"({', '.join(map(shown_url, urls))})"


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray)
