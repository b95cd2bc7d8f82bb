"""Tests of section L that need the sandbox: what a hostile server or a foreign file can do with the key."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from seedance_async import RetryPolicy, SeedanceClient, SeedanceError
from seedance_async.sandbox import Fault, Sandbox
from tests.faults.helpers import VIDEO, client_for

if TYPE_CHECKING:
    from pathlib import Path

CANARY = "sk_test_canary_0123456789"
ONCE = RetryPolicy(max_elapsed=1.0)


@pytest.mark.case(149, 152)
@pytest.mark.parametrize("status", [200, 400, 401, 404, 422, 429, 500, 503])
@pytest.mark.parametrize(
    "body",
    [
        "you sent {authorization}",
        '{"error":{"code":"invalid_request","message":"bad {authorization}"}}',
        '{"error":{"code":"{authorization}","message":"no"}}',
        '{"id":"{authorization}","status":"failed","error":"{authorization}"}',
    ],
)
async def test_an_answer_that_repeats_the_key_is_cleaned(
    status: int, body: str, caplog: pytest.LogCaptureFixture
) -> None:
    """In a page, an envelope, a code, or a task: it reaches neither errors nor logs nor results."""
    caplog.set_level(logging.DEBUG)
    echo = Fault(effect="status", moment="before", status=status, body=body, count=None)
    texts: list[str] = []
    async with (
        Sandbox(api_key=CANARY, faults=[echo]) as sandbox,
        client_for(sandbox, retry=ONCE) as client,
    ):
        for call in (client.submit(VIDEO), client.get_task("sd2_a")):
            try:
                answer = await call
                texts += [repr(answer), repr(answer.raw)]
            except SeedanceError as error:
                texts += [repr(error), str(error), repr(vars(error))]

    assert texts
    assert CANARY not in "\n".join(texts) + caplog.text


@pytest.mark.case(152)
@pytest.mark.parametrize("name", ["X-Request-Id", "Location", "Retry-After", "Date"])
async def test_a_header_that_repeats_the_key_is_cleaned(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Error messages quote some headers, and carry others as attributes."""
    caplog.set_level(logging.DEBUG)
    headers = {name: f"https://elsewhere.example/?key={CANARY}"}
    texts: list[str] = []
    for status in (307, 401, 429, 500):
        echo = Fault(effect="status", moment="before", status=status, headers=headers, count=None)
        async with (
            Sandbox(api_key=CANARY, faults=[echo]) as sandbox,
            client_for(sandbox, retry=ONCE) as client,
        ):
            with pytest.raises(SeedanceError) as caught:
                await client.get_task("sd2_a")
            texts += [repr(caught.value), str(caught.value), repr(vars(caught.value))]

    assert CANARY not in "\n".join(texts) + caplog.text


@pytest.mark.case(156)
async def test_credentials_of_a_netrc_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are for other programs; with them the API would not even know the caller."""
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    async with Sandbox() as sandbox, SeedanceClient(sandbox.api_key, sandbox.base_url) as client:
        task = await client.generate(VIDEO)
        await client.download(task, tmp_path / "out")

    assert [] == sandbox.leaks
    assert {"account-1"} == {record.account for record in sandbox.requests}
