"""A session of the caller's lends its way to the network, and changes nothing that an exchange means."""

from __future__ import annotations

import asyncio
import gzip
import json
import warnings
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NoReturn

import aiohttp
import anyio
import pytest
from aiohttp.abc import AbstractCookieJar, AbstractResolver

from seedance_async import (
    ClientStateError,
    ConfigurationError,
    InsufficientCreditsError,
    NanoBananaPro,
    RateLimitedError,
    RetryPolicy,
    SeedanceClient,
    SeedanceError,
    UncertainSubmissionError,
)
from tests.rooms.raw_server import accepted, answer, raw_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from aiohttp.abc import ResolveResult

    from tests.rooms.raw_server import Behaviour, RawServer

    Setting = Callable[[], dict[str, object]]

KEY = "sk_live_session"
PICTURE = NanoBananaPro(prompt="a fox asleep on a roof")
BROKE = answer(402, {"error": {"code": "insufficient_credits", "message": "no"}})
DONE = answer(
    200, {"id": "nbp_1", "status": "completed", "output": {"images": [{"url": "https://a.example/1"}]}}
)
OURS = {"authorization", "idempotency-key", "content-type", "content-length", "accept", "accept-encoding"}
MAY_BE_ADDED = {"x-gateway", "user-agent"}


class Broken:
    """Whatever is asked of it, it fails."""

    def __getattr__(self, name: str) -> NoReturn:
        raise LookupError(name)


class BrokenJar(aiohttp.DummyCookieJar):
    """A jar that fails."""

    def filter_cookies(self, request_url: object) -> NoReturn:  # noqa: ARG002 - aiohttp's
        """Fail."""
        raise LookupError("cookies")


class BrokenRequest(aiohttp.ClientRequest):
    """A request that fails."""

    async def send(self, conn: object) -> NoReturn:  # noqa: ARG002 - aiohttp's
        """Fail."""
        raise LookupError("send")


class BrokenResponse(aiohttp.ClientResponse):
    """An answer that cannot be read."""

    async def start(self, connection: object) -> NoReturn:  # noqa: ARG002 - aiohttp's
        """Fail."""
        raise LookupError("start")


async def refuse(response: aiohttp.ClientResponse) -> None:
    """What ``raise_for_status`` may be."""
    raise LookupError(response.status)


def full_jar() -> AbstractCookieJar:
    """A jar with a cookie for every host."""
    jar = aiohttp.CookieJar(unsafe=True)
    jar.update_cookies({"session": "of somebody"})
    return jar


FRAMING = {
    "Content-Length": "3", "Content-Encoding": "gzip", "Content-Type": "text/plain", "Expect": "100-continue",
    "Host": "elsewhere.example", "If-None-Match": "*", "Range": "bytes=0-1", "Transfer-Encoding": "chunked",
}  # fmt: skip

SETTINGS: dict[str, Setting] = {
    "plain": dict,
    "raise-for-status": lambda: {"raise_for_status": True},
    "raise-for-status-callable": lambda: {"raise_for_status": refuse},
    "auth": lambda: {"auth": aiohttp.BasicAuth("me", "secret")},
    "netrc": lambda: {"trust_env": True},
    "authorization-header": lambda: {"headers": {"Authorization": "Bearer other", "X-Gateway": "g"}},
    "key-header": lambda: {"headers": {"Idempotency-Key": "always-the-same"}},
    "framing-headers": lambda: {"headers": FRAMING},
    "cookies": lambda: {"cookies": {"a": "b"}, "cookie_jar": full_jar()},
    "broken-jar": lambda: {"cookie_jar": BrokenJar()},
    "json": lambda: {"json_serialize": Broken(), "json_serialize_bytes": Broken()},
    "timeout": lambda: {"timeout": aiohttp.ClientTimeout(total=1e-9)},
    "no-decompression": lambda: {"auto_decompress": False},
    "sizes": lambda: {"read_bufsize": 1, "max_line_size": 8, "max_field_size": 8, "max_headers": 1},
    "http-1.0": lambda: {"version": aiohttp.HttpVersion10},
    "base-url": lambda: {"base_url": "https://elsewhere.example/api/"},
    "skip-headers": lambda: {"skip_auto_headers": ["Content-Type", "User-Agent", "Accept"]},
    "request-class": lambda: {"request_class": BrokenRequest},
    "response-class": lambda: {"response_class": BrokenResponse},
    "charset": lambda: {"fallback_charset_resolver": refuse},
    "requote": lambda: {"requote_redirect_url": False},
    "connector": lambda: {"connector": aiohttp.TCPConnector(limit=1, use_dns_cache=False)},
}


