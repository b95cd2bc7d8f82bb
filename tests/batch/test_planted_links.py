"""Links and directories planted in a batch's directory: catalogue 147, for every name that a batch writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from seedance_async import DownloadError, JournalError
from seedance_async.batch.report import write_gallery
from seedance_async.batch.states import State
from seedance_async.sandbox import Sandbox
from tests.batch.helpers import pictures, run_once, states

if TYPE_CHECKING:
    from pathlib import Path

NAMES = (
    "results.jsonl",
    "results.jsonl.part",
    "boat-0.jpg.json",
    "boat-0.jpg.json.part",
    "gallery.html",
    "gallery.html.part",
    "journal.pid",
    "journal.reserve",
)


@pytest.mark.case(147)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("plant", ["symbolic", "hard", "dangling"])
async def test_nothing_of_a_batch_is_written_through_a_link(name: str, plant: str, tmp_path: Path) -> None:
    """What the link leads to stays as it is, and the job is saved all the same."""
    victim, folder = tmp_path / "victim", tmp_path / "out"
    folder.mkdir()
    if plant != "dangling":
        victim.write_bytes(b"precious")
    trap = folder / name
    trap.hardlink_to(victim) if plant == "hard" else trap.symlink_to(victim)
    async with Sandbox() as sandbox:
        results = await run_once(sandbox, folder, pictures(1))
    await write_gallery(folder)

    assert {"saved": 1} == states(results)
    assert ["boat-0.jpg", "boat-0.jpg.json", "gallery.html", "journal.sqlite", "results.jsonl"] == sorted(
        path.name for path in folder.iterdir()
    )
    assert not any(path.is_symlink() for path in folder.iterdir())
    assert victim.exists() == (plant != "dangling")
    assert plant == "dangling" or b"precious" == victim.read_bytes()


@pytest.mark.case(147)
@pytest.mark.parametrize("depth", ["{model}/{name}", "{model}/again/{name}"])
async def test_a_directory_that_leads_out_is_refused_and_nothing_paid_is_lost(
    depth: str, tmp_path: Path
) -> None:
    """The job stays completed; once the link is gone the next run saves it, and pays nothing."""
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "out"
    elsewhere.mkdir()
    folder.mkdir()
    trap = folder / "nano-banana-pro"
    trap.symlink_to(elsewhere)
    async with Sandbox() as sandbox:
        refused = await run_once(sandbox, folder, pictures(1), output_name=depth)
        assert isinstance(error := refused["boat-0"].error, DownloadError)
        assert "a link there leads out of" in error.message
        assert State.COMPLETED is refused["boat-0"].state
        assert [] == list(elsewhere.iterdir())

        trap.unlink()
        results = await run_once(sandbox, folder, pictures(1), output_name=depth)
        assert {"saved": 1} == states(results)
        assert 1 == len(sandbox.paid_tasks)
    assert results["boat-0"].files[0].resolve().is_relative_to(folder.resolve())


async def test_a_batch_may_be_behind_a_link_of_its_owners(tmp_path: Path) -> None:
    """The directory itself is named by whoever runs it, and a link within it may lead about within it."""
    (tmp_path / "disk" / "pictures").mkdir(parents=True)
    (tmp_path / "disk" / "nano-banana-pro").symlink_to("pictures")
    (tmp_path / "out").symlink_to("disk")
    async with Sandbox() as sandbox:
        results = await run_once(sandbox, tmp_path / "out", pictures(1), output_name="{model}/{name}")

    assert {"saved": 1} == states(results)
    assert (tmp_path / "disk" / "pictures" / "boat-0.jpg").exists()


@pytest.mark.parametrize("name", ["results.jsonl", "results.jsonl.part", "journal.reserve"])
async def test_a_directory_in_a_files_place_is_told_and_loses_nothing(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """They are helps and pictures; the journal is the truth."""
    (tmp_path / name).mkdir()
    async with Sandbox() as sandbox:
        results = await run_once(sandbox, tmp_path, pictures(1))

    assert {"saved": 1} == states(results)
    assert name in caplog.text
    assert (tmp_path / name).is_dir()


async def test_a_directory_in_the_place_of_the_holders_name_is_refused(tmp_path: Path) -> None:
    """Without that name nobody on another machine could be told; and the lock is given back."""
    (tmp_path / "journal.pid").mkdir()
    async with Sandbox() as sandbox:
        with pytest.raises(JournalError, match="cannot hold a batch"):
            await run_once(sandbox, tmp_path, pictures(1))
        (tmp_path / "journal.pid").rmdir()
        assert {"saved": 1} == states(await run_once(sandbox, tmp_path, pictures(1)))
