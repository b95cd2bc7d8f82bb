"""What a cell of a journal may hold, and what it reads as: the pages of a file may be sound and a row not.

Every row that is read passes here, so whatever a disk, a foreign program or a hand has put into one cell ends
as one error, before anything is made of it. A state must be borne out by the rest of its row, too: a job that
has tasks was never only planned, and would be paid again if it were taken for that.

Pure.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from seedance_async import completions, wire
from seedance_async.batch import keys
from seedance_async.batch.states import State
from seedance_async.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

Row: TypeAlias = tuple[Any, ...]
"""What is read; the columns selected say what is in it."""

REMEDY: Final = (
    "nothing was sent because of it; put a copy of journal.sqlite from before in its place and run again "
    "(results.jsonl and the files' own JSON tell the ids and keys of what is paid)"
)


def read(columns: Sequence[str], row: Row) -> Row:
    """A row as values: of a column that is known here, what it must be; of any other, what it is.

    Raises:
        JournalError: a cell holds what it cannot, or the row contradicts its state; names the job.
    """
    told: dict[str, Any] = dict(zip(columns, row, strict=True))
    for name, cell in told.items():
        try:
            told[name] = _READERS.get(name, _anything)(cell)
        except (ValueError, RecursionError) as problem:
            raise damage(f"{name} of {_subject(told)}") from problem
    _bear_out(told)
    return tuple(told.values())


def facts(rows: Iterable[Row]) -> dict[str, Any]:
    """The facts about a batch that it cannot go on without.

    Raises:
        JournalError: one is missing, or is not what it must be.
    """
    known = {"credits_doubted": 0.0, **dict(rows)}
    for name, reader in _FACTS.items():
        try:
            known[name] = reader(known.get(name))
        except ValueError as problem:
            raise damage(f"{name} of the batch") from problem
    return known


def damage(what: str) -> JournalError:
    """The error for something in a journal that cannot have been written there."""
    return JournalError(f"the journal is damaged: {what} cannot be what stands there; {REMEDY}")


def _subject(told: Mapping[str, object]) -> str:
    if "number" in told:
        return f"job {told['number']!r:.40}" + (f" ({told['name']!r:.80})" if "name" in told else "")
    return f"tariff {told['id']!r:.40}" if "id" in told else "a row"


def _bear_out(told: Mapping[str, Any]) -> None:
    """See that a state and what else is known of the job do not contradict each other."""
    state = told.get("state")
    if state is None:
        return
    for name, states in _FILLED_IN.items():
        if name in told and (told[name] not in {None, ()}) != (state in states):
            raise damage(f"{name} of {_subject(told)}, which is {state},")
    if "key" in told and told["key"] is None and state is not State.PLANNED:
        raise damage(f"key of {_subject(told)}, which is {state},")


# --- cells


def _anything(cell: object) -> object:
    return cell


def _text(cell: object) -> str:
    if not isinstance(cell, str):
        raise ValueError("not text")  # noqa: TRY004 - what is wrong is the value of a cell
    cell.encode()  # half a character could be neither written nor sent
    return cell


def _name(cell: object) -> str:
    if not (text := _text(cell)).strip() or "\0" in text:
        raise ValueError("not a name")
    return text


def _whole(cell: object) -> int:
    if not isinstance(cell, int) or not 0 <= cell <= wire.MAX_CREDITS:
        raise ValueError("not a count")
    return cell


def _from_one(cell: object) -> int:
    if not (count := _whole(cell)):
        raise ValueError("not a count from 1")
    return count


def _flag(cell: object) -> bool:
    if cell not in {0, 1}:
        raise ValueError("neither 0 nor 1")
    return bool(cell)


def _number(cell: object) -> float:
    if not isinstance(cell, int | float) or not 0 <= cell <= wire.MAX_CREDITS:
        raise ValueError("not a sum")
    return cell


def _seat(cell: object) -> int:
    if (seat := _whole(cell)) >= completions.MOST_IN_A_POST:
        raise ValueError("not a seat")
    return seat


def _bytes(cell: object) -> bytes:
    if not isinstance(cell, bytes):
        raise ValueError("not bytes")  # noqa: TRY004 - as in _text
    return cell


def _nonce(cell: object) -> bytes:
    if len(nonce := _bytes(cell)) != keys.NONCE_BYTES:
        raise ValueError("not a nonce")
    return nonce


def _key(cell: object) -> str:
    if not _KEY.fullmatch(key := _text(cell)):
        raise ValueError("not a key")
    return key


def _request(cell: object) -> bytes:
    match wire.loads(body := _bytes(cell)):
        case {"prompt": str()}:
            return body
        case _:
            raise ValueError("not a request")


def _list(cell: object) -> list[Any]:
    """A list that the journal keeps as JSON."""
    document = json.loads(text := _text(cell), parse_constant=_no_number)
    if not isinstance(document, list):
        raise ValueError("not a list")  # noqa: TRY004 - as in _text
    if _HALF.search(text):
        json.dumps(document, ensure_ascii=False).encode()
    return document


def _names(cell: object) -> tuple[str, ...]:
    return tuple(map(_name, _list(cell)))


def _tasks(cell: object) -> tuple[object, ...]:
    return tuple(map(wire.task, _list(cell)))


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no number")


def _or_nothing(reader: Callable[[object], Any]) -> Callable[[object], Any]:
    return lambda cell: None if cell is None else reader(cell)


def _or_none_of(reader: Callable[[object], tuple[Any, ...]]) -> Callable[[object], tuple[Any, ...]]:
    return lambda cell: () if cell is None else reader(cell)


_KEY: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_HALF: Final = re.compile(r"\\u[dD][89a-fA-F]")

_FILLED_IN: Final[Mapping[str, frozenset[State]]] = {
    "intended_at": frozenset(State) - {State.PLANNED},
    "task_ids": frozenset({State.ACCEPTED, State.COMPLETED, State.SAVED, State.FAILED}),
    "tasks": frozenset({State.COMPLETED, State.SAVED, State.FAILED}),
}
"""What is there in these states and in no other."""

_READERS: Final[Mapping[str, Callable[[object], Any]]] = {
    "number": _from_one,
    "name": _name,
    "fold": _name,
    "unnamed": _flag,
    "listed": _flag,
    "line": _whole,
    "take": _from_one,
    "tariff": _whole,
    "path": _text,
    "body": _request,
    "digest": _bytes,
    "state": lambda cell: State(_text(cell)),
    "run": _whole,
    "generation": _from_one,
    "crashes": _whole,
    "key": _or_nothing(_key),
    "account": _or_nothing(_text),
    "shared": _or_nothing(_request),
    "seat": _or_nothing(_seat),
    "intended_at": _or_nothing(_number),
    "accepted_at": _or_nothing(_number),
    "ended_at": _or_nothing(_number),
    "task_ids": _or_none_of(_names),
    "tasks": _or_none_of(_tasks),
    "credits_used": _or_nothing(_number),
    "credits_refunded": _or_nothing(_number),
    "files": _or_none_of(_names),
    "error": _or_nothing(_text),
    # of tariffs
    "id": _whole,
    "model": _name,
    "quality_tier": _or_nothing(_text),
    "channel": _or_nothing(_text),
    "resolution": _or_nothing(_text),
    "seconds": _or_nothing(_whole),
    "pictures": _from_one,
    "price": _number,
}
_FACTS: Final[Mapping[str, Callable[[object], Any]]] = {
    "nonce": _nonce,
    "run": _whole,
    "credits_used": _number,
    "credits_refunded": _number,
    "credits_doubted": _number,
}
