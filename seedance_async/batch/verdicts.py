"""The conclusions from a POST's error: whether it was charged, and the next state of its jobs.

Only a refusal by the API, or proof that the call was never sent, makes a job *planned* or *refused*. Every
other error leaves it *submitting* or makes it *uncertain*, to be sent again with the same bytes under the
same key.

A refused key is used once more before a new one: a proxy may have delivered the POST twice, and the refusal
may be the answer to the second copy. If it is refused again, the server may repeat its first answer for ever,
so the job is sent under a new key at once; if that is refused, too, the job keeps the old one.

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
"""Errors that prove that nothing was charged, for a temporary reason."""

STORABLE: Final = (
    IdempotencyConflictError, InsufficientCreditsError, InternalServerError, NotFoundError
)  # fmt: skip
"""Errors that a server may repeat for one key, because it stores its answers or rejects repeated keys."""

RECURRING: Final = (
    InsufficientCreditsError, UnauthorizedError, NotFoundError, ConnectionFailedError, JournalError,
    ClientStateError, StandingLimitError,
)  # fmt: skip
"""Errors that the next POST would probably get, too: no credits, a revoked key, no connection."""

UNCERTAIN_IN_A_ROW: Final = 5
"""Number of new posts without an answer, with none accepted in between, after which the run stops.

Posts of earlier runs do not count: the server may never answer under their keys again, and then they would
stop every run.
"""

REFUSED_FOR: Final = 3600.0
"""Seconds of 429 answers, with no post accepted in between, after which the run stops."""


class Verdict(Enum):
    """What the error of a POST proves about a charge."""

    UNCERTAIN = "nobody can know whether it was accepted"
    UNPAID = "not charged; it may be sent again another day"
    REFUSED = "not charged; the request itself was refused"
    NOTHING = "nothing is proven: the intent stands, and the next run asks again"


def verdict(error: SeedanceError) -> Verdict:
    """Return what an error of a POST proves."""
    if isinstance(error, UncertainSubmissionError):  # first: its subclasses are API errors, too
        return Verdict.UNCERTAIN
    if isinstance(error, UNPAID):
        return Verdict.UNPAID
    return Verdict.REFUSED if isinstance(error, ApiError) else Verdict.NOTHING


def is_stored_refusal(refused_key: str | None, error: SeedanceError) -> bool:
    """Whether a key that was refused before is refused again, with an error that a server may store."""
    stored = isinstance(error, InsufficientCreditsError | NotFoundError)
    return stored and refused_key is not None and refused_key == error.idempotency_key


class Outlook:
    """The decision whether the next POST of a run is worth sending, from the outcomes of the last ones."""

    def __init__(self) -> None:
        self._lost_in_a_row = 0
        self._refused_since: float | None = None

    def accepted(self) -> None:
        """Note that a POST was accepted."""
        self._lost_in_a_row = 0
        self._refused_since = None

    def failed(self, error: SeedanceError, *, is_new: bool, now: float) -> bool:
        """Note that a POST has failed; return whether the run should stop.

        Args:
            error: the error of the POST.
            is_new: whether it was sent for the first time.
            now: time of the event loop's clock, in seconds.
        """
        if isinstance(error, UncertainSubmissionError):
            self._lost_in_a_row += is_new
        lost = self._lost_in_a_row >= UNCERTAIN_IN_A_ROW
        recurs = isinstance(error, RECURRING)
        return recurs or lost or self._refused_too_long(error, now)

    def _refused_too_long(self, error: SeedanceError, now: float) -> bool:
        """Whether there were only 429 answers for too long: then the run must end, although no job failed."""
        if not isinstance(error, RateLimitedError):
            return False
        if self._refused_since is None:
            self._refused_since = now
        return now - self._refused_since >= REFUSED_FOR
