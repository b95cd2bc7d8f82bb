"""Tests of a repeated Idempotency-Key, under every reading of the documents (U1 to U5, U7)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import anyio
import pytest

from seedance_async.sandbox import AccountSpec, Behaviour, Conditions, Fault, Sandbox
from tests.sandbox.api import CLIP, GPT_IMAGE, NANO_BANANA, PICTURE, VIDEO, calling

if TYPE_CHECKING:
    from seedance_async.sandbox.options import KeyScope, SameBody, SubmitCheck

TEN_SECONDS = Conditions(duration=lambda _order, _rng: 10.0)
ACCEPTED, CONFLICT = (202, ""), (409, "idempotency_conflict")


async def test_a_repeated_key_gets_the_first_answer_again_and_is_charged_once() -> None:
    """U1 "replay": byte for byte, although the balance and the task have moved on."""
    async with calling(Sandbox()) as api:
        first = await api.post(GPT_IMAGE, PICTURE, key="k")
        await api.post(GPT_IMAGE, PICTURE, key="other")
        again = await api.post(GPT_IMAGE, PICTURE, key="k")

    assert first.document == again.document
    assert 2 == len(api.sandbox.paid_tasks)
    assert [False, False, True] == [record.replayed for record in api.sandbox.requests]


async def test_a_repeated_key_can_be_refused_for_good() -> None:
    """U1 "reject": a lost answer then hides a paid task."""
    async with calling(Sandbox(behaviour=Behaviour(repeated_key="reject"))) as api:
        first, again = [await api.post(VIDEO, CLIP, key="k") for _ in range(2)]

    assert [ACCEPTED, CONFLICT] == [(reply.status, reply.code) for reply in (first, again)]
    assert 1 == len(api.sandbox.paid_tasks)


async def test_without_a_key_every_post_is_a_new_task() -> None:
    """Nothing else tells a retry from a second order."""
    async with calling(Sandbox()) as api:
        ids = {(await api.post(VIDEO, CLIP)).id for _ in range(2)}

    assert 2 == len(ids)


async def test_another_body_under_the_key_is_a_conflict() -> None:
    """The documents' first meaning of 409."""
    async with calling(Sandbox()) as api:
        await api.post(VIDEO, CLIP, key="k")
        reply = await api.post(VIDEO, {"prompt": "Another train"}, key="k")

    assert CONFLICT == (reply.status, reply.code)


async def test_a_request_still_at_work_is_a_conflict_and_then_replays() -> None:
    """U2 "request": the second meaning of 409, over as soon as the first answer is written."""
    slow = Fault(effect="delay", on="submit", seconds=5)
    async with calling(Sandbox(faults=[slow])) as api, anyio.create_task_group() as group:
        group.start_soon(lambda: api.post(VIDEO, CLIP, key="k"))
        await anyio.sleep(1)
        during, still = [await api.post(VIDEO, CLIP, key="k") for _ in range(2)]
        await anyio.sleep(5)
        after = await api.post(VIDEO, CLIP, key="k")

    assert [CONFLICT, CONFLICT, ACCEPTED] == [(reply.status, reply.code) for reply in (during, still, after)]
    assert 1 == len(api.sandbox.paid_tasks)


async def test_a_task_still_at_work_is_a_conflict_under_the_other_reading() -> None:
    """U2 "task": the caller must ask again for as long as the generation takes."""
    sandbox = Sandbox(behaviour=Behaviour(still_running="task"), conditions=TEN_SECONDS)
    async with calling(sandbox) as api:
        first = await api.post(VIDEO, CLIP, key="k")
        await anyio.sleep(9)
        during = await api.post(VIDEO, CLIP, key="k")
        await anyio.sleep(2)
        after = await api.post(VIDEO, CLIP, key="k")

    assert CONFLICT == (during.status, during.code)
    assert first.document == after.document


async def test_a_refusal_for_credits_is_forgotten_by_default() -> None:
    """U3: after a top-up the same key succeeds."""
    async with calling(Sandbox(credits=0)) as api:
        refused = await api.post(VIDEO, CLIP, key="k")
        api.sandbox.top_up(30)
        again = await api.post(VIDEO, CLIP, key="k")

    assert [402, 202] == [refused.status, again.status]


