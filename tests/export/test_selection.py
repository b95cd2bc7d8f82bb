"""Which files of a batch are handed over, and in which order."""

from __future__ import annotations

from typing import Any

import pytest

from seedance_async.export.selection import Selection, read_picks, select


def job(name: str, state: str = "saved", **fields: object) -> dict[str, Any]:
    """A line of results."""
    own = {
        "name": name,
        "state": state,
        "model": "seedance2",
        "prompt": f"{name}!",
        "task_ids": [f"t-{name}"],
    }
    return {**own, "files": [f"{name}.mp4", f"{name}-last-frame.png"], **fields}


def pick(name: str, word: str, *task_ids: str) -> dict[str, Any]:
    """A line of picks."""
    return {"name": name, "task_ids": list(task_ids), "pick": word, "note": "", "at": "2026-11-26T10:00:00Z"}


def names(selection: Selection) -> list[str]:
    """The jobs that are handed over."""
    return [shot.name for shot in selection.shots]


def chosen(jobs: list[dict[str, Any]], *picks: object) -> Selection:
    """The selection of these lines."""
    return select(jobs, read_picks(picks))


def test_without_picks_every_saved_job_is_handed_over_in_the_order_of_the_results() -> None:
    """Its clip, not the clip's last frame; what is not saved is named."""
    found = chosen([job("b"), job("a"), job("c", "failed", files=[]), job("d", "planned", files=[])])

    assert ["b.mp4", "a.mp4"] == [shot.file for shot in found.shots]
    assert ("c", "d") == found.unsaved
    assert not found.kept


def test_every_picture_of_a_job_is_one() -> None:
    """A job of several tasks has several."""
    found = chosen([job("cats", files=["cats-1.png", "cats-2.PNG", "cats-1.txt"], seed=7)])

    assert ["cats-1.png", "cats-2.PNG"] == [shot.file for shot in found.shots]
    assert not any(shot.is_clip for shot in found.shots)
    assert {7} == {shot.seed for shot in found.shots}


def test_a_later_line_of_a_job_counts_in_its_first_place() -> None:
    """A batch that was killed has added lines to the file of the run before."""
    found = chosen([job("a", "failed", files=[]), job("b"), job("a")])

    assert ["a", "b"] == names(found)


def test_only_what_was_kept_is_handed_over_once_anything_was() -> None:
    """The last word on the same tasks counts."""
    jobs = [job("a"), job("b"), job("c")]
    picks = [
        pick("a", "keep", "t-a"),
        pick("b", "keep", "t-b"),
        pick("b", "reject", "t-b"),
    ]
    found = chosen(jobs, *picks)

    assert ["a"] == names(found)
    assert found.kept


def test_what_was_rejected_is_left_out_where_nothing_was_kept() -> None:
    """It is counted, so that somebody can be told."""
    found = chosen([job("a"), job("b")], pick("b", "reject", "t-b"))

    assert (["a"], 1, False) == (names(found), found.rejected, found.kept)


def test_a_pick_is_of_tasks_not_of_a_name() -> None:
    """A job that was made anew since was not looked at; the take that was kept stands in its place."""
    jobs = [job("a", task_ids=["new"]), job("b"), job("a-take-1", task_ids=["old"])]

    kept = chosen(jobs, pick("a", "keep", "old"), pick("b", "keep", "t-b"))
    rejected = chosen(jobs, pick("a", "reject", "old"))

    assert ["a-take-1", "b"] == names(kept)
    assert ["a", "b"] == names(rejected)


def test_older_takes_and_what_was_before_an_edit_are_not_the_cut() -> None:
    """Unless the name is a job's own."""
    jobs = [job("a"), job("a-take-1"), job("a-before-edit"), job("a-before-edit-2"), job("z-take-1")]

    assert ["a", "z-take-1"] == names(chosen(jobs))


@pytest.mark.parametrize(
    "line",
    [
        None,
        [],
        "keep",
        {},
        {"pick": "keep"},
        {"pick": ["keep"]},
        {"name": 7, "pick": "keep"},
        {"pick": "maybe"},
    ],
)
def test_what_is_no_pick_is_passed_over(line: object) -> None:
    """A review of a later version may write more than this one knows."""
    assert ["a"] == names(chosen([job("a")], line))


def test_a_pick_without_tasks_is_of_a_name() -> None:
    """As somebody may write by hand."""
    assert ["b"] == names(chosen([job("a"), job("b")], {"name": "b", "pick": "keep"}))


def test_results_of_another_shape_harm_nothing() -> None:
    """Fields that are missing, or something else."""
    found = chosen([{"name": "a", "state": "saved", "files": "a.mp4"}, job("b", seed=True, prompt=None)])

    assert ["b"] == names(found)
    assert (None, "") == (found.shots[0].seed, found.shots[0].prompt)
