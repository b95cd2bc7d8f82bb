"""URLs that give no file any more: the API is asked for another one, once for all files of a task."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

import pytest

from seedance_async import BatchRunner, DownloadError, Job, NanoBananaPro, SeedanceClient
from seedance_async.sandbox import Fault, Sandbox
from tests.rooms.file_store import finished, picture, save
from tests.rooms.raw_server import answer, raw_server, says

if TYPE_CHECKING:
    from pathlib import Path

    from tests.rooms.raw_server import Behaviour

BODY = picture(5000)
STALE: dict[str, Behaviour] = {
    "page": answer(200, b"<html>This link has expired</html>", "Content-Type: text/html"),
    "xml": answer(200, b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>"),
    "json": answer(200, {"error": {"code": "gone", "message": "no"}}),
    "empty": answer(200, b""),
    "error": answer(500, b""),
    "busy": answer(503, b"", "Retry-After: 1"),
    "forbidden": answer(403, b""),
    "nothing": says(b""),
    "garbage": says(b"SSH-2.0-OpenSSH\r\n"),
    "login": answer(302, b"", "Location: /api/v1"),
    "no range": answer(416, b""),
    "login page over http": answer(302, b"", "Location: http://login.example.com/"),
    "login page of the network": answer(302, b"", "Location: https://192.168.1.1/login"),
    "nowhere": answer(302, b"", "Location: https://[/"),
}


@pytest.mark.case(105)
@pytest.mark.parametrize("how", STALE)
async def test_a_url_that_gives_no_file_is_asked_for_anew(how: str, tmp_path: Path) -> None:
    """Whatever the store says in its place."""
    async with raw_server(STALE[how]) as old, raw_server(answer(200, BODY)) as new:
        (path,) = await save(finished(old.url), tmp_path, fresh=finished(new.url))

    assert BODY == path.read_bytes()
    assert 1 == len(new.seen)


@pytest.mark.case(105)
async def test_a_host_that_is_gone_is_asked_for_anew(tmp_path: Path) -> None:
    """Nobody listens there any more."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    async with raw_server(answer(200, BODY)) as new:
        old = f"http://127.0.0.1:{port}/kite.png"
        (path,) = await save(finished(old), tmp_path, fresh=finished(new.url))

    assert BODY == path.read_bytes()


async def test_a_url_that_stays_the_same_is_not_tried_eight_times(tmp_path: Path) -> None:
    """Four attempts without an answer are enough for one run; the error says the first reason."""
    async with raw_server(answer(500)) as server:
        with pytest.raises(DownloadError, match="HTTP 500") as caught:
            await save(finished(server.url), tmp_path)

    assert 4 == len(server.seen)
    assert caught.value.gone


async def test_an_error_of_a_download_names_no_signature(tmp_path: Path) -> None:
    """In no text, and in no exception behind it."""
    async with raw_server(says(b"SSH-2.0-OpenSSH\r\n")) as server:
        with pytest.raises(DownloadError) as caught:
            await save(finished(f"{server.url}/k.png?signature=secret"), tmp_path)
    reported: BaseException | None = caught.value
    while reported is not None:
        assert "secret" not in f"{reported!r} {reported} {reported.args}"
        reported = reported.__cause__ or reported.__context__


@pytest.mark.case(105)
@pytest.mark.parametrize("effect", [{"effect": "status", "status": 500}, {"effect": "drop"}], ids=str)
async def test_a_batch_asks_in_the_same_run_and_pays_once(effect: dict[str, object], tmp_path: Path) -> None:
    """The fresh URLs are on record, too."""
    broken = Fault.read({"on": "media", "count": 4, **effect})
    async with (
        Sandbox(faults=[broken]) as sandbox,
        SeedanceClient(sandbox.api_key, sandbox.base_url) as client,
        BatchRunner(client, tmp_path) as batch,
    ):
        jobs = [Job(NanoBananaPro(prompt="A red kite"), name="kite")]
        states = [str(result.state) async for result in batch.run(jobs)]

        assert ["saved"] == states
        assert 1 == len(sandbox.paid_tasks)
        assert 5 == len(sandbox.media_requests)
    assert (tmp_path / "kite.png").exists()
    (line,) = (tmp_path / "results.jsonl").read_text().splitlines()
    assert ["kite.png"] == json.loads(line)["files"]
