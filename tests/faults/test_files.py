"""Tests of section H at the sandbox: faulty downloads end in whole files or clear errors."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import anyio
import pytest

from seedance_async import BatchRunner, DownloadError, GptImage2, Job, NanoBananaPro
from seedance_async.downloads.part import Part
from seedance_async.sandbox import Behaviour, Fault, Sandbox
from seedance_async.sandbox.faults import NAMED
from tests.faults.helpers import client_for

if TYPE_CHECKING:
    from pathlib import Path

    from seedance_async import Task

BOUND = 8 * 1024 * 1024
PICTURE = GptImage2(prompt="A red kite", resolution="2K")
"""Half of its file is more than the first bytes, by which a file is told from a page."""


def fault(name: str, **changes: object) -> Fault:
    """The fault of this name, applied to downloads."""
    return Fault.read({**NAMED[name].document(), "on": "media", **changes})


async def delivered(tmp_path: Path, *faults: Fault, behaviour: Behaviour | None = None) -> Sandbox:
    """Make a picture, save it among these faults, and see that the file is the server's, whole."""
    async with Sandbox(behaviour=behaviour) as sandbox, client_for(sandbox) as client:
        task = await client.generate(PICTURE)
        for each in faults:
            sandbox.faults.add(each)
        (path,) = await client.download(task, tmp_path)
        sandbox.faults.clear()
        (clean,) = await client.download(task, tmp_path / "again")

        assert clean.read_bytes() == path.read_bytes()
        assert [path.name] == [each.name for each in tmp_path.iterdir() if each.is_file()]
    return sandbox


async def refused(tmp_path: Path, *faults: Fault) -> tuple[DownloadError, Task]:
    """Make a picture and fail to save it; nothing is left that could be taken for it."""
    async with Sandbox(faults=faults) as sandbox, client_for(sandbox) as client:
        task = await client.generate(PICTURE)
        with pytest.raises(DownloadError) as caught:
            await client.download(task, tmp_path)

    assert caught.value.task_id == task.id
    assert [] == [path.name for path in tmp_path.iterdir() if path.suffix in {".png", ".jpg", ".mp4"}]
    return caught.value, task


@pytest.mark.case(105)
async def test_an_expired_url_is_renewed_once_and_then_told(tmp_path: Path) -> None:
    """A fresh URL helps; where it does not, the task stays finished and the error says why."""
    await delivered(tmp_path, fault("expired", count=1))
    error, _ = await refused(tmp_path / "gone", fault("expired", count=None))

    assert "gone" in error.message


@pytest.mark.case(106)
@pytest.mark.parametrize("name", ["truncate", "truncate-reset", "drop", "reset", "cut-head", "cut-chunks"])
async def test_a_download_that_is_cut_goes_on_and_ends_whole(name: str, tmp_path: Path) -> None:
    """At every place at which a connection can break."""
    await delivered(tmp_path, fault(name, count=2))


@pytest.mark.case(106)
async def test_what_has_arrived_is_not_asked_for_again(tmp_path: Path) -> None:
    """The second request names the bytes that are missing."""
    sandbox = await delivered(tmp_path, fault("truncate"))

    assert ["", True, ""] == [bool(record.range) or "" for record in sandbox.media_requests]


@pytest.mark.case(107, 108, 111)
@pytest.mark.parametrize("name", ["ignore-range", "range-past-end", "changed"])
async def test_a_rest_that_does_not_fit_is_not_glued_on(name: str, tmp_path: Path) -> None:
    """Range ignored, a 416, or another file by now: what is saved is one file, whole."""
    await delivered(tmp_path, fault("truncate"), fault(name, nth=2))


@pytest.mark.case(109)
@pytest.mark.parametrize("name", ["no-length", "short-length", "gzip", "gzip-claimed", "gzip-cut", "endless"])
async def test_a_length_that_is_missing_or_wrong_makes_no_half_file(name: str, tmp_path: Path) -> None:
    """Compressed without being asked to, shorter or longer than told: the next attempt is believed."""
    async with Sandbox() as sandbox, client_for(sandbox) as client:
        client.running_engine().downloads._max_bytes = BOUND
        task = await client.generate(PICTURE)
        sandbox.faults.add(fault(name))
        try:
            (path,) = await client.download(task, tmp_path)
        except DownloadError:
            (path,) = await client.download(task, tmp_path)
        (clean,) = await client.download(task, tmp_path / "again")

    assert clean.read_bytes() == path.read_bytes()


