"""Tests of faults: they apply where and when they should, and the ledger shows what they cost."""

from __future__ import annotations

from contextlib import suppress

import aiohttp
import anyio
import pytest

from seedance_async.sandbox import Behaviour, Fault, Sandbox
from seedance_async.sandbox.calls import Call
from seedance_async.sandbox.faults import EFFECTS, NAMED, REQUEST_EFFECTS, ActiveFaults
from tests.sandbox.api import CLIP, VIDEO, calling

BREAKS = {
    "drop": aiohttp.ServerDisconnectedError,
    "reset": aiohttp.ClientOSError,
    "garbage": aiohttp.ClientResponseError,
    "truncate": aiohttp.ClientPayloadError,
}


@pytest.mark.parametrize("effect", BREAKS)
@pytest.mark.parametrize(("moment", "paid"), [("before", 0), ("after", 1)])
async def test_a_broken_answer_costs_what_its_moment_says(effect: str, moment: str, paid: int) -> None:
    """The caller sees the same; only the ledger knows whether the work was done."""
    fault = Fault.read({"effect": effect, "moment": moment})
    async with calling(Sandbox(faults=[fault])) as api:
        with pytest.raises(BREAKS[effect]):
            await api.post(VIDEO, CLIP, key="k")
        assert paid == len(api.sandbox.paid_tasks)

        await api.post(VIDEO, CLIP, key="k")

    assert 1 == len(api.sandbox.paid_tasks)
    first, second = api.sandbox.requests
    assert (effect, "") == (first.fault, second.fault)
    assert (paid == 1) == second.replayed


async def test_a_truncated_answer_carries_its_true_status_and_length() -> None:
    """The trap: 202 was read, and then the body does not come."""
    async with calling(Sandbox(faults=[NAMED["truncate"]])) as api:
        headers = {"Authorization": f"Bearer {api.key}", "Content-Type": "application/json"}
        url = api.sandbox.base_url + VIDEO
        async with api.session.post(url, data=b'{"prompt": "A train"}', headers=headers) as response:
            assert 202 == response.status
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.read()


@pytest.mark.parametrize(
    ("rule", "status", "code", "header"),
    [
        ({"status": 503}, 503, "service_busy", None),
        ({"status": 429, "headers": {"Retry-After": "36"}}, 429, "rate_limited", "36"),
        ({"status": 429, "headers": {"Retry-After": 36}}, 429, "rate_limited", "36"),
        ({"status": 500, "code": "made_up"}, 500, "made_up", None),
    ],
)
async def test_a_status_can_stand_in_for_the_answer(
    rule: dict[str, object], status: int, code: str, header: str | None
) -> None:
    """With the documented envelope, and headers as told."""
    async with calling(Sandbox(faults=[Fault.read({"effect": "status", "moment": "before", **rule})])) as api:
        reply = await api.post(VIDEO, CLIP)

    assert (status, code, header) == (reply.status, reply.code, reply.headers.get("Retry-After"))
    assert [] == api.sandbox.paid_tasks


async def test_an_undocumented_status_comes_as_a_page_as_a_proxy_sends_it() -> None:
    """502 is no word of this API: what says it is something in front of the API."""
    async with calling(Sandbox(faults=[NAMED["bad-gateway"]])) as api:
        url = f"{api.sandbox.base_url}/tasks/sd2_x"
        async with api.session.get(url, headers={"Authorization": f"Bearer {api.key}"}) as response:
            assert (502, "text/html") == (response.status, response.content_type)
            assert "Bad Gateway" in await response.text()


async def test_a_literal_body_is_sent_as_it_is() -> None:
    """For answers of shapes that nobody documented."""
    rule = Fault(effect="status", status=200, body='{"status":"completed","status":"failed"}')
    async with calling(Sandbox(faults=[rule])) as api:
        url = f"{api.sandbox.base_url}/tasks/sd2_x"
        async with api.session.get(url, headers={"Authorization": f"Bearer {api.key}"}) as response:
            assert rule.body == await response.text()


