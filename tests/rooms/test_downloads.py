"""Result files: whole or not there, ours or not touched, and never with the key."""

from __future__ import annotations

import asyncio
import pickle
import socket
from typing import TYPE_CHECKING

import anyio
import pytest

from seedance_async import DownloadError, GptImage2, NanoBananaPro, Seedance2Video, SeedanceClient
from seedance_async.downloads import PublicResolver
from seedance_async.errors import ValidationError
from seedance_async.file_types import kind_of
from seedance_async.models import Task, VideoOutput
from seedance_async.sandbox import Behaviour, Fault, Sandbox
from tests.rooms.file_store import finished, picture, save
from tests.rooms.raw_server import answer, raw_server, says

if TYPE_CHECKING:
    from pathlib import Path

    from seedance_async.models import Request
    from tests.rooms.raw_server import Behaviour as Says

PNG = picture(7008)


def client_for(sandbox: Sandbox) -> SeedanceClient:
    """A client of this sandbox's account."""
    return SeedanceClient(sandbox.api_key, sandbox.base_url)


async def test_files_of_every_model_land_under_the_tasks_id(tmp_path: Path) -> None:
    """A clip and its last frame, a PNG, a JPEG; what they are is seen in the bytes."""
    requests: list[Request] = [
        Seedance2Video(prompt="A red kite over the sea", duration=4),
        GptImage2(prompt="A red kite over the sea"),
        NanoBananaPro(prompt="A red kite over the sea", output_format="jpeg"),
    ]
    async with Sandbox() as sandbox, client_for(sandbox) as client:
        tasks = [await client.generate(request) for request in requests]
        saved = [await client.download(task, tmp_path) for task in tasks]
        clip, frame, image, photo = [path for paths in saved for path in paths]

        assert [clip.name, frame.name] == [f"{tasks[0].id}.mp4", f"{tasks[0].id}-last-frame.png"]
        assert [image.name, photo.name] == [f"{tasks[1].id}.png", f"{tasks[2].id}.jpg"]
        assert [kind_of(path.read_bytes()[:64]) for path in (clip, frame, image, photo)] == [
            "mp4",
            "png",
            "png",
            "jpg",
        ]
        assert sandbox.leaks == []
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
            path.name for path in (clip, frame, image, photo)
        )


async def test_downloads_spend_nothing_of_the_request_budget(tmp_path: Path) -> None:
    """They go to another origin, whatever their number."""
    async with Sandbox() as sandbox, client_for(sandbox) as client:
        task = await client.generate(GptImage2(prompt="A red kite"))
        before = len(sandbox.requests)
        for _ in range(40):
            await client.download(task, tmp_path)

        assert before == len(sandbox.requests)
        assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.case(106)
@pytest.mark.parametrize("fault", ["drop", "reset", "truncate", "status"])
async def test_a_broken_download_is_repeated_and_ends_whole(fault: str, tmp_path: Path) -> None:
    """The file that stands there at the end is the file the server has."""
    broken = Fault(effect=fault, on="media", count=2, status=503)
    async with Sandbox(faults=[broken]) as sandbox, client_for(sandbox) as client:
        task = await client.generate(GptImage2(prompt="A red kite"))
        (path,) = await client.download(task, tmp_path)
        (again,) = await client.download(task, tmp_path / "again")

    assert path.read_bytes() == again.read_bytes()


async def test_a_download_that_cannot_work_leaves_the_task_finished(tmp_path: Path) -> None:
    """Promise 10: the error names the task, and a later try may succeed."""
    gone = Fault(effect="status", on="media", count=2, status=410)
    async with Sandbox(faults=[gone]) as sandbox, client_for(sandbox) as client:
        task = await client.generate(GptImage2(prompt="A red kite"))
        with pytest.raises(DownloadError, match="gone") as caught:
            await client.download(task, tmp_path)
        (path,) = await client.download(str(caught.value.task_id), tmp_path)

    assert path.exists()


@pytest.mark.case(105)
async def test_an_expired_url_is_renewed_by_one_poll(tmp_path: Path) -> None:
    """U9: one GET for all files of a task, and no word of it to the caller."""
    async with Sandbox(behaviour=Behaviour(url_life=60.0)) as sandbox, client_for(sandbox) as client:
        task = await client.generate(Seedance2Video(prompt="A red kite", duration=4))
        await anyio.sleep(61.0)
        before = len(sandbox.requests)
        saved = await client.download(task, tmp_path)

        assert 2 == len(saved)
        assert 1 == len(sandbox.requests) - before


