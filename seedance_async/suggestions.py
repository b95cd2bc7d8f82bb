"""Suggestions of the word that was probably meant, for messages about an unknown one. Pure."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

LONGEST: Final = 100
"""The longest word, in characters, for which a suggestion is searched; longer ones would take long."""


def suggestion(word: str, known: Iterable[str], *, sign: str = "") -> str:
    """The end of a message about an unknown word; empty if no known word is similar.

    Args:
        word: the unknown word.
        known: the known words.
        sign: a prefix that is written before the word, such as ``$``.
    """
    if len(word) > LONGEST:
        return ""
    folded: dict[str, str] = {}
    for each in known:
        folded.setdefault(each.casefold(), each)
    if same := folded.get(word.casefold()):
        return f"; perhaps {sign + same!r:.80} (other letter case)" if same != word else ""
    close = get_close_matches(word.casefold(), folded, n=1)
    return f"; did you mean {sign + folded[close[0]]!r:.80}?" if close else ""
