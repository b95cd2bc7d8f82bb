"""Which files of a batch are handed over, and in which order."""

from __future__ import annotations

import json
from typing import Any

import pytest

from seedance_async.batch import picks, results_reading
from seedance_async.export.selection import Selection, select


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


def pick(name: str, word: str | None, *task_ids: str) -> dict[str, Any]:
    """A line of picks."""
    return {"name": name, "task_ids": list(task_ids), "pick": word, "note": "", "at": "2026-11-26T10:00:00Z"}


def names(selection: Selection) -> list[str]:
    """The jobs that are handed over."""
    return [shot.name for shot in selection.shots]


def chosen(jobs: list[dict[str, Any]], *lines: object) -> Selection:
    """The selection of these lines."""
    return select(results_reading.parse(map(encoded, jobs)), picks.parse(map(encoded, lines)))


def encoded(line: object) -> bytes:
    """A line, as it stands in its file."""
    return json.dumps(line).encode() + b"\n"


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
    found = chosen(jobs, pick("a", "keep", "t-a"), pick("b", "keep", "t-b"), pick("b", "reject", "t-b"))

    assert ["a"] == names(found)
    assert found.kept


def test_what_was_rejected_is_left_out_where_nothing_was_kept() -> None:
    """It is counted, so that somebody can be told."""
    found = chosen([job("a"), job("b")], pick("b", "reject", "t-b"))

    assert (["a"], 1, False) == (names(found), found.rejected, found.kept)


def test_a_pick_that_was_taken_back_says_nothing() -> None:
    """Neither that the take is kept nor that it is rejected."""
    found = chosen([job("a"), job("b")], pick("a", "keep", "t-a"), pick("a", None, "t-a"))

    assert (["a", "b"], False) == (names(found), found.kept)


def test_a_pick_is_of_tasks_not_of_a_name() -> None:
    """A job that was made anew since was not looked at; the take that was kept stands in its place."""
    jobs = [job("a", task_ids=["new"]), job("b"), job("a-take-1", task_ids=["old"], older_of="a")]

    kept = chosen(jobs, pick("a", "keep", "old"), pick("b", "keep", "t-b"))
    rejected = chosen(jobs, pick("a", "reject", "old"))

    assert ["a-take-1", "b"] == names(kept)
    assert ["a", "b"] == names(rejected)


def test_older_results_are_not_the_cut() -> None:
    """By what their lines say: a job may be called as an older take is."""
    jobs = [
        job("a"),
        job("a-take-1", older_of="a"),
        job("a-before-edit", older_of="a"),
        job("b"),
        job("b-take-1", older_of=None),
        job("c-take-1", older_of="a job that is not listed"),
    ]
    found = chosen(jobs)

    assert (["a", "b", "b-take-1"], ()) == (names(found), found.unsaved)


@pytest.mark.parametrize("state", ["planned", "submitting", "accepted", "completed", "failed", "refused"])
def test_a_newer_take_that_is_not_there_takes_nothing_out(state: str) -> None:
    """The newest saved one is handed over in its place, and it is told why."""
    jobs = [job("a-take-1", older_of="a"), job("a-take-2", older_of="a"), job("b"), job("a", state, files=[])]
    found = chosen(jobs)
    rejected = chosen(jobs, pick("a-take-2", "reject", "t-a-take-2"))

    assert (["b", "a-take-2"], ()) == (names(found), found.unsaved)
    assert (("a-take-2", "a", state),) == found.earlier
    assert (["b"], 1, ("a",)) == (names(rejected), rejected.rejected, rejected.unsaved)


def test_a_take_that_was_kept_is_told_to_have_a_newer_one_on_its_way() -> None:
    """Only what was kept is handed over, and the other job is missing for its own reason."""
    jobs = [job("a", "accepted", files=[]), job("a-take-1", older_of="a"), job("b", "planned", files=[])]
    found = chosen(jobs, pick("a-take-1", "keep", "t-a-take-1"))

    assert (["a-take-1"], ("b",)) == (names(found), found.unsaved)
    assert (("a-take-1", "a", "accepted"),) == found.earlier


