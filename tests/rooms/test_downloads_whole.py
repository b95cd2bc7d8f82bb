"""Downloads whose transfer ends before their file does: tried again, told, and never under a final name."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from seedance_async import BatchRunner, DownloadError, GptImage2, Job, SeedanceClient
from tests.rooms.file_store import Store, finished, picture, save
from tests.rooms.raw_server import Exchange, answer, raw_server, says

if TYPE_CHECKING:
    from pathlib import Path

    from tests.rooms.raw_server import Behaviour


def box(kind: bytes, content: bytes) -> bytes:
    """A box of an MP4."""
    return struct.pack(">I4s", len(content) + 8, kind) + content


def image(image_format: str) -> bytes:
    """A picture of an encoder."""
    file = io.BytesIO()
    Image.effect_noise((64, 64), 80.0).convert("RGB").save(file, image_format)
    return file.getvalue()


FILES = {
    "png": image("png"),
    "jpg": image("jpeg"),
    "gif": image("gif"),
    "webp": image("webp"),
    "mp4": box(b"ftyp", b"isom")
    + box(b"mdat", bytes(range(1, 200)))
    + box(b"moov", box(b"mvhd", bytes(100))),
    "webm": bytes.fromhex("1a45dfa380 18538067 88 ec 86") + b"filler",
}


def names(folder: Path) -> list[str]:
    """What is in a folder."""
    return sorted(path.name for path in folder.iterdir())


def until_close(body: bytes) -> Behaviour:
    """An answer that ends where the connection does."""
    return says(b"HTTP/1.1 200 OK\r\n\r\n" + body)


def chunked(body: bytes) -> Behaviour:
    """An answer of one chunk, with its end, as by a proxy that lost its own source."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % len(body)
    return says(head + body + b"\r\n0\r\n\r\n")


def counted(body: bytes) -> Behaviour:
    """An answer with the length of what it has, and a validator of the whole file."""
    return answer(200, body, 'ETag: "kite-1"')


FRAMINGS = {"until close": until_close, "chunked": chunked, "counted": counted}


