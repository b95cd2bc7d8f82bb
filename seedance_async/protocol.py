"""One exchange with the API as values: a call goes out, a reply comes in, an answer or a failure is read.

A failure says two things apart from each other: *what* went wrong (an error of the public tree) and what that
proves about the money (an ``Outcome``). The second is what decides whether a POST may be forgotten:

    NOT_SENT   no byte can have reached the API                    nothing was charged
    REJECTED   the API itself refused, with its own envelope       this attempt was not charged
    UNKNOWN    anything else: cut, garbled, 5xx, somebody's page    it may run and may be paid

Only the API's own envelope proves a rejection. A proxy's 400 or a garbled answer that a library reports as
"status 400" proves nothing.

Pure: no clock, no socket. Says who: the vendor's error table and its sentence "Retry after the Retry-After
header (in seconds)".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import TYPE_CHECKING, Final, Literal, TypeVar
from urllib.parse import quote

from attrs import evolve, field, frozen

from seedance_async import wire
from seedance_async.errors import (
    BY_CODE,
    ApiError,
    IdempotencyConflictError,
    InsufficientCreditsError,
    RateLimitedError,
    SeedanceError,
    UnexpectedReplyError,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from seedance_async.models import Request, Submission, Task

    Parsed = TypeVar("Parsed")

EXCERPT: Final = 500
"""Characters of a foreign body that an error keeps."""

DEFINITIVE: Final = frozenset({"invalid_request", "unauthorized", "insufficient_credits", "not_found"})
"""Codes that refuse for good. 429, 409 and 503 ask to come again and 500 says nothing of the job."""

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


BELIEVED: Final = frozenset({401, 402, 404, 409, 429})
"""Statuses that say what is meant, whatever undocumented word an envelope has for it."""

OPEN: Final = frozenset({408, 409, 425, 499})
"""4xx that say "not now" or "given up waiting", and nothing of what became of the job."""


class Outcome(Enum):
    """What a failed attempt proves about the money."""

    NOT_SENT = "not sent"
    REJECTED = "rejected"
    UNKNOWN = "unknown"


@frozen(kw_only=True)
class Call:
    """One HTTP request, whole: sending it twice sends the same bytes."""

    method: Literal["GET", "POST"]
    path: str
    body: bytes | None = field(default=None, repr=False)
    idempotency_key: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        """Every header but Authorization, which only the transport adds."""
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if self.body is not None:
            headers["Content-Type"] = "application/json"
        if self.idempotency_key is not None:
            headers["Idempotency-Key"] = self.idempotency_key
        return headers


@frozen(kw_only=True)
class Reply:
    """A whole answer, body decompressed; headers are looked up by names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def retry_after(self) -> float | None:
        """Seconds the server asks to wait; None without a usable hint."""
        return retry_after(self.headers.get("retry-after"), date=self.headers.get("date"))

    @property
    def sent_at(self) -> datetime | None:
        """The server's wall clock when it answered, None where it did not say."""
        return _http_date(self.headers.get("date"))


@frozen(kw_only=True)
class Failure:
    """An attempt without an answer to use."""

    error: SeedanceError
    outcome: Outcome
    retry_after: float | None = None
    final: bool = False
    """True where asking again cannot help: a broken certificate, a redirect to another host."""


def submit_call(request: Request, *, idempotency_key: str) -> Call:
    """The POST that asks for ``request``."""
    return Call(method="POST", path=request.path, body=wire.encode(request), idempotency_key=idempotency_key)


def task_call(task_id: str) -> Call:
    """The GET that asks how a task stands. The id is quoted, dots too: it is foreign text in a path."""
    return Call(method="GET", path=f"/tasks/{quote(task_id, safe='').replace('.', '%2E')}")


def read_submission(reply: Reply) -> Submission | Failure:
    """Read the answer to a POST."""
    return _read(reply, wire.submission)


def read_task(reply: Reply, *, task_id: str) -> Task | Failure:
    """Read the answer to a poll; an answer about another task is refused."""
    answer = _read(reply, wire.task)
    if not isinstance(answer, Failure) and answer.id != task_id:
        answer = _unexpected(reply, f"the answer is about another task ({answer.id[:80]!r})")
    if isinstance(answer, Failure):
        answer.error.task_id = task_id
    return answer


def _read(reply: Reply, structure: Callable[[object], Parsed]) -> Parsed | Failure:
    """Success only for a 2xx whose body is the documented one."""
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
    """The vendor's ``{"error": {"code", "message"}}``; a task's own ``error`` is text or null."""
    if not isinstance(data, dict) or "id" in data:
        return None
    error = data.get("error")
    return error if isinstance(error, dict) and isinstance(error.get("code"), str) else None


