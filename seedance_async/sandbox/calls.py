"""HTTP calls and replies as values, and the record of both.

This module uses no socket. Deciding a reply and writing it are two steps, because the important faults lie
between them: the work is done and paid, and the reply never arrives.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Final, Literal

from attrs import field, frozen

BASE_PATH: Final = "/api/v1"
"""The prefix of every path of the emulated API."""

Endpoint = Literal["submit", "task", "media", "other"]


@frozen(kw_only=True)
class Call:
    """An HTTP request as it arrived.

    Attributes:
        number: the number of the arrival, from 1.
        endpoint: the part of the API that it addresses, as in ``Fault.on``.
        path: below the base URL, such as ``/tasks/sd2_abc``.
        key: fingerprint of the bearer key; the key itself is never stored.
        local_media: by URL of an input at loopback, why it cannot be used; an empty text if it can.
    """

    number: int
    endpoint: Endpoint
    method: str
    path: str
    key: str | None = None
    idempotency_key: str | None = None
    content_type: str = ""
    body: bytes = field(default=b"", repr=False)
    local_media: Mapping[str, str] = field(factory=dict, repr=False)


@frozen(kw_only=True)
class Reply:
    """The HTTP response that the server decided on.

    Attributes:
        code: the error's code, empty for a success.
        task_ids: the tasks in the reply.
        replayed: whether it is an earlier reply, sent again for its idempotency key.
        over_limit: whether the account's rate limit refused the request.
    """

    status: int
    body: bytes = field(default=b"", repr=False)
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(factory=dict)
    code: str = ""
    task_ids: tuple[str, ...] = ()
    replayed: bool = False
    over_limit: bool = False


@frozen(kw_only=True)
class Record:
    """The record of one exchange; tests assert on it.

    Attributes:
        number: the number of the arrival, from 1; both deliveries of a duplicated request count.
        at: when the request was processed, in seconds on the server's clock.
        answered_at: when the last byte was written, on the server's clock; None before that.
        path: the path below the base URL.
        account: owner of the key; None if the key is unknown or missing.
        key: fingerprint of the bearer key.
        body: the exact bytes received.
        admitted: False if the account's rate limit refused it.
        status: the status of the reply; None if a fault prevented any reply.
        fault: the effects of the faults applied, separated by commas; empty if there were none.
    """

    number: int
    at: float
    endpoint: Endpoint
    method: str
    path: str
    account: str | None = None
    key: str | None = None
    idempotency_key: str | None = None
    body: bytes = field(default=b"", repr=False)
    admitted: bool = True
    status: int | None = None
    code: str = ""
    replayed: bool = False
    task_ids: tuple[str, ...] = ()
    fault: str = ""
    answered_at: float | None = None


def fingerprint(key: str) -> str:
    """A hash that identifies an API key without revealing it."""
    return "sha256:" + hashlib.sha256(key.encode()).hexdigest()[:16]


def json_bytes(document: object) -> bytes:
    """A document encoded for the wire; lone surrogates, which a caller can send, become ``?``."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def refusal(code: str, message: str, **more: object) -> Reply:
    """The documented error envelope; ``more`` are further fields, such as those users have seen in a 402."""
    envelope = {"error": {"code": code, "message": message}, **more}
    return Reply(status=STATUS[code], body=json_bytes(envelope), code=code)


STATUS: Final[Mapping[str, int]] = {
    "invalid_request": 400,
    "unauthorized": 401,
    "insufficient_credits": 402,
    "not_found": 404,
    "idempotency_conflict": 409,
    "rate_limited": 429,
    "internal_error": 500,
    "service_busy": 503,
}
"""The vendor's table of errors."""
