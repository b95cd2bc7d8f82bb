"""What leaves for the API, and what is made of whatever comes back."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import traceback
import tracemalloc
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import aiohttp
import anyio
import pytest

from seedance_async import (
    ClientStateError,
    ConfigurationError,
    ConnectionFailedError,
    InvalidRequestError,
    NotFoundError,
    RetryPolicy,
    Seedance2Video,
    SeedanceClient,
    SeedanceError,
    Timeouts,
    UncertainSubmissionError,
    UnexpectedReplyError,
    clocks,
)
from seedance_async.transport import MAX_BODY_BYTES
from tests.rooms.raw_server import accepted, answer, raw_server, says

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.rooms.raw_server import Behaviour, Exchange

CANARY = "sk_live_canary_0123456789"
VIDEO = Seedance2Video(prompt="A glass train crosses a snowy bridge")
PROCESSING = answer(200, {"id": "sd2_a1", "status": "processing"})


def client_for(url: str, **options: object) -> SeedanceClient:
    """A client with the canary key."""
    return SeedanceClient(CANARY, url, **options)  # type: ignore[arg-type]  # each test names real options


LOST_ANSWERS: dict[str, Behaviour] = {
    "11-closed-before-any-header": says(b""),
    "12-reset-before-headers": says(b"", then="reset"),
    "13-reset-in-the-headers": says(b"HTTP/1.1 202 Acc", then="reset"),
    "14-body-shorter-than-promised": says(b'HTTP/1.1 202 OK\r\nContent-Length: 500\r\n\r\n{"id": "sd2_'),
    "14-reset-in-the-body": says(b'HTTP/1.1 202 OK\r\nContent-Length: 500\r\n\r\n{"id"', then="reset"),
    "15-chunked-body-cut": says(b'HTTP/1.1 202 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n{"id":\r\n'),
    "16-never-answers": says(b"", then="hold"),
    "18-body-stops": says(b"HTTP/1.1 202 OK\r\nContent-Length: 500\r\n\r\n{", then="hold"),
    "31-garbage": says(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
    "32-oversized-header": says(b"HTTP/1.1 202 OK\r\nX-Long: " + b"x" * 100_000 + b"\r\n\r\n"),
    "35-a-cdn-page": answer(502, b"<html><title>502 Bad Gateway</title></html>"),
    "48-truncated-json": answer(202, b'{"id":"sd2_1","sta'),
    "50-empty": answer(200),
    "51-no-id": answer(202, {"status": "processing"}),
    "60-gzip-that-is-none": answer(202, b"plain", "Content-Encoding: gzip"),
    "61-endless-body": answer(202, b" " * (MAX_BODY_BYTES + 1)),
}


@pytest.mark.case(11, 12, 13, 14, 15, 16, 18, 31, 32, 35, 48, 50, 51, 60, 61)
@pytest.mark.parametrize("lost", LOST_ANSWERS.values(), ids=LOST_ANSWERS)
async def test_a_lost_answer_is_asked_for_again_with_the_same_bytes_and_key(lost: Behaviour) -> None:
    """The job may be running and paid; under its key the repeat collects it instead of paying again."""
    async with raw_server(lost, accepted()) as server, client_for(server.url) as client:
        submission = await client.submit(VIDEO)

    first, second = server.seen
    assert first.body == second.body
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"] == submission.idempotency_key
    assert submission.id == "sd2_a1"


@pytest.mark.parametrize("lost", LOST_ANSWERS.values(), ids=LOST_ANSWERS)
async def test_an_answer_that_never_comes_ends_uncertain_with_the_key(lost: Behaviour) -> None:
    """Whatever else the error says, it must not say "nothing was charged"."""
    patience = RetryPolicy(max_elapsed=100.0)
    async with raw_server(lost) as server, client_for(server.url, retry=patience) as client:
        with pytest.raises(UncertainSubmissionError) as caught:
            await client.submit(VIDEO)

    assert caught.value.idempotency_key == server.seen[0].headers["idempotency-key"]
    assert len({(seen.body, seen.headers["idempotency-key"]) for seen in server.seen}) == 1


@pytest.mark.case(58)
async def test_a_gzip_bomb_is_not_unpacked() -> None:
    """Case 58: 200 MB in 200 kB end at the cap, not once they are in memory."""
    packer = zlib.compressobj(9, wbits=31)
    blank = bytes(1_000_000)
    bomb = b"".join(packer.compress(blank) for _ in range(200)) + packer.flush()
    once = RetryPolicy(max_elapsed=1.0)
    behaviour = answer(200, bomb, "Content-Encoding: gzip")
    async with raw_server(behaviour) as server, client_for(server.url, retry=once) as client:
        tracemalloc.start()
        try:
            with pytest.raises(SeedanceError):
                await client.get_task("sd2_a1")
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert server.seen
    assert most < 4 * MAX_BODY_BYTES


async def test_a_cookie_of_the_servers_is_not_sent_back() -> None:
    """Nothing of one call follows the next but what the package puts there."""
    first, second = (
        answer(202, {"id": name, "status": "processing", "model": "seedance2"}, "Set-Cookie: s=1; Path=/")
        for name in ("sd2_a1", "sd2_a2")
    )
    async with raw_server(first, second) as server:
        named = server.url.replace("127.0.0.1", "localhost")  # of an address, no jar would keep any
        async with client_for(named) as client:
            for _ in range(2):
                await client.submit(VIDEO)

    assert 2 == len(server.seen)
    assert not any("cookie" in seen.headers for seen in server.seen)


async def test_an_outage_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    """A program that logs warnings only must not seem to hang for ten minutes."""
    async with raw_server(accepted()) as server:
        closed = server.url
    async with client_for(closed, retry=RetryPolicy(max_elapsed=100.0)) as client:
        with pytest.raises(ConnectionFailedError):
            await client.submit(VIDEO)

    (warning,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert "could not connect" in warning.getMessage()


async def test_a_connection_that_is_lost_now_and_then_is_no_outage(caplog: pytest.LogCaptureFixture) -> None:
    """The retry is all that it takes."""
    async with raw_server(says(b""), says(b""), accepted()) as server, client_for(server.url) as client:
        await client.submit(VIDEO)

    assert [] == [record for record in caplog.records if record.levelname == "WARNING"]


@pytest.mark.case(1)
async def test_a_refused_connection_is_certain() -> None:
    """Case 1: nothing left, so nothing can be paid."""
    async with raw_server(accepted()) as server:
        closed = server.url
    async with client_for(closed, retry=RetryPolicy(max_elapsed=100.0)) as client:
        with pytest.raises(ConnectionFailedError) as caught:
            await client.submit(VIDEO)

    assert isinstance(caught.value, ConnectionError)
    assert caught.value.idempotency_key is not None


async def test_a_name_that_does_not_resolve_is_certain() -> None:
    """Case 2, with the resolver's words left out."""
    async with client_for("https://localhost.invalid/api/v1", retry=RetryPolicy(max_elapsed=1.0)) as client:
        with pytest.raises(Exception, match=r"resolve|loopback"):
            await client.submit(VIDEO)


