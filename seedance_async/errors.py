"""Exceptions of the package, and the class for each of the API's error codes. Pure.

There is a class for each thing a caller can *do*: correct the input, top up, wait, collect what was paid,
report.

    SeedanceError
    ├── ValidationError (ValueError)            the request breaks a documented rule; nothing was sent
    ├── ConfigurationError                      key, base URL or options unusable; nothing was sent
    ├── MediaError                              a local file cannot be made a URL; nothing was sent
    ├── ClientStateError (RuntimeError)         client not open, closed, in another loop, or after a fork
    ├── ApiError                                the API answered with its own error envelope
    │   ├── InvalidRequestError       400       ├── UnauthorizedError        401
    │   ├── InsufficientCreditsError  402       ├── NotFoundError            404
    │   ├── IdempotencyConflictError  409       ├── RateLimitedError         429
    │   ├── InternalServerError       500       └── ServiceBusyError         503
    ├── UncertainSubmissionError                a POST may have been accepted and paid; carries its key
    │   ├── UncertainInternalServerError  500   ├── UncertainServiceBusyError  503   (also of that class)
    │   └── StaleKeyError                       and its key is too old to send it again
    ├── ConnectionFailedError (ConnectionError) no usable answer arrived
    ├── UnexpectedReplyError                    an answer arrived that is not documented
    ├── TaskFailedError                         the server gave up on a task
    ├── OutputMissingError                      a completed task has no URL, also when polled again
    ├── WaitTimeoutError (TimeoutError)         the task was still running at the caller's timeout
    ├── DownloadError                           a result file could not be saved; the task is still finished
    ├── ManifestError (ValueError)              the input file of a batch is wrong; nothing was sent
    ├── CreditCapError                          the next job would exceed the credit cap
    │   └── StandingLimitError                  or the account's limit for a day or a month
    ├── CanaryError                             a kind's first job was not as requested, or did not complete
    ├── RecordError                             the account's record cannot be read
    └── JournalError                            the durable record of a batch cannot be used

Any of them may carry ``idempotency_key`` and ``task_id``: with those, what was paid can be collected.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Final, Self

from seedance_async.answers import Task
from seedance_async.credit_format import credit_count


class SeedanceError(Exception):
    """Root of every error of this package.

    Attributes:
        idempotency_key: key of the POST that the error is about, if it may have been sent. Sending the same
            request again under this key is safe; under a new key it may be paid twice.
        task_id: id of the task that the error is about, if known.
        advice: what to do about such an error, unless the message says so; part of ``str(error)``.
    """

    advice: str = ""
    idempotency_key: str | None = None
    task_id: str | None = None

    def __init__(
        self, message: str = "", *, idempotency_key: str | None = None, task_id: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        if idempotency_key is not None:
            self.idempotency_key = idempotency_key
        if task_id is not None:
            self.task_id = task_id

    def __str__(self) -> str:
        handles = [
            f"{label}={value}"
            for label, value in (("idempotency_key", self.idempotency_key), ("task_id", self.task_id))
            if value is not None
        ]
        text = f"{self.message}; {self.advice}" if self.advice else self.message
        return f"{text} [{', '.join(handles)}]" if handles else text

    def about(self, *, idempotency_key: str | None = None, task_id: str | None = None) -> Self:
        """A copy of this error for another job, with that job's key and task id, or none."""
        own = copy.copy(self)
        own.idempotency_key, own.task_id = idempotency_key, task_id
        own.__cause__ = self.__cause__
        return own

    def __reduce__(self) -> tuple[Callable[..., SeedanceError], tuple[object, ...]]:
        """Support pickling, although the constructors take other arguments than ``args``."""
        return _restored, (type(self), self.args, self.__dict__)


def _restored(kind: type[SeedanceError], args: tuple[object, ...], state: dict[str, object]) -> SeedanceError:
    """The unpickled or copied error."""
    error = kind.__new__(kind, *args)
    error.args = args  # OSError, the base class of two of them, sets it in its constructor only
    error.__dict__.update(state)
    if "__notes__" in state:
        error.__notes__ = [*error.__notes__]  # a note added to the copy must not appear on the original
    return error


