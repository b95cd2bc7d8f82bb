"""Messages about command lines that cannot be read: surplus words, a missing model, or an invalid number.

Pure.
"""

from __future__ import annotations

import re
import shlex
from itertools import pairwise
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

NUMBERS: Final = {" into float": " to a number", " into int": " to a whole number"}
"""Python's words for what cyclopts makes of a flag, and those of somebody who need not know Python."""

JSON_LINES: Final = (".jsonl", ".ndjson")
MANIFESTS: Final = (*JSON_LINES, ".json", ".csv", ".tsv", ".toml")
SUBJECTS: Final = {
    "generate": "prompt",
    "batch": "manifest's name",
    "estimate": "manifest's name",
    "expand": "manifest's name",
}
"""What to call the single argument of a command, which may contain spaces."""


WORDS_OF_FLAGS: Final = frozenset({"true", "false", "yes", "no", "on", "off", "1", "0"})
"""Values that people give to a flag that takes none."""


def mistake_words(arguments: Sequence[str], mistake: str) -> str:
    """What to write about a command line that cyclopts refuses with ``mistake``.

    A prompt in the place of a model is not reported as an unknown command, nor is an option before it.
    """
    if arguments[:1] == ["help"]:
        return "write seedance --help, or seedance COMMAND --help"
    if arguments and arguments[0].lower() in {"-v", "-version"}:
        return "write seedance --version"
    if arguments and arguments[0].startswith("-") and "Unknown command" in mistake:
        option = arguments[0].partition("=")[0]
        return f"the command is written first, then its options: seedance COMMAND … {option} …"
    if arguments[:1] == ["generate"] and re.search(r"Unknown option: \W*--prompt\b", mistake):
        return 'the prompt is written without a flag: seedance generate MODEL "PROMPT"'
    if arguments[:1] == ["generate"] and len(arguments) > 1 and " " in arguments[1]:
        example = shlex.join(["seedance", "generate", "seedance2", *arguments[1:]])
        return f"the model is missing before the prompt: {example}"
    for theirs, ours in NUMBERS.items():
        mistake = mistake.replace(theirs, ours)
    return mistake


def flag_with_value(arguments: Sequence[str], unused: Sequence[str]) -> str | None:
    """Return the message about a word such as ``false`` behind a flag that takes none; None for others."""
    for flag, word in pairwise(arguments):
        if word in unused and word.lower() in WORDS_OF_FLAGS and flag.startswith("--"):
            name = flag.removeprefix("--no-").removeprefix("--")
            return f"{flag} takes no value, and {word} was given: write --{name}, or --no-{name} for off"
    return None


def without(arguments: Sequence[str], unused: Sequence[str]) -> list[str]:
    """Return the arguments without these words; of a repeated word, the last occurrence is removed."""
    left = list(arguments)
    for word in unused:
        left.reverse()
        left.remove(word)
        left.reverse()
    return left


def _several_manifests(words: Sequence[str]) -> str | None:
    """Return a message about several manifests; None if the words are not manifests."""
    if len(words) < 2 or not all(word.lower().endswith(MANIFESTS) for word in words):
        return None
    each = "give each a directory of its own"
    if all(word.lower().endswith(JSON_LINES) for word in words):
        each = f"join them, cat {shlex.join(words)} > all-jobs.jsonl, or {each}"
    return f"this command reads one manifest, and {len(words)} were given: {' '.join(words)}; {each}"


def unused_words(arguments: Sequence[str], unused: Sequence[str], subject: str | None) -> str:
    """Return the message about unused words.

    Args:
        arguments: the command line without them.
        unused: the words, in their order.
        subject: the command's own argument, which they probably belong to; None if it has none.
    """
    if subject is not None and (joined := _several_manifests([subject, *unused])):
        return joined
    message = f"unused words: {' '.join(unused)}"
    what = SUBJECTS.get(arguments[0]) if arguments else None
    if what is None or subject is None or subject not in arguments:
        return f"{message}; see --help"
    place = arguments.index(subject)
    whole = [*arguments[:place], " ".join([subject, *unused]), *arguments[place + 1 :]]
    return f"{message}; quote the {what}: {shlex.join(['seedance', *whole])}"