async def test_a_garbage_answer_is_not_the_apis_400() -> None:
    """Aiohttp reports it as ``status=400``; believing that would write a paid job off."""
    patience = RetryPolicy(max_elapsed=5.0)
    async with (
        raw_server(says(b"nonsense\r\n\r\n")) as server,
        client_for(server.url, retry=patience) as client,
    ):
        with pytest.raises(UnexpectedReplyError):
            await client.get_task("sd2_a1")


@pytest.mark.case(62)
async def test_a_second_answer_to_one_request_is_not_taken_for_the_next_ones() -> None:
    """It waits on the kept-alive connection, and would give a POST the task of the one before."""

    async def twice(exchange: Exchange) -> None:
        await accepted("sd2_first")(exchange)
        await anyio.sleep(1.0)
        await accepted("sd2_first")(exchange)

    async with raw_server(twice, accepted("sd2_second")) as server, client_for(server.url) as client:
        first = await client.submit(VIDEO)
        await anyio.sleep(2.0)
        second = await client.submit(VIDEO)

    assert ("sd2_first", "sd2_second") == (first.id, second.id)
    assert 2 == len({seen.headers["idempotency-key"] for seen in server.seen})


@pytest.mark.case(19)
async def test_a_silent_repeat_of_a_get_is_counted_like_any_other() -> None:
    """Case 19: aiohttp would send a poll again by itself; here each wire attempt is one of ours."""
    behaviours = (PROCESSING, says(b"", then="reset"), PROCESSING)
    async with raw_server(*behaviours) as server, client_for(server.url) as client:
        await client.get_task("sd2_a1")
        await client.get_task("sd2_a1")

    assert len(server.seen) == client.usage.requests == 3
    assert client.usage.retries == 1


