"""The review page's server over a real socket: what it shows, what it writes down, and whom it refuses."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from attrs import frozen
from yarl import URL

from seedance_async.batch import picks
from seedance_async.review.server import Review, serving
from seedance_async.sandbox import Sandbox
from tests.batch.helpers import opened, pictures, run_once

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

HOSTILE = "</script><img src=x onerror=alert(1)>"


@pytest.fixture
def anyio_backend() -> str:
    """The real clock: aiohttp's server closes idle connections by it."""
    return "asyncio"


@frozen
class Client:
    """A program that asks the server."""

    session: aiohttp.ClientSession
    url: URL

    @property
    def token(self) -> str:
        """Of the URL."""
        return self.url.path.strip("/")

    async def get(self, path: str, **headers: str) -> tuple[int, bytes, aiohttp.ClientResponse]:
        """Status, body and the rest of an answer."""
        url = URL(f"{self.url}{path}", encoded=True)
        async with self.session.get(
            url, headers={name.replace("_", "-"): value for name, value in headers.items()}
        ) as answer:
            return answer.status, await answer.read(), answer

    async def post(self, body: object, *, left_out: str = "", **headers: str) -> tuple[int, dict[str, Any]]:
        """Ask for a change as the page does, but for the headers given or left out."""
        own = {
            "Origin": str(self.url.origin()),
            "X-Review-Token": self.token,
            "Sec-Fetch-Site": "same-origin",
            "Content-Type": "application/json",
        }
        given = own | {name.replace("_", "-"): value for name, value in headers.items()}
        given.pop(left_out, None)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with self.session.post(self.url / "picks", data=data, headers=given) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text.startswith("{") else {"error": text}


@asynccontextmanager
async def reviewing(directory: Path) -> AsyncIterator[Client]:
    """Serve a directory, and be a client of it."""
    async with serving(Review(directory, str(directory))) as url, aiohttp.ClientSession() as session:
        yield Client(session, URL(url))


