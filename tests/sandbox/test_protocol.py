"""Tests of each endpoint against the vendor's documents."""

from __future__ import annotations

import io
import re
from datetime import datetime
from typing import TYPE_CHECKING

import anyio
import pytest

from seedance_async.sandbox import AccountSpec, Behaviour, Conditions, Sandbox
from tests.sandbox.api import CLIP, GPT_IMAGE, NANO_BANANA, PICTURE, VIDEO, calling

if TYPE_CHECKING:
    from collections.abc import Mapping

BANANA = {"type": "text-to-image", "prompt": "A packaging mockup"}
TEN_SECONDS = Conditions(duration=lambda _order, _rng: 10.0)


async def test_a_video_submit_is_answered_202_as_documented() -> None:
    """Ids, echo and price; what is left of the balance is told by the image endpoints only."""
    async with calling(Sandbox()) as api:
        reply = await api.post(VIDEO, CLIP)

    assert 202 == reply.status
    assert re.fullmatch(r"sd2_\w+", reply.id)
    assert {
        "id": reply.id, "status": "processing", "model": "seedance2", "quality_tier": "standard",
        "channel": "standard", "credits_used": 30,
    } == reply.document  # fmt: skip


async def test_an_image_submit_also_tells_what_is_left() -> None:
    """``remaining_credits`` is the one place where the API shows a balance."""
    async with calling(Sandbox(credits=128)) as api:
        reply = await api.post(GPT_IMAGE, PICTURE)

    assert {
        "id": reply.id, "status": "processing", "model": "gpt-image-2", "credits_used": 8,
        "remaining_credits": 120,
    } == reply.document  # fmt: skip


async def test_a_nano_banana_submit_carries_the_providers_request_id() -> None:
    """The documents show ``kie_…`` beside the task's id."""
    async with calling(Sandbox(credits=132)) as api:
        reply = await api.post(NANO_BANANA, BANANA)

    assert re.fullmatch(r"nbp_\w+", reply.id)
    assert re.fullmatch(r"kie_\w+", str(reply.document["request_id"]))
    assert (12, 120) == (reply.document["credits_used"], reply.document["remaining_credits"])


async def test_a_batch_is_several_tasks_and_each_is_charged() -> None:
    """``batch_count`` makes one POST out of several; the first id is the answer's own."""
    async with calling(Sandbox(credits=100)) as api:
        reply = await api.post(GPT_IMAGE, {**PICTURE, "batch_count": 4})
        ids = reply.document["batch_task_ids"]

        assert isinstance(ids, list)
        assert (4, reply.id) == (len(set(ids)), ids[0])
        assert (4, 0) == (reply.document["batch_success"], reply.document["batch_failed"])
        assert (32, 68) == (reply.document["credits_used"], reply.document["remaining_credits"])
        assert [8, 8, 8, 8] == [entry.credits for entry in api.sandbox.ledger if entry.kind == "charge"]


async def test_images_of_a_batch_that_are_not_accepted_are_not_charged() -> None:
    """Partial success inside one POST: two of four were refused."""
    async with calling(Sandbox()) as api:
        reply = await api.post(
            GPT_IMAGE, {**PICTURE, "prompt": "[[sandbox:batch-failed=2]]", "batch_count": 4}
        )

    assert (2, 2) == (reply.document["batch_success"], reply.document["batch_failed"])
    assert 16 == reply.document["credits_used"]
    assert 2 == len(api.sandbox.tasks)


@pytest.mark.parametrize(
    ("path", "body"),
    [(VIDEO, CLIP), (GPT_IMAGE, PICTURE), (NANO_BANANA, BANANA)],
    ids=["video", "gpt", "nano"],
)
async def test_a_poll_before_the_end_shows_no_output(path: str, body: Mapping[str, object]) -> None:
    """``processing`` carries neither output nor error, and has refunded nothing."""
    async with calling(Sandbox(conditions=TEN_SECONDS)) as api:
        task = await api.task((await api.post(path, body)).id)

    assert 200 == task.status
    assert ("processing", None, None, 0) == tuple(
        task.document[name] for name in ("status", "output", "error", "credits_refunded")
    )
    assert task.document["created_at"] == task.document["updated_at"]


async def test_a_completed_video_has_two_urls_and_a_seed() -> None:
    """The first of the three output shapes."""
    async with calling(Sandbox(conditions=TEN_SECONDS)) as api:
        submitted = await api.post(VIDEO, {**CLIP, "seed": 123})
        await anyio.sleep(10)
        task = (await api.task(submitted.id)).document

    output = task["output"]
    assert isinstance(output, dict)
    assert {"video_url", "last_frame_url", "seed"} == output.keys()
    assert 123 == output["seed"]
    assert output["video_url"].startswith(api.sandbox.media_url)
    assert ("completed", "seedance2", "standard", "standard", 30, 0, None) == tuple(
        task[name]
        for name in (
            "status",
            "model",
            "quality_tier",
            "channel",
            "credits_used",
            "credits_refunded",
            "error",
        )
    )


