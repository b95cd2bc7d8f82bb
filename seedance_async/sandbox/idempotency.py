"""What an idempotency key means at the server, under every reading of the vendor's one sentence about it.

"Same Idempotency-Key reused with a different body, or still running" is all the documents say. The life of a
key here::

    unknown --first request--> running --answer written (U2: or task final)--> settled --key_life--> unknown

    running + same body   409              settled + same body   the first answer again, or 409 (U1)
    running + other body  409              settled + other body  409, unless bodies are ignored (U5)

Pure: the clock comes in as ``now``, in seconds.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from attrs import evolve, frozen

from seedance_async.sandbox.exchange import Answer, Call, refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from seedance_async.sandbox.options import Behaviour


@frozen(kw_only=True)
class _Held:
    """A key in use: its first request, the answer to it, and whether that answer was written."""

    body: bytes
    answer: Answer
    since: float
    call: int
    written: bool = False


class KeyStore:
    """The keys of all accounts."""

    def __init__(self, behaviour: Behaviour, *, key_life: float, is_final: Callable[[str], bool]) -> None:
        """Remember keys for ``key_life`` seconds; ``is_final(task_id)`` tells whether a task has ended."""
        self._behaviour = behaviour
        self._key_life = key_life
        self._is_final = is_final
        self._held: dict[tuple[str, ...], _Held] = {}

    def look(self, call: Call, account: str, now: float) -> Answer | None:
        """What the key alone answers; None if the request is to be worked on."""
        held = self._find(call, account, now)
        if held is None:
            return None
        if not self._same_body(held.body, call.body):
            return _conflict("Idempotency-Key was already used with a different body")
        if self._is_running(held):
            return _conflict("The first request with this Idempotency-Key is still running")
        if self._behaviour.repeated_key == "reject":
            return _conflict("Idempotency-Key was already used")
        return evolve(held.answer, replayed=True)

    def keep(self, call: Call, account: str, answer: Answer, now: float) -> None:
        """Remember the answer to the first request of a key, if answers of its class are remembered.

        A later answer to that same request displaces an earlier one; the answer to another never does.
        """
        if call.idempotency_key is None or not self._remembers(answer):
            return
        held = self._find(call, account, now)
        if held is None or held.call == call.number:
            since = held.since if held else now
            held = _Held(body=call.body, answer=answer, since=since, call=call.number)
            self._held[self._scope(call, account)] = held

    def written(self, call: Call, account: str) -> None:
        """The server has done with the exchange: its answer was written, or lost on the way."""
        scope = self._scope(call, account)
        held = self._held.get(scope)
        if held is not None and held.call == call.number:
            self._held[scope] = evolve(held, written=True)

    def _find(self, call: Call, account: str, now: float) -> _Held | None:
        if call.idempotency_key is None:
            return None
        scope = self._scope(call, account)
        held = self._held.get(scope)
        if held is not None and held.since + self._key_life <= now:
            del self._held[scope]
            return None
        return held

    def _scope(self, call: Call, account: str) -> tuple[str, ...]:
        name = call.idempotency_key or ""
        match self._behaviour.key_scope:
            case "endpoint":
                return account, call.path, name
            case "account":
                return account, name
            case "key":
                return account, call.key or "", name

    def _same_body(self, first: bytes, second: bytes) -> bool:
        match self._behaviour.same_body:
            case "bytes":
                return first == second
            case "values":
                return _values(first) == _values(second)
            case "ignored":
                return True

    def _is_running(self, held: _Held) -> bool:
        if not held.written:
            return True
        by_task = self._behaviour.still_running == "task"
        return by_task and not all(map(self._is_final, held.answer.task_ids))

    def _remembers(self, answer: Answer) -> bool:
        status_class = f"{answer.status // 100}xx"
        return answer.status not in _ABOUT_THE_CALLER and status_class in self._behaviour.stored


def _conflict(message: str) -> Answer:
    return refusal("idempotency_conflict", message)


def _values(body: bytes) -> object:
    try:
        # Sorted text rather than the values: to Python 1 equals True and 1.0.
        return json.dumps(json.loads(body), sort_keys=True)
    except (ValueError, RecursionError):
        return body


_ABOUT_THE_CALLER: Final = {401, 409, 429}