@pytest.mark.case(29, 30, 153)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_to_another_host_is_followed(status: int) -> None:
    """Cases 29 and 30: key, body and money stay with the configured host; the error names the other."""
    async with raw_server(accepted()) as elsewhere:
        there = answer(status, b"", f"Location: {elsewhere.url}/video/seedance2")
        async with raw_server(there) as server, client_for(server.url) as client:
            with pytest.raises(SeedanceError, match=elsewhere.url.split("/")[2]):
                await client.submit(VIDEO)

    assert elsewhere.seen == []
    assert len(server.seen) == 1


@pytest.mark.case(42)
async def test_a_refusal_names_the_field_and_is_not_repeated() -> None:
    """Case 42: asking again would be answered alike."""
    refusal = answer(400, {"error": {"code": "invalid_request", "message": "aspect_ratio is wrong"}})
    async with raw_server(refusal) as server, client_for(server.url) as client:
        with pytest.raises(InvalidRequestError, match="aspect_ratio"):
            await client.submit(VIDEO)

    assert len(server.seen) == 1


@pytest.mark.case(95)
@pytest.mark.parametrize("asleep", ["on the wire", "between"])
async def test_a_machine_that_slept_for_a_day_does_not_send_again(
    asleep: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop's clock stood still, the server's did not: it may have forgotten the key, and charge again."""
    hours = 0.0
    began = clocks.wall_now()
    monkeypatch.setattr(clocks, "wall_now", lambda: began + hours * 3600.0)

    async def lose(exchange: Exchange) -> None:
        nonlocal hours
        if asleep == "on the wire":
            hours = 30.0
        exchange.hang_up()

    async def sleep() -> None:
        nonlocal hours
        await anyio.sleep(0.2)  # less than the back-off
        hours = 30.0

    async with raw_server(lose, accepted()) as server, client_for(server.url) as client:
        async with anyio.create_task_group() as machine:
            machine.start_soon(sleep)
            with pytest.raises(UncertainSubmissionError, match="may have forgotten") as caught:
                await client.submit(VIDEO)
        await client.submit(VIDEO)

    assert caught.value.idempotency_key == server.seen[0].headers["idempotency-key"]
    assert len({seen.headers["idempotency-key"] for seen in server.seen}) == len(server.seen) == 2


@pytest.mark.case(175)
async def test_a_wall_clock_that_is_set_back_makes_no_key_young(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time since boot goes on: the key is 30 hours old, whatever the wall clock says."""
    gone, wall, boot = 0.0, clocks.wall_now(), clocks.boot_time()
    monkeypatch.setattr(clocks, "wall_now", lambda: wall - gone)
    monkeypatch.setattr(clocks, "boot_time", lambda: boot + gone)

    async def lose(exchange: Exchange) -> None:
        nonlocal gone
        gone = 30 * 3600.0
        exchange.hang_up()

    async with raw_server(lose, accepted()) as server, client_for(server.url) as client:
        with pytest.raises(UncertainSubmissionError, match="may have forgotten"):
            await client.submit(VIDEO)

    assert 1 == len(server.seen)


async def test_a_wall_clock_that_jumps_some_hours_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Corrections, a lid closed over lunch: under its key the job is collected."""
    jumps = iter([0.0, 0.0, 5.0, -300.0, *[12.0] * 10])
    monkeypatch.setattr(clocks, "wall_now", lambda: 1.8e9 + next(jumps) * 3600.0)
    async with raw_server(says(b""), says(b""), accepted()) as server, client_for(server.url) as client:
        await client.submit(VIDEO)

    assert len({seen.headers["idempotency-key"] for seen in server.seen}) == 1


async def test_what_a_header_says_can_be_printed() -> None:
    """Bytes of a header that are no UTF-8 arrive as half characters; a log file takes none."""
    body = b'{"error":{"code":"invalid_request","message":"cut \\ud83d"}}'
    head = b"HTTP/1.1 400 X\r\nX-Request-Id: r\xe9\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with raw_server(says(head + body)) as server, client_for(server.url) as client:
        with pytest.raises(InvalidRequestError) as caught:
            await client.submit(VIDEO)

    assert "cut \ufffd" in str(caught.value)
    assert caught.value.request_id == "r\ufffd"


@pytest.mark.case(21)
async def test_a_caller_who_is_cancelled_is_given_the_key() -> None:
    """Case 21: the server goes on and charges; the cancellation says under which key."""
    async with raw_server(says(b"", then="hold")) as server, client_for(server.url) as client:
        worker = asyncio.create_task(client.submit(VIDEO))
        await anyio.sleep(1.0)
        worker.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await worker

        assert caught.value.idempotency_key == server.seen[0].headers["idempotency-key"]  # type: ignore[attr-defined]  # added on purpose


@pytest.mark.case(10)
async def test_a_caller_who_is_cancelled_before_anything_left_owes_nothing() -> None:
    """Case 10: no attempt was made, so no key is worth keeping and no slot is lost."""
    keys: list[str | None] = []

    async def submit(client: SeedanceClient) -> None:
        try:
            await client.submit(VIDEO)
        except asyncio.CancelledError as cancelled:
            keys.append(getattr(cancelled, "idempotency_key", None))
            raise

    async with (
        raw_server(says(b"", then="hold")) as server,
        client_for(server.url) as client,
        anyio.create_task_group() as callers,
    ):
        for _ in range(40):
            callers.start_soon(submit, client)
        await anyio.sleep(1.0)
        callers.cancel_scope.cancel()

    reported = {key for key in keys if key is not None}
    assert len(keys) == 40
    assert reported == {seen.headers["idempotency-key"] for seen in server.seen}
    assert 0 < len(reported) < 40


@pytest.mark.case(149, 150, 151, 152)
async def test_the_key_shows_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    """Cases 149-152: logs at DEBUG, reprs, exceptions with their chains and our locals: no canary."""
    caplog.set_level(logging.DEBUG)
    echo = answer(401, {"error": {"code": "unauthorized", "message": f"bad key {CANARY}"}})
    garbage = says(b"SSH-2.0\r\n\r\n")
    reported: list[str] = []
    for behaviour in (echo, garbage, says(b""), answer(500, f"you sent {CANARY}".encode())):
        async with raw_server(behaviour) as server:
            client = client_for(server.url, retry=RetryPolicy(max_elapsed=3.0))
            async with client:
                for call in (client.submit(VIDEO), client.get_task("sd2_a1")):
                    try:
                        await call
                    except SeedanceError as error:
                        reported += [repr(error), repr(error.args), repr(vars(error)), *chain(error)]
            reported += [repr(client), repr(client.usage)]

    assert reported
    assert CANARY not in "\n".join(reported) + caplog.text


TESTS = str(Path(__file__).parents[1])

STALLS: dict[str, Behaviour] = {
    "before-headers": says(b"", then="hold"),
    "in-the-body": says(b"HTTP/1.1 202 OK\r\nContent-Length: 500\r\n\r\n{", then="hold"),
}


async def cancel(work: asyncio.Task[object]) -> None:
    """As whoever started the task would."""
    await anyio.sleep(1.0)
    work.cancel()
    await work


async def asyncio_timeout(work: Awaitable[object]) -> None:
    """As a caller with a deadline would."""
    async with asyncio.timeout(1.0):
        await work


async def wait_for(work: Awaitable[object]) -> None:
    """As a caller of the older habit would."""
    await asyncio.wait_for(work, 1.0)


async def fail_after(work: Awaitable[object]) -> None:
    """As a caller with anyio would."""
    with anyio.fail_after(1.0):
        await work


@pytest.mark.case(150)
@pytest.mark.parametrize("stall", STALLS.values(), ids=STALLS)
@pytest.mark.parametrize("whose", ["ours", "theirs"])
@pytest.mark.parametrize("leave", [cancel, asyncio_timeout, wait_for, fail_after])
async def test_a_caller_who_leaves_takes_no_frame_with_the_key(
    leave: Callable[[asyncio.Task[object]], Awaitable[None]], whose: str, stall: Behaviour
) -> None:
    """A cancellation keeps every frame it went through, the session's with the headers among them."""
    reported: list[str] = []
    async with raw_server(stall) as server, aiohttp.ClientSession() as theirs:
        session = theirs if whose == "theirs" else None
        async with client_for(server.url, session=session) as client:
            for call in (client.submit(VIDEO), client.get_task("sd2_a1")):
                try:
                    await leave(asyncio.ensure_future(call))
                except (asyncio.CancelledError, TimeoutError) as left:
                    reported += [*chain(left), "left"]

    assert [seen.headers["authorization"] for seen in server.seen] == [f"Bearer {CANARY}"] * 2
    assert reported.count("left") == 2
    assert "_attempt" in reported
    assert CANARY not in "\n".join(reported)


async def stumble(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> NoReturn:
    """A middleware with a fault of its own, met while it handles aiohttp's exception."""
    answered = await handler(request)
    try:
        answered.raise_for_status()
    except aiohttp.ClientResponseError:
        raise KeyError("middleware") from None
    raise KeyError("middleware")


@pytest.mark.case(150)
async def test_a_fault_in_the_callers_session_goes_on_without_the_key() -> None:
    """It says where it happened in words; of the frames and the exceptions that led to it none is left."""
    async with (
        raw_server(answer(500)) as server,
        aiohttp.ClientSession(middlewares=[stumble]) as session,
        client_for(server.url, session=session) as client,
    ):
        with pytest.raises(KeyError, match="middleware") as caught:
            await client.get_task("sd2_a1")

    assert CANARY not in "\n".join(chain(caught.value))
    assert "in stumble" in "\n".join(caught.value.__notes__)


async def test_what_the_caller_was_handling_stays_whole() -> None:
    """Only what happened on the wire is left behind; the caller's own exceptions are the caller's."""
    handled = asyncio.CancelledError("of the caller's")
    async with (
        raw_server(PROCESSING) as server,
        aiohttp.ClientSession(middlewares=[stumble]) as session,
        client_for(server.url, session=session) as client,
    ):
        try:
            raise handled
        except asyncio.CancelledError:
            with pytest.raises(KeyError) as caught:
                await client.get_task("sd2_a1")

    assert caught.value.__context__ is handled
    assert handled.__traceback__ is not None


def test_a_client_that_cannot_be_made_does_not_show_the_key() -> None:
    """The frame that has the argument is in the traceback of whatever the other arguments raise."""
    with pytest.raises(ConfigurationError) as caught:
        client_for("http://seedance2ai.io/api/v1")

    assert CANARY not in "\n".join(chain(caught.value))


def chain(error: BaseException) -> list[str]:
    """Every cause and context, with the names and locals of their frames, and what those locals hold."""
    links: list[str] = []
    ahead: list[BaseException | None] = [error]
    while ahead:
        link = ahead.pop()
        if link is None:
            continue
        frames = [frame for frame, _ in traceback.walk_tb(link.__traceback__)]
        for frame in frames:
            if not frame.f_code.co_filename.startswith(TESTS):
                held = frame.f_locals.values()
                links += [frame.f_code.co_name, *map(repr, held), *(repr(vars_of(value)) for value in held)]
        links += [repr(link), repr(link.args), repr(vars(link))]
        ahead += [link.__cause__, link.__context__]
    return links


def vars_of(value: object) -> object:
    """What a printer that opens objects would show of one."""
    return getattr(value, "__dict__", None)


async def test_a_session_of_the_callers_is_used_and_left_open() -> None:
    """What we did not open we do not close."""
    async with raw_server(PROCESSING) as server, aiohttp.ClientSession() as session:
        async with client_for(server.url, session=session) as client:
            await client.get_task("sd2_a1")
        assert not session.closed


async def test_a_session_of_the_callers_that_is_closed_is_told_as_such() -> None:
    """Nothing was sent, and the client lives on: every call says what is wrong."""
    async with (
        raw_server(accepted()) as server,
        aiohttp.ClientSession() as session,
        client_for(server.url, session=session) as client,
    ):
        await session.close()
        with pytest.raises(ClientStateError, match="session= is closed; nothing was sent"):
            await client.submit(VIDEO)
        results = [result async for result in client.as_completed([VIDEO] * 3)]
        with pytest.raises(ClientStateError, match="session= is closed"):
            await client.get_task("sd2_a1")

    assert [type(result.error) for result in results] == [ClientStateError] * 3
    assert server.seen == []


async def test_a_session_closed_after_a_lost_answer_leaves_the_job_in_doubt() -> None:
    """The first attempt may have been accepted; that the second could not be sent proves nothing about it."""
    async with raw_server(says(b"")) as server, aiohttp.ClientSession() as session:

        async def close() -> None:
            await anyio.sleep(0.2)
            await session.close()

        async with client_for(server.url, session=session) as client, anyio.create_task_group() as others:
            others.start_soon(close)
            with pytest.raises(UncertainSubmissionError) as caught:
                await client.submit(VIDEO)

    assert isinstance(caught.value.__cause__, ClientStateError)
    assert len(server.seen) == 1


async def test_a_404_is_told_with_the_task() -> None:
    """The caller of ``get_task`` learns which task there is none of."""
    missing = answer(404, {"error": {"code": "not_found", "message": "no such task"}})
    async with raw_server(missing) as server, client_for(server.url) as client:
        with pytest.raises(NotFoundError) as caught:
            await client.get_task("sd2_gone")

    assert caught.value.task_id == "sd2_gone"


@pytest.mark.case(154)
@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://seedance2ai.io/api/v1", "unencrypted"),
        ("ftp://127.0.0.1/", "must look like"),
        ("https://user:secret@host/api", "without credentials"),
        ("https://:secret@host/api", "without credentials"),
        ("http://:secret@host/api", "without credentials"),
        ("http://:secret@127.0.0.1/api", "without credentials"),
        ("https://user:secret@host:99999999/", "must look like"),
        ("https://user:secret@[bad", "must look like"),
        ("https://user:se/secret@host/api", "must look like"),
        ("https://user:secret@", "must look like"),
        ("//user:secret@host/api", "must look like"),
        ("https://host/api?x=secret", "without credentials or query"),
        ("https://host/api#secret", "without credentials or query"),
        ("not a secret url", "must look like"),
    ],
)
def test_a_base_url_that_would_leak_is_refused(url: str, reason: str) -> None:
    """Case 154: the key is never sent in the clear, and a secret in the URL is not repeated."""
    with pytest.raises(ConfigurationError, match=reason) as caught:
        client_for(url)

    assert "secret" not in str(caught.value)


