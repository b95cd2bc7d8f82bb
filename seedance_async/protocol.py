"""The values of one exchange with the API: the call, the reply, and the answer or failure read from it.

A failure has two independent parts: *what* went wrong (an exception) and what that proves about the charge
(an ``Outcome``), which decides whether a POST can be given up:

    NOT_SENT   no byte can have reached the API                          nothing was charged
    REJECTED   the API itself refused, with its error envelope            this attempt was not charged
    UNKNOWN    anything else: truncated, malformed, 5xx, a proxy's page   it may be running and paid

Only the API's own envelope proves a rejection. A proxy's 400, or a malformed answer that a library reports as
"status 400", proves nothing.

Pure: no clock, no socket. Source: the vendor's error table and its sentence "Retry after the Retry-After
header (in seconds)".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import TYPE_CHECKING, Final, Literal, TypeVar
from urllib.parse import quote

from attrs import field, frozen

from seedance_async import wire
from seedance_async.errors import (
    BY_CODE,
    ApiError,
    IdempotencyConflictError,
    InsufficientCreditsError,
    RateLimitedError,
    SeedanceError,
    UnexpectedReplyError,
    ValidationError,
)
from seedance_async.models import Kind, links
from seedance_async.models.display import without_queries

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from seedance_async.models import Request, Submission, Task

    Parsed = TypeVar("Parsed")

EXCERPT: Final = 500
"""Characters of an undocumented body that an exception keeps."""

DEFINITIVE_CODES: Final = frozenset({"invalid_request", "unauthorized", "insufficient_credits", "not_found"})
"""Codes of a final refusal. 429, 409 and 503 ask to try again, and 500 says nothing about the job."""

BY_STATUS: Final[dict[int, str]] = {
    400: "invalid_request",
    401: "unauthorized",
    402: "insufficient_credits",
    404: "not_found",
    409: "idempotency_conflict",
    429: "rate_limited",
    500: "internal_error",
    503: "service_busy",
}

CONCLUSIVE_STATUSES: Final = frozenset({401, 402, 404, 409, 429})
"""Statuses whose meaning is used even if the envelope has an undocumented code."""

OPEN_STATUSES: Final = frozenset({408, 409, 425, 499})
"""4xx for "not now" or "gave up waiting", which do not state the outcome of the job."""


class Outcome(Enum):
    """What a failed attempt proves about the charge."""

    NOT_SENT = "not sent"
    REJECTED = "rejected"
    UNKNOWN = "unknown"


@frozen(kw_only=True)
class Call:
    """One HTTP request as a value: sending it twice sends the same bytes."""

    method: Literal["GET", "POST"]
    path: str
    body: bytes | None = field(default=None, repr=False)
    idempotency_key: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        """All headers except Authorization, which the transport adds."""
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if self.body is not None:
            headers["Content-Type"] = "application/json"
        if self.idempotency_key is not None:
            headers["Idempotency-Key"] = self.idempotency_key
        return headers


@frozen(kw_only=True)
class Reply:
    """One complete HTTP answer: the body decompressed, header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def retry_after(self) -> float | None:
        """Seconds that the server asks to wait; None without a valid header."""
        return retry_after(self.headers.get("retry-after"), date=self.headers.get("date"))

    @property
    def sent_at(self) -> datetime | None:
        """The server's wall clock when it answered; None without a valid Date header."""
        return _http_date(self.headers.get("date"))


@frozen(kw_only=True)
class Failure:
    """An attempt without a usable answer.

    Attributes:
        error: the exception for the caller.
        outcome: what it proves about the charge.
        retry_after: seconds that the server asks to wait.
        final: True if another attempt cannot help: an invalid certificate, a redirect to another host.
        unresolved: True if the API's host name could not be resolved.
    """

    error: SeedanceError
    outcome: Outcome
    retry_after: float | None = None
    final: bool = False
    unresolved: bool = False


