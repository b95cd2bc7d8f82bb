"""The words by which a prompt asks the sandbox for something: ``[[fault:drop*2]]``, ``[[sandbox:fail]]``.

They are looked for loosely and read strictly: what looks like one and is none is refused. A word that is
misspelt and does nothing would let a test pass for the wrong reason.

Pure.
"""

from __future__ import annotations

import re
import reprlib
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

PLACES: Final = ("submit", "task", "media")
"""Where a prompt can ask a fault to strike."""

FAIL_WORD: Final = "[[sandbox:fail]]"
BATCH_WORD: Final = re.compile(r"\[\[sandbox:batch-failed=([0-9])\]\]")


@frozen
class Wish:
    """A fault that a prompt asks for.

    Attributes:
        word: as it stands in the prompt.
        name: of the fault.
        on: where it strikes; None: where that fault does by itself.
        count: how often; None: as often as that fault does by itself.
    """

    word: str
    name: str
    on: str | None = None
    count: int | None = None


def wishes(text: str, faults: Collection[str]) -> Iterator[Wish]:
    """The faults that a text asks for, in their order.

    Args:
        text: a prompt, or the body of a submit as it arrived.
        faults: names of those there are.

    Raises:
        ValueError: something in the text looks like a word for the sandbox and is none.
    """
    for found in _LOOSE.finditer(text):
        word = found[0]
        if (exact := _FAULT.fullmatch(word)) is not None:
            yield _wish(word, *exact.groups(), faults=faults)
        elif word != FAIL_WORD and BATCH_WORD.fullmatch(word) is None:
            raise ValueError(f"The sandbox does not understand {word!r}, only {_FORMS}")


def _wish(word: str, name: str, on: str | None, count: str | None, *, faults: Collection[str]) -> Wish:
    if name not in faults:
        known = ", ".join(faults)
        raise ValueError(f"The sandbox knows no fault {name!r}, only {known}{suggestion(name, faults)}")
    if on is not None and on not in PLACES:
        known, meant = ", ".join(PLACES), suggestion(on, PLACES)
        raise ValueError(f"The sandbox knows no {on!r} for {word!r} to strike, only {known}{meant}")
    if count is not None and _COUNT.fullmatch(count) is None:
        raise ValueError(
            f"{word!r} needs a whole number from 1 to 999999 after its '*', as in [[fault:drop*2]]"
        )
    return Wish(word, name, on, None if count is None else int(count))


def suggestion(word: str, known: Collection[str]) -> str:
    """The known word that was probably meant, as the end of a message; empty if none is near."""
    close = get_close_matches(word.strip().lower(), known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def shown(value: object) -> str:
    """A value for a message: one line, and short however much was given."""
    return repr(value) if isinstance(value, str) and len(value) <= 80 else reprlib.repr(value)


# Up to a quote, because a body is read as it arrived; braces would be filled in when the word is told again.
_LOOSE: Final = re.compile(r"\[\[\s*(?:faults?|sandbox)\s*[:=][^\[\]\"{}]{0,80}(?:\]\])?", re.IGNORECASE)
_FAULT: Final = re.compile(r"\[\[fault:([^@*\]]*)(?:@([^*\]]*))?(?:\*([^\]]*))?\]\]")
_COUNT: Final = re.compile(r"[1-9][0-9]{0,5}")
_FORMS: Final = "[[fault:NAME]], [[fault:NAME@PLACE*COUNT]], [[sandbox:fail]] and [[sandbox:batch-failed=N]]"