@pytest.mark.case(157)
@pytest.mark.parametrize("key", ["", "   ", "sk live", "sk\nlive", "sk\x00", "schlüssel"])
def test_a_key_that_cannot_stand_in_a_header_is_refused(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Case 157: the message does not repeat it."""
    monkeypatch.delenv("SEEDANCE_API_KEY", raising=False)
    with pytest.raises(ConfigurationError) as caught:
        SeedanceClient(key)

    assert not key.strip() or key not in str(caught.value)


@pytest.mark.case(17, 18)
async def test_a_slow_answer_is_cut_by_the_request_timeout() -> None:
    """Cases 17 and 18: a dribble does not hold a slot for ever."""

    async def dribble(exchange: object) -> None:
        with contextlib.suppress(ConnectionError):
            for mark in b"HTTP/1.1 202 OK\r\nX-Slow: " + b"x" * 10_000:
                await exchange.say(bytes([mark]))  # type: ignore[attr-defined]  # an Exchange
                await anyio.sleep(1.0)

    limits = Timeouts(request=20.0)
    async with raw_server(dribble, accepted()) as server, client_for(server.url, timeouts=limits) as client:
        began = anyio.current_time()
        await client.submit(VIDEO)

        assert 20.0 <= anyio.current_time() - began < 30.0
