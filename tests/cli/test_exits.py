"""Which error ends with which exit code, and what is told about it."""

from __future__ import annotations

import pytest

from seedance_async.cli.exits import code_of, code_of_all, lines_of
from seedance_async.errors import (
    ConfigurationError,
    ConnectionFailedError,
    CreditCapError,
    DownloadError,
    InsufficientCreditsError,
    InvalidRequestError,
    ManifestError,
    SeedanceError,
    StaleKeyError,
    UnauthorizedError,
    UncertainInternalServerError,
    UncertainSubmissionError,
    UnexpectedReplyError,
    ValidationError,
    WaitTimeoutError,
)
from seedance_async.exit_codes import ExitCode


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidRequestError("no"), ExitCode.FAILED),
        (ConnectionFailedError("no"), ExitCode.FAILED),
        (ValidationError([("prompt", "is required")]), ExitCode.USAGE),
        (ConfigurationError("no"), ExitCode.USAGE),
        (ManifestError([(1, "prompt", "is required")]), ExitCode.USAGE),
        (InsufficientCreditsError("no"), ExitCode.OUT_OF_CREDITS),
        (CreditCapError("no"), ExitCode.OUT_OF_CREDITS),
        (UnauthorizedError("no"), ExitCode.KEY_REFUSED),
        (UncertainSubmissionError("no"), ExitCode.UNCERTAIN),
        (UncertainInternalServerError("no"), ExitCode.UNCERTAIN),
        (StaleKeyError("no"), ExitCode.UNCERTAIN),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_every_error_has_the_exit_code_of_the_contract(error: SeedanceError, code: int) -> None:
    """Scripts decide by these numbers."""
    assert code == code_of(error)


def test_a_key_that_is_too_old_is_not_advised_to_be_sent_again() -> None:
    """It alone of all that is uncertain: the server may take the same request for a new job."""
    reported = "\n".join(lines_of(StaleKeyError("no", idempotency_key="key-1")))

    assert "key-1" in reported
    assert "--idempotency-key" not in reported
    assert "--idempotency-key key-1" in "\n".join(
        lines_of(UncertainSubmissionError("no", idempotency_key="key-1"))
    )


def test_many_jobs_end_with_the_code_that_says_most() -> None:
    """A refused key explains failures beside it, and money that may be lost outweighs money that is short."""
    failed, short, uncertain, refused = (
        SeedanceError("no"),
        InsufficientCreditsError("no"),
        UncertainSubmissionError("no"),
        UnauthorizedError("no"),
    )

    assert ExitCode.OK == code_of_all([])
    assert ExitCode.FAILED == code_of_all([failed])
    assert ExitCode.OUT_OF_CREDITS == code_of_all([failed, short])
    assert ExitCode.UNCERTAIN == code_of_all([failed, short, uncertain])
    assert ExitCode.KEY_REFUSED == code_of_all([failed, short, uncertain, refused])


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (UncertainSubmissionError("no", idempotency_key="k1"), "--idempotency-key k1"),
        (WaitTimeoutError("late", task_id="sd2_1"), "seedance wait sd2_1"),
        (UnexpectedReplyError("odd", task_id="sd2_1"), "seedance wait sd2_1"),
        (DownloadError("no", task_id="sd2_1"), "seedance download sd2_1"),
        (InsufficientCreditsError("no"), "top up"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_an_error_is_told_with_what_to_do_about_it(error: SeedanceError, advice: str) -> None:
    """What was paid can be collected by the line on the screen."""
    first, *_, last = lines_of(error)

    assert first.startswith("error: ")
    assert advice in last