@pytest.fixture(autouse=True)
def a_netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials for every host, as a ``~/.netrc`` with a default entry has them."""
    file = tmp_path / "netrc"
    file.write_text("default login me password secret\n")
    monkeypatch.setenv("NETRC", str(file))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))  # of budgets beyond loopback


@asynccontextmanager
async def client_on(session: aiohttp.ClientSession, server: RawServer) -> AsyncIterator[SeedanceClient]:
    """An impatient client over a session."""
    impatient = RetryPolicy(max_elapsed=20.0)
    async with session, SeedanceClient(KEY, server.url, session=session, retry=impatient) as client:
        yield client


def session_with(setting: Setting) -> aiohttp.ClientSession:
    """A session, as a program of an older habit makes it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return aiohttp.ClientSession(**setting())  # type: ignore[arg-type]  # each case names real options


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
async def test_no_setting_of_a_session_changes_an_exchange(
    setting: Setting,
) -> None:
    """Refusals stay what they are and are not repeated; bytes and headers are those of our own session."""
    waiting = gzip.compress(json.dumps({"id": "nbp_1", "status": "waiting"}).encode())
    compressed = answer(200, waiting, "Content-Encoding: gzip", "Set-Cookie: a=b; Path=/")
    async with raw_server(BROKE) as plain, SeedanceClient(KEY, plain.url) as client:
        with pytest.raises(InsufficientCreditsError):
            await client.submit(PICTURE, idempotency_key="k")
    async with (
        raw_server(BROKE, compressed, DONE) as server,
        client_on(session_with(setting), server) as client,
    ):
        with pytest.raises(InsufficientCreditsError) as caught:
            await client.submit(PICTURE, idempotency_key="k")
        await client.get_task("nbp_1")
        assert (await client.get_task("nbp_1")).is_completed

    assert not isinstance(caught.value, UncertainSubmissionError)
    assert ["POST", "GET", "GET"] == [seen.method for seen in server.seen]
    assert plain.seen[0].body == server.seen[0].body
    assert our_headers(plain) == our_headers(server)
    for seen in server.seen:
        assert f"Bearer {KEY}" == seen.headers["authorization"]
        assert server.url.split("/")[2] == seen.headers["host"]
        assert set(seen.headers) <= OURS | MAY_BE_ADDED | {"host"}


def our_headers(server: RawServer) -> dict[str, str]:
    """Those of the POST that are the client's own."""
    return {name: value for name, value in server.seen[0].headers.items() if name in OURS}


async def test_a_header_for_a_gateway_is_sent() -> None:
    """What is not ours and frames nothing is the caller's to send."""
    async with (
        raw_server(accepted("nbp_a1")) as server,
        client_on(aiohttp.ClientSession(headers={"X-Gateway": "let me in"}), server) as client,
    ):
        await client.submit(PICTURE)

    assert ["let me in"] == [seen.headers["x-gateway"] for seen in server.seen]


async def test_netrc_is_not_read_for_a_job_that_may_be_paid() -> None:
    """An accepted POST is accepted, at the first attempt."""
    async with (
        raw_server(accepted("nbp_a1")) as server,
        client_on(aiohttp.ClientSession(trust_env=True), server) as client,
    ):
        assert "nbp_a1" == (await client.submit(PICTURE)).id

    assert [f"Bearer {KEY}"] == [seen.headers["authorization"] for seen in server.seen]


async def test_a_session_that_cannot_be_used_is_refused_at_opening() -> None:
    """Closed, of another loop, or none at all: nothing is sent, and it says which."""

    async def made_elsewhere() -> aiohttp.ClientSession:
        return aiohttp.ClientSession()

    def in_another_loop() -> aiohttp.ClientSession:
        loop = asyncio.new_event_loop()
        try:
            return loop.run_until_complete(made_elsewhere())
        finally:
            loop.close()

    closed = aiohttp.ClientSession()
    await closed.close()
    foreign = await anyio.to_thread.run_sync(in_another_loop)
    async with raw_server(accepted("nbp_a1")) as server:
        for session, words in ((closed, "closed"), (foreign, "another event loop")):
            with pytest.raises(ClientStateError, match=words):
                async with SeedanceClient(KEY, server.url, session=session):
                    pass
        for no_session in (aiohttp, "session", object(), server):
            with pytest.raises(ConfigurationError, match=r"aiohttp\.ClientSession"):
                SeedanceClient(KEY, server.url, session=no_session)  # type: ignore[arg-type]
    assert foreign.connector is not None
    foreign.detach()

    assert [] == server.seen


