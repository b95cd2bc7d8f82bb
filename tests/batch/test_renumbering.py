"""Stills that are renumbered below clips whose words stay: no clip is stale that was made of its still."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from seedance_async.batch.journal.renumbering import _Line, renumbered
from seedance_async.sandbox import Sandbox
from tests.batch.helpers import opened, results_of, run_once
from tests.batch.test_takes import lines_of, task_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from seedance_async.batch.journal import Changes


def storyboard(path: Path, stills: str, *, clips: Sequence[int] | None = None, named: bool = True) -> Path:
    """A manifest of stills with these letters, numbered, and of a clip of each, all in the same words."""
    numbers = range(1, len(stills) + 1) if clips is None else clips
    jobs: list[dict[str, Any]] = [
        {"name": f"still-{number}", "prompt": f"Still {letter}"}
        for number, letter in enumerate(stills, start=1)
    ]
    for number in numbers:
        clip: dict[str, Any] = {"prompt": "A slow pan", "image_urls": [f"$still-{number}.image"]}
        jobs.append(clip | {"name": f"clip-{number}"} if named else clip)
    manifest = path / "jobs.jsonl"
    manifest.write_text("".join(json.dumps({"model": "nano-banana-pro", **job}) + "\n" for job in jobs))
    return manifest


async def changed(sandbox: Sandbox, out: Path, manifest: Path) -> Changes:
    """Run a manifest to the end; what has changed since the run before."""
    async with opened(sandbox, out) as batch:
        await results_of(batch, manifest)
        return batch.summary.changes


def shown(sandbox: Sandbox, out: Path) -> dict[str, str]:
    """By the link of each clip, the letter of the still that it was made of; none of them is stale."""
    lines = lines_of(out).values()
    letters = {
        line["urls"][0].split("?")[0]: line["prompt"][-1] for line in lines if not line.get("image_urls")
    }
    clips = [
        line for line in lines if line.get("image_urls") and line["in_manifest"] and not line["older_of"]
    ]
    assert not any(line["stale"] for line in clips)
    assert all(line["task_ids"] == [task_of(out / line["files"][0])] for line in clips)
    sent = {line["image_urls"][0]: sandbox.tasks[line["task_ids"][0]].request.fields for line in clips}
    return {link: letters[source_of(fields)] for link, fields in sent.items()}


def source_of(fields: Mapping[str, object]) -> str:
    """The URL of the first picture that was given, unsigned."""
    urls = fields["image_urls"]
    assert isinstance(urls, list)
    return str(urls[0]).split("?")[0]


def of(stills: str) -> dict[str, str]:
    """What each clip has to show."""
    return {f"$still-{number}.image": letter for number, letter in enumerate(stills, start=1)}


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize(
    ("before", "after", "paid"),
    [
        ("AB", "NAB", 6),
        ("AB", "ANB", 6),
        ("ABC", "BC", 6),
        ("AB", "BA", 4),
        ("ABC", "CAB", 6),
        ("AB", "NABM", 8),
    ],
)
async def test_each_clip_is_of_the_still_that_its_line_asks_for(
    before: str, after: str, paid: int, named: bool, tmp_path: Path
) -> None:
    """Put in between, left out, turned round: each result is found again, and only what is new is paid."""
    out = tmp_path / "out"
    async with Sandbox() as sandbox:
        await run_once(sandbox, out, storyboard(tmp_path, before, named=named))
        manifest = storyboard(tmp_path, after, named=named)
        changes = await changed(sandbox, out, manifest)
        assert paid == len(sandbox.paid_tasks)
        assert of(after) == shown(sandbox, out)
        again = await changed(sandbox, out, manifest)

        assert paid == len(sandbox.paid_tasks)
        assert of(after) == shown(sandbox, out)
    assert (0, 0, 0, 0) == (again.added, again.removed, again.edited, again.adopted)
    assert changes.added >= 0 <= changes.edited - changes.found


async def test_what_would_have_to_be_paid_for_again_is_told_as_stale_instead(tmp_path: Path) -> None:
    """Another still stands under the name, and no other line asks for the clip: nothing is made by itself."""
    out = tmp_path / "out"
    async with Sandbox() as sandbox:
        await run_once(sandbox, out, storyboard(tmp_path, "AB"))
        await run_once(sandbox, out, storyboard(tmp_path, "NAB", clips=[1]))
        assert 5 == len(sandbox.paid_tasks)
        assert {"clip-1"} == {name for name, line in lines_of(out).items() if line["stale"]}


async def test_a_clip_that_is_gone_is_not_stale_as_long_as_its_still_is_there(tmp_path: Path) -> None:
    """It was made of a still that has another name by now; made anew, that is another one."""
    out = tmp_path / "out"
    async with Sandbox() as sandbox:
        await run_once(sandbox, out, storyboard(tmp_path, "A"))
        renumbered_stills = storyboard(tmp_path, "NA", clips=[])
        await run_once(sandbox, out, renumbered_stills)
        assert not any(line["stale"] for line in lines_of(out).values())
        await run_once(sandbox, out, renumbered_stills, reroll=["still-2"])

        assert {"clip-1"} == {name for name, line in lines_of(out).items() if line["stale"]}


def lines(*asked: tuple[str | None, str | None]) -> list[_Line]:
    """Lines by what they are made of now, None for a new one, and by what they mean."""
    return [
        _Line(number, own is None, (own or f"new-{number}").encode(), meant.encode() if meant else None)
        for number, (own, meant) in enumerate(asked, start=1)
    ]


def test_a_job_is_set_aside_where_its_result_and_its_line_are_both_served() -> None:
    """In a ring; before a line that is new; or behind a result that is gone; else it stays, and is stale."""
    assert [1, 2] == renumbered(lines(("a", "b"), ("b", "a")), [])
    assert [1, 2] == renumbered(lines(("a", None), ("b", "a"), (None, "b")), [])
    assert [1] == renumbered(lines(("a", "b")), [b"b"])
    assert [] == renumbered(lines(("a", None), ("b", "a")), [])
    assert [] == renumbered(lines(("a", None)), [b"b"])
    assert [] == renumbered(lines((None, "b"), ("a", "a")), [b"c"])


def served(pool: list[bytes], asked: list[_Line]) -> int:
    """How many lines find what they mean among results, each of which serves one."""
    wanted = Counter(line.meant for line in asked if line.meant is not None)
    return (wanted & Counter(pool)).total()


def test_no_line_more_is_to_be_made_than_without() -> None:
    """Whatever asks for whatever: who gives a result up is made good for by a line that finds one."""
    for owns in itertools.permutations(["a", "b", None, None]):
        for meant in itertools.product(["a", "b", "c", None], repeat=4):
            asked = lines(*zip(owns, meant, strict=True))
            new = [line for line in asked if line.is_new]
            for gone in ([], [b"c"], [b"a", b"c"]):
                aside = [line for line in asked if line.number in renumbered(asked, gone)]
                pool = [*gone, *(line.own for line in aside)]
                assert served(pool, new + aside) >= served(gone, new) + len(aside)
