"""The response of a web backend to each error of the package: one table, for every framework. Pure.

The body is a problem document of RFC 9457 (``application/problem+json``)::

    {"title": "ValidationError", "status": 422, "detail": "…", "idempotency_key": "…", "task_id": "sd2_…",
     "errors": [{"field": "duration", "detail": "…"}]}

``title`` is the name of the class, for programs; ``detail`` is for people. ``idempotency_key`` and
``task_id`` are present if they are known: with them a paid task can be collected. ``errors`` are the problems
of a request, field by field.

The status says where the error is: 4xx, in the request of the backend's client; 402, in the credits; 502 and
504, at the vendor; 503, temporary, try again; 500, in the backend's setup. The details of a 500, of a refused
key and of a standing limit are not sent to clients: they may name files of the machine or what the account
spends.
"""

from __future__ import annotations

import json
import math
from typing import Final

from attrs import field, frozen

from seedance_async import errors
from seedance_async.errors import SeedanceError

MEDIA_TYPE: Final = "application/problem+json"

STATUS: Final[dict[type[SeedanceError], int]] = {
    errors.ValidationError: 422,
    errors.ManifestError: 422,
    errors.MediaError: 422,
    errors.InvalidRequestError: 422,
    errors.NotFoundError: 404,
    errors.IdempotencyConflictError: 409,
    errors.InsufficientCreditsError: 402,
    errors.CreditCapError: 402,
    errors.UnauthorizedError: 502,  # not 401: the refused key is the backend's, not its client's
    errors.RateLimitedError: 503,  # not 429: the limit is of the whole account, not of this client
    errors.ServiceBusyError: 503,
    errors.ClientStateError: 503,
    errors.InternalServerError: 502,
    errors.ApiError: 502,
    errors.UncertainSubmissionError: 502,
    errors.UnexpectedReplyError: 502,
    errors.TaskFailedError: 502,
    errors.OutputMissingError: 502,
    errors.DownloadError: 502,
    errors.CanaryError: 502,
    errors.ConnectionFailedError: 504,
    errors.WaitTimeoutError: 504,
    errors.ConfigurationError: 500,
    errors.JournalError: 500,
    errors.RecordError: 500,
    SeedanceError: 500,
}
"""The status of each class; a class that is not listed has that of its base class."""

PRIVATE: Final = "this application cannot use the API at the moment; its log says why"

RETRY_AFTER: Final = 5.0
"""Seconds that a client is asked to wait after a 503 if the API has not named a time."""


@frozen(kw_only=True)
class Problem:
    """An error response.

    Attributes:
        status: of HTTP.
        document: the body, as JSON values.
        headers: in addition to the content type.
    """

    status: int
    document: dict[str, object]
    headers: dict[str, str] = field(factory=dict)

    @property
    def body(self) -> bytes:
        """The body in bytes."""
        return json.dumps(self.document, ensure_ascii=False).encode()


def problem_of(error: SeedanceError) -> Problem:
    """Return the response to an error."""
    status = status_of(type(error))
    document: dict[str, object] = {
        "title": type(error).__name__,
        "status": status,
        "detail": PRIVATE if is_private(error) else error.message,
    }
    handles = {"idempotency_key": error.idempotency_key, "task_id": error.task_id}
    document |= {name: value for name, value in handles.items() if value is not None}
    if isinstance(error, errors.ValidationError):
        document["errors"] = [{"field": name, "detail": reason} for name, reason in error.problems]
    return Problem(status=status, document=document, headers=_headers(error, status))


def status_of(kind: type[SeedanceError]) -> int:
    """Return the status for a class of errors."""
    return next(STATUS[base] for base in kind.__mro__ if base in STATUS)


def is_private(error: SeedanceError) -> bool:
    """Whether the details of an error are only for the backend's operator; they belong in its log."""
    of_the_machine = errors.UnauthorizedError | errors.StandingLimitError
    return status_of(type(error)) == 500 or isinstance(error, of_the_machine)


def _headers(error: SeedanceError, status: int) -> dict[str, str]:
    if status != 503:
        return {}
    asked_for = error.retry_after if isinstance(error, errors.ApiError) else None
    return {"Retry-After": str(math.ceil(asked_for or RETRY_AFTER))}


SCHEMA: Final[dict[str, object]] = {
    "title": "Problem",
    "type": "object",
    "properties": {
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "idempotency_key": {"type": "string"},
        "task_id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"field": {"type": "string"}, "detail": {"type": "string"}},
                "required": ["field", "detail"],
            },
        },
    },
    "required": ["title", "status", "detail"],
}
"""The JSON schema of a problem document."""
