"""The curl lines of the vendor's documents, word for word, run by curl itself against the sandbox.

Only the host and the key are exchanged. What comes back must have the fields of the documented answers, in
the documented order, each of the documented type.
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Final

import anyio
import pytest

from seedance_async.sandbox import Conditions, Sandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")

VIDEO: Final = r"""curl -X POST https://seedance2ai.io/api/v1/video/seedance2 \
  -H "Authorization: Bearer $SEEDANCE_API_KEY" \
  -H "Content-Type: application/json" \
  -H "Idempotency-Key: demo-video-001" \
  -d '{
    "mode": "text-to-video",
    "quality_tier": "standard",
    "prompt": "A cinematic shot of a glass train crossing a snowy mountain bridge",
    "aspect_ratio": "16:9",
    "duration": "5",
    "resolution": "720p"
  }'"""
GPT_IMAGE: Final = r"""curl -X POST https://seedance2ai.io/api/v1/image/gpt-image-2 \
  -H "Authorization: Bearer $SEEDANCE_API_KEY" \
  -H "Content-Type: application/json" \
  -H "Idempotency-Key: demo-gpt-image-001" \
  -d '{
    "type": "text-to-image",
    "prompt": "Editorial product photo of a transparent running shoe on chrome",
    "resolution": "1K",
    "aspect_ratio": "1:1"
  }'"""
NANO_BANANA: Final = r"""curl -X POST https://seedance2ai.io/api/v1/image/nano-banana-pro \
  -H "Authorization: Bearer $SEEDANCE_API_KEY" \
  -H "Content-Type: application/json" \
  -H "Idempotency-Key: demo-nbp-001" \
  -d '{
    "type": "text-to-image",
    "prompt": "A premium packaging mockup for an AI video studio",
    "image_size": "1:1",
    "resolution": "1K",
    "output_format": "png"
  }'"""
STATUS: Final = r"""curl https://seedance2ai.io/api/v1/tasks/sd2_xxxxx \
  -H "Authorization: Bearer $SEEDANCE_API_KEY" """

SUBMITTED: Final = {
    VIDEO: """{"id": "sd2_xxxxx", "status": "processing", "model": "seedance2", "quality_tier": "standard",
        "channel": "standard", "credits_used": 30}""",
    GPT_IMAGE: """{"id": "gpt2_xxxxx", "status": "processing", "model": "gpt-image-2", "credits_used": 8,
        "remaining_credits": 120}""",
    NANO_BANANA: """{"id": "nbp_xxxxx", "request_id": "kie_xxxxx", "status": "processing",
        "model": "nano-banana-pro", "credits_used": 12, "remaining_credits": 120}""",
}
COMPLETED: Final = {
    VIDEO: """{"id": "sd2_xxxxx", "status": "completed", "model": "seedance2", "quality_tier": "standard",
        "channel": "standard", "credits_used": 30, "credits_refunded": 0,
        "output": {"video_url": "https://...", "last_frame_url": "https://...", "seed": 123}, "error": null,
        "created_at": "2026-06-03T10:00:00.000Z", "updated_at": "2026-06-03T10:03:12.000Z"}""",
    GPT_IMAGE: """{"id": "gpt2_xxxxx", "status": "completed", "model": "gpt-image-2", "credits_used": 8,
        "credits_refunded": 0, "output": ["https://..."], "error": null,
        "created_at": "2026-06-03T10:00:00.000Z", "updated_at": "2026-06-03T10:01:24.000Z"}""",
    NANO_BANANA: """{"id": "nbp_xxxxx", "status": "completed", "model": "nano-banana-pro", "credits_used": 12,
        "credits_refunded": 0, "output": {"images": [{"url": "https://...", "provider_url": "https://..."}]},
        "error": null, "created_at": "2026-06-03T10:00:00.000Z", "updated_at": "2026-06-03T10:01:42.000Z"}""",
}
REFUSED: Final = """{"error": {"code": "invalid_request", "message": "Invalid request body"}}"""


@pytest.fixture
def anyio_backend() -> str:
    """Real time: curl is another process."""
    return "asyncio"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """A sandbox in which every task is ready at once."""
    async with Sandbox(conditions=Conditions(duration=lambda _order, _rng: 0.0)) as running:
        yield running


async def run(line: str, sandbox: Sandbox) -> object:
    """Let a shell run a line of the documents against the sandbox, and return the JSON it prints."""
    line = line.replace("https://seedance2ai.io/api/v1", sandbox.base_url).replace("curl ", "curl -sS ", 1)
    done = await anyio.run_process(line, env={"SEEDANCE_API_KEY": sandbox.api_key, "PATH": "/usr/bin:/bin"})
    document: object = json.loads(done.stdout)
    return document


def shape(value: object) -> object:
    """Return a document with the types of its values in the place of these, fields in order."""
    if isinstance(value, dict):
        return [(name, shape(each)) for name, each in value.items()]
    return [shape(each) for each in value] if isinstance(value, list) else type(value)


@pytest.mark.parametrize("line", [VIDEO, GPT_IMAGE, NANO_BANANA], ids=["video", "gpt", "nano"])
async def test_the_documents_submits_and_polls_are_answered_as_documented(
    line: str, sandbox: Sandbox
) -> None:
    """Whoever learnt the API from its documents finds it here."""
    submitted = await run(line, sandbox)
    assert isinstance(submitted, dict)
    completed = await run(STATUS.replace("sd2_xxxxx", submitted["id"]), sandbox)

    documented = json.loads(SUBMITTED[line])
    assert shape(documented) == shape(submitted)
    assert shape(json.loads(COMPLETED[line])) == shape(completed)
    names = ("status", "model", "credits_used")
    assert [documented[name] for name in names] == [submitted[name] for name in names]


async def test_a_line_run_twice_is_paid_once(sandbox: Sandbox) -> None:
    """The documents' keys are literal: running the example again must not buy a second film."""
    first, again = [await run(VIDEO, sandbox) for _ in range(2)]

    assert first == again
    assert 1 == len(sandbox.paid_tasks)


async def test_a_line_that_breaks_the_table_gets_the_documented_envelope(sandbox: Sandbox) -> None:
    """``duration`` without its quotes."""
    refused = await run(VIDEO.replace('"5"', "5"), sandbox)

    assert shape(json.loads(REFUSED)) == shape(refused)
