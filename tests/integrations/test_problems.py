"""The table of statuses: every error of the tree has one, and strangers are not told too much."""

from __future__ import annotations

import json

import pytest

from seedance_async import errors
from seedance_async.errors import SeedanceError
from seedance_async.integrations.problems import PRIVATE, STATUS, problem_of, status_of

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, SeedanceError)]


def test_every_error_is_in_the_table_or_its_base_is() -> None:
    """A new class is thought about: only those below a class that says enough may be left out."""
    left_out = {kind.__name__ for kind in KINDS} - {kind.__name__ for kind in STATUS}

    assert {
        "StandingLimitError",
        "StaleKeyError",
        "UncertainInternalServerError",
        "UncertainServiceBusyError",
    } == left_out


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.ValidationError([("prompt", "is missing")]), 422),
        (errors.InsufficientCreditsError("402"), 402),
        (errors.StandingLimitError("no more today"), 402),
        (errors.UnauthorizedError("401"), 502),
        (errors.RateLimitedError("429"), 503),
        (errors.UncertainServiceBusyError("who knows"), 502),
        (errors.ClientStateError("the client is closed"), 503),
        (errors.WaitTimeoutError("not final"), 504),
        (errors.RecordError("/home/somebody/record is damaged"), 500),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, SeedanceError) else None,
)
def test_the_status_says_whose_turn_it_is(error: SeedanceError, status: int) -> None:
    """Whose turn it is: the caller's, the payer's, the vendor's, or the one's who runs the backend."""
    problem = problem_of(error)

    assert status == problem.status == status_of(type(error)) == problem.document["status"]
    assert type(error).__name__ == problem.document["title"]


def test_what_was_paid_can_be_collected_by_the_answer() -> None:
    """The key and the task are in the body."""
    error = errors.UncertainSubmissionError("who knows", idempotency_key="k", task_id="sd2_1")
    document = json.loads(problem_of(error).body)

    assert ("k", "sd2_1") == (document["idempotency_key"], document["task_id"])


def test_every_problem_of_a_request_is_in_the_answer() -> None:
    """Field by field, for a form."""
    error = errors.ValidationError([("prompt", "is missing"), ("duration", "is 99")])

    assert [
        {"field": "prompt", "detail": "is missing"},
        {"field": "duration", "detail": "is 99"},
    ] == problem_of(error).document["errors"]


def test_a_wait_that_the_server_asked_for_is_passed_on() -> None:
    """Rounded up, and a few seconds where it asked for none."""
    asked = errors.RateLimitedError("slow down", retry_after=12.2)

    assert {"Retry-After": "13"} == problem_of(asked).headers
    assert {"Retry-After": "5"} == problem_of(errors.ClientStateError("closed")).headers
    assert {} == problem_of(errors.WaitTimeoutError("late")).headers


@pytest.mark.parametrize(
    "kind",
    [errors.JournalError, errors.ConfigurationError, errors.UnauthorizedError, errors.StandingLimitError],
)
def test_strangers_are_not_told_of_the_machine(kind: type[SeedanceError]) -> None:
    """Its message may name files, or the account."""
    problem = problem_of(kind("/home/somebody/.local/state is full"))

    assert PRIVATE == problem.document["detail"]
    assert b"somebody" not in problem.body
