"""Tests of sections B and D at both moments: whatever the reply was, the job is paid once and collected."""

from __future__ import annotations

import pytest

from seedance_async import UncertainSubmissionError
from seedance_async.sandbox import Fault, Sandbox
from seedance_async.sandbox.faults import NAMED
from tests.faults.helpers import IMPATIENT, SECONDS, VIDEO, client_for, posts

UNUSABLE = [
    "drop", "reset", "cut-head", "cut-head-reset", "truncate", "truncate-reset", "truncate-hang",
    "cut-chunks", "hang", "dribble", "dribble-body", "garbage", "two-framings",
    "short-length", "endless", "internal-error", "busy", "bad-gateway", "half-json", "page", "empty", "no-id",
    "null", "twice-a-key", "nan", "long-number", "deep", "utf-16", "latin-1", "gzip-cut", "gzip-bomb",
    "gzip-claimed",
]  # fmt: skip
"""Faults that leave nothing to go by, though the status may say 202."""

HARMLESS = ["bom", "gzip", "no-length", "two-answers", "close-after", "delay", "long-header"]
"""Faults that leave the answer readable."""


def fault(name: str, **changes: object) -> Fault:
    """The fault of this name, changed."""
    return Fault.read({**NAMED[name].document(), **changes})


@pytest.mark.case(*range(11, 19), 31, 32, 33, 34, 35, *range(48, 62))
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("name", UNUSABLE)
async def test_a_lost_answer_is_asked_for_again_and_paid_once(name: str, moment: str) -> None:
    """Struck after the charge, the repeat under the same key and bytes collects what is paid."""
    lost = fault(name, on="submit", moment=moment)
    async with Sandbox(conditions=SECONDS, faults=[lost]) as sandbox, client_for(sandbox) as client:
        task = await client.generate(VIDEO)

    assert [task.id] == [paid.id for paid in sandbox.paid_tasks]
    assert lost.effect == sandbox.requests[0].fault
    assert 2 <= len(posts(sandbox))
    assert 1 == len(set(posts(sandbox)))


@pytest.mark.case(*range(11, 19), 31, 32, *range(48, 62))
@pytest.mark.parametrize("name", UNUSABLE)
async def test_an_answer_that_stays_lost_ends_in_doubt_and_its_key_collects(name: str) -> None:
    """The error says "may be paid"; later the same request under its key brings the task, and is free."""
    lost = fault(name, on="submit", moment="after", count=None)
    async with (
        Sandbox(conditions=SECONDS, faults=[lost]) as sandbox,
        client_for(sandbox, retry=IMPATIENT) as client,
    ):
        with pytest.raises(UncertainSubmissionError) as caught:
            await client.submit(VIDEO)
        sandbox.faults.clear()
        submission = await client.submit(VIDEO, idempotency_key=caught.value.idempotency_key)

    assert [submission.id] == [paid.id for paid in sandbox.paid_tasks]
    assert 1 == len(set(posts(sandbox)))


@pytest.mark.case(91)
@pytest.mark.parametrize("name", [*UNUSABLE, *HARMLESS, "other-id", "rate-limited"])
async def test_a_poll_that_fails_in_any_way_ends_nothing(name: str) -> None:
    """Three looks in a row tell nothing; the job is done all the same."""
    failing = fault(name, on="task", count=3)
    async with Sandbox(conditions=SECONDS, faults=[failing]) as sandbox, client_for(sandbox) as client:
        task = await client.generate(VIDEO)

    assert task.is_completed
    assert [task.id] == [paid.id for paid in sandbox.paid_tasks]


@pytest.mark.case(19, 20, 57, 62)
@pytest.mark.parametrize("name", HARMLESS)
async def test_an_odd_answer_that_can_be_read_is_read(name: str) -> None:
    """One POST and no more; nothing left over on the connection is taken for a later answer."""
    odd = fault(name, on="any", count=None, seconds=0.5)
    async with Sandbox(conditions=SECONDS, faults=[odd]) as sandbox, client_for(sandbox) as client:
        first, second = await client.generate(VIDEO), await client.generate(VIDEO)

    assert [first.id, second.id] == [paid.id for paid in sandbox.paid_tasks]
    assert 2 == len(posts(sandbox)) == len(set(posts(sandbox)))
