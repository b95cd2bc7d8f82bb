"""Tests of section L that need the sandbox: what a hostile server or a foreign file can do with the key."""

from __future__ import annotations

import html
import json
import logging
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest

from seedance_async import BatchRunner, GptImage2, Job, RetryPolicy, SeedanceClient, SeedanceError
from seedance_async.sandbox import Fault, Sandbox
from tests.faults.helpers import VIDEO, client_for
from tests.rooms.file_store import picture
from tests.rooms.raw_server import answer, raw_server

if TYPE_CHECKING:
    from pathlib import Path

    from tests.rooms.raw_server import Exchange

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


ESCAPED = "".join(f"\\u{ord(mark):04X}" for mark in CANARY)
PERCENT = "".join(f"%{ord(mark):02x}" for mark in CANARY)
ECHOES = {
    "escaped": ESCAPED,
    "partly escaped": CANARY.replace("_", "\\u005f"),
    "percent-encoded": PERCENT,
    "both": PERCENT.replace("%", "\\u0025"),
    "entities": CANARY.replace("_", "&lowbar;"),
    "JSON in JSON": ESCAPED.replace("\\", "\\\\"),
    "upper case": CANARY.upper(),
}


def reveals(said: str) -> bool:
    """Whether the key is in a text, or in what the text decodes to."""
    for _ in range(6):
        if CANARY in said.lower():
            return True
        escape = r"\\+u([0-9a-fA-F]{4})"
        said = html.unescape(unquote(re.sub(escape, lambda found: chr(int(found[1], 16)), said)))
    return False


@pytest.mark.case(158, 159)
@pytest.mark.parametrize("echo", ECHOES)
@pytest.mark.parametrize("status", [200, 400, 401, 500])
@pytest.mark.parametrize(
    "body",
    [
        '{"error":{"code":"invalid_request","message":"bad %s"}}',
        '{"error":{"code":"%s","message":"no"}}',
        '{"id":"%s","status":"failed","error":{"code":"x","message":"%s"}}',
        '{"id":"sd2_a","status":"failed","%s":{"%s":["%s"]}}',
        "<title>Bearer %s</title>",
    ],
)
async def test_an_answer_that_encodes_the_key_is_cleaned(
    echo: str, status: int, body: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Escaped in an envelope, a code, an id, the name of a member, or a page; in the headers as well."""
    caplog.set_level(logging.DEBUG)
    spelled = ECHOES[echo]
    headers = f"X-Request-Id: {spelled}", f"Location: https://elsewhere.example/?key={spelled}"
    texts: list[str] = []
    async with (
        raw_server(answer(status, body.replace("%s", spelled).encode(), *headers)) as server,
        SeedanceClient(CANARY, server.url, retry=ONCE) as client,
    ):
        for call in (client.submit(VIDEO), client.get_task("sd2_a")):
            try:
                said = await call
                texts += [repr(said), repr(said.raw), json.dumps(said.raw)]
            except SeedanceError as error:
                texts += [repr(error), str(error), repr(vars(error))]

    assert 2 <= len(texts)
    assert not reveals("\n".join(texts) + caplog.text)


@pytest.mark.case(159)
@pytest.mark.parametrize("echo", ECHOES)
async def test_a_redirect_that_encodes_the_key_is_told_without_it(echo: str) -> None:
    """The message names the target."""
    location = f"Location: https://elsewhere.example/{ECHOES[echo]}?next=%2F"
    async with (
        raw_server(answer(307, b"", location)) as server,
        SeedanceClient(CANARY, server.url, retry=ONCE) as client,
    ):
        with pytest.raises(SeedanceError, match="elsewhere") as caught:
            await client.get_task("sd2_a")

    assert not reveals(str(caught.value) + repr(vars(caught.value)))


@pytest.mark.case(158, 159)
@pytest.mark.parametrize("echo", ECHOES)
async def test_no_file_of_a_batch_holds_a_key_that_was_encoded(echo: str, tmp_path: Path) -> None:
    """The journal keeps answers as received, results and sidecars what was read of them; and all is saved."""
    spelled = ECHOES[echo]
    image = picture(2000)

    async def serve(exchange: Exchange) -> None:
        seen = exchange.seen
        at = (
            f'"id": "gpt2_a1", "credits_used": 8, "model": "gpt-image-2", "note": "{spelled}", "{spelled}": 1'
        )
        if seen.method == "POST":
            await answer(202, f'{{{at}, "status": "processing"}}'.encode())(exchange)
        elif "/tasks/" in seen.path:
            output = f'[{{"url": "{server.url}/file", "via": "{spelled}"}}]'
            await answer(200, f'{{{at}, "status": "completed", "output": {output}}}'.encode())(exchange)
        else:
            await answer(200, image)(exchange)

    async with (
        raw_server(serve) as server,
        SeedanceClient(CANARY, server.url) as client,
        BatchRunner(client, tmp_path) as batch,
    ):
        jobs = [Job(GptImage2(prompt="A red kite"), name="kite")]
        results = [result async for result in batch.run(jobs)]

    assert ["saved"] == [result.state for result in results]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert 4 <= len(files)
    assert not [path for path in files if reveals(path.read_bytes().decode("latin-1"))]


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