@pytest.mark.case(160, 161)
@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("framing", FRAMINGS)
async def test_a_cut_file_is_tried_again_told_and_not_left(kind: str, framing: str, tmp_path: Path) -> None:
    """In this run and in a further one; as soon as the server has all of it, it is saved."""
    frame, whole = FRAMINGS[framing], FILES[kind]
    cut = frame(whole[: len(whole) * 2 // 3])
    async with raw_server(*[cut] * 8, frame(whole)) as server:
        for run in (1, 2):
            with pytest.raises(DownloadError, match="not whole"):
                await save(finished(server.url), tmp_path)
            assert 4 * run == len(server.seen)
            assert [] == names(tmp_path)
        (path,) = await save(finished(server.url), tmp_path)

    assert not any("range" in seen.headers for seen in server.seen)
    assert f"kite.{kind}" == path.name
    assert whole == path.read_bytes()


@pytest.mark.case(160)
@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("size_bytes", [0, 1, 3, 11, 20, 33])
async def test_a_cut_within_the_head_is_tried_again(framing: str, size_bytes: int, tmp_path: Path) -> None:
    """The type cannot be seen then, which is no proof of another one."""
    frame, whole = FRAMINGS[framing], picture(2000)
    async with raw_server(frame(whole[:size_bytes]), frame(whole)) as server:
        (path,) = await save(finished(server.url), tmp_path)

    assert whole == path.read_bytes()


@pytest.mark.case(160)
async def test_an_mp4_without_a_length_needs_its_index(tmp_path: Path) -> None:
    """Cut between two boxes, the boxes add up; with a length, such a file is taken."""
    data = box(b"ftyp", b"mp42") + box(b"mdat", b"samples")
    async with raw_server(until_close(data)) as server:
        with pytest.raises(DownloadError, match="no index"):
            await save(finished(server.url), tmp_path)
    async with raw_server(counted(data)) as server:
        assert await save(finished(server.url), tmp_path)


@pytest.mark.case(188)
async def test_a_clip_cut_before_its_index_is_fetched_once_more(tmp_path: Path) -> None:
    """Its boxes add up, and a cache states the length of the cut: the next copy may be whole."""
    whole = FILES["mp4"]
    cut = counted(whole[: whole.index(b"moov") - 4])
    async with raw_server(cut, counted(whole)) as server:
        (path,) = await save(finished(server.url), tmp_path)

    assert whole == path.read_bytes()
    assert 2 == len(server.seen)


@pytest.mark.case(188)
async def test_a_clip_that_comes_without_an_index_twice_is_saved_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With two lengths it was cut at two places, and proves nothing; with one it is what the server has."""
    data = [box(b"ftyp", b"mp42") + box(b"mdat", bytes(size)) for size in (7, 8)]
    async with raw_server(counted(data[0]), counted(data[1]), counted(data[1])) as server:
        (path,) = await save(finished(server.url), tmp_path)

    assert data[1] == path.read_bytes()
    assert 3 == len(server.seen)
    assert "has no index (moov)" in caplog.text


@pytest.mark.case(161)
async def test_a_rest_that_is_resumed_is_checked_as_a_whole(tmp_path: Path) -> None:
    """The two halves fit by every header, and the copy that they are of was cut."""
    store = Store(picture(300_000)[:250_000], cuts=[200_000])
    async with raw_server(store) as server:
        with pytest.raises(DownloadError, match="not whole"):
            await save(finished(server.url), tmp_path)

    assert [None, "bytes=200000-", None, None] == store.asked
    assert [] == names(tmp_path)


@pytest.mark.case(162)
@pytest.mark.parametrize("prompt", [None, "A red kite"])
async def test_a_cut_file_from_before_is_not_taken_for_saved(prompt: str | None, tmp_path: Path) -> None:
    """It has the length and the first bytes of the copy that the server still has, or its origin."""
    whole = picture(200_000, signed=False)
    async with raw_server(counted(whole)) as server:
        (path,) = await save(finished(server.url), tmp_path, prompt=prompt)
    path.write_bytes(path.read_bytes()[:150_000])
    served = whole if prompt else whole[:150_000]
    async with raw_server(counted(served), *[counted(whole)] * 3) as server:
        (again,) = await save(finished(server.url), tmp_path, prompt=prompt)

    assert "kite-2.png" == again.name
    assert again.stat().st_size >= len(whole)


@pytest.mark.case(160, 161)
@pytest.mark.parametrize("framing", FRAMINGS)
async def test_a_batch_tells_a_cut_file_in_every_run_until_it_is_whole(framing: str, tmp_path: Path) -> None:
    """The task stays completed, is never paid again, and its file never looks saved."""
    frame, whole = FRAMINGS[framing], image("png")
    healed: list[int] = []

    async def serve(exchange: Exchange) -> None:
        if exchange.seen.method == "POST":
            made = {"id": "gpt2_a1", "status": "processing", "model": "gpt-image-2", "credits_used": 8}
            await answer(202, made)(exchange)
        elif "/tasks/" in exchange.seen.path:
            done = {
                "id": "gpt2_a1",
                "status": "completed",
                "credits_used": 8,
                "output": [f"{server.url}/file"],
            }
            await answer(200, done)(exchange)
        else:
            await frame(whole if healed else whole[:5000])(exchange)

    states = []
    async with raw_server(serve) as server:
        for run in (1, 2, 3):
            healed += [run] * (run == 3)
            async with (
                SeedanceClient("sk_live_canary_0123456789", server.url) as client,
                BatchRunner(client, tmp_path) as batch,
            ):
                jobs = [Job(GptImage2(prompt="A red kite"), name="kite")]
                results = [result async for result in batch.run(jobs)]
            states += [(result.state, bool(result.files), bool(result.error)) for result in results]
            assert healed or not list(tmp_path.glob("*.png"))

    assert [("completed", False, True)] * 2 + [("saved", True, False)] == states
    assert 1 == sum(seen.method == "POST" for seen in server.seen)