async def test_a_delay_keeps_the_answer_back() -> None:
    """After the work: the task exists while the caller still waits."""
    async with (
        calling(Sandbox(faults=[Fault(effect="delay", seconds=7)])) as api,
        anyio.create_task_group() as group,
    ):
        began = anyio.current_time()
        group.start_soon(lambda: api.post(VIDEO, CLIP))
        await anyio.sleep(3)
        assert 1 == len(api.sandbox.paid_tasks)
    (record,) = api.sandbox.requests

    assert record.answered_at is not None
    assert (0.0, 7.0) == pytest.approx((record.at - began, record.answered_at - began), abs=0.01)


async def test_a_request_that_is_abandoned_is_charged_all_the_same() -> None:
    """The caller cancels at the second second; the server goes on, as a real one does."""
    async with calling(Sandbox(faults=[Fault(effect="delay", moment="before", seconds=5)])) as api:
        with anyio.move_on_after(2):
            await api.post(VIDEO, CLIP)
        await anyio.sleep(10)

        assert 1 == len(api.sandbox.paid_tasks)


async def test_a_request_delivered_twice_meets_itself() -> None:
    """A proxy retries while the first delivery is at work: the caller is told 409, one task is paid."""
    async with calling(Sandbox(faults=[NAMED["duplicate"]])) as api:
        reply = await api.post(VIDEO, CLIP, key="k")
        again = await api.post(VIDEO, CLIP, key="k")

    assert (409, 202) == (reply.status, again.status)
    assert 1 == len(api.sandbox.paid_tasks)
    assert [202, 409, 202] == [record.status for record in api.sandbox.requests]


async def test_a_fault_before_the_work_was_counted() -> None:
    """The window comes first at the server, so the request that found nobody home has spent its slot."""
    rule = Fault(effect="drop", moment="before", count=None)
    async with calling(Sandbox(faults=[rule])) as api:
        for _ in range(30):
            with pytest.raises(aiohttp.ServerDisconnectedError):
                await api.task("sd2_x")
        api.sandbox.faults.clear()

        assert 429 == (await api.task("sd2_x")).status


async def test_a_prompt_can_ask_for_a_fault() -> None:
    """``[[fault:drop*2]]`` applies to the first two requests with this key; the third succeeds."""
    body = {"prompt": "A train [[fault:drop*2]]"}
    async with calling(Sandbox()) as api:
        for _ in range(2):
            with pytest.raises(aiohttp.ServerDisconnectedError):
                await api.post(VIDEO, body, key="k")

        assert 202 == (await api.post(VIDEO, body, key="k")).status
        assert 1 == len(api.sandbox.paid_tasks)


@pytest.mark.parametrize(("moment", "paid"), [("before", 0), ("after-charge", 1)])
@pytest.mark.parametrize("effect", ["drop", "reset"])
async def test_a_prompt_can_say_at_which_moment(effect: str, moment: str, paid: int) -> None:
    """The name tells whether the submit that is not answered was paid."""
    async with calling(Sandbox()) as api:
        with pytest.raises(BREAKS[effect]):
            await api.post(VIDEO, {"prompt": f"A train [[fault:{effect}-{moment}]]"})

        assert paid == len(api.sandbox.paid_tasks)