def submit_call(request: Request, *, idempotency_key: str) -> Call:
    """The POST that submits ``request``.

    Raises:
        ValidationError: it has a link to the output of another job, which only a batch can resolve.
    """
    if linked := [(name, f"{link} is a job of a batch; give its URL here") for name, link in links(request)]:
        raise ValidationError(linked, subject=type(request).__name__)
    return Call(method="POST", path=request.path, body=wire.encode(request), idempotency_key=idempotency_key)


def task_call(task_id: str) -> Call:
    """The GET that polls a task. The id is quoted, dots too: a server's text must not change the path."""
    return Call(method="GET", path=f"/tasks/{quote(task_id, safe='').replace('.', '%2E')}")


def read_submission(reply: Reply) -> Submission | Failure:
    """The submission in the answer to a POST."""
    return _read(reply, wire.submission)


def read_task(reply: Reply, *, task_id: str) -> Task | Failure:
    """The task in the answer to a poll; an answer about another task is a failure."""
    answer = _read(reply, wire.task)
    if not isinstance(answer, Failure) and answer.id != task_id:
        answer = _unexpected(reply, f"the answer is about another task ({answer.id[:80]!r})")
    if isinstance(answer, Failure):
        answer.error.task_id = task_id
    return answer


def _read(reply: Reply, structure: Callable[[object], Parsed]) -> Parsed | Failure:
    """The parsed body of a 2xx with a documented body; anything else is a failure."""
    try:
        data = wire.loads_answer(reply.body) if reply.body else None
    except ValueError as problem:
        return _from_status(reply, why=str(problem))
    envelope = _envelope(data)
    if envelope is not None:
        return _from_envelope(reply, envelope, data)
    if not 200 <= reply.status < 300:
        return _from_status(reply, why="no error envelope")
    try:
        return structure(data)
    except ValueError as problem:
        return _unexpected(reply, str(problem))


def _envelope(data: object) -> Mapping[str, object] | None:
    """The vendor's ``{"error": {"code", "message"}}``; a task's own ``error`` is text or null.

    None if the answer also names a task, because it then contradicts itself.
    """
    if not isinstance(data, dict) or data.keys() & {"id", "task_id", "batch_task_ids"}:
        return None
    error = data.get("error")
    return error if isinstance(error, dict) and isinstance(error.get("code"), str) else None


def _from_envelope(reply: Reply, envelope: Mapping[str, object], data: object) -> Failure:
    code = str(envelope["code"])
    text = envelope.get("message")
    message = without_queries(text)[:EXCERPT] if isinstance(text, str) else "no message"
    error = _api_error(code, reply, message)
    if isinstance(error, InsufficientCreditsError):
        _add_amounts(error, data, envelope)
    return Failure(error=error, outcome=_outcome(code, reply.status), retry_after=reply.retry_after)


def _outcome(code: str, status: int) -> Outcome:
    """The outcome shown by an envelope; unknown if the status contradicts it, or neither is conclusive.

    A definitive code is also accepted with a 200, which only shows that there is an answer. A 202 means that
    the job was accepted, and a 5xx that the server does not know.
    """
    if code in DEFINITIVE_CODES:
        return Outcome.REJECTED if status == 200 or 400 <= status < 500 else Outcome.UNKNOWN
    if code in BY_CODE:
        return Outcome.REJECTED if status == 429 and code == "rate_limited" else Outcome.UNKNOWN
    return Outcome.REJECTED if 400 <= status < 500 and status not in OPEN_STATUSES else Outcome.UNKNOWN


def _api_error(code: str, reply: Reply, message: str) -> ApiError:
    return _error_class(code, reply.status)(
        f"{reply.status} {code}: {message}",
        code=code,
        status=reply.status,
        request_id=reply.headers.get("x-request-id"),
        retry_after=reply.retry_after,
    )


