"""One exchange as values: what a reply proves, and what it does not."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedance_async import errors
from seedance_async.models import Seedance2Video, Submission, Task
from seedance_async.protocol import (
    Failure,
    Outcome,
    Reply,
    read_submission,
    read_task,
    retry_after,
    submit_call,
    task_call,
)

ACCEPTED = {"id": "sd2_a1", "status": "processing", "model": "seedance2", "credits_used": 30}
PAGE = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"


def reply(status: int, body: object = b"", **headers: str) -> Reply:
    """A reply; anything but bytes is sent as JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(status=status, headers={k.replace("_", "-"): v for k, v in headers.items()}, body=raw)


def envelope(code: object, message: str = "said") -> dict[str, object]:
    """The documented shape of every error."""
    return {"error": {"code": code, "message": message}}


def failed(status: int, body: object = b"", **headers: str) -> Failure:
    """The failure that this reply to a POST is read as."""
    outcome = read_submission(reply(status, body, **headers))
    assert isinstance(outcome, Failure)
    return outcome


def test_a_post_carries_its_key_unquoted_and_its_exact_bytes() -> None:
    """The vendor's example sends the key bare; the body is the canonical serialisation."""
    call = submit_call(Seedance2Video(prompt="A red kite"), idempotency_key="demo-video-001")

    assert call.method == "POST"
    assert call.path == "/video/seedance2"
    assert call.headers["Idempotency-Key"] == "demo-video-001"
    assert call.headers["Content-Type"] == "application/json"
    assert json.loads(call.body or b"")["prompt"] == "A red kite"


@pytest.mark.case(66)
def test_a_foreign_task_id_cannot_leave_its_place_in_the_path() -> None:
    """Ids are the server's text: slashes and dots must not name another resource."""
    assert task_call("../../admin?x=1").path == "/tasks/%2E%2E%2F%2E%2E%2Fadmin%3Fx%3D1"
    assert task_call("..").path == "/tasks/%2E%2E"


@pytest.mark.parametrize(
    ("status", "code", "family"),
    [
        (400, "invalid_request", errors.InvalidRequestError),
        (401, "unauthorized", errors.UnauthorizedError),
        (402, "insufficient_credits", errors.InsufficientCreditsError),
        (404, "not_found", errors.NotFoundError),
        (409, "idempotency_conflict", errors.IdempotencyConflictError),
        (429, "rate_limited", errors.RateLimitedError),
        (500, "internal_error", errors.InternalServerError),
        (503, "service_busy", errors.ServiceBusyError),
        (403, "forbidden_word", errors.ApiError),
        (422, "idempotency_key_reuse", errors.IdempotencyConflictError),
        (401, "invalid_api_key", errors.UnauthorizedError),
        (402, "insufficient_balance", errors.InsufficientCreditsError),
        (404, "no_such_task", errors.NotFoundError),
        (409, "request_in_progress", errors.IdempotencyConflictError),
        (429, "too_many_requests", errors.RateLimitedError),
        (408, "request_timeout", errors.ApiError),
        (402, "not_found", errors.NotFoundError),
    ],
)
def test_every_code_becomes_its_class(status: int, code: str, family: type[errors.ApiError]) -> None:
    """The vendor's table of codes, each with the server's own message kept."""
    error = failed(status, envelope(code, "the reason")).error

    assert type(error) is family
    assert isinstance(error, errors.ApiError)
    assert (code, status) == (error.code, error.status)
    assert "the reason" in str(error)


@pytest.mark.case(31, 33, 34, 35, *range(42, 53))
@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (400, envelope("invalid_request"), Outcome.REJECTED),
        (401, envelope("unauthorized"), Outcome.REJECTED),
        (402, envelope("insufficient_credits"), Outcome.REJECTED),
        (404, envelope("not_found"), Outcome.REJECTED),
        (429, envelope("rate_limited"), Outcome.REJECTED),
        (429, PAGE, Outcome.REJECTED),
        (418, envelope("teapot"), Outcome.REJECTED),
        (401, envelope("invalid_api_key"), Outcome.REJECTED),
        (402, envelope("insufficient_balance"), Outcome.REJECTED),
        (404, envelope("no_such_model"), Outcome.REJECTED),
        (429, envelope("too_many_requests"), Outcome.REJECTED),
        (408, envelope("request_timeout"), Outcome.UNKNOWN),
        (409, envelope("request_in_progress"), Outcome.UNKNOWN),
        (425, envelope("too_early"), Outcome.UNKNOWN),
        (499, envelope("client_closed_request"), Outcome.UNKNOWN),
        (408, envelope("invalid_request"), Outcome.REJECTED),
        (400, PAGE, Outcome.UNKNOWN),
        (400, b"", Outcome.UNKNOWN),
        (401, {"detail": "who?"}, Outcome.UNKNOWN),
        (408, b"", Outcome.UNKNOWN),
        (500, envelope("internal_error"), Outcome.UNKNOWN),
        (500, envelope("never_heard_of"), Outcome.UNKNOWN),
        (503, envelope("service_busy"), Outcome.UNKNOWN),
        (502, PAGE, Outcome.UNKNOWN),
        (200, envelope("internal_error"), Outcome.UNKNOWN),
        (200, envelope("invalid_request"), Outcome.REJECTED),
        (202, envelope("invalid_request"), Outcome.UNKNOWN),
        (201, envelope("insufficient_credits"), Outcome.UNKNOWN),
        (500, envelope("invalid_request"), Outcome.UNKNOWN),
        (503, envelope("unauthorized"), Outcome.UNKNOWN),
        (400, envelope("invalid_request") | {"id": "sd2_a1"}, Outcome.UNKNOWN),
        (402, envelope("insufficient_credits") | {"batch_task_ids": ["gpt2_a1"]}, Outcome.UNKNOWN),
        (400, envelope("invalid_request") | {"task_id": "sd2_a1"}, Outcome.UNKNOWN),
        (202, b"", Outcome.UNKNOWN),
        (202, {"status": "processing"}, Outcome.UNKNOWN),
        (202, b'{"id":"sd2_a1","sta', Outcome.UNKNOWN),
        (202, b"[]", Outcome.UNKNOWN),
        (202, b"null", Outcome.UNKNOWN),
        (202, b'{"id":"sd2_a","id":"sd2_b"}', Outcome.UNKNOWN),
        (302, b"", Outcome.UNKNOWN),
    ],
)
def test_only_the_apis_own_envelope_proves_that_nothing_was_charged(
    status: int, body: object, outcome: Outcome
) -> None:
    """Cases 31, 33-35, 42-52: anybody's page, an empty or cut body, a 5xx: the job may be running."""
    assert failed(status, body).outcome is outcome