async def test_a_refusal_for_credits_can_stick_to_its_key() -> None:
    """U3 "4xx": after a top-up only a new key succeeds."""
    sandbox = Sandbox(credits=0, behaviour=Behaviour(stored=frozenset({"2xx", "4xx"})))
    async with calling(sandbox) as api:
        await api.post(VIDEO, CLIP, key="k")
        sandbox.top_up(30)
        again, renewed = await api.post(VIDEO, CLIP, key="k"), await api.post(VIDEO, CLIP, key="k2")

    assert [402, 202] == [again.status, renewed.status]


async def test_a_refusal_does_not_displace_what_stands_under_its_key() -> None:
    """U3: the copy of a paid POST is refused on the way; the key still gives the task."""
    faults = [
        Fault(effect="duplicate", on="submit", moment="before"),
        Fault(effect="status", on="submit", moment="before", status=402),
    ]
    sandbox = Sandbox(behaviour=Behaviour(stored=frozenset({"2xx", "4xx"})), faults=faults)
    async with calling(sandbox) as api:
        refused, again = [await api.post(VIDEO, CLIP, key="k") for _ in range(2)]

    assert [402, 202] == [refused.status, again.status]
    assert 1 == len(api.sandbox.paid_tasks)


async def test_a_refusal_for_the_limit_never_sticks_to_its_key() -> None:
    """U3: it is about the window, not about the work; also where the limit comes behind the key."""
    behaviour = Behaviour(stored=frozenset({"2xx", "4xx", "5xx"}), before_key=frozenset({"auth"}))
    async with calling(Sandbox(behaviour=behaviour)) as api:
        statuses = [(await api.post(VIDEO, CLIP, key=str(number))).status for number in range(31)]
        await anyio.sleep(60)
        again = await api.post(VIDEO, CLIP, key="30")

    assert [202] * 30 + [429] == statuses
    assert 202 == again.status


async def test_a_server_error_can_poison_its_key() -> None:
    """U3 "5xx": the task is paid, and the key answers 500 for ever."""
    sandbox = Sandbox(
        behaviour=Behaviour(stored=frozenset({"2xx", "5xx"})), faults=[Fault(effect="status", status=500)]
    )
    async with calling(sandbox) as api:
        statuses = [(await api.post(VIDEO, CLIP, key="k")).status for _ in range(3)]

    assert [500, 500, 500] == statuses
    assert 1 == len(sandbox.paid_tasks)


async def test_a_server_error_after_the_work_is_healed_by_a_retry_by_default() -> None:
    """U3: the key still holds the 202 that the caller never saw."""
    async with calling(Sandbox(faults=[Fault(effect="status", status=500)])) as api:
        statuses = [(await api.post(VIDEO, CLIP, key="k")).status for _ in range(2)]

    assert [500, 202] == statuses
    assert 1 == len(api.sandbox.paid_tasks)


async def test_a_forgotten_key_pays_a_second_time() -> None:
    """U4: what a resume a day later risks."""
    async with calling(Sandbox()) as api:
        await api.post(VIDEO, CLIP, key="k")
        await anyio.sleep(24 * 3600 - 1)
        within = await api.post(VIDEO, CLIP, key="k")
        await anyio.sleep(1)
        beyond = await api.post(VIDEO, CLIP, key="k")

    assert within.id != beyond.id
    assert 2 == len(api.sandbox.paid_tasks)


@pytest.mark.parametrize(
    ("same_body", "respaced", "changed"),
    [("bytes", CONFLICT, CONFLICT), ("values", ACCEPTED, CONFLICT), ("ignored", ACCEPTED, ACCEPTED)],
)
async def test_bodies_are_compared_as_told(
    same_body: SameBody, respaced: tuple[int, str], changed: tuple[int, str]
) -> None:
    """U5: a serialiser that changes between run and resume turns a retry into a conflict."""
    body = {"prompt": "A train", "fixed_lens": False}
    turned = json.dumps(dict(reversed(body.items())), indent=1).encode()
    async with calling(Sandbox(behaviour=Behaviour(same_body=same_body))) as api:
        await api.post(VIDEO, body, key="k")
        replies = [await api.post(VIDEO, turned, key="k"), await api.post(VIDEO, CLIP, key="k")]

    assert [respaced, changed] == [(reply.status, reply.code) for reply in replies]
    assert 1 == len(api.sandbox.paid_tasks)


