"""Answers to an agent: short JSON that names the next call, and errors that say whether money has moved.

Text from elsewhere (names of jobs, messages of the API) is shortened, and stripped of control characters and
of the queries of URLs, which may be signatures. Pure.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Final, Literal, TypeAlias

from seedance_async.errors import (
    ClientStateError,
    ConfigurationError,
    CreditCapError,
    DownloadError,
    InsufficientCreditsError,
    JournalError,
    ManifestError,
    MediaError,
    NotFoundError,
    RecordError,
    SeedanceError,
    StandingLimitError,
    TaskFailedError,
    UnauthorizedError,
    UncertainSubmissionError,
    ValidationError,
)
from seedance_async.models.display import without_queries

MOST_BYTES: Final = 1_900
"""Of an answer: two kilobytes, less what the protocol adds."""

MOST_TEXT: Final = 240
"""Characters of one text in it."""

MOST_NAME: Final = 60
"""Characters of a job's name in it."""

LONGEST_NAME: Final = 1_000
NAME_END: Final = 20
"""Of these, from the end of a name that is longer."""

Money: TypeAlias = Literal["no", "nothing new", "maybe"]
"""Whether a call that failed has spent: no; nothing more than before; or unknown."""

MOST_ENTRIES: Final = 40
"""Of a list in an answer; more would not fit."""

MOST_WORDS: Final = 200
"""Names or ids in one call."""

LEFT_OUT: Final = "left_out"

WHOLE: Final = frozenset({"command", "next", "plan_id", "batch_id"})
"""Fields that are never cut: half a command is another command, which may lack its cap."""


class RefusedError(Exception):
    """A call that is refused, with what to do instead.

    Attributes:
        kind: the class of the error, as an agent sees it.
        message: what is wrong.
        what_to_do: instead.
        next_call: as it would be written; None for the same call, after the fault is corrected.
        money_moved: whether it has spent.
        facts: whatever else the answer says.
    """

    def __init__(
        self,
        kind: str,
        message: str,
        *,
        what_to_do: str,
        next_call: str | None = None,
        money_moved: Money = "no",
        facts: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.what_to_do = what_to_do
        self.next_call = next_call
        self.money_moved: Money = money_moved
        self.facts: Mapping[str, object] = facts or {}


def wrong_arguments(message: str, *, wrong: Sequence[str] = ()) -> RefusedError:
    """A refusal of arguments, which lists each wrong one."""
    facts = {"wrong": list(wrong)} if wrong else {}
    advice = "correct the arguments and call again"
    return RefusedError("InvalidArguments", message, what_to_do=advice, facts=facts)


def words_of(names: Sequence[object]) -> tuple[str, ...]:
    """Names or ids, as they were given.

    Raises:
        RefusedError: they are not a list of names.
    """
    words = [name for name in names if isinstance(name, str) and name.strip() and name.isprintable()]
    if not words or len(words) != len(names) or len(words) > MOST_WORDS:
        raise wrong_arguments(f"a list of 1 to {MOST_WORDS} names without control characters is needed")
    return tuple(words)


_ADVICE: Final[tuple[tuple[type[SeedanceError], Money, str], ...]] = (
    (UncertainSubmissionError, "maybe", "wait for the batch: it is sent again under its key, not paid twice"),
    (StandingLimitError, "no", "tell the person: a limit that they have set is reached"),
    (
        CreditCapError,
        "nothing new",
        "tell the person what it still costs; submit asks, or they run the command",
    ),
    (InsufficientCreditsError, "no", "tell the person to top up the account; then submit this plan again"),
    (UnauthorizedError, "no", "ask the person to correct SEEDANCE_API_KEY in the server's environment"),
    (ManifestError, "no", "correct what is listed, and call plan again"),
    (ValidationError, "no", "correct what is listed, and call again"),
    (MediaError, "no", "correct the local file, and call again"),
    (ConfigurationError, "no", "correct what it says; a variable is for the person to correct"),
    (JournalError, "nothing new", "tell the person: the batch's directory needs attention; never delete it"),
    (RecordError, "no", "tell the person: the account's record cannot be read"),
    (DownloadError, "nothing new", "call again: the task stays finished, and only its file is fetched again"),
    (TaskFailedError, "nothing new", "check the prompt and the picture before you plan it again"),
    (NotFoundError, "no", "use an id that list_tasks shows"),
    (ClientStateError, "no", "tell the person: the server has to be started again"),
)
"""What to do about an error, and whether it has spent; the first class that fits."""


def text_of(value: object, most: int = MOST_TEXT) -> str:
    """A text on one line, shortened, without control and direction characters or the queries of URLs."""
    drawn = (each if unicodedata.category(each)[0] != "C" else " " for each in str(value))
    line = " ".join("".join(drawn).split())
    clean = without_queries(line)
    return clean if len(clean) <= most else f"{clean[: most - 1]}…"


def name_of(value: object) -> str:
    """The name of a job, shortened in the middle: names of one batch often differ at the end."""
    clean = text_of(value, LONGEST_NAME)
    if len(clean) <= MOST_NAME:
        return clean
    return f"{clean[: MOST_NAME - NAME_END - 1]}…{clean[-NAME_END:]}"


def fitted(document: Mapping[str, object], *, lists: Sequence[str] = ()) -> str:
    """An answer as JSON of at most ``MOST_BYTES``, if what is never cut leaves room for that.

    Args:
        document: its fields, in their order.
        lists: fields that are lists, of which the longest is cut at its end until all fits; how many entries
            that took away stands in ``left_out``.
    """
    kept = {name: value for name, value in document.items() if value is not None}
    given = {name: value for name in lists if isinstance(value := kept.get(name), Sequence)}
    rest: dict[str, list[object]] = {name: list(value[:MOST_ENTRIES]) for name, value in given.items()}
    left_out = sum(len(value) - len(rest[name]) for name, value in given.items())
    while len((text := _dumped(kept, rest, left_out)).encode()) > MOST_BYTES:
        longest = max(rest.values(), key=lambda entries: len(_json(entries)), default=[])
        if not longest:
            return _json({name: _cut(name, value) for name, value in kept.items() if name not in rest})
        longest.pop()
        left_out += 1
    return text


def _dumped(kept: Mapping[str, object], rest: Mapping[str, object], left_out: int) -> str:
    more = {LEFT_OUT: left_out} if left_out else {}
    return _json({**kept, **rest, **more})


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)