class ValidationError(SeedanceError, ValueError):
    """A request breaks rules of the vendor's parameter tables. Nothing was sent, nothing was charged.

    Attributes:
        problems: all problems, as ``(field, reason)``, in the order of the fields.
    """

    def __init__(self, problems: Iterable[tuple[str, str]], *, subject: str = "request") -> None:
        self.problems: tuple[tuple[str, str], ...] = tuple(problems)
        lines = "".join(f"\n  {field}: {reason}" for field, reason in self.problems)
        super().__init__(f"{subject} is invalid:{lines}")


class ConfigurationError(SeedanceError):
    """The client cannot start: no API key, an unusable base URL, or a malformed option."""


class MediaError(SeedanceError):
    """A local file is not usable, or could not be put where the API fetches it. Nothing was sent."""

    advice = "nothing was sent or charged: correct it and run again"


class ClientStateError(SeedanceError, RuntimeError):
    """The client was used before it was opened, after it was closed, in a second loop or after a fork."""


class ApiError(SeedanceError):
    """The API answered with its error envelope ``{"error": {"code", "message"}}``.

    Attributes:
        code: the documented word, for example ``rate_limited``.
        status: the HTTP status, for example 429.
        request_id: the server's id of the exchange, if it sent one.
        retry_after: seconds that the server asked to wait, if it did.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "",
        status: int = 0,
        request_id: str | None = None,
        retry_after: float | None = None,
        idempotency_key: str | None = None,
        task_id: str | None = None,
    ) -> None:
        super().__init__(message, idempotency_key=idempotency_key, task_id=task_id)
        self.code = code
        self.status = status
        self.request_id = request_id
        self.retry_after = retry_after


class InvalidRequestError(ApiError):
    """400: the API refused the input. Nothing was charged: correct it and send it under a new key."""

    advice = "nothing was charged: correct the request and send it under a new key"


class UnauthorizedError(ApiError):
    """401: the API key is missing, wrong or revoked."""

    advice = "check the API key"


class InsufficientCreditsError(ApiError):
    """402: the balance does not cover the job. Top up, then send it again.

    Attributes:
        required_credits: the job's price, if stated (not documented, reported by users).
        available_credits: the account's balance, if stated (likewise).
    """

    advice = "nothing was charged: top up, then send it again"

    required_credits: float | None = None
    available_credits: float | None = None


class NotFoundError(ApiError):
    """404: there is no such task, or it belongs to another account."""

    advice = "check the id, and that the API key belongs to the account that made the task"


class IdempotencyConflictError(ApiError):
    """409: the idempotency key was used with another body, or its first request is still running."""

    advice = "use a new key for a new job"


class RateLimitedError(ApiError):
    """429: the account's request limit is exhausted, and waiting took longer than ``RetryPolicy`` allows."""

    advice = "find out who else uses this account, or try later"


class InternalServerError(ApiError):
    """500: the API failed on its side."""

    advice = "try later; if it persists, report the request_id to the vendor"


class ServiceBusyError(ApiError):
    """503: the API is temporarily busy."""

    advice = "try later"


class UncertainSubmissionError(SeedanceError):
    """A POST was sent and its outcome is unknown: the job may be running and paid.

    Send the same request again with ``idempotency_key=error.idempotency_key`` to collect it. A new key may
    pay a second time.
    """

    advice = ""  # the message contains it, with the key


class UncertainInternalServerError(UncertainSubmissionError, InternalServerError):
    """A POST was answered 500 at every attempt; this does not show whether the job was accepted."""


class UncertainServiceBusyError(UncertainSubmissionError, ServiceBusyError):
    """A POST was answered 503 at every attempt; this does not show whether the job was accepted."""


class StaleKeyError(UncertainSubmissionError):
    """A POST's outcome is unknown, and its key is too old (20 hours by default) to be sent again safely.

    The server may have forgotten the key; it would then accept and charge the request as a new job. Look for
    the job among the account's tasks first.
    """


class ConnectionFailedError(SeedanceError, ConnectionError):
    """The server could not be reached, or the connection broke before a whole answer arrived."""

    advice = "check the network, then try again"


class UnexpectedReplyError(SeedanceError):
    """An answer arrived that the API's documents do not describe.

    Attributes:
        status: the HTTP status, 0 if none could be read.
        excerpt: the first 500 characters of the body, without the API key.
    """

    advice = "something between here and the API may have answered: check base_url and proxies"

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        excerpt: str = "",
        idempotency_key: str | None = None,
        task_id: str | None = None,
    ) -> None:
        super().__init__(message, idempotency_key=idempotency_key, task_id=task_id)
        self.status = status
        self.excerpt = excerpt