async def test_a_prompt_that_asks_for_an_unheard_of_fault_is_refused() -> None:
    """Misspelt, it would never apply, and a test would pass for the wrong reason."""
    async with calling(Sandbox()) as api:
        reply = await api.post(VIDEO, {"prompt": "A train [[fault:droop]]"})

    assert (400, "invalid_request") == (reply.status, reply.code)
    assert "'droop'" in str(reply.document)
    assert [] == api.sandbox.paid_tasks


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("[[fault:Drop]]", "'drop'"),
        ("[[fault:drop_before]]", "'drop-before'"),
        ("[[fault:drop@foo]]", "submit, task, media"),
        ("[[fault:drop@taks]]", "'task'"),
        ("[[fault:drop*x]]", "whole number"),
        ("[[fault:drop*0]]", "from 1"),
        ("[[fault:drop*-1]]", "from 1"),
        ("[[fault:drop*1000000]]", "to 999999"),
        ("[[fault:drop*]]", "whole number"),
        ("[[fault:drop*2@task]]", "whole number"),
        ("[[fault:drop ]]", "'drop'"),
        ("[[fault:]]", "drop"),
        ("[[ fault:drop ]]", "[[fault:NAME]]"),
        ("[[Fault:drop]]", "[[fault:NAME]]"),
        ("[[fault=drop]]", "[[fault:NAME]]"),
        ("[[fault:drop]", "[[fault:NAME]]"),
        ("[[fault:drop", "[[fault:NAME]]"),
        ("[[fault:{authorization}]]", "[[fault:NAME]]"),
        ("[[sandbox:fial]]", "[[sandbox:fail]]"),
        ("[[sandbox:batch-failed]]", "[[sandbox:batch-failed=N]]"),
        ("[[sandbox:batch-failed=12]]", "[[sandbox:batch-failed=N]]"),
        ("[[fault:drop]] [[sandbox:fial]]", "[[sandbox:fail]]"),
    ],
)
async def test_a_prompt_with_a_word_that_is_nearly_one_is_refused(word: str, hint: str) -> None:
    """However it is misspelt; and no other word of the prompt takes effect meanwhile."""
    async with calling(Sandbox()) as api:
        reply = await api.post(VIDEO, {"prompt": f"A train {word}"})

    assert (400, "invalid_request") == (reply.status, reply.code)
    assert hint in reply.message
    assert api.key not in reply.message
    assert [] == api.sandbox.paid_tasks


@pytest.mark.parametrize("prompt", ["A fault: a [[train]]", "[[a]] sandbox: [1, [2]]", "[[default:x]]"])
async def test_brackets_that_ask_the_sandbox_for_nothing_are_let_be(prompt: str) -> None:
    """A prompt is anybody's text."""
    async with calling(Sandbox()) as api:
        assert 202 == (await api.post(VIDEO, {"prompt": prompt})).status


def triggered(active: ActiveFaults, times: int, *, endpoint: str = "task") -> list[bool]:
    """Whether each of so many exchanges triggers a fault."""
    call = Call(number=1, endpoint=endpoint, method="GET", path="/tasks/x")  # type: ignore[arg-type]  # parametrised
    return [bool(active.triggered_by(call)) for _ in range(times)]


def test_a_rule_applies_from_its_nth_match_on_and_as_often_as_told() -> None:
    """The second and the third of five."""
    assert [False, True, True, False, False] == triggered(
        ActiveFaults([Fault(effect="drop", nth=2, count=2)]), 5
    )


@pytest.mark.parametrize(
    ("on", "applies"), [("submit", False), ("task", True), ("media", False), ("any", True)]
)
def test_a_rule_applies_to_its_own_endpoint(on: str, applies: bool) -> None:
    """Others pass, and are not counted as matches."""
    assert [applies] == triggered(ActiveFaults([Fault.read({"effect": "drop", "on": on})]), 1)


def test_chance_comes_from_the_seed() -> None:
    """The same seed selects the same exchanges; another seed others; about the share that was asked for."""
    rule = Fault(effect="drop", count=None, probability=0.3)
    first, same, other = (triggered(ActiveFaults([rule], seed=seed), 400) for seed in (1, 1, 2))

    assert first == same != other
    assert 0.2 < sum(first) / 400 < 0.4


@pytest.mark.parametrize("probability", [0.02, 0.2, 0.9])
def test_chance_decides_which_are_affected_and_not_how_many(probability: float) -> None:
    """Three of those from the tenth on, wherever chance puts them; the same ones for the same seed."""
    rule = Fault(effect="drop", nth=10, count=3, probability=probability)
    first, same = (triggered(ActiveFaults([rule], seed=7), 2000) for _ in range(2))

    assert first == same
    assert 3 == sum(first)
    assert not any(first[:9])