@pytest.mark.case(117)
async def test_a_file_of_somebody_else_is_not_overwritten(tmp_path: Path) -> None:
    """Ours takes the next free name."""
    theirs = tmp_path / "kite.png"
    theirs.write_bytes(b"holiday picture")
    async with raw_server(answer(200, PNG)) as server:
        ours = await save(finished(server.url), tmp_path, name="kite")

    assert theirs.read_bytes() == b"holiday picture"
    assert [path.name for path in ours] == ["kite-2.png"]


@pytest.mark.case(147)
async def test_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    """Neither at the part's name nor at the target's."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "kite.png").symlink_to(victim)
    async with raw_server(answer(200, PNG)) as server:
        (ours,) = await save(finished(server.url), folder, name="kite")
        (folder / "lion.part").symlink_to(victim)
        with pytest.raises(DownloadError):
            await save(finished(server.url), folder, name="lion")

    assert victim.read_bytes() == b"precious"
    assert ours.name == "kite-2.png"


@pytest.mark.case(110, 146)
@pytest.mark.parametrize(
    "body",
    [b"<html><title>Are you human?</title></html>", b'{"error": "gone"}', b"", b"MZ\x90\x00"],
    ids=["captcha", "json", "empty", "program"],
)
async def test_what_is_no_picture_and_no_clip_is_refused(body: bytes, tmp_path: Path) -> None:
    """The first bytes decide, not the status and not a name."""
    async with raw_server(answer(200, body, "Content-Type: video/mp4")) as server:
        with pytest.raises(DownloadError, match="not a picture or clip"):
            await save(finished(server.url), tmp_path)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.case(113)
@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/a.png",
        "ftp://example.com/a.png",
        "file:///etc/passwd",
        "data:image/png;base64,AAAA",
        "https://user:secret@example.com/a.png",
        "https://127.0.0.1/a.png",
        "https://[::1]/a.png",
        "https://10.0.0.1/a.png",
        "https://169.254.169.254/latest/meta-data",
        "https://100.64.0.1/a.png",
        "https://[fd00::1]/a.png",
        "https://192.168.1.1/a.png",
        "https://168.63.129.16/metadata",
        "https://192.0.0.8/a.png",
        "https://224.0.0.1/a.png",
        "https://[64:ff9b::7f00:1]/a.png",
        "https://[2002:7f00:1::]/a.png",
        "https://[::127.0.0.1]/a.png",
        "https://[fec0::1]/a.png",
    ],
)
async def test_urls_that_are_not_public_https_are_refused(url: str, tmp_path: Path) -> None:
    """Promise 11: the server's words do not send us into our own network."""
    with pytest.raises(DownloadError, match="refused") as caught:
        await save(finished(url), tmp_path, api="https://seedance2ai.io/api/v1")

    assert "secret" not in str(caught.value)


@pytest.mark.case(112)
@pytest.mark.parametrize(
    "url",
    [
        "https://cdn..example.com/x.png",
        "https://example.com:99999999/x.png",
        "https://example.com:http/x.png",
        "https://[::1/x.png",
        f"https://{'a' * 70}.example.com/x.png",
        "https://xn--/x.png",
        "https://example.com\x7f/x.png",
    ],
)
async def test_what_is_no_url_costs_its_own_file_only(url: str, tmp_path: Path) -> None:
    """A fresh one may be better, so one is asked for; as the place of a redirect it is refused alike."""
    async with raw_server(answer(200, PNG)) as files:
        assert await save(finished(url), tmp_path, name="kite", fresh=finished(files.url))
    async with raw_server(answer(302, b"", f"Location: {url}")) as server:
        with pytest.raises(DownloadError, match="not a URL"):
            await save(finished(server.url), tmp_path, name="lion")


@pytest.mark.case(112)
@pytest.mark.parametrize(
    "url",
    ["https://\u00e9..example.com/x", "https://a\u2100b/x", "https://a\x00/x", "https:///x", "//x", "?", ""],
)
async def test_what_names_no_host_is_refused(url: str, tmp_path: Path) -> None:
    """Whatever stands in the place of a URL, the answer is an error of the tree."""
    with pytest.raises(DownloadError) as caught:
        await save(finished(url), tmp_path, api="https://seedance2ai.io/api/v1")

    assert "gpt2_a1" == caught.value.task_id


async def test_a_name_that_resolves_to_a_private_address_is_refused() -> None:
    """Judged where the connection is made, so that no second look-up can differ."""
    with pytest.raises(OSError, match="no public address"):
        await PublicResolver(local=False).resolve("localhost", 443)