def test_an_accepted_post_is_a_submission() -> None:
    """The German page says 202; a 200 with a usable id is taken as well."""
    for status in (200, 202):
        answer = read_submission(reply(status, ACCEPTED))
        assert isinstance(answer, Submission)
        assert answer.id == "sd2_a1"


@pytest.mark.case(70)
def test_an_answer_about_another_task_is_refused() -> None:
    """Case 70: a cache mix-up must not finish somebody else's job."""
    outcome = read_task(reply(200, ACCEPTED | {"id": "sd2_b2"}), task_id="sd2_a1")

    assert isinstance(outcome, Failure)
    assert isinstance(outcome.error, errors.UnexpectedReplyError)
    assert outcome.error.task_id == "sd2_a1"


def test_a_failed_task_is_a_task_and_not_an_error_envelope() -> None:
    """A task carries a field ``error`` of its own, which may look like the envelope."""
    body = ACCEPTED | {"status": "failed", "error": {"code": "internal_error", "message": "provider gave up"}}
    task = read_task(reply(200, body), task_id="sd2_a1")

    assert isinstance(task, Task)
    assert task.is_failed
    assert "provider gave up" in str(task.error)


def test_a_402_tells_the_amounts_where_the_server_does() -> None:
    """Users saw the two fields beside the envelope and inside it."""
    beside = failed(402, envelope("insufficient_credits") | {"required_credits": 30, "available_credits": 4})
    inside = failed(402, {"error": {"code": "insufficient_credits", "message": "", "required_credits": 30}})

    assert isinstance(beside.error, errors.InsufficientCreditsError)
    assert isinstance(inside.error, errors.InsufficientCreditsError)
    assert (30, 4) == (beside.error.required_credits, beside.error.available_credits)
    assert (30, None) == (inside.error.required_credits, inside.error.available_credits)


@pytest.mark.case(35)
def test_a_page_is_told_by_its_title() -> None:
    """Case 35: a CDN's page is named, not poured into the log."""
    assert "502 Bad Gateway" in str(failed(502, PAGE).error)


@pytest.mark.case(38, 39, 40)
@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("36", 36.0),
        (" 5 ", 5.0),
        ("0.5", 0.5),
        ("99999999999", 99999999999.0),
        ("0", None),
        ("-3", None),
        ("", None),
        ("soon", None),
        ("5, 10", None),
        ("inf", None),
        ("nan", None),
        ("1e9", None),
        ("1_0", None),
        ("٣", None),
        (None, None),
    ],
)
def test_retry_after_takes_plain_digits_only(value: str | None, seconds: float | None) -> None:
    """Cases 38-40: whatever ``float`` would swallow besides is no hint."""
    assert seconds == retry_after(value)


@pytest.mark.case(37)
def test_retry_after_reads_a_date_against_the_servers_own_clock() -> None:
    """Case 37: our clock may be wrong, the answer's Date is not."""
    at, now = "Wed, 03 Jun 2026 10:01:00 GMT", "Wed, 03 Jun 2026 10:00:24 GMT"

    assert retry_after(at, date=now) == 36.0
    assert retry_after(now, date=at) is None
    assert retry_after(at) is None


@given(status=st.integers(100, 599), body=st.binary(max_size=400), hint=st.text(max_size=30))
def test_no_reply_makes_the_reader_stumble(status: int, body: bytes, hint: str) -> None:
    """Whatever arrives is an answer or a failure, never an exception."""
    answer = read_submission(reply(status, body, retry_after=hint, date=hint))

    assert isinstance(answer, Submission | Failure)