@pytest.mark.case(110)
@pytest.mark.parametrize("name", ["page", "null", "empty"])
async def test_what_is_no_picture_is_not_saved(name: str, tmp_path: Path) -> None:
    """A captcha, an error, nothing at all: under a 200 and a picture's name."""
    await refused(tmp_path, fault(name, count=None))


@pytest.mark.case(112)
async def test_a_redirect_to_another_host_carries_nothing_private(tmp_path: Path) -> None:
    """It may be followed for a file; neither key nor cookie goes along, there or here."""
    async with Sandbox() as other, client_for(other) as client:
        there = (await client.generate(PICTURE)).urls[0]
        async with Sandbox() as sandbox, client_for(sandbox) as ours:
            task = await ours.generate(PICTURE)
            sandbox.faults.add(Fault(effect="status", on="media", status=302, headers={"Location": there}))
            await ours.download(task, tmp_path)

    assert 1 == len(other.media_requests)
    assert () == other.media_requests[0].credentials
    assert [] == sandbox.leaks


@pytest.mark.case(113)
@pytest.mark.parametrize(
    "url",
    ["http://192.168.1.1/a.png", "file:///etc/passwd", "https://user:pw@example.com/a", "ftp://x/y", "//"],
)
async def test_a_url_from_an_answer_leads_nowhere_private(url: str, tmp_path: Path) -> None:
    """The server's word is no reason to look into our own network."""
    lure = Fault.read({"effect": "edit", "on": "task", "count": None, "fields": {"output": [url]}})
    await refused(tmp_path, lure)


@pytest.mark.case(114)
async def test_a_file_without_end_is_given_up(tmp_path: Path) -> None:
    """At a bound, and nothing of it is kept."""
    async with Sandbox(faults=[fault("endless")]) as sandbox, client_for(sandbox) as client:
        client.running_engine().downloads._max_bytes = BOUND
        task = await client.generate(PICTURE)
        with pytest.raises(DownloadError, match="longer"):
            await client.download(task, tmp_path)

    assert BOUND > sum(path.stat().st_size for path in tmp_path.iterdir())


@pytest.mark.case(115)
async def test_a_full_disk_ends_the_download_and_keeps_the_finished_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not tried again, because the next attempt would meet the same; later it is fetched, and not paid."""
    real = Part.write

    def full(_: Part, __: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    job = Job(NanoBananaPro(prompt="A boat"), name="boat")
    states = []
    async with Sandbox() as sandbox, client_for(sandbox) as client:
        for write in (full, real):
            monkeypatch.setattr(Part, "write", write)
            async with BatchRunner(client, tmp_path) as batch:
                states += [(str(each.state), each.error) async for each in batch.run([job])]

    (first, error), (second, _) = states
    assert ("completed", "saved") == (first, second)
    assert isinstance(error, DownloadError)
    assert "No space left" in error.message
    assert 1 == len(sandbox.paid_tasks)
    assert 2 == len(sandbox.media_requests)


@pytest.mark.case(118)
async def test_a_directory_that_vanishes_fails_its_own_jobs_only(tmp_path: Path) -> None:
    """The error names the directory; another download goes on."""
    async with Sandbox() as sandbox, client_for(sandbox) as client:
        task = await client.generate(PICTURE)
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(DownloadError, match="file"):
            await client.download(task, tmp_path / "file" / "below")
        assert await client.download(task, tmp_path / "other")


@pytest.mark.case(106)
async def test_a_download_that_stalls_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    """Half a file and silence: after the idle limit the rest is asked for."""
    async with Sandbox() as sandbox, client_for(sandbox) as client:
        task = await client.generate(PICTURE)
        sandbox.faults.add(fault("truncate-hang"))
        began = anyio.current_time()
        await client.download(task, tmp_path)

        assert anyio.current_time() - began < 100.0
