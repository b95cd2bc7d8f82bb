"""Picks on disk: what a person thinks of takes, whoever writes at the same time and however it ends."""

from __future__ import annotations

import json
import multiprocessing
import stat
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedance_async.batch import picks, results_reading
from seedance_async.batch.picks import PICKS, Pick
from seedance_async.file_lock import try_lock

if TYPE_CHECKING:
    from pathlib import Path


NO_PICKS = [
    b'{"name": 1}',
    b'{"name": "a", "task_ids": [1]}',
    b'{"name": "boat", "task_ids": ["sd2_1"], "pick": ["keep"]}',
    b'{"name": "boat", "task_ids": ["sd2_1"], "pick": "love"}',
]


def results(directory: Path, *lines: dict[str, object]) -> None:
    """Write the results of a batch."""
    text = "".join(json.dumps({"state": "saved", **line}) + "\n" for line in lines)
    (directory / "results.jsonl").write_text(text, encoding="utf-8")


def test_a_pick_and_a_note_are_kept_apart(tmp_path: Path) -> None:
    """Of two pages, one that picks and one that notes, neither undoes the other."""
    picks.write(tmp_path, "boat", ("sd2_1",), pick="keep")
    picks.write(tmp_path, "boat", ("sd2_1",), note="the wake is right")
    picks.write(tmp_path, "boat", ("sd2_1",), pick=None)

    (pick,) = picks.load(tmp_path).values()
    assert ("boat", ("sd2_1",), None, "the wake is right") == (pick.name, pick.task_ids, pick.pick, pick.note)
    assert 3 == len((tmp_path / PICKS).read_bytes().splitlines())
    assert {"name", "task_ids", "pick", "note", "at"} == json.loads(
        (tmp_path / PICKS).read_bytes().splitlines()[0]
    ).keys()


def test_a_half_last_line_is_read_past_and_takes_nothing_with_it(tmp_path: Path) -> None:
    """A power cut leaves one; what is written next stands on a line of its own."""
    picks.write(tmp_path, "boat", ("sd2_1",), pick="keep")
    with (tmp_path / PICKS).open("ab") as file:
        file.write(b'{"name": "fox", "task_ids": ["nbp_')

    assert [("sd2_1",)] == list(picks.load(tmp_path))
    picks.write(tmp_path, "fox", ("nbp_1",), pick="reject")
    assert ["keep", "reject"] == [pick.pick for pick in picks.load(tmp_path).values()]


@given(st.lists(st.binary(max_size=80) | st.sampled_from(NO_PICKS)))
def test_what_is_no_pick_is_read_past(lines: list[bytes]) -> None:
    """Whatever stands there."""
    good = picks.line(Pick(name="boat", task_ids=("sd2_1",), pick="keep")).encode()

    assert [(("sd2_1",), "keep")] == [
        (ids, pick.pick) for ids, pick in picks.parse([*lines, good, *lines]).items()
    ]


def write_many(directory: Path, number: int) -> None:
    """As a page of another process does."""
    for round_ in range(20):
        picks.write(directory, f"job-{number}", (f"sd2_{number}",), pick="keep", note=str(round_))
        if number:
            picks.write(directory, "shared", ("sd2_shared",), pick="keep")
        else:
            picks.write(directory, "shared", ("sd2_shared",), note="n")


@pytest.mark.timeout(120)
def test_several_processes_write_at_once(tmp_path: Path) -> None:
    """Every line is whole, and nothing that one wrote is undone by what another one writes."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=write_many, args=(tmp_path, number)) for number in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()

    lines = (tmp_path / PICKS).read_text().splitlines()
    assert 80 == len([json.loads(line) for line in lines])
    found = picks.load(tmp_path)
    assert ("keep", "n") == (found["sd2_shared",].pick, found["sd2_shared",].note)
    assert "19" == found["sd2_0",].note == found["sd2_1",].note


@pytest.mark.skipif(sys.platform == "win32", reason="on Windows nobody waits for anybody")
def test_nothing_is_written_while_another_program_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits; and where the other one never ends, says so."""
    monkeypatch.setattr(picks, "LOCK_TRIES", 2)
    picks.write(tmp_path, "boat", ("sd2_1",), pick="keep")
    with (tmp_path / PICKS).open("ab") as file:
        assert try_lock(file.fileno())
        with pytest.raises(OSError, match="locked by another program"):
            picks.write(tmp_path, "boat", ("sd2_1",), pick="reject")
    picks.write(tmp_path, "boat", ("sd2_1",), note="now")

    assert [("keep", "now")] == [(pick.pick, pick.note) for pick in picks.load(tmp_path).values()]