@pytest.mark.case(113)
@pytest.mark.parametrize("where", ["127.0.0.1", "10.0.0.1"])
async def test_a_download_by_a_name_of_a_private_address_connects_to_nobody(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name says nothing; it is the address, when connecting, that must be public."""

    async def look_up(*_: object, **__: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (where, door))]

    reached: list[str] = []

    def open_door(_: object, writer: asyncio.StreamWriter) -> None:
        reached.append(where)
        writer.close()

    async with await asyncio.start_server(open_door, "127.0.0.1", 0) as server:
        door = server.sockets[0].getsockname()[1]
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", look_up)
        with pytest.raises(DownloadError):
            await save(
                finished(f"https://files.example:{door}/a.png"), tmp_path, api="https://seedance2ai.io/api/v1"
            )

    assert [] == reached
    assert [] == list(tmp_path.iterdir())


async def test_a_cookie_of_a_store_is_not_sent_back(tmp_path: Path) -> None:
    """Neither to the next file nor to the next hop, which go over one session."""
    cookie = "Set-Cookie: who=account-1; Path=/"
    behaviours = (answer(302, b"", "Location: /there", cookie), answer(200, PNG, cookie))
    async with raw_server(*behaviours) as server:
        named = server.url.replace("127.0.0.1", "localhost")  # of an address, no jar would keep any
        saved = await save(finished(named, f"{named}/2"), tmp_path)

    assert 2 == len(saved)
    assert 3 == len(server.seen)
    assert not any("cookie" in seen.headers for seen in server.seen)


@pytest.mark.case(112)
async def test_a_redirect_is_judged_hop_by_hop(tmp_path: Path) -> None:
    """One may go on, within bounds, and each hop obeys the same rules."""
    async with raw_server(answer(200, PNG)) as files:
        async with raw_server(answer(302, b"", f"Location: {files.url}")) as server:
            assert await save(finished(server.url), tmp_path, name="kite")
        async with raw_server(answer(302, b"", "Location: http://10.0.0.1/a.png")) as server:
            with pytest.raises(DownloadError, match="refused"):
                await save(finished(server.url), tmp_path, name="lion")
    async with raw_server(answer(302, b"", "Location: /again")) as server:
        with pytest.raises(DownloadError, match="redirects more than"):
            await save(finished(server.url), tmp_path, name="loop")
        assert 6 == len(server.seen)


@pytest.mark.case(106)
@pytest.mark.parametrize(
    "cut",
    [
        says(b"HTTP/1.1 200 OK\r\nContent-Length: 7008\r\n\r\n" + PNG[:3000]),
        says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n" + PNG[:8] + b"\r\n"),
    ],
    ids=["short", "chunked"],
)
async def test_a_file_is_whole_or_not_there(cut: Says, tmp_path: Path) -> None:
    """Half a clip under the final name would be taken for a clip."""
    async with raw_server(cut) as server:
        with pytest.raises(DownloadError):
            await save(finished(server.url), tmp_path, name="kite")

    assert not (tmp_path / "kite.png").exists()


@pytest.mark.case(141, 142, 143)
@pytest.mark.parametrize("name", ["../kite", "a/b", "a\\b", "", ".", "..", "a\x00b", "x" * 300, "C:kite"])
async def test_a_name_cannot_leave_the_directory(name: str, tmp_path: Path) -> None:
    """Said before anything is fetched."""
    with pytest.raises(ValidationError):
        await save(finished("https://example.com/a.png"), tmp_path, name=name)


@pytest.mark.case(66)
async def test_a_hostile_task_id_is_a_plain_file_name(tmp_path: Path) -> None:
    """Ids are the server's text."""
    async with raw_server(answer(200, PNG)) as server:
        (path,) = await save(finished(server.url, task_id="../../etc/x y"), tmp_path, name=None)

    assert path.parent == tmp_path


@pytest.mark.case(118)
async def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """A file stands where the directory should be."""
    (tmp_path / "out").write_bytes(b"")
    with pytest.raises(DownloadError, match="cannot save into"):
        await save(finished("https://example.com/a.png"), tmp_path / "out")


async def test_a_task_without_files_says_its_status(tmp_path: Path) -> None:
    """Downloading too early, or what failed."""
    running = Task(id="sd2_a", status="processing", output=VideoOutput())
    with pytest.raises(DownloadError, match="processing") as caught:
        await save(running, tmp_path)
    assert "wait for it, then download it" in str(caught.value)
    assert "finished" not in str(pickle.loads(pickle.dumps(caught.value)))
