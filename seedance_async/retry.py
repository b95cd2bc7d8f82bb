"""Retry decisions: after a failed attempt, wait and send the same bytes again, or give up with an exception.

The rules for a POST (each one spends credits and has an idempotency key):

* A retry is always the *same* call: same key, same bytes. By the vendor's promise "retries never create
  duplicate paid tasks" it is safe, whatever the outcome of the first attempt.
* *Uncertain is sticky.* After one attempt ended ``UNKNOWN``, a refusal of a later one proves nothing about
  the first: a 402 may be caused by our own first charge. Giving up raises ``UncertainSubmissionError`` then.
* 409 has two documented meanings, "reused with a different body, or still running". Under a generated key
  the bytes never differ, so an earlier attempt was delivered and the job may be running: the outcome is
  uncertain, and the call is retried. Under the caller's key, if nothing is uncertain, it is retried for a
  short time only.
* 429 means that nothing was done. The budget closes its gate, so the retry needs no wait of its own.
* A server forgets a key after some time; then the same bytes are a new job. After a machine was suspended,
  the back-off continues although the key may be a day old. So the age of an uncertain key is measured by
  the wall clock, and limited.
* A 500 may be stored under the key as its permanent answer, so it is retried a few times only.

A GET changes nothing, so it is retried after everything but a definite refusal.

Pure: elapsed seconds, the key's age and jitter are arguments.
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

CONFLICT_FIRST_WAIT: Final = 2.0  # s; the server is likely still working on the first POST
CALLER_KEY_CONFLICT_WAIT: Final = 10.0  # s; enough for a request that is running; short if the body differs

KEY_TRUSTED: Final = 20 * 3600.0
"""Seconds for which a server is assumed to remember a key: the usual 24 hours, minus a margin."""


@frozen(kw_only=True)
class History:
    """The failed attempts of a call.

    Attributes:
        attempts: their number.
        elapsed: seconds since the first one began, by a monotonic clock.
        age: seconds since then by the wall clock, which also counts while the machine is suspended.
        uncertain: one of them may have been accepted; never becomes False again.
        minted: the key was generated here, so it was never used with another body.
        server_errors: number of 500s.
        trust: seconds for which the server is assumed to remember the key; infinity if the caller accepts
            the risk of paying twice.
    """

    attempts: int = 0
    elapsed: float = 0.0
    age: float = 0.0
    uncertain: bool = False
    minted: bool = True
    server_errors: int = 0
    trust: float = KEY_TRUSTED

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
        """Every unknown outcome does, except a 409 under the caller's key: it may be about another body."""
        other_body = isinstance(failure.error, IdempotencyConflictError) and not self.minted
        return failure.outcome is Outcome.UNKNOWN and not other_body


@frozen
class Wait:
    """Send the call again after at least ``seconds``."""

    seconds: float


@frozen
class GiveUp:
    """Raise ``error``."""

    error: SeedanceError


def decide(
    call: Call, failure: Failure, history: History, *, policy: RetryPolicy, jitter: float
) -> Wait | GiveUp:
    """Decide what follows a failed attempt.

    Args:
        call: the call that was sent.
        failure: the end of the attempt.
        history: all attempts, this one included.
        policy: the caller's limits.
        jitter: a random number in [0, 1), so that many clients do not retry at the same time.
    """
    too_late = outlived(call, failure, history)
    if too_late is not None:
        return GiveUp(too_late)
    if _may_retry(failure, history, policy):
        return Wait(_wait_time(failure, history, policy, jitter))
    return GiveUp(_final_error(call, failure, history))


def outlived(call: Call, failure: Failure, history: History) -> SeedanceError | None:
    """The error for a call that must not be sent again: it may have been accepted, and its key forgotten.

    None if the key is recent enough, or no attempt can have been accepted.
    """
    uncertain = history.uncertain or failure.outcome is Outcome.UNKNOWN  # any 409 counts: there is a job
    key = call.idempotency_key
    if key is None or not uncertain or history.age <= history.trust:
        return None
    message = (
        f"it is not known whether the job was accepted (last: {failure.error.message}), and it was first "
        f"sent over {history.trust / 3600:g} hours ago: the server may have forgotten its idempotency key, "
        "so sent again it may be paid twice; look for it among the account's tasks first"
    )
    error = StaleKeyError(message, idempotency_key=key)
    error.__cause__ = failure.error
    return error


def _may_retry(failure: Failure, history: History, policy: RetryPolicy) -> bool:
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
    return min(CALLER_KEY_CONFLICT_WAIT, policy.conflict_wait)


def _wait_time(failure: Failure, history: History, policy: RetryPolicy, jitter: float) -> float:
    """Seconds to wait: at least Retry-After, if given; else exponential back-off, half of it random."""
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
    """The error for an unknown outcome, with the last failure as its cause.

    If that was the API's 500 or 503, the error is of that class, too, for callers who catch it by name.
    """
    message = (
        f"it is not known whether the job was accepted (last: {error.message}); send the same request with "
        "this idempotency key to collect it, a new key may pay twice"
    )
    uncertain: SeedanceError
    if isinstance(error, InternalServerError):
        uncertain = UncertainInternalServerError(
            message, code=error.code, status=error.status, request_id=error.request_id, idempotency_key=key
        )
    elif isinstance(error, ServiceBusyError):
        uncertain = UncertainServiceBusyError(
            message, code=error.code, status=error.status, request_id=error.request_id, idempotency_key=key
        )
    else:
        uncertain = UncertainSubmissionError(message, idempotency_key=key)
    uncertain.__cause__ = error
    return uncertain
