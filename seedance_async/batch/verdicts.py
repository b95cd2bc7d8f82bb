"""What the error of a POST proves about the money, and so where its jobs go.

Only the API's own refusal, or a call that never left, takes a job back to *planned* or *refused*. Everything
else leaves it *submitting* or makes it *uncertain*, to be asked for again with the same bytes under the same
key.

A refused key is asked under once more before another is made: a proxy may have delivered the POST twice, and
the refusal be the answer to the copy. If it is refused again, the server may be one that gives its first
answer for ever, so the job tries a new key at once; if that is refused, too, it stays with the old one.

Pure.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from seedance_async.errors import (
    ApiError,
    ClientStateError,
    ConnectionFailedError,
    IdempotencyConflictError,
    InsufficientCreditsError,
    InternalServerError,
    JournalError,
    NotFoundError,
    RateLimitedError,
    SeedanceError,
    StandingLimitError,
    UnauthorizedError,
    UncertainSubmissionError,
)

UNPAID: Final = (
    InsufficientCreditsError, NotFoundError, UnauthorizedError, RateLimitedError, ConnectionFailedError,
    StandingLimitError,
)  # fmt: skip
"""What says that nothing was charged, for a reason that another day may mend."""

STORABLE: Final = (
    IdempotencyConflictError, InsufficientCreditsError, InternalServerError, NotFoundError
)  # fmt: skip
"""What a server may answer for ever under one key, because it stores its answers or rejects repeated keys."""

RECURRING: Final = (
    InsufficientCreditsError, UnauthorizedError, NotFoundError, ConnectionFailedError, JournalError,
    ClientStateError, StandingLimitError,
)  # fmt: skip
"""What the next POST would meet, too: no credits, a revoked key, nothing gets through."""

UNCERTAIN_IN_A_ROW: Final = 5
"""So many new jobs without an answer, and none accepted in between: nothing gets through at present.

Those that were in doubt already say nothing about the present. Their keys may be closed for ever, and would
keep all others from being asked for, in every run.
"""

REFUSED_FOR: Final = 3600.0
"""Seconds of nothing but 429, no job accepted in between, after which no more are sent in this run."""


class Verdict(Enum):
    """What the error of a POST proves."""

    UNCERTAIN = "nobody can know whether it was accepted"
    UNPAID = "not charged; it may be sent again another day"
    REFUSED = "not charged; the request itself was refused"
    NOTHING = "nothing is proven: the intent stands, and the next run asks again"


def verdict(error: SeedanceError) -> Verdict:
    """What an error of a POST proves."""
    if isinstance(error, UncertainSubmissionError):  # first: its subclasses are API errors as well
        return Verdict.UNCERTAIN
    if isinstance(error, UNPAID):
        return Verdict.UNPAID
    return Verdict.REFUSED if isinstance(error, ApiError) else Verdict.NOTHING


def is_stored_refusal(refused_key: str | None, error: SeedanceError) -> bool:
    """Whether a key that was refused before is refused again, in words that a server may have stored."""
    stored = isinstance(error, InsufficientCreditsError | NotFoundError)
    return stored and refused_key is not None and refused_key == error.idempotency_key


class Outlook:
    """Whether the next POST of a run is worth sending, by what became of the last ones."""

    def __init__(self) -> None:
        self._lost_in_a_row = 0
        self._refused_since: float | None = None

    def accepted(self) -> None:
        """A POST was accepted."""
        self._lost_in_a_row = 0
        self._refused_since = None

    def failed(self, error: SeedanceError, *, is_new: bool, now: float) -> bool:
        """A POST has failed; true if the next one would meet the same.

        Args:
            error: of the POST.
            is_new: whether it was sent for the first time.
            now: the loop's clock.
        """
        if isinstance(error, UncertainSubmissionError):
            self._lost_in_a_row += is_new
        lost = self._lost_in_a_row >= UNCERTAIN_IN_A_ROW
        recurs = isinstance(error, RECURRING)
        return recurs or lost or self._refused_too_long(error, now)

    def _refused_too_long(self, error: SeedanceError, now: float) -> bool:
        """A 429 alone fails no job; but a run must end, even if somebody else spends the account for ever."""
        if not isinstance(error, RateLimitedError):
            return False
        if self._refused_since is None:
            self._refused_since = now
        return now - self._refused_since >= REFUSED_FOR
