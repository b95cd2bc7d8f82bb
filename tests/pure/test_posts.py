"""One POST and the jobs it serves: its body, and what its answer proves about each of them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedance_async import GptImage2, Submission, posts, wire

IDS = tuple(f"gpt2_{letter}" for letter in "abcdefgh")


def answer(named: int, started: int | None = None, failed: int | None = None) -> Submission:
    """An answer that names so many tasks."""
    return Submission(
        id=IDS[0], task_ids=IDS[:named], credits_used=8 * named, batch_success=started, batch_failed=failed
    )


@pytest.mark.parametrize(
    ("named", "started", "failed", "tasks"),
    [(1, None, None, 1), (4, None, None, 4), (4, 4, 0, 4), (3, 3, 1, 4), (1, 1, 3, 4)],
)
def test_an_answer_whose_numbers_add_up_accounts_for_every_task(
    named: int, started: int | None, failed: int | None, tasks: int
) -> None:
    """Then those that it does not name were not started."""
    assert posts.accounts_for(answer(named, started, failed), tasks)


@pytest.mark.case(176)
@pytest.mark.parametrize(
    ("named", "started", "failed", "tasks"),
    [
        (1, None, None, 4),
        (3, None, 1, 4),
        (1, 3, 1, 4),
        (1, 4, 0, 4),
        (2, 3, 1, 4),
        (1, 1, None, 4),
        (1, 1, -3, 4),
        (5, 5, -1, 4),
        (5, None, None, 4),
        (3, 3, 2, 4),
        (3, 4, 1, 4),
    ],
)
def test_an_answer_that_contradicts_itself_proves_nothing(
    named: int, started: int | None, failed: int | None, tasks: int
) -> None:
    """What it does not name may be paid."""
    assert not posts.accounts_for(answer(named, started, failed), tasks)


@pytest.mark.parametrize(
    "strange",
    [
        {"batch_task_ids": [*IDS[:3], IDS[2]]},
        {"batch_task_ids": [*IDS[:3], "gpt2_\0"]},
        {"batch_task_ids": [*IDS[:3], {"id": IDS[3]}]},
        {"batch_task_ids": list(IDS[1:4])},
        {"batch_success": "3"},
        {"batch_success": 3.0},
        {"batch_failed": "1", "batch_success": 4},
        {"batch_success": None},
        {"batch_task_ids": dict.fromkeys(IDS[:3])},
    ],
    ids=[
        "twice",
        "unusable",
        "object",
        "without its own",
        "text",
        "float",
        "failed text",
        "unstated",
        "no list",
    ],
)
def test_an_answer_that_cannot_be_read_whole_proves_nothing(strange: dict[str, object]) -> None:
    """Three of four are named: the fourth may be paid, unless all that is said of it is understood."""
    plain = {"id": IDS[0], "batch_task_ids": list(IDS[:3]), "batch_success": 3, "batch_failed": 1}

    assert posts.accounts_for(wire.submission(plain), 4)
    assert not posts.accounts_for(wire.submission(plain | strange), 4)


def test_a_null_stands_for_a_task_that_was_not_started() -> None:
    """It names nothing that could be paid."""
    listed = [*IDS[:3], None]
    said = {"id": IDS[0], "batch_task_ids": listed, "batch_success": 3, "batch_failed": 1}

    assert posts.accounts_for(wire.submission(said), 4)


@given(named=st.integers(1, 8), jobs=st.integers(1, 4))
def test_every_task_of_an_answer_belongs_to_one_job(named: int, jobs: int) -> None:
    """None is left out, none is shared, and the shares of the credits add up."""
    parts = [part for part in posts.divide(answer(named), jobs) if part is not None]

    assert IDS[:named] == tuple(task_id for part in parts for task_id in part.task_ids)
    assert 8 * named == pytest.approx(sum(part.credits_used or 0 for part in parts))


@pytest.mark.parametrize("jobs", [1, 2, 4])
def test_a_body_for_several_jobs_asks_for_what_each_does(jobs: int) -> None:
    """As the request itself would, written down once."""
    request = GptImage2(prompt="A hat")
    body = posts.body(wire.encode(request), jobs)

    assert json.loads(body) == json.loads(wire.encode(posts.combined(request, jobs)))