async def test_completed_pictures_have_shapes_of_their_own() -> None:
    """GPT Image 2 gives a list of URLs, Nano Banana Pro an object with a list of objects."""
    async with calling(Sandbox(conditions=TEN_SECONDS)) as api:
        ids = [(await api.post(GPT_IMAGE, PICTURE)).id, (await api.post(NANO_BANANA, BANANA)).id]
        await anyio.sleep(10)
        gpt, banana = [(await api.task(task_id)).document["output"] for task_id in ids]

    assert isinstance(gpt, list)
    assert [str] == [type(url) for url in gpt]
    assert isinstance(banana, dict)
    assert [{"url", "provider_url"}] == [image.keys() for image in banana["images"]]


async def test_a_task_tells_how_long_it_took() -> None:
    """``updated_at`` minus ``created_at`` is the server's exact measure of the work, in ISO with a Z."""
    async with calling(Sandbox(conditions=TEN_SECONDS)) as api:
        submitted = await api.post(VIDEO, CLIP)
        await anyio.sleep(25)
        task = (await api.task(submitted.id)).document
    created, updated = str(task["created_at"]), str(task["updated_at"])

    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text) for text in (created, updated))
    assert 10.0 == (datetime.fromisoformat(updated) - datetime.fromisoformat(created)).total_seconds()


async def test_a_failed_task_gives_its_credits_back() -> None:
    """``[[sandbox:fail]]`` in a prompt fails one task for certain."""
    async with calling(Sandbox(credits=30, conditions=TEN_SECONDS)) as api:
        submitted = await api.post(VIDEO, {"prompt": "A train [[sandbox:fail]]"})
        await anyio.sleep(10)
        task = (await api.task(submitted.id)).document

        assert ("failed", None, 30, 30) == tuple(
            task[name] for name in ("status", "output", "credits_used", "credits_refunded")
        )
        assert isinstance(task["error"], str)
        assert 30 == api.sandbox.balance()
        assert [] == api.sandbox.paid_tasks


@pytest.mark.parametrize("api_key", ["sk_live_other", "", "sk test"], ids=["unknown", "empty", "spaced"])
async def test_an_unknown_key_is_refused(api_key: str) -> None:
    """Also for a poll, and before anything else is looked at."""
    async with calling(Sandbox()) as api:
        keyless = as_header(api_key)
        replies = [await api.post(VIDEO, CLIP, api_key=keyless), await api.task("sd2_x", api_key=keyless)]

    assert [(401, "unauthorized")] * 2 == [(reply.status, reply.code) for reply in replies]


def as_header(api_key: str) -> str:
    """Return what is sent: an empty header value cannot be told from none, so a blank stands for it."""
    return api_key or " "


async def test_a_revoked_key_is_refused_and_the_accounts_other_key_is_not() -> None:
    """Tasks belong to the account: another key of it still sees them."""
    sandbox = Sandbox(accounts=[AccountSpec(keys=("sk_one", "sk_two"))])
    async with calling(sandbox) as api:
        submitted = await api.post(VIDEO, CLIP, api_key="sk_one")
        sandbox.revoke("sk_one")

        assert 401 == (await api.task(submitted.id, api_key="sk_one")).status
        assert 200 == (await api.task(submitted.id, api_key="sk_two")).status


async def test_another_accounts_task_does_not_exist() -> None:
    """404 does not tell whether the task is missing or somebody else's."""
    sandbox = Sandbox(accounts=[AccountSpec(name="a", keys=("sk_a",)), AccountSpec(name="b", keys=("sk_b",))])
    async with calling(sandbox) as api:
        submitted = await api.post(VIDEO, CLIP, api_key="sk_a")
        foreign, missing = (
            await api.task(submitted.id, api_key="sk_b"),
            await api.task("sd2_no", api_key="sk_b"),
        )

    assert (404, "not_found") == (foreign.status, foreign.code)
    assert foreign.document == missing.document


