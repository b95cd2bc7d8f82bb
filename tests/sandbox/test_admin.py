"""Tests of the admin endpoints, which serve tests in other languages and people with curl."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, cast

import aiohttp
import anyio
import pytest
from attrs import evolve

from seedance_async.sandbox import Behaviour, Sandbox
from tests.sandbox.api import CLIP, VIDEO, Api, calling

if TYPE_CHECKING:
    from collections.abc import Mapping


async def admin(
    api: Api, method: str, what: str, body: object = None
) -> tuple[int, Mapping[str, list[Mapping[str, object]]]]:
    """Call the operator's door without any key."""
    data = None if body is None else json.dumps(body)
    async with api.session.request(method, f"{api.sandbox.admin_url}/{what}", data=data) as response:
        return response.status, cast("Mapping[str, list[Mapping[str, object]]]", await response.json())


async def test_requests_ledger_and_tasks_can_be_read() -> None:
    """The same facts as in Python, the API key nowhere among them."""
    async with calling(Sandbox()) as api:
        submitted = await api.post(VIDEO, CLIP, key="k")
        views = {what: (await admin(api, "GET", what))[1] for what in ("requests", "ledger", "tasks")}

    (request,), (_, charge), (task,) = (
        views["requests"]["requests"],
        views["ledger"]["entries"],
        views["tasks"]["tasks"],
    )
    assert (202, "k", json.dumps(CLIP)) == (request["status"], request["idempotency_key"], request["body"])
    assert ("charge", 30, submitted.id, "k") == tuple(
        charge[name] for name in ("kind", "credits", "task_id", "idempotency_key")
    )
    assert (submitted.id, "processing") == (task["id"], task["status"])
    assert api.key not in json.dumps(views)


async def test_a_refund_shows_up_without_a_poll() -> None:
    """The ledger is as of now, not as of the last request."""
    async with calling(Sandbox()) as api:
        await api.post(VIDEO, {"prompt": "A train [[sandbox:fail]]"})
        await anyio.sleep(3600)
        _, ledger = await admin(api, "GET", "ledger")

    assert ["top-up", "charge", "refund"] == [entry["kind"] for entry in ledger["entries"]]


async def test_looking_is_neither_counted_nor_recorded() -> None:
    """An operator's window is not the account's."""
    async with calling(Sandbox()) as api:
        for _ in range(40):
            await admin(api, "GET", "requests")

    assert [] == api.sandbox.requests


async def test_credits_can_be_bought() -> None:
    """For the story of the batch that stopped at 402."""
    async with calling(Sandbox(credits=0)) as api:
        status, document = await admin(api, "POST", "credits", {"credits": 500})

        assert (200, str({"account-1": 500})) == (status, str(document["balances"]))
        assert 202 == (await api.post(VIDEO, CLIP)).status


async def test_faults_can_be_put_in_force_and_out_again() -> None:
    """One rule or a list of them."""
    async with calling(Sandbox()) as api:
        await admin(api, "POST", "faults", {"effect": "drop", "on": "submit"})
        _, document = await admin(api, "POST", "faults", [{"effect": "status", "status": 500, "on": "task"}])
        assert ["drop", "status"] == [fault["effect"] for fault in document["faults"]]
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await api.post(VIDEO, CLIP)
        assert 500 == (await api.task("sd2_x")).status

        await admin(api, "POST", "faults", {"effect": "drop", "count": None})
        _, document = await admin(api, "DELETE", "faults")
        assert {"faults": []} == document
        assert 404 == (await api.task("sd2_x")).status


async def test_the_switches_that_are_shown_can_be_read_back() -> None:
    """So a file for the next sandbox can be made of this one's."""
    behaviour = Behaviour(stored=frozenset({"4xx", "2xx"}), before_key=frozenset(), gets_count=False)
    async with calling(Sandbox(behaviour=behaviour, window="fixed")) as api:
        _, shown = await admin(api, "GET", "behaviour")

    assert evolve(behaviour, window="fixed") == Behaviour.read(shown)


async def test_a_list_of_faults_is_put_in_force_whole_or_not_at_all() -> None:
    """The refusal tells which of them is wrong."""
    async with calling(Sandbox()) as api:
        status, document = await admin(api, "POST", "faults", [{"effect": "drop"}, {"effect": "dorp"}])

    assert 400 == status
    assert "rule 2: effect" in str(document["error"])
    assert () == api.sandbox.faults.rules


@pytest.mark.parametrize("levels", [60, 300, 900, 5000, 100_000])
async def test_json_that_is_nested_deeply_is_refused(levels: int) -> None:
    """Whether the reader gives up at it or whoever would tell the rule again."""
    deep = "[" * levels + "]" * levels
    async with calling(Sandbox()) as api:
        for body in (deep, f'{{"effect": "edit", "fields": {{"a": {deep}}}}}'):
            async with api.session.post(f"{api.sandbox.admin_url}/faults", data=body) as response:
                assert 400 == response.status
                assert (await response.json())["error"]

        assert (200, {"faults": []}) == await admin(api, "GET", "faults")


async def test_a_rule_that_is_nested_a_little_can_be_read_again() -> None:
    """As deep as is allowed."""
    deep: object = []
    for _ in range(47):
        deep = [deep]
    rule = {"effect": "edit", "on": "submit", "fields": {"a": deep}}
    async with calling(Sandbox()) as api:
        assert 200 == (await admin(api, "POST", "faults", rule))[0]
        assert deep == (await api.post(VIDEO, CLIP)).document["a"]


async def test_a_reset_over_http_is_a_reset() -> None:
    """Between two tests of another program."""
    async with calling(Sandbox()) as api:
        await api.post(VIDEO, CLIP)
        assert 200 == (await admin(api, "POST", "reset"))[0]

        assert {} == api.sandbox.tasks


@pytest.mark.parametrize(
    ("method", "what", "body", "status"),
    [
        ("POST", "faults", {"effect": "fire"}, 400),
        ("POST", "faults", None, 400),
        ("POST", "credits", {"credits": "many"}, 400),
        ("POST", "credits", {"credits": -5}, 400),
        ("POST", "credits", {"credits": 5, "account": "nobody"}, 400),
        ("GET", "nothing", None, 404),
        ("DELETE", "ledger", None, 404),
    ],
)
async def test_a_deed_that_makes_no_sense_is_refused(
    method: str, what: str, body: object, status: int
) -> None:
    """With a word of why."""
    async with calling(Sandbox()) as api:
        answered, document = await admin(api, method, what, body)

    assert status == answered
    assert document["error"]
