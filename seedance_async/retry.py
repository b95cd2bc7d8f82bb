"""After a failed attempt: wait so long and send the same bytes again, or give up with the right error.

The theory, for a POST (every one spends credits, all of them carry an idempotency key):

* A retry is always the *same* call: same key, same bytes. Under the vendor's promise "retries never create
  duplicate paid tasks" that is safe, whatever became of the first attempt.
* *Uncertain is sticky.* Once one attempt ended ``UNKNOWN``, a refusal of a later one proves nothing about
  the first: a 402 may be the echo of our own first charge. So giving up then is
  ``UncertainSubmissionError``.
* 409 has two documented meanings, "reused with a different body, or still running". Our bytes never differ
  under a key we minted, so something has delivered it before, and the job may be running: wait, and be in
  doubt. Under a key the caller brought, and with nothing uncertain, wait shortly and then believe it.
* 429 is a promise that nothing was done. The budget closes its gate; the retry needs no wait of its own.
* A server forgets a key after a time, and then the same bytes are a new job. A machine that slept finds its
  back-off unfinished and the key a day old; so the wall clock says how old a key in doubt may become.
* A 500 may be stored under the key and answered for ever, so few of them are asked for.

A GET changes nothing: everything but a clear refusal is asked again.

Pure: elapsed seconds, the key's age and jitter come in as arguments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import evolve, frozen

from seedance_async.errors import (
    IdempotencyConflictError,
    InternalServerError,
    RateLimitedError,
    SeedanceError,
    ServiceBusyError,
    StaleKeyError,
    UncertainInternalServerError,
    UncertainServiceBusyError,
    UncertainSubmissionError,
)
from seedance_async.protocol import Call, Failure, Outcome

if TYPE_CHECKING:
    from seedance_async.models import RetryPolicy

CONFLICT_FIRST_WAIT: Final = 2.0  # s; the first POST is likely still on its way through the server
BROUGHT_KEY_CONFLICT_WAIT: Final = 10.0  # s; long enough for a request, too short to annoy a wrong body

KEY_TRUSTED: Final = 20 * 3600.0
"""Seconds that a key is taken to be remembered: the usual 24 hours, less some for clocks and the wire."""


@frozen(kw_only=True)
class History:
    """What happened to a call so far."""

    attempts: int = 0
    elapsed: float = 0.0
    """Seconds since its first attempt began."""
    age: float = 0.0
    """Seconds since then by the wall clock, which runs on while the machine sleeps."""
    uncertain: bool = False
    """An earlier attempt may have been accepted; never goes back to False."""
    minted: bool = True
    """The key is ours, so no other body can stand under it."""
    server_errors: int = 0
    trust: float = KEY_TRUSTED
    """Seconds for which its key is taken to be remembered; infinity for a caller who takes the risk."""

    def after(self, failure: Failure, *, elapsed: float, age: float = 0.0) -> History:
        """The history with one more failed attempt."""
        return evolve(
            self,
            attempts=self.attempts + 1,
            elapsed=elapsed,
            age=age,
            uncertain=self.uncertain or self._raises_doubt(failure),
            server_errors=self.server_errors + isinstance(failure.error, InternalServerError),
        )

    def _raises_doubt(self, failure: Failure) -> bool:
        """A 409 under a brought key may be about another body; under one of ours it tells of our own job."""
        brought = isinstance(failure.error, IdempotencyConflictError) and not self.minted
        return failure.outcome is Outcome.UNKNOWN and not brought


@frozen
class Wait:
    """Send the call again, not before so many seconds."""

    seconds: float


@frozen
class GiveUp:
    """Raise this."""

    error: SeedanceError


def decide(
    call: Call, failure: Failure, history: History, *, policy: RetryPolicy, jitter: float
) -> Wait | GiveUp:
    """Judge a failed attempt.

    Args:
        call: what was sent.
        failure: how the attempt ended.
        history: all attempts, this one included.
        policy: the caller's limits.
        jitter: a random number in [0, 1), so that many clients do not return in step.
    """
    too_late = outlived(call, failure, history)
    if too_late is not None:
        return GiveUp(too_late)
    if _worth_another(failure, history, policy):
        return Wait(_pause(failure, history, policy, jitter))
    return GiveUp(_final_error(call, failure, history))


def outlived(call: Call, failure: Failure, history: History) -> SeedanceError | None:
    """Why a call may not be sent again: the server may have accepted it, and forgotten its key since."""
    doubt = history.uncertain or failure.outcome is Outcome.UNKNOWN  # here a 409 counts: it tells of a job
    key = call.idempotency_key
    if key is None or not doubt or history.age <= history.trust:
        return None
    told = (
        f"it is not known whether the job was accepted (last: {failure.error.message}), and it was first "
        f"sent over {history.trust / 3600:g} hours ago: the server may have forgotten its idempotency key, "
        "so sent again it may be paid twice; look for it among the account's tasks first"
    )
    error = StaleKeyError(told, idempotency_key=key)
    error.__cause__ = failure.error
    return error


def _worth_another(failure: Failure, history: History, policy: RetryPolicy) -> bool:
    if failure.final or (failure.retry_after or 0.0) > policy.max_retry_after:
        return False
    if isinstance(failure.error, IdempotencyConflictError):
        return history.elapsed < _conflict_wait(history, policy)
    if isinstance(failure.error, RateLimitedError):
        return history.elapsed < policy.max_elapsed
    if failure.outcome is Outcome.REJECTED:
        return False
    return history.elapsed < policy.max_elapsed and history.server_errors < policy.max_server_errors


def _conflict_wait(history: History, policy: RetryPolicy) -> float:
    if history.minted or history.uncertain:
        return policy.conflict_wait
    return min(BROUGHT_KEY_CONFLICT_WAIT, policy.conflict_wait)


def _pause(failure: Failure, history: History, policy: RetryPolicy, jitter: float) -> float:
    """Retry-After is obeyed and never undercut; without one, exponential back-off with half of it random."""
    if isinstance(failure.error, RateLimitedError):
        return 0.0
    conflict = isinstance(failure.error, IdempotencyConflictError)
    first = CONFLICT_FIRST_WAIT if conflict else policy.first_wait
    ceiling = min(policy.max_wait, first * 2.0 ** min(history.attempts - 1, 30))
    backoff = ceiling * (0.5 + 0.5 * jitter)
    if conflict:
        backoff = min(backoff, _conflict_wait(history, policy) - history.elapsed)
    return max(backoff, failure.retry_after + jitter) if failure.retry_after else backoff


def _final_error(call: Call, failure: Failure, history: History) -> SeedanceError:
    error = failure.error
    if call.idempotency_key is None:
        return error
    error.idempotency_key = call.idempotency_key
    return _uncertain(error, call.idempotency_key) if history.uncertain else error


def _uncertain(error: SeedanceError, key: str) -> SeedanceError:
    """The error that says "may be paid", with the last answer as its cause.

    Where the last answer was the API's 500 or 503 the result is of that class too, so that a caller who
    handles those by name meets it.
    """
    told = (
        f"it is not known whether the job was accepted (last: {error.message}); send the same request with "
        "this idempotency key to collect it, a new key may pay twice"
    )
    uncertain: SeedanceError
    if isinstance(error, InternalServerError):
        uncertain = UncertainInternalServerError(
            told, code=error.code, status=error.status, request_id=error.request_id, idempotency_key=key
        )
    elif isinstance(error, ServiceBusyError):
        uncertain = UncertainServiceBusyError(
            told, code=error.code, status=error.status, request_id=error.request_id, idempotency_key=key
        )
    else:
        uncertain = UncertainSubmissionError(told, idempotency_key=key)
    uncertain.__cause__ = error
    return uncertain
