"""The gallery of a batch, written from its journal."""

from __future__ import annotations

import re
import stat
from typing import TYPE_CHECKING

import pytest

from seedance_async import GptImage2, Job, JournalError, NanoBananaPro, Seedance2Video
from seedance_async.batch import chart
from seedance_async.batch.report import write_gallery
from seedance_async.sandbox import Fault, Sandbox
from tests.batch.helpers import opened, pictures, results_of, run_once

if TYPE_CHECKING:
    from pathlib import Path


def pages(directory: Path) -> dict[str, str]:
    """Every page by its name."""
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(directory.glob("gallery*.html"))}


def names(page: str) -> list[str]:
    """The jobs on a page."""
    return re.findall(r"<figcaption>.*?<b><bdi>(.*?)</bdi></b>", page, re.DOTALL)


async def test_every_job_is_shown_with_what_it_took(tmp_path: Path) -> None:
    """Files, shape, time and price; its task and key for whoever has to ask."""
    jobs = [
        Job(Seedance2Video(prompt="A red hat", aspect_ratio="9:16", duration=4), name="hat"),
        Job(GptImage2(prompt="Cats", batch_count=2), name="cats"),
    ]
    async with Sandbox() as sandbox:
        results = await run_once(sandbox, tmp_path, jobs)

    page = (await write_gallery(tmp_path)).read_text(encoding="utf-8")

    assert ["hat", "cats"] == names(page)
    for reported in (
        'src="./hat.mp4"',
        'poster="./hat-last-frame.png"',
        "9:16",
        "24 credits",
        "16 credits",
        "40 credits",
    ):
        assert reported in page
    assert all(f"./cats-{place}.png" in page for place in (1, 2))
    for result in results.values():
        ids = "\n".join(result.task_ids)
        assert f'<dd dir="auto">{ids}</dd>' in page
        assert str(result.idempotency_key) in page
    assert re.search(r"<span>\d:\d\d</span>", page)


async def test_whatever_became_of_a_job_it_has_its_place(tmp_path: Path) -> None:
    """Failed, refused, uncertain and not sent at all; each says why it has no files."""
    faults = [
        Fault(effect="status", moment="before", on="submit", status=400, nth=2),
        Fault(effect="drop", on="submit", nth=3, count=None),
    ]
    jobs = [
        Job(NanoBananaPro(prompt="A boat [[sandbox:fail]]"), name="failed"),
        Job(NanoBananaPro(prompt="A boat"), name="refused"),
        *pictures(8),
    ]
    async with Sandbox(faults=faults) as sandbox, opened(sandbox, tmp_path, max_in_flight=1) as batch:
        await results_of(batch, jobs)

    page = (await write_gallery(tmp_path)).read_text(encoding="utf-8")

    states = re.findall(r'<figure class="\w+" data-state="(\w+)"', page)
    assert ["failed", "refused", *["uncertain"] * 5, *["planned"] * 3] == states
    assert 10 == page.count('class="missing"')
    assert "task failed: Generation failed upstream" in page
    buttons = re.findall(r'data-state="(\w*)" aria-pressed="false">\w+ <b>(\d+)</b>', page)
    counts = {"": "10", "planned": "3", "failed": "1", "refused": "1", "uncertain": "5"}
    assert counts == dict(buttons)


async def test_a_large_batch_becomes_several_pages_that_know_each_other(tmp_path: Path) -> None:
    """In the manifest's order; each page says which states are found on which."""
    jobs = [*pictures(5), Job(NanoBananaPro(prompt="A boat [[sandbox:fail]]"), name="failed")]
    course = chart.Course()
    course.count(0.0, submits=6)
    course.count(30.0, polls=6)  # the run itself may be over within a second, which makes no chart
    async with Sandbox() as sandbox, opened(sandbox, tmp_path) as batch:
        await results_of(batch, jobs)
        await batch.journal.remember(chart.FACT, course.dump())

    first = await write_gallery(tmp_path, jobs_on_a_page=2)

    written = pages(tmp_path)
    assert ["gallery-2.html", "gallery-3.html", "gallery.html"] == list(written)
    assert "gallery.html" == first.name
    assert ["boat-0", "boat-1"] == names(written["gallery.html"])
    assert ["boat-4", "failed"] == names(written["gallery-3.html"])
    for number, name in enumerate(("gallery.html", "gallery-2.html", "gallery-3.html"), start=1):
        links = re.findall(
            r'<a href="\./(gallery[-\d]*\.html)" data-states="([\w ]+)"( aria-current)?', written[name]
        )
        here = [(link, states, bool(current)) for link, states, current in links]
        assert [
            ("gallery.html", "saved", number == 1),
            ("gallery-2.html", "saved", number == 2),
            ("gallery-3.html", "failed saved", number == 3),
        ] == here
        assert "6 jobs · 1 failed · 60 credits" in written[name]
    assert ["gallery.html"] == [name for name, page in written.items() if "<svg" in page]


async def test_pages_of_an_earlier_larger_gallery_are_removed(tmp_path: Path) -> None:
    """They would tell of jobs that are elsewhere now. What else is called gallery stays."""
    async with Sandbox() as sandbox:
        await run_once(sandbox, tmp_path, pictures(3))
    await write_gallery(tmp_path, jobs_on_a_page=1)
    (tmp_path / "gallery-of-mine.html").touch()

    await write_gallery(tmp_path)

    assert ["gallery-of-mine.html", "gallery.html"] == list(pages(tmp_path))


async def test_a_page_is_for_the_owner_and_names_no_signed_address(tmp_path: Path) -> None:
    """Media that were given may be presigned, as the server's own are; they stand in the journal only."""
    secret = "https://example.com/me.png?signature=SECRET"
    job = Job(Seedance2Video(prompt="Me, dancing", image_url=secret), name="me")
    async with Sandbox() as sandbox:
        results = await run_once(sandbox, tmp_path, [job])

    page = await write_gallery(tmp_path)

    text = page.read_text(encoding="utf-8")
    assert 0o600 == stat.S_IMODE(page.stat().st_mode)
    assert "SECRET" not in text
    assert not any(url in text for url in results["me"].urls)
    assert '<dt>image_url</dt><dd dir="auto">given</dd>' in text


async def test_a_symlink_in_the_place_of_a_page_is_not_followed(tmp_path: Path) -> None:
    """Whoever can write into the directory does not get to write elsewhere."""
    outside = tmp_path / "outside.txt"
    outside.write_text("mine")
    directory = tmp_path / "out"
    async with Sandbox() as sandbox:
        await run_once(sandbox, directory, pictures(1))
    for name in ("gallery.html", "gallery.html.part"):
        (directory / name).symlink_to(outside)

    await write_gallery(directory)

    assert "mine" == outside.read_text()
    assert not (directory / "gallery.html").is_symlink()


async def test_an_empty_batch_has_a_page_as_well(tmp_path: Path) -> None:
    """Nothing was planned, because the manifest was wrong, say."""
    page = await write_gallery(tmp_path)

    assert [] == names(page.read_text(encoding="utf-8"))


async def test_a_batch_that_runs_is_left_alone(tmp_path: Path) -> None:
    """Its journal belongs to the runner."""
    async with Sandbox() as sandbox, opened(sandbox, tmp_path):
        with pytest.raises(JournalError, match="another runner"):
            await write_gallery(tmp_path)
