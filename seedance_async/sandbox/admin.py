"""The admin endpoints under ``/_sandbox/``, which read and change the sandbox over HTTP.

==========  ==========================  ================================================================
GET         ``/_sandbox/requests``      every request, in order of arrival
GET         ``/_sandbox/ledger``        every charge, refund and top-up, and the balances
GET         ``/_sandbox/tasks``         every task in its present state
POST        ``/_sandbox/credits``       ``{"credits": 500, "account": "account-1"}`` tops up
GET         ``/_sandbox/behaviour``     the switches U1 to U9, as ``seedance sandbox --behaviour`` reads them
GET         ``/_sandbox/faults``        the rules in force
POST        ``/_sandbox/faults``        adds a rule, or a list of them; fields as in ``Fault``
DELETE      ``/_sandbox/faults``        removes every rule
POST        ``/_sandbox/reset``         discards the state and restarts from the same seed
GET         ``/_sandbox/openapi.json``  the emulated API as an OpenAPI 3.1 document
==========  ==========================  ================================================================

They need no key and do not count in any limit, because they are not part of the emulated API.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import anyio
from aiohttp import web
from attrs import asdict

from seedance_async.sandbox.calls import Record, json_bytes
from seedance_async.sandbox.faults import Fault
from seedance_async.sandbox.openapi import local_document

if TYPE_CHECKING:
    from collections.abc import Callable

    from seedance_async.sandbox.runtime import Emulator, Runtime
    from seedance_async.sandbox.tasks import Task

PREFIX: Final = "/_sandbox/"


async def handle(request: web.BaseRequest, emulator: Emulator) -> web.Response:
    """Answer one admin request."""
    runtime = emulator.runtime
    runtime.state.settle(anyio.current_time())
    route = request.method, request.path.removeprefix(PREFIX)
    if route == ("POST", "reset"):
        emulator.reset()
        return _json({})
    if route in _QUERIES:
        return _json(_QUERIES[route](runtime))
    if route not in _COMMANDS:
        return _json({"error": f"no {request.method} {request.path}"}, status=404)
    try:
        document: object = json.loads(await request.read() or b"null")
        return _json(_COMMANDS[route](runtime, document))
    except (ValueError, KeyError) as error:
        return _json({"error": f"{type(error).__name__}: {error}"}, status=400)
    except RecursionError:
        return _json({"error": "the JSON is nested too deeply"}, status=400)


def _requests(runtime: Runtime) -> object:
    return {"requests": [_record_document(record) for record in runtime.recorder.records]}


def _ledger(runtime: Runtime) -> object:
    ledger = runtime.state.ledger
    balances = {account: ledger.balance(account) for account in runtime.state.accounts}
    return {"balances": balances, "entries": [asdict(entry) for entry in ledger.entries]}


def _tasks(runtime: Runtime) -> object:
    now = anyio.current_time()
    return {"tasks": [_task_document(task, now) for task in runtime.state.tasks.values()]}


def _faults(runtime: Runtime) -> object:
    return {"faults": [rule.document() for rule in runtime.faults.rules]}


def _add_faults(runtime: Runtime, document: object) -> object:
    for rule in Fault.read_all(document) if isinstance(document, list) else [Fault.read(document)]:
        runtime.faults.add(rule)
    return _faults(runtime)


def _clear_faults(runtime: Runtime, _: object) -> object:
    runtime.faults.clear()
    return _faults(runtime)


def _top_up(runtime: Runtime, document: object) -> object:
    match document:
        case {"credits": int(amount), "account": str(account)}:
            runtime.top_up(account, amount)
        case {"credits": int(amount)}:
            runtime.top_up(runtime.state.accounts[0], amount)
        case _:
            raise ValueError('needs {"credits": whole number, "account": optional name}')
    return _ledger(runtime)


def _record_document(record: Record) -> dict[str, object]:
    return {**asdict(record), "body": record.body.decode(errors="replace")}


def _task_document(task: Task, now: float) -> dict[str, object]:
    return {
        "id": task.id,
        "account": task.account,
        "model": task.request.model,
        "status": task.status(now),
        "credits": task.credits,
        "accepted_at": task.accepted_at,
        # JSON has no infinity; a task that never ends has no end.
        "ends_at": task.ends_at if task.ends_at < float("inf") else None,
        "idempotency_key": task.idempotency_key,
        "prompt": task.request.prompt,
    }


def _json(document: object, *, status: int = 200) -> web.Response:
    return web.Response(status=status, body=json_bytes(document), content_type="application/json")


_QUERIES: Final[dict[tuple[str, str], Callable[[Runtime], object]]] = {
    ("GET", "requests"): _requests,
    ("GET", "ledger"): _ledger,
    ("GET", "tasks"): _tasks,
    ("GET", "behaviour"): lambda runtime: runtime.state.behaviour.document(),
    ("GET", "faults"): _faults,
    ("GET", "openapi.json"): lambda _: local_document(),
}
_COMMANDS: Final[dict[tuple[str, str], Callable[[Runtime, object], object]]] = {
    ("POST", "faults"): _add_faults,
    ("DELETE", "faults"): _clear_faults,
    ("POST", "credits"): _top_up,
}
