"""Disks that are full, locked, gone or set with traps; and many downloads at the same time."""

from __future__ import annotations

import errno
import io
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import anyio
import pytest
from PIL import Image

from seedance_async import DownloadError
from seedance_async.downloads.part import Part
from tests.rooms.file_store import Store, finished, picture, save
from tests.rooms.raw_server import Exchange, raw_server, says

if TYPE_CHECKING:
    from collections.abc import Iterator

BODY = picture(300_000)


def names(folder: Path) -> list[str]:
    """What is in a folder."""
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 200 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mounting, capture_output=True, check=False).returncode:
        pytest.skip("a small disk can only be mounted by root, on Linux")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.case(114)
async def test_a_file_without_room_for_it_is_not_begun(small_disk: Path) -> None:
    """The length is known before the first byte, and so is the room."""
    store = Store(BODY)
    async with raw_server(store) as server:
        with pytest.raises(DownloadError, match="300000 bytes are needed and 204800 are free"):
            await save(finished(server.url), small_disk)

    assert 1 == len(store.asked)
    assert [] == names(small_disk)


@pytest.mark.parametrize("prompt", [None, "A boat"])
async def test_a_file_is_on_the_disk_before_it_has_its_name(
    prompt: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the name is, before anybody is told: a power cut leaves the whole file or none."""
    done: list[tuple[str, str]] = []
    sync, link = os.fsync, os.link

    def syncing(handle: int) -> None:
        sync(handle)
        done.append(("synced", str(Path(f"/proc/self/fd/{handle}").readlink())))

    def linking(source: Path, target: Path) -> None:
        link(source, target)
        done.append(("named", str(source)))

    monkeypatch.setattr(os, "fsync", syncing)
    monkeypatch.setattr(os, "link", linking)
    drawn = io.BytesIO()
    Image.new("RGB", (64, 64), "teal").save(drawn, "png")
    async with raw_server(Store(drawn.getvalue())) as server:
        await save(finished(server.url), tmp_path, prompt=prompt)

    (named,) = [place for deed, place in done if deed == "named"]
    at = done.index(("named", named))
    assert ("synced", named) in done[:at]
    assert ("synced", str(tmp_path)) in done[at:]


@pytest.mark.case(115)
async def test_a_disk_that_fills_up_keeps_no_part(small_disk: Path) -> None:
    """Permanent for the run, so one attempt; and the room is there for what fits."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    endless = says(head + b"493e0\r\n" + BODY + b"\r\n0\r\n\r\n")
    async with raw_server(endless) as server:
        with pytest.raises(DownloadError, match="No space left") as caught:
            await save(finished(server.url), small_disk)
        assert 1 == len(server.seen)
    async with raw_server(Store(picture(100_000))) as server:
        (path,) = await save(finished(server.url), small_disk, name="small")

    assert errno.ENOSPC == getattr(caught.value.__cause__, "errno", None)
    assert "gpt2_a1" == caught.value.task_id
    assert [path.name] == names(small_disk)


@pytest.mark.case(115)
async def test_a_part_makes_room_although_it_could_be_gone_on_with(small_disk: Path) -> None:
    """Others fill the disk meanwhile; their next file may be smaller than the rest of ours."""
    body = picture(150_000)

    async def fill_up(exchange: Exchange) -> None:
        head = f'HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nETag: "kite-1"\r\n\r\n'
        await exchange.say(head.encode() + body[:100_000])
        await anyio.sleep(1.0)
        (small_disk / "filler").write_bytes(bytes(80_000))
        await exchange.say(body[100_000:])

    async with raw_server(fill_up) as server:
        with pytest.raises(DownloadError, match="No space left"):
            await save(finished(server.url), small_disk)

    assert ["filler"] == names(small_disk)


async def test_without_room_for_a_second_copy_a_file_goes_without_its_prompt(small_disk: Path) -> None:
    """What is paid is worth more than its metadata."""
    body = picture(110_000, signed=False)
    async with raw_server(Store(body)) as server:
        (path,) = await save(finished(server.url), small_disk, prompt="A red kite")

    assert body == path.read_bytes()
    assert ["kite.png"] == names(small_disk)


@pytest.mark.case(147)
@pytest.mark.parametrize("stem", ["kite.part", "kite.part.json", "kite.part.new", "kite.png"])
@pytest.mark.parametrize("plant", ["symbolic", "hard"])
async def test_a_planted_link_is_not_written_through(stem: str, plant: str, tmp_path: Path) -> None:
    """Under whatever name of ours it waits, the file behind it stays as it is."""
    victim, folder = tmp_path / "victim", tmp_path / "out"
    victim.write_bytes(b"precious")
    folder.mkdir()
    trap = folder / stem
    trap.symlink_to(victim) if plant == "symbolic" else trap.hardlink_to(victim)
    async with raw_server(Store(picture(100_000, signed=False))) as server:
        try:
            (path,) = await save(finished(server.url), folder, prompt="A red kite")
        except DownloadError:
            assert ("kite.part", "symbolic") == (stem, plant)
        else:
            assert ("kite-2.png" if stem == "kite.png" else "kite.png") == path.name
            assert b"A red kite" in path.read_bytes()

    assert b"precious" == victim.read_bytes()


async def test_a_pipe_in_the_parts_place_is_refused(tmp_path: Path) -> None:
    """Opening one waits for a reader who never comes."""
    os.mkfifo(tmp_path / "kite.part")
    async with raw_server(Store(BODY)) as server:
        with pytest.raises(DownloadError, match="not a regular file"):
            await save(finished(server.url), tmp_path)


@pytest.mark.case(116)
async def test_a_crash_between_two_names_costs_nothing(tmp_path: Path) -> None:
    """The file has its name and still its part's; emptying the part would empty the file."""
    (tmp_path / "kite.png").write_bytes(BODY)
    (tmp_path / "kite.part").hardlink_to(tmp_path / "kite.png")
    async with raw_server(Store(BODY)) as server:
        (path,) = await save(finished(server.url), tmp_path)

    assert BODY == path.read_bytes()
    assert ["kite.png"] == names(tmp_path)


@pytest.mark.parametrize("prompt", [None, "A red kite"])
async def test_a_file_that_is_there_is_found_and_not_fetched(prompt: str | None, tmp_path: Path) -> None:
    """Also under the name it took because somebody else's file had the first."""
    (tmp_path / "kite.png").write_bytes(b"holiday picture")
    body = picture(3 * 1024**2, signed=False)
    async with raw_server(Store(body), Store(body, cuts=[100_000])) as server:
        first = await save(finished(server.url), tmp_path, prompt=prompt)
        again = await save(finished(server.url), tmp_path, prompt=prompt)

        assert 2 == len(server.seen)
    assert first == again
    assert ["kite-2.png", "kite.png"] == names(tmp_path)


async def test_a_file_of_unknown_length_is_not_saved_twice(tmp_path: Path) -> None:
    """It is fetched, compared, and let go."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunked = says(head + b"493e0\r\n" + BODY + b"\r\n0\r\n\r\n")
    async with raw_server(chunked) as server:
        first = await save(finished(server.url), tmp_path)
        again = await save(finished(server.url), tmp_path)

    assert first == again
    assert ["kite.png"] == names(tmp_path)


@pytest.mark.case(118)
async def test_a_directory_that_vanishes_is_told(tmp_path: Path) -> None:
    """The error says so, at once, and the task stays finished."""
    folder = tmp_path / "out"
    store = Store(BODY)

    async def vanish(exchange: Exchange) -> None:
        shutil.rmtree(folder)
        await store(exchange)

    async with raw_server(vanish) as server:
        with pytest.raises(DownloadError, match="No such file or directory"):
            await save(finished(server.url), folder)
        assert 1 == len(server.seen)


@pytest.mark.case(118)
async def test_a_directory_that_cannot_be_written_is_told(small_disk: Path) -> None:
    """Even root cannot write to a disk that is read only."""
    await anyio.run_process(["mount", "-o", "remount,ro", str(small_disk)])
    async with raw_server(Store(BODY)) as server:
        with pytest.raises(DownloadError, match=r"cannot save into .*Read-only"):
            await save(finished(server.url), small_disk)

        assert [] == server.seen


@pytest.mark.case(114)
async def test_a_file_that_is_too_long_is_refused(tmp_path: Path) -> None:
    """By its own claim, or when it has become so."""
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n493e0\r\n" + BODY
    for claims in (Store(BODY), says(chunked, then="hold")):
        async with raw_server(claims) as server:
            with pytest.raises(DownloadError, match=r"(more|longer) than 200000"):
                await save(finished(server.url), tmp_path, max_bytes=200_000)
            assert 1 == len(server.seen)

    assert [] == names(tmp_path)


async def test_the_same_file_may_be_saved_twice_at_the_same_time(tmp_path: Path) -> None:
    """Each has a part of its own; who comes second finds the file of the first."""
    saved = []

    async def fetch(url: str) -> None:
        saved.extend(await save(finished(url), tmp_path))

    async with raw_server(Store(BODY, pause=1.0)) as server, anyio.create_task_group() as callers:
        for _ in range(3):
            callers.start_soon(fetch, server.url)
        await anyio.sleep(0.5)
        parts = names(tmp_path)

    assert ["kite.2.part", "kite.3.part", "kite.part"] == parts
    assert [tmp_path / "kite.png"] * 3 == saved
    assert ["kite.png"] == names(tmp_path)


def test_nobody_holds_a_part_that_was_let_go() -> None:
    """Between opening a part and locking it, its last owner may have removed it."""
    kept = []

    def hold(folder: Path) -> None:
        for _ in range(300):
            part = Part.open(folder, "kite")
            kept.append(os.path.samestat(part.path.stat(), os.fstat(part._handle)))
            part.remove()

    with TemporaryDirectory() as folder, ThreadPoolExecutor(4) as threads:
        list(threads.map(hold, [Path(folder)] * 4))

    assert all(kept)


async def test_few_files_move_at_once(tmp_path: Path) -> None:
    """Twenty pictures of a task are fetched side by side, six at a time, and come back in order."""
    store = Store(BODY, pause=1.0)
    async with raw_server(store) as server:
        began = anyio.current_time()
        urls = [f"{server.url}/{number}.png" for number in range(20)]
        saved = await save(finished(*urls), tmp_path)
        took = anyio.current_time() - began

    assert [f"kite-{number}.png" for number in range(1, 21)] == [path.name for path in saved]
    assert 6 == store.most_busy
    assert 4.0 <= took < 5.0


async def test_a_file_that_fails_does_not_hold_up_the_others(tmp_path: Path) -> None:
    """The error is told, and whatever could be saved is there."""
    async with raw_server(Store(BODY)) as good, raw_server(Store(b"", status=410)) as gone:
        with pytest.raises(DownloadError, match="gone"):
            await save(finished(good.url, gone.url, good.url), tmp_path)

    assert ["kite-1.png", "kite-3.png"] == names(tmp_path)


async def test_an_interruption_keeps_the_part_and_frees_it(tmp_path: Path) -> None:
    """Promise 9: the next caller in this process goes on with the very same part."""
    store = Store(BODY, cuts=[200_000])
    async with raw_server(store) as server:
        with anyio.move_on_after(1.0):
            await save(finished(server.url), tmp_path)
        await save(finished(server.url), tmp_path)

    assert [None, "bytes=200000-"] == store.asked
    assert ["kite.png"] == names(tmp_path)
