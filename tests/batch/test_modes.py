"""Who may read what a batch leaves on the disk, as SECURITY.md says."""

from __future__ import annotations

import os
import socket
import stat
from typing import TYPE_CHECKING

import pytest

from seedance_async.batch.report import write_gallery
from seedance_async.sandbox import Sandbox
from tests.batch.helpers import opened, pictures, run_once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def umask() -> Iterator[Callable[[int], int]]:
    """Sets the umask, and sets it back."""
    before = os.umask(0)
    try:
        yield os.umask
    finally:
        os.umask(before)


@pytest.mark.usefixtures("umask")
async def test_results_are_for_the_owner_while_they_come_and_when_they_are_drawn_anew(tmp_path: Path) -> None:
    """Prompts and signed URLs stand in them; a looser file of an earlier time is replaced at the end."""
    seen = set()
    async with Sandbox() as sandbox:
        async with opened(sandbox, tmp_path) as batch:
            async for _ in batch.run(pictures(2)):
                seen.add(mode(tmp_path / "results.jsonl"))
        assert {0o600} == seen
        (tmp_path / "results.jsonl").chmod(0o644)
        await run_once(sandbox, tmp_path, pictures(2))

    assert 0o600 == mode(tmp_path / "results.jsonl")


@pytest.mark.usefixtures("umask")
async def test_every_page_of_a_gallery_is_for_the_owner(tmp_path: Path) -> None:
    """The first, the others, and one that takes the place of a looser one."""
    (tmp_path / "gallery.html").write_text("of an earlier time")
    async with Sandbox() as sandbox:
        await run_once(sandbox, tmp_path, pictures(3))
    await write_gallery(tmp_path, jobs_on_a_page=1)

    pages = list(tmp_path.glob("gallery*.html"))
    assert 3 == len(pages)
    assert {0o600} == {mode(page) for page in pages}


@pytest.mark.usefixtures("umask")
async def test_a_journal_is_for_the_owner_whatever_the_umask(tmp_path: Path) -> None:
    """While it runs, with its log, and when it is closed."""
    modes: dict[str, int] = {}
    async with Sandbox() as sandbox, opened(sandbox, tmp_path) as batch:
        async for _ in batch.run(pictures(1)):
            modes |= {path.name: mode(path) for path in tmp_path.glob("journal.sqlite*")}

    assert {"journal.sqlite": 0o600, "journal.sqlite-wal": 0o600} == modes
    assert 0o600 == mode(tmp_path / "journal.sqlite")


async def test_what_stands_beside_an_open_journal_says_nothing_of_its_jobs(tmp_path: Path) -> None:
    """Who has it open, and room for when the disk is full; both are gone with the run."""
    found: dict[str, bytes] = {}
    async with Sandbox() as sandbox, opened(sandbox, tmp_path) as batch:
        async for _ in batch.run(pictures(1)):
            found = {name: (tmp_path / name).read_bytes() for name in ("journal.pid", "journal.reserve")}

    assert f"{os.getpid()} on {socket.gethostname()}\n".encode() == found["journal.pid"]
    assert not any(found["journal.reserve"])
    assert not list(tmp_path.glob("journal.[pr]*"))


@pytest.mark.parametrize(("mask", "expected"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
async def test_media_and_their_facts_follow_the_umask(
    mask: int, expected: int, umask: Callable[[int], int], tmp_path: Path
) -> None:
    """They are made to be given away, by whoever wants to."""
    umask(mask)
    async with Sandbox() as sandbox:
        await run_once(sandbox, tmp_path, pictures(1))

    assert {"boat-0.jpg": expected, "boat-0.jpg.json": expected} == {
        path.name: mode(path) for path in tmp_path.glob("boat-0*")
    }


def mode(path: Path) -> int:
    """What the owner, the group and the others may do."""
    return stat.S_IMODE(path.stat().st_mode)