@pytest.mark.parametrize("kept", [(), ("a",), ("a-final",), ("a", "a-final")])
def test_a_final_stands_in_the_place_of_its_take(kept: tuple[str, ...]) -> None:
    """Whatever was kept of the two; alone, never beside it, and where the job stands."""
    jobs = [job("a"), job("b"), job("a-final", final_of="a", task_ids=["t-a-final"])]
    found = chosen(jobs, *(pick(name, "keep", f"t-{name}") for name in (*kept, "b")))

    assert ["a-final", "b"] == names(found) if kept else ["b"] == names(found)
    assert ["a-final", "b"] == names(chosen(jobs))


def test_a_final_that_was_rejected_or_is_not_saved_replaces_nothing() -> None:
    """The take itself is handed over, and a final of before is better than none."""
    take, final = job("a"), job("a-final", final_of="a")
    waits = job("a-final", "planned", final_of="a", files=[])
    before = job("a-final-before-edit", final_of="a", older_of="a-final")

    assert ["a"] == names(chosen([take, final], pick("a-final", "reject", "t-a-final")))
    assert (["a"], ("a-final",)) == (names(chosen([take, waits])), chosen([take, waits]).unsaved)
    assert ["a-final-before-edit"] == names(chosen([take, before, waits]))
    assert ["a-final"] == names(chosen([take, final, before]))


def test_a_final_goes_with_the_take_that_it_is_made_of() -> None:
    """Made anew since, the job is what it is now; rejected, neither of them is handed over."""
    jobs = [
        job("a-take-1", older_of="a"),
        job("a-final", final_of="a-take-1"),
        job("a"),
        job("b", in_manifest=False),
        job("b-final", final_of="b", in_manifest=False),
    ]
    found = chosen(jobs)
    old = chosen(jobs, pick("a-take-1", "keep", "t-a-take-1"))

    assert (["a"], ("a-final",), 1) == (names(found), found.outdated, found.gone)
    assert (["a-final"], ()) == (names(old), old.outdated)
    assert [] == names(chosen(jobs[:2] + jobs[3:], pick("a-take-1", "reject", "t-a-take-1")))


def test_jobs_that_are_gone_from_the_manifest_are_left_out_and_counted() -> None:
    """Not those that a review has rejected, and not the older takes that go with them."""
    jobs = [
        job("a", in_manifest=True),
        job("b", in_manifest=False),
        job("b-take-1", in_manifest=False, older_of="b"),
        job("c", in_manifest=False),
        job("d", "failed", files=[], in_manifest=False),
    ]
    found = chosen(jobs, pick("c", "reject", "t-c"))

    assert (["a"], 1, 0, ()) == (names(found), found.gone, found.rejected, found.unsaved)


def test_what_was_kept_is_handed_over_though_it_is_gone_from_the_manifest() -> None:
    """Such as a final, which stands in no manifest."""
    jobs = [job("a"), job("a-final", in_manifest=False)]
    found = chosen(jobs, pick("a-final", "keep", "t-a-final"))

    assert (["a-final"], 0) == (names(found), found.gone)


@pytest.mark.parametrize(
    "line",
    [
        None,
        [],
        "keep",
        {},
        {"pick": "keep"},
        {"pick": ["keep"]},
        {"name": 7, "task_ids": ["t-b"], "pick": "keep"},
        {"name": "b", "pick": "keep"},
        {"name": "b", "task_ids": ["t-b"], "pick": "maybe"},
    ],
)
def test_what_is_no_pick_is_passed_over(line: object) -> None:
    """A review of a later version may write more than this one knows."""
    assert ["a", "b"] == names(chosen([job("a"), job("b")], line))


def test_results_of_another_shape_harm_nothing() -> None:
    """Fields that are missing, or something else."""
    found = chosen([{"name": "a", "state": "saved", "files": "a.mp4"}, job("b", seed=True, prompt=None)])

    assert ["b"] == names(found)
    assert (None, "") == (found.shots[0].seed, found.shots[0].prompt)
