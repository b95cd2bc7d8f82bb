"""A test of the sandbox by Schemathesis, which generates requests from the OpenAPI document.

It sends valid and invalid bodies, headers, methods and chains of calls, and judges: no 5xx, nothing valid is
refused, nothing invalid accepted, every answer is a documented one. Several thousand requests in seconds, so
the loop is a real one and the sandbox fast.
"""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING

import anyio
import pytest

from seedance_async.sandbox import Conditions, Sandbox
from tests.sandbox.api import GPT_IMAGE, PICTURE, calling

if TYPE_CHECKING:
    from pathlib import Path

WITHIN = 50.0
PLENTY = Conditions(requests=10**9, speed=1000.0)


@pytest.fixture
def anyio_backend() -> str:
    """The real clock: another process takes part."""
    return "asyncio"


async def tried(sandbox: Sandbox, directory: Path, *options: str) -> None:
    """Have Schemathesis judge the sandbox; it ends within seconds, and makes the same of a seed."""
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{sandbox.admin_url}/openapi.json"),
        *("--header", f"Authorization: Bearer {sandbox.api_key}", "--seed", "1", "--continue-on-failure"),
        *("--generation-database", "none", "--no-color", *options),
    ]
    with anyio.fail_after(WITHIN):
        ending = await anyio.run_process(command, check=False, cwd=directory)
    assert 0 == ending.returncode, ending.stdout.decode() + ending.stderr.decode()


async def test_the_sandbox_keeps_its_document(tmp_path: Path) -> None:
    """With money and no limit: whatever the document allows is made, whatever it forbids is refused."""
    async with Sandbox(credits=10**12, conditions=PLENTY) as sandbox:
        await tried(sandbox, tmp_path, "--max-examples", "40")

    answers = Counter(record.status for record in sandbox.requests)
    assert {200, 202, 400, 401, 404, 405} <= answers.keys()
    assert min(answers[202], answers[400]) > 50


async def test_refusals_for_money_and_haste_are_documented_too(tmp_path: Path) -> None:
    """An account that is soon without credits, and allowed few requests: 402 and 429 in the same envelope."""
    async with Sandbox(credits=100, conditions=Conditions(requests=40, period=0.5)) as sandbox:
        await tried(sandbox, tmp_path, "--max-examples", "10", "--exclude-checks", "positive_data_acceptance")

    assert {402, 429} <= {record.status for record in sandbox.requests}


async def test_a_whole_number_may_be_written_with_a_point() -> None:
    """It found that 3.0 was refused; JSON knows one sort of number."""
    async with calling(Sandbox()) as api:
        reply = await api.post(GPT_IMAGE, {**PICTURE, "batch_count": 3.0})

    assert (202, 3) == (reply.status, reply.document["batch_success"])