def _cut(name: str, value: object) -> object:
    if name in WHOLE:
        return value
    return text_of(value, 120) if isinstance(value, str) else value if len(_json(value)) < 120 else "…"


def refused(refusal: RefusedError, *, again: str) -> str:
    """A refusal as an answer.

    Args:
        refusal: what is wrong.
        again: the next call where the refusal names none.
    """
    return fitted(
        {
            "error": refusal.kind,
            "message": text_of(refusal.message, 400),
            "what_to_do": refusal.what_to_do,
            "next": refusal.next_call or again,
            "money_moved": refusal.money_moved,
            **refusal.facts,
        },
        lists=[name for name, value in refusal.facts.items() if isinstance(value, list)],
    )


def explained(error: SeedanceError) -> dict[str, object]:
    """An error of the library, as an answer has it."""
    found = ((money, what) for kind, money, what in _ADVICE if isinstance(error, kind))
    money, what_to_do = next(found, ("maybe" if error.idempotency_key else "no", "call again later"))
    wrong = problems_of(error)
    shown = [text_of(each) for each in wrong[:MOST_ENTRIES]]
    return {
        "error": type(error).__name__,
        "message": text_of(f"{len(wrong)} things are wrong" if wrong else error.message, 400),
        "wrong": [*shown, *wrong[MOST_ENTRIES:]] or None,
        "what_to_do": what_to_do,
        "money_moved": money,
        "task_id": error.task_id,
        "idempotency_key": error.idempotency_key,
    }


def problems_of(error: SeedanceError) -> list[str]:
    """What is wrong in a manifest or a request, one text each."""
    match error:
        case ManifestError():
            return [f"job {line}, {field}: {reason}" for line, field, reason in error.problems]
        case ValidationError():
            return [f"{field}: {reason}" for field, reason in error.problems]
        case _:
            return []