class TaskFailedError(SeedanceError):
    """The server finished a task as ``failed``.

    Attributes:
        task: the task as last seen, with the server's reason and the credits it refunded.
    """

    def __init__(self, task: Task, *, idempotency_key: str | None = None) -> None:
        reason = task.error or "no reason given"
        refund = task.credits_refunded
        refunded = "refund not stated" if refund is None else f"{credit_count(refund)} refunded"
        super().__init__(
            f"task failed: {reason} ({refunded})", idempotency_key=idempotency_key, task_id=task.id
        )
        self.task = task


class OutputMissingError(SeedanceError):
    """A task is completed, and its answer has no output URL, also when polled again for a minute.

    It is paid and finished at the server: poll it later, or report its id to the vendor.

    Attributes:
        task: the task as last seen.
    """

    advice = "get the task again later, or report its id to the vendor"

    def __init__(self, task: Task) -> None:
        super().__init__("the task is completed, but its answer has no output URL", task_id=task.id)
        self.task = task


class WaitTimeoutError(SeedanceError, TimeoutError):
    """The task was not final in time. It continues at the server: wait again for ``task_id``."""


class DownloadError(SeedanceError):
    """A result file could not be saved. The task stays finished; download it again by its id.

    Attributes:
        gone: there is no file at the URL; polling the task again may give a new URL.
    """

    advice = "the task stays finished: download it again by its task_id"

    gone: bool = False


class ManifestError(SeedanceError, ValueError):
    """A batch's input file is wrong. Nothing was sent.

    Attributes:
        problems: all problems, as ``(line, field, reason)``; lines count from 1. For jobs given by a
            program, the line is the place of the job among them, from 1.
    """

    def __init__(
        self, problems: Iterable[tuple[int, str, str]], *, source: str = "manifest", is_file: bool = True
    ) -> None:
        self.problems: tuple[tuple[int, str, str], ...] = tuple(problems)
        heading = f"{source} is invalid" if is_file else f"these {source} are invalid"
        lines = [
            f"\n  {f'line {line}' if is_file else place_of(line)}, {field}: {reason}"
            for line, field, reason in self.problems
        ]
        super().__init__(f"{heading}:{''.join(lines)}")

    @classmethod
    def unreadable(cls, source: str, reason: str) -> Self:
        """The error of a manifest that cannot be opened, without a line number."""
        error = cls([(1, "manifest", reason)], source=source)
        error.message = f"{source}: {reason}"
        error.args = (error.message,)
        return error


def place_of(number: int) -> str:
    """The Python expression for the job with this number, from 1, in a list: ``jobs[0]``."""
    return f"jobs[{number - 1}]"


class CreditCapError(SeedanceError):
    """With the next job, the credits spent and reserved would exceed the cap, or a standing limit."""

    advice = "raise the cap and run again"


class StandingLimitError(CreditCapError):
    """A standing limit, for a day or a month, is reached or cannot be checked; nothing was sent."""

    advice = "raise the limit, or run again when its day or month is over"


class CanaryError(SeedanceError):
    """The first job of a kind is not what was requested, costs more than expected, or has an unknown outcome.

    Attributes:
        mismatches: each difference from the request or the price, as a text; empty if the outcome is unknown.
    """

    advice = "to continue nevertheless, run again with accept_delivery=True (--accept-delivery)"
    mismatches: tuple[str, ...] = ()


class JournalError(SeedanceError):
    """The journal is locked by another runner, damaged, of another kind, or written by a newer version.

    Attributes:
        nothing_sent: whether the run was refused before anything was sent.
        is_locked: whether another runner uses the directory; a run is possible once that has ended.
    """

    nothing_sent: bool = False
    is_locked: bool = False


class RecordError(SeedanceError):
    """The account record, on which ``seedance tasks`` and ``seedance spend`` are based, cannot be read."""


BY_CODE: Final[dict[str, type[ApiError]]] = {
    "invalid_request": InvalidRequestError,
    "unauthorized": UnauthorizedError,
    "insufficient_credits": InsufficientCreditsError,
    "not_found": NotFoundError,
    "idempotency_conflict": IdempotencyConflictError,
    "rate_limited": RateLimitedError,
    "internal_error": InternalServerError,
    "service_busy": ServiceBusyError,
}
"""The vendor's table of error codes; any other code becomes an ``ApiError``."""
