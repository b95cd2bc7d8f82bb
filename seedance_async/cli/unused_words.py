"""The message about words that a command has no use for; most often a prompt or a path without its quotes.

Pure.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

SUBJECTS: Final = {"generate": "prompt", "batch": "manifest's name", "estimate": "manifest's name"}
"""What the one argument of a command is, which may have blanks."""


def without(arguments: Sequence[str], unused: Sequence[str]) -> list[str]:
    """The arguments that are left when these words are taken away, the last of each first."""
    left = list(arguments)
    for word in unused:
        left.reverse()
        left.remove(word)
        left.reverse()
    return left


def unused_words(arguments: Sequence[str], unused: Sequence[str], subject: str | None) -> str:
    """What to write about unused words.

    Args:
        arguments: the command line without them.
        unused: the words, in their order.
        subject: the command's own argument, to which they probably belong; None if it has none.
    """
    message = f"unused words: {' '.join(unused)}"
    what = SUBJECTS.get(arguments[0]) if arguments else None
    if what is None or subject is None or subject not in arguments:
        return f"{message}; see --help"
    place = arguments.index(subject)
    whole = [*arguments[:place], " ".join([subject, *unused]), *arguments[place + 1 :]]
    return f"{message}; quote the {what}: {shlex.join(['seedance', *whole])}"