async def test_true_and_one_are_different_values() -> None:
    """U5 "values" compares JSON, not what Python takes for equal."""
    async with calling(Sandbox(behaviour=Behaviour(same_body="values"))) as api:
        await api.post(GPT_IMAGE, {**PICTURE, "batch_count": 1}, key="k")
        reply = await api.post(GPT_IMAGE, {**PICTURE, "batch_count": True}, key="k")

    assert CONFLICT == (reply.status, reply.code)


@pytest.mark.parametrize(("scope", "outcome"), [("endpoint", ACCEPTED), ("account", CONFLICT)])
async def test_equal_keys_of_two_endpoints_meet_as_told(scope: KeyScope, outcome: tuple[int, str]) -> None:
    """U5: a key counted per account would refuse a caller that counts its keys per endpoint."""
    async with calling(Sandbox(behaviour=Behaviour(key_scope=scope))) as api:
        await api.post(VIDEO, CLIP, key="k")
        reply = await api.post(NANO_BANANA, {**CLIP, "type": "text-to-image"}, key="k")

    assert outcome == (reply.status, reply.code)


async def test_two_api_keys_of_an_account_do_not_meet_under_the_narrowest_scope() -> None:
    """U5 "key": a resume with another key of the same owner pays again."""
    accounts = [AccountSpec(keys=("sk_one", "sk_two"))]
    async with calling(Sandbox(accounts=accounts, behaviour=Behaviour(key_scope="key"))) as api:
        ids = {(await api.post(VIDEO, CLIP, key="k", api_key=key)).id for key in ("sk_one", "sk_two")}

    assert 2 == len(ids)


async def test_accounts_never_share_keys() -> None:
    """A guessed key must not show another owner's task."""
    accounts = [AccountSpec(name="a", keys=("sk_a",)), AccountSpec(name="b", keys=("sk_b",))]
    async with calling(Sandbox(accounts=accounts, behaviour=Behaviour(key_scope="account"))) as api:
        ids = {(await api.post(VIDEO, CLIP, key="k", api_key=key)).id for key in ("sk_a", "sk_b")}

    assert 2 == len(ids)


async def test_a_balance_check_before_the_key_refuses_the_retry_of_what_was_paid() -> None:
    """U7: the first attempt took the last credits, so the 402 of the retry proves nothing."""
    before: frozenset[SubmitCheck] = frozenset({"auth", "limit", "balance"})
    async with calling(Sandbox(credits=30, behaviour=Behaviour(before_key=before))) as api:
        statuses = [(await api.post(VIDEO, CLIP, key="k")).status for _ in range(2)]

    assert [202, 402] == statuses
    assert 1 == len(api.sandbox.paid_tasks)


async def test_a_limit_behind_the_key_lets_replays_through() -> None:
    """U7 the other way round: a replay spends nothing of the window."""
    async with calling(Sandbox(behaviour=Behaviour(before_key=frozenset({"auth"})))) as api:
        replays = {(await api.post(VIDEO, CLIP, key="k")).status for _ in range(40)}
        fresh = [(await api.post(VIDEO, CLIP, key=f"k{number}")).status for number in range(30)]

    assert {202} == replays
    assert [202] * 29 + [429] == fresh


async def test_a_revoked_key_still_replays_where_auth_comes_later() -> None:
    """U7: with ``auth`` behind the key, the answer of a paid POST survives the API key's end."""
    async with calling(Sandbox(behaviour=Behaviour(before_key=frozenset({"limit"})))) as api:
        await api.post(VIDEO, CLIP, key="k")
        api.sandbox.revoke(api.key)

        assert 202 == (await api.post(VIDEO, CLIP, key="k")).status
        assert 401 == (await api.post(VIDEO, CLIP, key="new")).status


@pytest.mark.parametrize("wrong", [{"before_key": frozenset({"audit"})}, {"stored": frozenset({"3xx"})}])
def test_an_unheard_of_switch_is_named(wrong: dict[str, frozenset[str]]) -> None:
    """A misspelt check would otherwise be no check at all."""
    with pytest.raises(ValueError, match=r"audit|3xx"):
        Behaviour(**wrong)  # type: ignore[arg-type]  # wrong on purpose
