"""A test of the API key over everything the package does: it reaches the API's origin and nothing else."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from seedance_async import (
    BatchRunner,
    GptImage2,
    Job,
    RetryPolicy,
    Seedance2Video,
    SeedanceClient,
    SeedanceError,
)
from seedance_async.sandbox import Fault, Sandbox

if TYPE_CHECKING:
    from pathlib import Path

    from seedance_async.models import Request

CANARY = "sk_test_canary_c0ffee_0123456789"
REQUESTS: list[Request] = [
    GptImage2(prompt="A red kite over the sea"),
    GptImage2(prompt="A red kite [[fault:drop]]"),
    GptImage2(prompt="A red kite [[fault:garbage]]"),
    GptImage2(prompt="A red kite [[sandbox:fail]]"),
    Seedance2Video(prompt="A red kite over the sea", duration=4),
]


@pytest.mark.case(149, 151, 153)
async def test_the_key_is_in_no_log_no_file_no_repr_and_at_no_other_origin(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch with faults, its journal, files, state and every log at DEBUG, searched for the canary."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("SEEDANCE_STATE_DIR", str(tmp_path / "state"))
    texts: list[str] = []
    broken = Fault(effect="status", on="media", status=500, count=2)
    async with (
        Sandbox(api_key=CANARY, faults=[broken]) as sandbox,
        SeedanceClient(CANARY, sandbox.base_url, retry=RetryPolicy(max_elapsed=120.0)) as client,
    ):
        texts += [repr(completion) async for completion in client.as_completed(REQUESTS)]
        async with BatchRunner(client, tmp_path / "batch") as batch:
            jobs = [Job(name=f"kite-{n}", request=request) for n, request in enumerate(REQUESTS)]
            texts += [repr(result) async for result in batch.run(jobs)]
        sandbox.revoke(CANARY)
        try:
            await client.submit(REQUESTS[0])
        except SeedanceError as error:
            texts.append(repr(error))
        texts += [repr(client), repr(client.usage), repr(vars(client)), repr(vars(client.running_engine()))]

    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sandbox.leaks == []
    assert len(files) > len(REQUESTS)
    assert CANARY not in caplog.text + "".join(texts)
    assert [] == [path for path in files if CANARY.encode() in path.read_bytes()]