# --- code that a session runs


SIGNALS = [name for name in dir(aiohttp.TraceConfig) if name.startswith("on_")]


def raise_lookup_error(*_: object) -> NoReturn:
    """An ordinary fault."""
    raise LookupError("hook")


async def cancelled_elsewhere() -> None:
    """Await a task that somebody else has cancelled."""
    task = asyncio.ensure_future(asyncio.sleep(1000))
    await asyncio.sleep(0)
    task.cancel()
    await task


@pytest.mark.parametrize("stray", [False, True], ids=["raises", "cancelled"])
@pytest.mark.parametrize("signal", SIGNALS)
async def test_a_trace_hook_that_fails_loses_its_own_call_only(signal: str, stray: bool) -> None:
    """The request goes on as if nobody had watched it, and one POST stays one."""
    calls: list[object] = []

    async def hook(session: object, _context: object, _params: object) -> None:
        calls.append(session)
        if stray:
            await cancelled_elsewhere()
        raise_lookup_error()

    config = aiohttp.TraceConfig()
    getattr(config, signal).append(hook)
    session = aiohttp.ClientSession(trace_configs=[config])
    async with raw_server(accepted("nbp_a1"), DONE) as server, client_on(session, server) as client:
        submission = await client.submit(PICTURE)
        assert (await client.get_task("nbp_1")).is_completed

    assert "nbp_a1" == submission.id
    assert ["POST", "GET"] == [seen.method for seen in server.seen]
    assert set(calls) <= {session}


Middleware = aiohttp.ClientMiddlewareType