def batch(directory: Path) -> None:
    """A directory with results, the files of which are a few bytes."""
    hostname = "https://host.example"
    lines = [
        {
            "name": "boat",
            "task_ids": ["sd2_1"],
            "state": "saved",
            "files": ["boat.mp4"],
            "prompt": HOSTILE,
            "urls": [f"{hostname}/x?signature=s"],
            "image_url": f"{hostname}/y?signature=s",
        },
        {
            "name": "fox",
            "task_ids": ["nbp_1"],
            "state": "saved",
            "files": ["a b/fox #1.png"],
            "prompt": "A fox",
        },
        {
            "name": "refused",
            "task_ids": [],
            "state": "refused",
            "files": [],
            "prompt": "No",
            "error": HOSTILE,
        },
        {
            "name": "evil",
            "task_ids": ["x"],
            "files": ["../secret.png", "link.png", "/etc/hostname", "notes.txt"],
        },
    ]
    (directory / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (directory / "a b").mkdir()
    (directory / "boat.mp4").write_bytes(bytes(range(100)))
    (directory / "a b" / "fox #1.png").write_bytes(b"fox")
    (directory / "notes.txt").write_bytes(b"text")
    (directory.parent / "secret.png").write_bytes(b"secret")
    (directory / "link.png").symlink_to(directory.parent / "secret.png")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Of such a batch."""
    place = tmp_path / "boats"
    place.mkdir()
    batch(place)
    return place


async def test_the_page_shows_the_results_and_what_was_picked(directory: Path) -> None:
    """By JSON; no text of the batch is in the page itself, and no URL that may be signed is anywhere."""
    picks.write(directory, "fox", ("nbp_1",), pick="keep", note="warm")
    async with reviewing(directory) as client:
        status, page, answer = await client.get("")
        _, body, _ = await client.get("takes")

    assert 200 == status
    assert HOSTILE.encode() not in page
    assert b"boat" not in page.split(b"<script")[0]
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "no-store" == answer.headers["Cache-Control"]
    assert "no-referrer" == answer.headers["Referrer-Policy"]
    shown = json.loads(body)
    assert ["boat", "fox", "refused", "evil"] == [take["name"] for take in shown["takes"]]
    assert ["keep", "warm"] == [shown["takes"][1][key] for key in ("pick", "note")]
    assert HOSTILE == shown["takes"][0]["prompt"] == shown["takes"][2]["error"]
    assert b"signature" not in body
    assert f"-o {directory} --reroll rejected --takes 1" in shown["commands"]["reroll"]


async def test_each_page_has_a_nonce_of_its_own(directory: Path) -> None:
    """One that was read by somebody is of no use for the next page."""
    async with reviewing(directory) as client:
        first, second = [(await client.get(""))[2].headers["Content-Security-Policy"] for _ in range(2)]

    assert first != second


async def test_a_pick_is_written_down(directory: Path) -> None:
    """And what is not said stays."""
    boat = {"name": "boat", "task_ids": ["sd2_1"]}
    async with reviewing(directory) as client:
        assert (200, "keep") == (
            (written := await client.post({**boat, "pick": "keep"}))[0],
            written[1]["pick"],
        )
        assert "keep" == (await client.post({**boat, "note": HOSTILE}))[1]["pick"]
        assert None is (await client.post({**boat, "pick": None}))[1]["pick"]

    pick = picks.load(directory)["sd2_1",]
    assert (None, HOSTILE) == (pick.pick, pick.note)


@pytest.mark.parametrize(
    "body",
    [
        b"no json",
        [],
        {"name": "boat", "task_ids": ["sd2_1"]},
        {"name": "boat", "task_ids": [], "pick": "keep"},
        {"name": "boat", "task_ids": ["sd2_1"], "pick": "love"},
        {"name": "boat", "task_ids": ["sd2_1"], "pick": ["keep"]},
        {"name": "boat", "task_ids": ["sd2_1"], "note": 1},
        {"name": "boat", "task_ids": ["sd2_1"], "note": "x" * 10_001},
        {"name": "boat", "task_ids": ["sd2_1"], "pick": "keep", "path": "/etc"},
    ],
    ids=repr,
)
async def test_what_is_no_pick_is_refused_with_a_reason(body: object, directory: Path) -> None:
    """And nothing is written."""
    async with reviewing(directory) as client:
        status, answer = await client.post(body)

    assert 422 == status
    assert answer["error"]
    assert not (directory / picks.PICKS).exists()


async def test_a_take_that_was_made_anew_is_not_picked_by_an_old_page(directory: Path) -> None:
    """Somebody looked at another one; nor can what was never made be picked."""
    async with reviewing(directory) as client:
        for name, ids in (("boat", ["sd2_0"]), ("nobody", ["sd2_1"]), ("fox", ["sd2_1"])):
            status, answer = await client.post({"name": name, "task_ids": ids, "pick": "keep"})
            assert 409 == status
            assert "reload" in answer["error"]

    assert not (directory / picks.PICKS).exists()


async def test_picks_that_cannot_be_written_are_told(directory: Path) -> None:
    """A planted link is not followed."""
    (directory / picks.PICKS).symlink_to(directory / "victim")
    async with reviewing(directory) as client:
        status, _, _ = await client.get("takes")
        answer = await client.post({"name": "boat", "task_ids": ["sd2_1"], "pick": "keep"})

    assert 500 == status
    assert 500 == answer[0]
    assert "picks.jsonl cannot be written" in answer[1]["error"]
    assert not (directory / "victim").exists()


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"left_out": "Origin"},
        {"left_out": "X-Review-Token"},
        {"X_Review_Token": "guessed"},
        {"Host": "evil.example"},
        {"Content_Type": "text/plain"},
        {"Content_Type": "application/x-www-form-urlencoded"},
    ],
    ids=str,
)
async def test_a_foreign_page_cannot_post(headers: dict[str, str], directory: Path) -> None:
    """Though it knew the address: not without the token in a header, the origin, the host and JSON."""
    async with reviewing(directory) as client:
        if "Host" in headers:
            headers = {
                "Host": f"evil.example:{client.url.port}",
                "Origin": f"http://evil.example:{client.url.port}",
            }
        status, _ = await client.post({"name": "boat", "task_ids": ["sd2_1"], "pick": "keep"}, **headers)

    assert status in {403, 415, 421}
    assert not (directory / picks.PICKS).exists()


async def test_nothing_is_answered_without_the_token_or_to_another_host(directory: Path) -> None:
    """Neither the page nor a file; a name that is made to resolve here (DNS rebinding) is no name of ours."""
    async with reviewing(directory) as client:
        port = client.url.port
        for path in ("", "takes", "files/boat.mp4"):
            wrong = Client(client.session, client.url.with_path("/guessed/"))
            assert 403 == (await wrong.get(path))[0]
            assert 403 == (await Client(client.session, client.url.with_path("/")).get(path))[0]
            assert 421 == (await client.get(path, Host=f"evil.example:{port}"))[0]
            assert 421 == (await client.get(path, Host=f"127.0.0.1:{(port or 0) + 1}"))[0]
            assert 200 == (await client.get(path, Host=f"localhost:{port}"))[0]
            assert 403 == (await client.get(path, Sec_Fetch_Site="cross-site"))[0]


async def test_a_clip_is_sent_in_ranges(directory: Path) -> None:
    """Browsers seek by them; and ask again whether a file of the same name is still the same."""
    async with reviewing(directory) as client:
        status, body, answer = await client.get("files/boat.mp4", Range="bytes=10-19")
        assert (206, bytes(range(10, 20))) == (status, body)
        assert "video/mp4" == answer.content_type
        assert "nosniff" == answer.headers["X-Content-Type-Options"]
        assert "private, no-cache" == answer.headers["Cache-Control"]
        assert 304 == (await client.get("files/boat.mp4", If_None_Match=answer.headers["ETag"]))[0]
        assert b"fox" == (await client.get("files/a%20b/fox%20%231.png"))[1]


@pytest.mark.parametrize(
    "path",
    [
        "../secret.png",
        "%2e%2e/secret.png",
        "..%2fsecret.png",
        "link.png",
        "/etc/hostname",
        "%2Fetc%2Fhostname",
        "notes.txt",
        "results.jsonl",
        "journal.sqlite",
        "picks.jsonl",
        "boat.mp4.json",
        "boat.mp4%00.png",
    ],
)
async def test_nothing_but_media_of_the_batch_is_sent(path: str, directory: Path) -> None:
    """Whatever the results list, and wherever a link leads."""
    async with reviewing(directory) as client:
        status, body, _ = await client.get(f"files/{path}")

    assert status in {403, 404}
    assert b"secret" not in body


async def test_a_batch_may_run_at_the_same_time(tmp_path: Path) -> None:
    """Its journal is locked, and it is not disturbed; what has ended is there at the next look."""
    async with reviewing(tmp_path) as client, Sandbox(speed=1000) as sandbox:
        async with opened(sandbox, tmp_path) as running:
            async for result in running.run(pictures(2)):
                shown = json.loads((await client.get("takes"))[1])["takes"]
                taken = next(take for take in shown if take["name"] == result.name)
                pick = {"name": result.name, "task_ids": taken["task_ids"], "pick": "keep"}
                assert 200 == (await client.post(pick))[0]
                assert 200 == (await client.get(f"files/{result.name}.jpg"))[0]
        results = await run_once(sandbox, tmp_path, pictures(2))
        assert 2 == len(sandbox.paid_tasks)

    assert {"saved"} == {result.state for result in results.values()}
    assert 2 == len(picks.kept(tmp_path))


async def test_many_rejected_takes_of_one_shot_are_the_prompts(directory: Path) -> None:
    """The page says so, and shows takes of one shot beside each other."""
    lines = [
        {"name": name, "task_ids": [name], "state": "saved"}
        for name in ("boat", "fox", "boat-take-1", "boat-take-2")
    ]
    (directory / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for name in ("boat", "boat-take-1", "boat-take-2"):
        picks.write(directory, name, (name,), pick="reject")
    async with reviewing(directory) as client:
        shown = json.loads((await client.get("takes"))[1])["takes"]

    assert [("boat", 3), ("boat-take-1", 3), ("boat-take-2", 3), ("fox", 0)] == [
        (take["name"], take["many_rejected"]) for take in shown
    ]