def _error_class(code: str, status: int) -> type[ApiError]:
    """The exception class for a documented code, else for the status."""
    if code not in BY_CODE and status in CONCLUSIVE_STATUSES:
        return BY_CODE[BY_STATUS[status]]
    if code not in BY_CODE and "idempotency" in code:
        return IdempotencyConflictError  # some servers send 422 and a longer code
    return BY_CODE.get(code, ApiError)


def _add_amounts(error: InsufficientCreditsError, *sources: object) -> None:
    """Set the two amounts that users saw in 402 answers; they are not documented."""
    for source in sources:
        if isinstance(source, dict):
            for name in ("required_credits", "available_credits"):
                amount = source.get(name)
                if isinstance(amount, int | float) and not isinstance(amount, bool):
                    setattr(error, name, amount)


def _from_status(reply: Reply, *, why: str) -> Failure:
    """The failure for a status without an envelope; only an answer with an empty body is classified by it."""
    code = BY_STATUS.get(reply.status)
    if reply.status == 429 or (code is not None and not reply.body):
        error = _api_error(code or "rate_limited", reply, "(no error envelope)")
        outcome = Outcome.REJECTED if isinstance(error, RateLimitedError) else Outcome.UNKNOWN
        return Failure(error=error, outcome=outcome, retry_after=reply.retry_after)
    return _unexpected(reply, why)


def _unexpected(reply: Reply, why: str) -> Failure:
    text = without_queries(reply.body[: 4 * EXCERPT].decode(errors="replace"))
    title = re.search(r"<title>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
    shown = title.group(1).strip() if title else text[:EXCERPT]
    error = UnexpectedReplyError(
        f"HTTP {reply.status} is not a documented answer: {why}; it reads {shown[:120]!r}",
        status=reply.status,
        excerpt=text[:EXCERPT],
    )
    return Failure(error=error, outcome=Outcome.UNKNOWN, retry_after=reply.retry_after)


def redirect_failure(reply: Reply, *, asked: str) -> Failure:
    """The failure for a redirect, which is not followed: key and body go to the configured host only."""
    target = reply.headers.get("location", "(no Location)")[:200]
    error = UnexpectedReplyError(
        f"{asked} redirects (HTTP {reply.status}) to {target!r}, which is not followed: the API key and the "
        "request go to the configured host only; set base_url if the API has moved",
        status=reply.status,
    )
    return Failure(error=error, outcome=Outcome.UNKNOWN, final=True)


def is_of_model(answer: Submission, model: str | None) -> bool:
    """Whether an answer can be about a request of this model, by the documented prefixes of its ids."""
    named = (answer.id, *answer.task_ids)
    return all(Kind.of_task_id(task_id).model in {None, model} for task_id in named)


def repeated_answer(answer: Submission) -> Failure:
    """The failure for an answer that names a task of another POST, repeated or mixed up by a proxy."""
    error = UnexpectedReplyError(f"the answer names {answer.id!r:.80}, which is the task of another POST")
    return Failure(error=error, outcome=Outcome.UNKNOWN)


def retry_after(value: str | None, *, date: str | None = None) -> float | None:
    """Seconds to wait by a Retry-After header: digits, or an HTTP date relative to the answer's own Date.

    None for zero, negative, empty and malformed values. Python's ``float`` accepts ``inf``, ``1_0`` and
    digits of other scripts, so only ASCII digits are valid here.
    """
    if value is None:
        return None
    value = value.strip()
    if re.fullmatch(r"[0-9]{1,15}(\.[0-9]{1,6})?", value):
        return float(value) or None
    until, now = _http_date(value), _http_date(date)
    if until is None or now is None or until <= now:
        return None
    return (until - now).total_seconds()


def _http_date(value: str | None) -> datetime | None:
    if value is None:
        return None
    try:
        instant = parsedate_to_datetime(value)
    except (ValueError, OverflowError):  # the second one for a year of fifty digits
        return None
    return instant if instant.tzinfo is not None else None