async def fails_before(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> NoReturn:
    """A middleware that fetches a token, and cannot."""
    raise LookupError("token")


async def fails_after(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> NoReturn:
    """A middleware that measures, and stumbles over the answer."""
    await handler(request)
    raise LookupError("measure")


async def raises_for_status(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """A middleware that wants no refusals."""
    response = await handler(request)
    response.raise_for_status()
    return response


async def is_cancelled(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """A middleware that awaits what somebody has cancelled."""
    response = await handler(request)
    await cancelled_elsewhere()
    return response


async def repeats(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """A middleware that tries again by itself."""
    response = await handler(request)
    for _ in range(5):
        if response.ok:
            break
        response = await handler(request)
    return response


async def answers_late(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """A middleware that waits for longer than the whole exchange may take."""
    response = await handler(request)
    await anyio.sleep(1000)
    return response


AFTER: list[Middleware] = [fails_after, raises_for_status, is_cancelled, repeats, answers_late]


@pytest.mark.parametrize("middleware", AFTER)
async def test_an_answer_that_has_arrived_counts_whatever_a_middleware_makes_of_it(
    middleware: Middleware,
) -> None:
    """One POST, refused: it is known that nothing was charged."""
    session = aiohttp.ClientSession(middlewares=[middleware])
    async with raw_server(BROKE) as server, client_on(session, server) as client:
        with pytest.raises(InsufficientCreditsError):
            await client.submit(PICTURE)

    assert 1 == len(server.seen)


@pytest.mark.parametrize("middleware", AFTER)
async def test_an_accepted_post_is_accepted_whatever_a_middleware_makes_of_it(middleware: Middleware) -> None:
    """It is paid, and its ids are here."""
    session = aiohttp.ClientSession(middlewares=[middleware])
    async with raw_server(accepted("nbp_a1")) as server, client_on(session, server) as client:
        assert "nbp_a1" == (await client.submit(PICTURE)).id

    assert 1 == len(server.seen)


async def test_a_middleware_that_fails_before_a_byte_leaves_charges_nothing() -> None:
    """At once, by its class and for this job; no doubt, no retries."""
    session = aiohttp.ClientSession(middlewares=[fails_before])
    async with raw_server(accepted("nbp_a1")) as server, client_on(session, server) as client:
        with pytest.raises(SeedanceError, match="LookupError before the request was sent") as caught:
            await client.submit(PICTURE)
        results = [result async for result in client.as_completed([PICTURE] * 3)]
        with pytest.raises(LookupError):  # a GET costs nothing: it is the caller's own
            await client.get_task("nbp_1")

    assert not isinstance(caught.value, UncertainSubmissionError)
    assert isinstance(caught.value.__cause__, LookupError)
    assert [SeedanceError] * 3 == [type(result.error) for result in results]
    assert [] == server.seen


async def test_a_middleware_cannot_send_the_key_elsewhere() -> None:
    """The key goes to the API's origin only."""

    async def reroute(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        request.url = request.url.with_port(int(elsewhere.url.split(":")[2].split("/")[0]))
        return await handler(request)

    async with raw_server(accepted("nbp_a1")) as elsewhere, raw_server(accepted("nbp_a1")) as server:
        session = aiohttp.ClientSession(middlewares=[reroute])
        async with client_on(session, server) as client:
            with pytest.raises(ConfigurationError, match="nothing was sent"):
                await client.submit(PICTURE)

    assert [] == elsewhere.seen == server.seen


async def test_a_middleware_cannot_replace_the_key() -> None:
    """Nor the idempotency key: with another one a retry would pay again."""

    async def sign(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        request.headers.update({"Authorization": "Basic other", "Idempotency-Key": "mine", "X-Gateway": "g"})
        return await handler(request)

    session = aiohttp.ClientSession(middlewares=[sign])
    async with raw_server(answer(502), accepted("nbp_a1")) as server, client_on(session, server) as client:
        await client.submit(PICTURE, idempotency_key="ours")

    assert {(f"Bearer {KEY}", "ours", "g")} == {
        (seen.headers["authorization"], seen.headers["idempotency-key"], seen.headers["x-gateway"])
        for seen in server.seen
    }


async def changes_the_body(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Another body of the same type."""
    await request.update_body(b'{"prompt": "something else"}')
    return await handler(request)


async def sends_a_form(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """A body of another type."""
    form = aiohttp.FormData()
    form.add_field("file", b"a", filename="a")
    await request.update_body(form)
    return await handler(request)


async def compresses(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """The same body in another coding."""
    request.compress = "gzip"
    request.update_content_encoding(b"a")
    return await handler(request)


async def shortens(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """A length that is not the body's."""
    request.headers["Content-Length"] = "3"
    return await handler(request)


async def frames_anew(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Headers that describe another message."""
    request.headers.update({**FRAMING, "Cookie": "a=b"})
    return await handler(request)


@pytest.mark.parametrize(
    "middleware",
    [changes_the_body, sends_a_form, compresses, shortens, frames_anew],
    ids=lambda each: each.__name__,
)
async def test_a_middleware_cannot_change_the_bytes_of_a_post(middleware: Middleware) -> None:
    """The stored bytes are sent, also when the POST is repeated, whatever a middleware makes of the first."""
    async with raw_server(accepted("nbp_a1")) as plain, SeedanceClient(KEY, plain.url) as client:
        await client.submit(PICTURE, idempotency_key="k")
    session = aiohttp.ClientSession(middlewares=[middleware])
    async with raw_server(answer(502), accepted("nbp_a1")) as server, client_on(session, server) as client:
        await client.submit(PICTURE, idempotency_key="k")

    for seen in server.seen:
        assert plain.seen[0].body == seen.body
        assert our_headers(plain) == our_headers(server)
        assert server.url.split("/")[2] == seen.headers["host"]
        assert set(seen.headers) <= OURS | MAY_BE_ADDED | {"host"}


async def test_a_middleware_cannot_change_the_method() -> None:
    """It is refused, as nothing else than the POST would be right."""

    async def put(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        request.method = "PUT"
        return await handler(request)

    session = aiohttp.ClientSession(middlewares=[put])
    async with raw_server(accepted("nbp_a1")) as server, client_on(session, server) as client:
        with pytest.raises(ConfigurationError, match="nothing was sent"):
            await client.submit(PICTURE)

    assert [] == server.seen


@pytest.mark.parametrize(
    "headers", [{"X-Trace": "a\r\nb: c"}, {"X-Trace\n": "a"}, {"X-Trace": "a\x00"}], ids=repr
)
async def test_a_header_that_cannot_be_sent_charges_nothing(headers: dict[str, str]) -> None:
    """It is refused only while the request is written, which must not put a job in doubt."""
    session = aiohttp.ClientSession(headers=headers)
    async with raw_server(accepted("nbp_a1")) as server, client_on(session, server) as client:
        with pytest.raises(ConfigurationError, match="the header 'X-Trace"):
            await client.submit(PICTURE)

    assert [] == server.seen


async def test_a_trace_context_that_cannot_be_made_costs_nothing() -> None:
    """The hooks get an empty one."""

    def fail(**_: object) -> NoReturn:
        raise LookupError("context")

    session = aiohttp.ClientSession(trace_configs=[aiohttp.TraceConfig(fail)])  # type: ignore[arg-type]  # no class
    async with raw_server(accepted("nbp_a1")) as server, client_on(session, server) as client:
        assert "nbp_a1" == (await client.submit(PICTURE)).id


async def test_a_poll_that_a_middleware_fails_ends_no_other_wait() -> None:
    """The poller is shared: the neighbour's job is delivered, and the failed one's wait ends by itself."""

    async def fails_for_one(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        if request.url.path.endswith("nbp_1"):
            raise LookupError("poll")
        return await handler(request)

    done = {"id": "nbp_2", "status": "completed", "output": {"images": [{"url": "https://a.example/1"}]}}
    behaviours: list[Behaviour] = [
        answer(202, {"id": "nbp_1", "status": "processing"}),
        answer(202, {"id": "nbp_2", "status": "processing"}),
        answer(200, done),
    ]
    session = aiohttp.ClientSession(middlewares=[fails_for_one])
    async with raw_server(*behaviours) as server, client_on(session, server) as client:
        first = await client.submit(PICTURE)
        second = await client.submit(PICTURE)
        ends: list[BaseException] = []

        async def wait_for_first() -> None:
            try:
                await client.wait(first)
            except SeedanceError as end:
                ends.append(end)

        async with anyio.create_task_group() as waiters:
            waiters.start_soon(wait_for_first)
            assert (await client.wait(second)).is_completed

    assert ["nbp_1"] == [getattr(end, "task_id", None) for end in ends]
    assert "LookupError" in str(ends[0])


class BrokenResolver(AbstractResolver):
    """A resolver of the caller's with a fault of its own."""

    def __init__(self, fail: Callable[[], object]) -> None:
        self.fail = fail

    async def resolve(self, *_: object, **_options: object) -> list[ResolveResult]:
        """Fail."""
        self.fail()
        await cancelled_elsewhere()
        return []

    async def close(self) -> None:
        """Have nothing to close."""


@pytest.mark.parametrize("fail", [raise_lookup_error, str], ids=["raises", "cancelled"])
async def test_a_resolver_that_fails_charges_nothing(fail: Callable[[], object]) -> None:
    """Nothing was sent, and that is what the job says."""
    connector = aiohttp.TCPConnector(resolver=BrokenResolver(fail))
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        SeedanceClient(KEY, "https://api.example/api/v1", session=session) as client,
    ):
        with pytest.raises(SeedanceError, match="before the request was sent") as caught:
            await client.submit(PICTURE)
        results = [result async for result in client.as_completed([PICTURE])]

    assert not isinstance(caught.value, UncertainSubmissionError)
    assert 1 == len(results)


async def test_wire_attempts_of_a_middleware_are_not_left_uncounted() -> None:
    """A middleware that repeats would be the 31st request of a window that has 30."""
    session = aiohttp.ClientSession(middlewares=[repeats])
    busy = answer(429, {"error": {"code": "rate_limited", "message": "no"}})
    async with raw_server(busy) as server, client_on(session, server) as client:
        with pytest.raises(RateLimitedError):
            await client.submit(PICTURE)
        assert client.usage.requests == len(server.seen)


async def test_a_session_is_used_and_stays_open_with_its_connector() -> None:
    """What we did not open we do not close."""
    connector = aiohttp.TCPConnector()
    async with (
        raw_server(accepted("nbp_a1")) as server,
        aiohttp.ClientSession(connector=connector) as session,
    ):
        for _ in range(2):
            async with SeedanceClient(KEY, server.url, session=session) as client:
                await client.submit(PICTURE)
        assert not connector.closed