def test_the_file_is_for_its_owner_and_never_written_through_a_link(tmp_path: Path) -> None:
    """Notes are nobody else's, and a planted link gets nothing."""
    picks.write(tmp_path, "boat", ("sd2_1",), pick="keep")
    assert 0o600 == stat.S_IMODE((tmp_path / PICKS).stat().st_mode)

    other = tmp_path / "other"
    other.mkdir()
    (other / PICKS).symlink_to(tmp_path / "victim")
    (tmp_path / "victim").write_text("mine")
    with pytest.raises(OSError, match=PICKS):
        picks.write(other, "boat", ("sd2_1",), pick="keep")
    with pytest.raises(OSError, match=PICKS):
        picks.load(other)
    assert "mine" == (tmp_path / "victim").read_text()


def test_a_job_is_rejected_by_its_newest_take(tmp_path: Path) -> None:
    """A pick stays with the take that was seen: made anew, the job is undecided, and the old take is none."""
    results(tmp_path, {"name": "boat", "task_ids": ["sd2_1"]}, {"name": "fox", "task_ids": ["nbp_1"]})
    for name, task in (("boat", "sd2_1"), ("fox", "nbp_1"), ("gone", "sd2_9")):
        picks.write(tmp_path, name, (task,), pick="reject")
    assert ("boat", "fox") == picks.rejected_names(tmp_path)

    results(
        tmp_path,
        {"name": "boat", "task_ids": ["sd2_2"]},
        {"name": "boat-take-1", "task_ids": ["sd2_1"]},
        {"name": "earlier", "task_ids": ["nbp_1"], "older_of": "fox"},
        {"name": "fox", "task_ids": ["nbp_1", "nbp_2"]},
        {"name": "new-take-1", "task_ids": ["sd2_9"]},  # a job that is called so: there is no job "new"
    )
    assert ("new-take-1",) == picks.rejected_names(tmp_path)


def test_a_pick_follows_its_take_to_another_name(tmp_path: Path) -> None:
    """What was kept as ``boat`` is kept as ``boat-take-1``."""
    picks.write(tmp_path, "boat", ("sd2_1",), pick="keep")

    assert [("sd2_1",)] == [pick.task_ids for pick in picks.kept(tmp_path)]


def test_without_files_nobody_has_picked(tmp_path: Path) -> None:
    """Neither results nor picks are needed."""
    assert ((), (), {}) == (picks.rejected_names(tmp_path), picks.kept(tmp_path), picks.load(tmp_path))


def test_results_are_read_as_far_as_they_are_some(tmp_path: Path) -> None:
    """A later line of a job replaces an earlier one; a half last line and what is no result are read past."""
    results(
        tmp_path,
        {
            "name": "boat",
            "task_ids": ["sd2_1"],
            "credits_used": 24,
            "files": ["boat.mp4"],
            "prompt": "A boat",
        },
        {"name": "fox", "task_ids": "nbp_1", "credits_used": "12", "files": [1], "error": 4},
        {"no": "name"},
        {"name": "boat", "task_ids": ["sd2_2"]},
    )
    with (tmp_path / "results.jsonl").open("ab") as file:
        file.write(b'[1]\n\xff\n{"name": "half')

    found = results_reading.read(tmp_path)
    read_past = results_reading.read_whole(tmp_path).unreadable
    assert (3, 5, 6, 7) == read_past
    assert ["boat", "fox"] == list(found)
    assert ("sd2_2",) == found["boat"].task_ids
    assert ((), (), None, None) == (
        found["fox"].task_ids,
        found["fox"].files,
        found["fox"].credits_used,
        found["fox"].error,
    )


def test_takes_that_are_older_than_each_other_end_somewhere() -> None:
    """Whatever a file says."""
    lines = [b'{"name": "a", "older_of": "b"}', b'{"name": "b", "older_of": "a"}']
    found = results_reading.parse(lines)

    assert {"a", "b"} == {results_reading.first_name(name, found) for name in found}


@pytest.mark.parametrize(
    "listed",
    [
        "",
        "/etc/passwd",
        "../secret.png",
        "a/../../b.png",
        "..\\b.png",
        "link.png",
        "d/x.png",
        "no.png",
        "\0",
    ],
)
def test_only_plain_files_of_the_directory_are_found(listed: str, tmp_path: Path) -> None:
    """Not over a link, in whichever part of the path it is."""
    directory = tmp_path / "batch"
    (directory / "sub").mkdir(parents=True)
    for path in (tmp_path / "secret.png", directory / "sub" / "x.png"):
        path.write_text("a")
    (directory / "link.png").symlink_to(tmp_path / "secret.png")
    (directory / "d").symlink_to(directory / "sub")

    assert results_reading.plain_path(directory, listed) is None
    assert directory / "sub" / "x.png" == results_reading.plain_path(directory, "sub/x.png")