def _from_envelope(reply: Reply, envelope: Mapping[str, object], data: object) -> Failure:
    code = str(envelope["code"])
    said = envelope.get("message")
    message = said[:EXCERPT] if isinstance(said, str) else "no message"
    error = _api_error(code, reply, message)
    if isinstance(error, InsufficientCreditsError):
        _add_amounts(error, data, envelope)
    return Failure(error=error, outcome=_outcome(code, reply.status), retry_after=reply.retry_after)


def _outcome(code: str, status: int) -> Outcome:
    """An envelope in a 2xx leaves the money open; so does an undocumented code on a 5xx or an open 4xx."""
    if code in DEFINITIVE:
        return Outcome.REJECTED
    if code in BY_CODE:
        return Outcome.REJECTED if status == 429 and code == "rate_limited" else Outcome.UNKNOWN
    return Outcome.REJECTED if 400 <= status < 500 and status not in OPEN else Outcome.UNKNOWN


def _api_error(code: str, reply: Reply, message: str) -> ApiError:
    return _family(code, reply.status)(
        f"{reply.status} {code}: {message}",
        code=code,
        status=reply.status,
        request_id=reply.headers.get("x-request-id"),
        retry_after=reply.retry_after,
    )


def _family(code: str, status: int) -> type[ApiError]:
    """The class of an error: by its documented code, else by its status."""
    if code not in BY_CODE and status in BELIEVED:
        return BY_CODE[BY_STATUS[status]]
    if code not in BY_CODE and "idempotency" in code:
        return IdempotencyConflictError  # some servers say 422 and a longer word; it is the same refusal
    return BY_CODE.get(code, ApiError)


def _add_amounts(error: InsufficientCreditsError, *sources: object) -> None:
    """Users saw these two fields in 402 answers; the documents do not promise them."""
    for source in sources:
        if isinstance(source, dict):
            for name in ("required_credits", "available_credits"):
                amount = source.get(name)
                if isinstance(amount, int | float) and not isinstance(amount, bool):
                    setattr(error, name, amount)


def _from_status(reply: Reply, *, why: str) -> Failure:
    """An error status without the API's envelope: an empty body is classified, a foreign one is not."""
    code = BY_STATUS.get(reply.status)
    if reply.status == 429 or (code is not None and not reply.body):
        error = _api_error(code or "rate_limited", reply, "(no error envelope)")
        outcome = Outcome.REJECTED if isinstance(error, RateLimitedError) else Outcome.UNKNOWN
        return Failure(error=error, outcome=outcome, retry_after=reply.retry_after)
    return _unexpected(reply, why)


def _unexpected(reply: Reply, why: str) -> Failure:
    text = reply.body[: 4 * EXCERPT].decode(errors="replace")
    title = re.search(r"<title>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
    shown = title.group(1).strip() if title else text[:EXCERPT]
    error = UnexpectedReplyError(
        f"HTTP {reply.status} is not the documented answer: {why}; it reads {shown[:120]!r}",
        status=reply.status,
        excerpt=text[:EXCERPT],
    )
    return Failure(error=error, outcome=Outcome.UNKNOWN, retry_after=reply.retry_after)


def redirect_failure(reply: Reply, *, asked: str) -> Failure:
    """A redirect that is not obeyed: the API key and the paid body stay with the configured host."""
    target = reply.headers.get("location", "(no Location)")[:200]
    error = UnexpectedReplyError(
        f"{asked} redirects (HTTP {reply.status}) to {target!r}, which is not followed: the API key and the "
        "request go to the configured host only; set base_url if the API has moved",
        status=reply.status,
    )
    return Failure(error=error, outcome=Outcome.UNKNOWN, final=True)


def retry_after(value: str | None, *, date: str | None = None) -> float | None:
    """Seconds to wait by a Retry-After header: digits, or an HTTP date against the answer's own Date.

    Zero, negative, empty and malformed hints are no hints. Python's ``float`` would take ``inf``, ``1_0`` and
    digits of other scripts, so only ASCII digits count.
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
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):  # the second one for a year of fifty digits
        return None
    return moment if moment.tzinfo is not None else None


def with_key(submission: Submission, *, idempotency_key: str) -> Submission:
    """The submission together with the key it was sent under."""
    return evolve(submission, idempotency_key=idempotency_key)