async def test_a_short_balance_is_told_with_both_figures() -> None:
    """Users saw ``required_credits`` and ``available_credits`` beside the envelope; nothing is charged."""
    async with calling(Sandbox(credits=20)) as api:
        reply = await api.post(VIDEO, CLIP)

    assert (402, "insufficient_credits", 30, 20) == (
        reply.status, reply.code, reply.document["required_credits"], reply.document["available_credits"],
    )  # fmt: skip
    assert {} == api.sandbox.tasks


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        (VIDEO, {**CLIP, "duration": 5}, "duration: must be a string"),
        (VIDEO, {**CLIP, "seed": 1, "quality_tier": "mini"}, "seed: not supported"),
        (VIDEO, {**CLIP, "resolution": "4k"}, "resolution: 4k is available on quality_tier pro only"),
        (
            VIDEO,
            {**CLIP, "mode": "image-to-video", "image_url": "asset://1"},
            "asset:// URLs are not accepted",
        ),
        (VIDEO, {**CLIP, "provider": "x", "teamSlug": "y"}, "the server picks the provider"),
        (VIDEO, {"prompt": "Use @图片1 as the lead"}, "@图片1"),
        (VIDEO, {**CLIP, "fixed_lens": None}, "fixed_lens: must be true or false"),
        (NANO_BANANA, {**BANANA, "aspect_ratio": "1:1"}, "aspect_ratio: unsupported field"),
        (GPT_IMAGE, {"prompt": "No more"}, "resolution: is required"),
        (VIDEO, b"{", "not valid JSON"),
        (VIDEO, b"[]", "must be a JSON object"),
        (VIDEO, b"\xff", "not valid JSON"),
        (VIDEO, b"[" * 100_000, "not valid JSON"),
    ],
)
async def test_a_body_that_breaks_the_tables_is_refused_with_field_and_reason(
    path: str, body: Mapping[str, object] | bytes, named: str
) -> None:
    """The whole tables are in ``tests/contract``; this is how the answer looks."""
    async with calling(Sandbox()) as api:
        reply = await api.post(path, body)

    assert (400, "invalid_request") == (reply.status, reply.code)
    assert named in str(reply.document["error"])
    assert {} == api.sandbox.tasks


async def test_a_body_of_megabytes_is_refused_with_the_envelope() -> None:
    """Not with a page of the web framework's."""
    async with calling(Sandbox()) as api:
        headers = {"Authorization": f"Bearer {api.key}", "Content-Type": "application/json"}
        body = io.BytesIO(b'"' + b"x" * 2_000_000 + b'"')
        async with api.session.post(api.sandbox.base_url + VIDEO, data=body, headers=headers) as response:
            assert 400 == response.status
            assert "invalid_request" == (await response.json())["error"]["code"]


async def test_a_body_that_is_not_called_json_is_refused() -> None:
    """A form or plain text is no request of this API."""
    async with calling(Sandbox()) as api:
        headers = {"Authorization": f"Bearer {api.key}", "Content-Type": "text/plain"}
        url = api.sandbox.base_url + VIDEO
        async with api.session.post(url, data=b'{"prompt": "A train"}', headers=headers) as response:
            assert 400 == response.status


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v1/no/such", 404),
        ("GET", "/elsewhere", 404),
        ("GET", "/api/v1/video/seedance2", 405),
        ("POST", "/api/v1/tasks/sd2_x", 405),
        ("GET", "/api/v1/tasks/a/b", 405),
        ("DELETE", "/api/v1/tasks/sd2_x", 405),
    ],
)
async def test_unknown_paths_and_methods_get_the_envelope_too(method: str, path: str, status: int) -> None:
    """The API's own errors always look the same; nothing of them is counted or charged."""
    async with calling(Sandbox()) as api:
        origin = api.sandbox.base_url.removesuffix("/api/v1")
        async with api.session.request(method, origin + path) as response:
            document = await response.json()

    assert status == response.status
    assert {"code", "message"} == document["error"].keys()


async def test_the_thirty_first_request_of_a_minute_is_told_when_to_come_back() -> None:
    """429 with Retry-After in whole seconds, rounded up; after it the request is admitted."""
    async with calling(Sandbox()) as api:
        await anyio.sleep(0.5)
        replies = [await api.task("sd2_x") for _ in range(31)]
        refused = replies[-1]
        await anyio.sleep(float(refused.headers["Retry-After"]))
        again = await api.task("sd2_x")

    assert [404] * 30 + [429] == [reply.status for reply in replies]
    assert ("rate_limited", "60") == (refused.code, refused.headers["Retry-After"])
    assert 404 == again.status
    assert [True] * 30 + [False, True] == [record.admitted for record in api.sandbox.requests]


async def test_all_keys_of_an_account_share_its_window() -> None:
    """The limit is per account, not per key."""
    sandbox = Sandbox(accounts=[AccountSpec(keys=("sk_one", "sk_two"))])
    async with calling(sandbox) as api:
        for _ in range(30):
            await api.task("sd2_x", api_key="sk_one")

        assert 429 == (await api.task("sd2_x", api_key="sk_two")).status


async def test_polls_are_free_where_gets_do_not_count() -> None:
    """U6 the other way round."""
    async with calling(Sandbox(behaviour=Behaviour(gets_count=False))) as api:
        statuses = {(await api.task("sd2_x")).status for _ in range(40)}

    assert {404} == statuses