@pytest.mark.parametrize(
    "document",
    [
        [],
        {},
        {"effect": "fire"},
        {"effect": "drop", "on": "moon"},
        {"effect": "drop", "nth": 0},
        {"effect": "drop", "nth": True},
        {"effect": "drop", "count": 1.5},
        {"effect": "drop", "probability": 2},
        {"effect": "delay", "seconds": "5"},
        {"effect": "status", "status": 99},
        {"effect": "status", "headers": []},
        {"effect": "status", "headers": {"Retry-After": None}},
        {"effect": "status", "headers": {"Retry-After": True}},
        {"effect": "status", "headers": {"Retry-After": ["1"]}},
        {"effect": "drop", "what": 1},
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(document: object) -> None:
    """A fault that is misspelt and never applies would let a test pass for the wrong reason."""
    with pytest.raises(
        ValueError, match=r"fault|effect|on|nth|count|probability|seconds|status|headers|what"
    ):
        Fault.read(document)


@pytest.mark.parametrize(
    ("document", "parts"),
    [
        ({"effect": "dorp"}, ["effect must be one of", "'dorp'", "did you mean 'drop'?"]),
        ({"effect": ["drop"]}, ["effect must be one of", "['drop']"]),
        ({"effect": "drop", "on": "tasks"}, ["on must be one of submit, task", "did you mean 'task'?"]),
        ({"effect": "drop", "moment": "Before"}, ["moment must be one of before, after", "'before'?"]),
        ({"effect": "drop", "momnet": "before"}, ["no field 'momnet'", "did you mean 'moment'?"]),
        ({"moment": "before"}, ["needs an effect", "drop"]),
        ({"effect": "drop", "count": 0}, ["count must be a whole number from 1 or null", "got 0"]),
        ({"effect": "drop", "nth": "x" * 9999}, ["nth must be a whole number from 1", "xxx"]),
        ({"effect": "status", "status": 99}, ["status must be a whole number from 200 to 599"]),
        ({"effect": "drop", "lasts": -1}, ["lasts must be a number from 0; got -1"]),
        ({"effect": "status", "code": 5}, ["code must be text; got 5"]),
        ({"effect": "status", "body": {}}, ["body must be text; got {}"]),
        ({"effect": "edit", "fields": []}, ["fields must be an object; got []"]),
        ({"effect": "edit", "without": 5}, ["without must be a list of texts; got 5"]),
        ({"effect": "edit", "without": [5]}, ["without must be a list of texts; got [5]"]),
        ({"effect": "status", "headers": "x"}, ["headers must be an object", "'x'"]),
        ("drop", ["must be a JSON object; got 'drop'"]),
    ],
)
def test_what_is_wrong_with_a_rule_is_told_in_a_line(document: object, parts: list[str]) -> None:
    """Which rule, which field, what is allowed there, and what was probably meant."""
    with pytest.raises(ValueError, match=r"^rule 2: ") as caught:
        Fault.read_all([{"effect": "drop"}, document])

    message = str(caught.value)
    assert [] == [part for part in parts if part not in message]
    assert "Attribute(" not in message
    assert 600 > len(message)
    assert 1 == len(message.splitlines())


def test_a_rule_survives_json() -> None:
    """What ``GET /_sandbox/faults`` shows can be posted again."""
    for fault in NAMED.values():
        assert fault == Fault.read(fault.document())


ENDING = [effect for effect in EFFECTS if effect not in {"endless", "deliver"}]
"""But for one that a caller must have a bound against, and one of downloads only."""

UNREADABLE = (aiohttp.ClientError, ValueError, AttributeError, RecursionError)
"""What a careless caller meets."""


@pytest.mark.parametrize("effect", ENDING)
async def test_every_effect_applies_to_its_target(effect: str) -> None:
    """After the charge: the work is done, the record names the fault, and the next request is served."""
    fault = Fault(effect=effect, on="submit", seconds=0.01, fields={"id": "sd2_x"})
    async with calling(Sandbox(faults=[fault])) as api:
        with anyio.move_on_after(5), suppress(*UNREADABLE):
            await api.post(VIDEO, CLIP, key="k")
        assert 1 == len(api.sandbox.paid_tasks)
        await anyio.sleep(1)  # so that the caller notices a connection that is gone

        assert 202 == (await api.post(VIDEO, CLIP, key="another")).status

    first, *_, last = api.sandbox.requests
    assert (effect, "") == (first.fault, last.fault)


@pytest.mark.parametrize("effect", [effect for effect in ENDING if effect not in REQUEST_EFFECTS])
async def test_every_effect_can_be_applied_before_the_charge(effect: str) -> None:
    """Nothing is done, whatever the caller may make of the answer."""
    fault = Fault(effect=effect, moment="before", on="submit", seconds=0.01)
    async with calling(Sandbox(faults=[fault])) as api:
        with anyio.move_on_after(5), suppress(*UNREADABLE):
            await api.post(VIDEO, CLIP, key="k")

        assert [] == api.sandbox.paid_tasks


async def test_a_prompt_can_ask_for_faults_of_its_tasks_polls_and_files() -> None:
    """Each task's polls are counted apart; other tasks are not affected."""
    async with calling(Sandbox()) as api:
        lagging = await api.post(VIDEO, {"prompt": "A train [[fault:lag*2]]"})
        paged = await api.post(VIDEO, {"prompt": "A train [[fault:page@task]]"})
        plain = await api.post(VIDEO, CLIP)

        assert [404, 404, 200] == [(await api.task(lagging.id)).status for _ in range(3)]
        with pytest.raises(aiohttp.ContentTypeError):
            await api.task(paged.id)
        assert [200, 200] == [(await api.task(each.id)).status for each in (paged, plain)]


async def test_fields_are_set_and_left_out_of_a_document_and_of_nothing_else() -> None:
    """A refusal stays a refusal."""
    rule = Fault.read({"effect": "edit", "fields": {"status": "queued"}, "without": ["id"], "count": None})
    async with calling(Sandbox(faults=[rule])) as api:
        reply, refusal = await api.post(VIDEO, CLIP), await api.post(VIDEO, {})

    assert "queued" == reply.document["status"]
    assert "id" not in reply.document
    assert "invalid_request" == refusal.code


def test_a_rule_can_be_in_force_for_a_while() -> None:
    """Counted from its first match, not from the start."""
    active = ActiveFaults([Fault(effect="drop", count=None, lasts=10)])
    call = Call(number=1, endpoint="task", method="GET", path="/tasks/x")

    assert [True, True, False] == [bool(active.triggered_by(call, now=now)) for now in (100.0, 110.0, 110.1)]


async def test_the_callers_own_words_can_be_echoed() -> None:
    """Some servers repeat the credentials that they refuse."""
    async with calling(Sandbox(faults=[NAMED["echo-key"]])) as api:
        url = f"{api.sandbox.base_url}/tasks/sd2_x"
        async with api.session.get(url, headers={"Authorization": f"Bearer {api.key}"}) as response:
            assert f"you sent Bearer {api.key}" == await response.text()


def test_a_rule_is_told_shortly_or_whole() -> None:
    """Both can be read back."""
    for fault in NAMED.values():
        assert fault == Fault.read(fault.document(whole=False))
    assert {"effect": "drop", "moment": "before"} == NAMED["drop-before"].document(whole=False)


async def test_credits_that_another_request_spent_meanwhile_are_spent() -> None:
    """Both were looked at while there was enough for one; the second is refused when its work begins."""
    early = Behaviour(before_key=frozenset({"balance"}))
    slow = Fault(effect="delay", moment="before", seconds=5, count=None)
    statuses: list[int] = []

    async def post(key: str) -> None:
        statuses.append((await api.post(VIDEO, CLIP, key=key)).status)

    async with (
        calling(Sandbox(credits=30, behaviour=early, faults=[slow])) as api,
        anyio.create_task_group() as callers,
    ):
        callers.start_soon(post, "one")
        callers.start_soon(post, "other")

    assert [202, 402] == sorted(statuses)
    assert 1 == len(api.sandbox.paid_tasks)
