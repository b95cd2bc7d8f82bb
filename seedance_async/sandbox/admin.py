"""The operator's door: look into the sandbox, and act on it, over HTTP under ``/_sandbox/``.

==========  ==========================  ================================================================
GET         ``/_sandbox/requests``      what arrived, in order
GET         ``/_sandbox/ledger``        every movement of credits, and the balances
GET         ``/_sandbox/tasks``         every task as it is now
POST        ``/_sandbox/credits``       ``{"credits": 500, "account": "account-1"}`` tops up
GET         ``/_sandbox/behaviour``     the switches U1 to U9, as ``seedance sandbox --behaviour`` reads them
GET         ``/_sandbox/faults``        the rules in force
POST        ``/_sandbox/faults``        adds a rule, or a list of them; fields as in ``Fault``
DELETE      ``/_sandbox/faults``        puts every rule out of force
POST        ``/_sandbox/reset``         forgets everything and starts anew from the same seed
GET         ``/_sandbox/openapi.json``  the emulated API as an OpenAPI 3.1 document
==========  ==========================  ================================================================

It needs no key and spends nothing, because it is no part of the emulated API.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import anyio
from aiohttp import web
from attrs import asdict

from seedance_async.sandbox.exchange import Record, json_bytes
from seedance_async.sandbox.faults import Fault
from seedance_async.sandbox.openapi import local_document

if TYPE_CHECKING:
    from collections.abc import Callable

    from seedance_async.sandbox.tasks import Task
    from seedance_async.sandbox.world import World

PREFIX: Final = "/_sandbox/"


async def handle(request: web.BaseRequest, world: World, *, reset: Callable[[], None]) -> web.Response:
    """Answer one request of the operator's."""
    world.state.settle(anyio.current_time())
    deed = request.method, request.path.removeprefix(PREFIX)
    if deed == ("POST", "reset"):
        reset()
        return _json({})
    if deed in _VIEWS:
        return _json(_VIEWS[deed](world))
    if deed not in _DEEDS:
        return _json({"error": f"no {request.method} {request.path}"}, status=404)
    try:
        document: object = json.loads(await request.read() or b"null")
        return _json(_DEEDS[deed](world, document))
    except (ValueError, KeyError) as error:
        return _json({"error": f"{type(error).__name__}: {error}"}, status=400)
    except RecursionError:
        return _json({"error": "the JSON is nested too deeply"}, status=400)


def _requests(world: World) -> object:
    return {"requests": [_record_document(record) for record in world.recorder.records]}


def _ledger(world: World) -> object:
    ledger = world.state.ledger
    balances = {account: ledger.balance(account) for account in world.state.accounts}
    return {"balances": balances, "entries": [asdict(entry) for entry in ledger.entries]}


def _tasks(world: World) -> object:
    now = anyio.current_time()
    return {"tasks": [_task_document(task, now) for task in world.state.tasks.values()]}


def _faults(world: World) -> object:
    return {"faults": [rule.document() for rule in world.faults.rules]}


def _add_faults(world: World, document: object) -> object:
    for rule in Fault.read_all(document) if isinstance(document, list) else [Fault.read(document)]:
        world.faults.add(rule)
    return _faults(world)


def _clear_faults(world: World, _: object) -> object:
    world.faults.clear()
    return _faults(world)


def _top_up(world: World, document: object) -> object:
    match document:
        case {"credits": int(amount), "account": str(account)}:
            world.state.top_up(account, amount, anyio.current_time())
        case {"credits": int(amount)}:
            world.state.top_up(world.state.accounts[0], amount, anyio.current_time())
        case _:
            raise ValueError('needs {"credits": whole number, "account": optional name}')
    return _ledger(world)


def _record_document(record: Record) -> dict[str, object]:
    return {**asdict(record), "body": record.body.decode(errors="replace")}


def _task_document(task: Task, now: float) -> dict[str, object]:
    return {
        "id": task.id,
        "account": task.account,
        "model": task.order.model,
        "status": task.status(now),
        "credits": task.credits,
        "accepted_at": task.accepted_at,
        # JSON has no infinity; a task that never ends has no end.
        "ends_at": task.ends_at if task.ends_at < float("inf") else None,
        "idempotency_key": task.idempotency_key,
        "prompt": task.order.prompt,
    }


def _json(document: object, *, status: int = 200) -> web.Response:
    return web.Response(status=status, body=json_bytes(document), content_type="application/json")


_VIEWS: Final[dict[tuple[str, str], Callable[[World], object]]] = {
    ("GET", "requests"): _requests,
    ("GET", "ledger"): _ledger,
    ("GET", "tasks"): _tasks,
    ("GET", "behaviour"): lambda world: world.state.behaviour.document(),
    ("GET", "faults"): _faults,
    ("GET", "openapi.json"): lambda _: local_document(),
}
_DEEDS: Final[dict[tuple[str, str], Callable[[World, object], object]]] = {
    ("POST", "faults"): _add_faults,
    ("DELETE", "faults"): _clear_faults,
    ("POST", "credits"): _top_up,
}
