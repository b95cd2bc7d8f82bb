"""The idempotency layer of the server, for every interpretation of the vendor's one sentence about it.

"Same Idempotency-Key reused with a different body, or still running" is all that the documentation states.
The states of a key here are::

    unknown --first request--> running --reply written (U2: or task final)--> settled --key_life--> unknown

    running + same body   409              settled + same body   the first reply again, or 409 (U1)
    running + other body  409              settled + other body  409, unless bodies are ignored (U5)

Pure: the clock is the argument ``now``, in seconds.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from attrs import evolve, frozen

from seedance_async.sandbox.calls import Call, Reply, refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from seedance_async.sandbox.options import Behaviour
    from seedance_async.sandbox.tasks import Task


@frozen(kw_only=True)
class _KeyUse:
    """A key in use: its first request, the reply to it, and whether that exchange is over."""

    body: bytes
    reply: Reply
    since: float
    call: int
    finished: bool = False


class KeyStore:
    """The keys of all accounts."""

    def __init__(self, behaviour: Behaviour, *, key_life: float, tasks: Mapping[str, Task]) -> None:
        """Make a store that keeps keys for ``key_life`` seconds; ``tasks`` is the service's own mapping."""
        self._behaviour = behaviour
        self._key_life = key_life
        self._tasks = tasks
        self._uses: dict[tuple[str, ...], _KeyUse] = {}

    def find_reply(self, call: Call, account: str, now: float) -> Reply | None:
        """The reply that follows from the key alone; None if the request is to be processed."""
        use = self._find(call, account, now)
        if use is None:
            return None
        if not self._same_body(use.body, call.body):
            return _conflict("Idempotency-Key was already used with a different body")
        if self._is_running(use, now):
            return _conflict("The first request with this Idempotency-Key is still running")
        if self._behaviour.repeated_key == "reject":
            return _conflict("Idempotency-Key was already used")
        return evolve(use.reply, replayed=True)

    def store(self, call: Call, account: str, reply: Reply, now: float) -> None:
        """Store the reply to the first request of a key, if replies of its class are stored.

        A later reply to that same request replaces an earlier one; the reply to another request never does.
        """
        if call.idempotency_key is None or not self._is_stored(reply):
            return
        use = self._find(call, account, now)
        if use is None or use.call == call.number:
            since = use.since if use else now
            use = _KeyUse(body=call.body, reply=reply, since=since, call=call.number)
            self._uses[self._scope(call, account)] = use

    def finish(self, call: Call, account: str) -> None:
        """Note that the exchange has ended: its reply was written or lost."""
        scope = self._scope(call, account)
        use = self._uses.get(scope)
        if use is not None and use.call == call.number:
            self._uses[scope] = evolve(use, finished=True)

    def _find(self, call: Call, account: str, now: float) -> _KeyUse | None:
        if call.idempotency_key is None:
            return None
        scope = self._scope(call, account)
        use = self._uses.get(scope)
        if use is not None and use.since + self._key_life <= now:
            del self._uses[scope]
            return None
        return use

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

    def _is_running(self, use: _KeyUse, now: float) -> bool:
        if not use.finished:
            return True
        tasks = (self._tasks[task_id] for task_id in use.reply.task_ids)
        return self._behaviour.still_running == "task" and any(
            task.status(now) == "processing" for task in tasks
        )

    def _is_stored(self, reply: Reply) -> bool:
        status_class = f"{reply.status // 100}xx"
        return reply.status not in _ABOUT_THE_CALLER and status_class in self._behaviour.stored


def _conflict(message: str) -> Reply:
    return refusal("idempotency_conflict", message)


def _values(body: bytes) -> object:
    try:
        # Sorted text, not the values: in Python, 1 equals True and 1.0.
        return json.dumps(json.loads(body), sort_keys=True)
    except (ValueError, RecursionError):
        return body


_ABOUT_THE_CALLER: Final = {401, 409, 429}
