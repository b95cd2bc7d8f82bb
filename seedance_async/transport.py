"""The transport: the one place where requests leave for the API, within the budget and the retry policy.

What this file guarantees, each for a reason:

* Every wire attempt spends one slot of the budget, retries included. aiohttp repeats a GET by itself when a
  kept-alive connection turns out dead; on our own session that repeat is refused and becomes an attempt of
  ours.
* The Authorization header is written at the last moment and only for the API's origin. Redirects are not
  followed, but for one: the vendor's apex host answers 301 or 307 to its own ``www.`` twin; then the same
  call is sent there, whole, and the host is remembered.
* Whether a byte can have left is noted where our own session writes it, not guessed from an exception's
  class: a bare ``TimeoutError`` may come from before or after the connect.
* Exceptions of aiohttp hold the request's headers in their repr, so none of them becomes a cause or context.
  Its frames hold them in their locals, so what passes through, a cancellation above all, leaves them behind.
* An answer leaves this file without the key: body and headers are scrubbed here, before anything reads them.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
import sys
import traceback
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import aiohttp
import anyio
from aiohttp import ClientSession, ClientTimeout
from attrs import define, evolve, field
from yarl import URL

from seedance_async import clocks, retry
from seedance_async.budget.gate import Slot
from seedance_async.credentials import ApiKey
from seedance_async.errors import (
    ClientStateError,
    ConfigurationError,
    ConnectionFailedError,
    RateLimitedError,
    SeedanceError,
    UnexpectedReplyError,
)
from seedance_async.fault_points import fault_point
from seedance_async.models import RetryPolicy, Timeouts
from seedance_async.network import is_loopback
from seedance_async.protocol import Call, Failure, Outcome, Reply, redirect_failure
from seedance_async.usage import Usage
from seedance_async.wire import encodable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp import ClientResponse
    from aiohttp.connector import Connection


Answer = TypeVar("Answer")

log: logging.Logger = logging.getLogger(__name__)

MAX_BODY_BYTES: Final = 4 * 1024 * 1024
"""An answer of this API is under 2 kB; more than this is not an answer."""

OUTAGE: Final = 3
"""Requests in a row without an answer that are worth a warning."""

READ_HEADERS: Final = ("date", "location", "retry-after", "x-request-id")
"""The headers of an answer that are read."""

REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


class Slots(Protocol):
    """Who hands out slots of the budget: the dispatcher."""

    async def slot(self) -> Slot:
        """Wait for a slot to send one request, ahead of scheduled work."""
        ...


@define
class _Attempt:
    """One time a call goes on the wire: in which slot, and whether a byte of it can have left."""

    slot: Slot
    sent: bool = False

    def begin(self) -> None:
        """Note that bytes leave now, unless the slot is too old to be true."""
        if not self.slot.is_fresh():
            raise _SlotTooOldError
        self.sent = True


class _SlotTooOldError(Exception):
    """The process was stopped, or slow, between taking the slot and sending."""


_current: ContextVar[_Attempt | None] = ContextVar("seedance_async_attempt", default=None)


@define(kw_only=True)
class Transport:
    """Sends calls to one API origin under one key."""

    base_url: URL
    key: ApiKey
    slots: Slots
    policy: RetryPolicy
    timeouts: Timeouts
    usage: Usage
    session: ClientSession = field(repr=False)
    owns_session: bool = True
    _numbers: int = 0
    _moved: bool = False
    _unanswered: int = 0
    _timeout: ClientTimeout = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        # Not sock_connect, which does not count the time that a name takes to resolve.
        self._timeout = ClientTimeout(total=self.timeouts.request, connect=self.timeouts.connect)

    async def send(
        self,
        call: Call,
        read: Callable[[Reply], Answer | Failure],
        *,
        slot: Slot | None = None,
        history: retry.History | None = None,
        before_again: Callable[[Failure], Awaitable[None]] | None = None,
    ) -> Answer:
        """Send a call until it is answered or the retry policy gives up.

        Args:
            call: the exchange; the very same bytes go out every time.
            read: makes an answer or a failure of a reply.
            slot: already taken; else one is waited for.
            history: what is known of earlier attempts, such as those of a killed process.
            before_again: awaited before each retry. The policy's clock stands still meanwhile.

        Raises:
            SeedanceError: as ``retry`` decides; for a POST it carries the idempotency key.
        """
        history = history or retry.History()
        in_doubt = history.uncertain
        try:
            slot = slot or await self.slots.slot()
            began = anyio.current_time()  # not before: a queue of an hour is no failed attempt
            first_sent = clocks.wall_now() - history.age
            while True:
                in_doubt = True
                outcome = await self._attempt(call, read, slot)
                if outcome is None:
                    in_doubt = history.uncertain
                    slot = await self._slot_again(call, history)
                    _refuse_outlived(
                        call, _TOO_LATE, evolve(history, age=clocks.wall_now() - first_sent), slot
                    )
                    continue
                if not isinstance(outcome, Failure):
                    return outcome
                elapsed = anyio.current_time() - began
                history = history.after(outcome, elapsed=elapsed, age=clocks.wall_now() - first_sent)
                in_doubt = history.uncertain
                await self._obey(call, outcome, history)
                if before_again is not None:
                    paused_at = anyio.current_time()
                    await before_again(outcome)
                    began += anyio.current_time() - paused_at
                slot = await self._slot_again(call, history)
                _refuse_outlived(call, outcome, evolve(history, age=clocks.wall_now() - first_sent), slot)
        except anyio.get_cancelled_exc_class() as cancelled:
            if in_doubt and call.idempotency_key is not None:
                _hand_over_key(cancelled, call.idempotency_key)
            raise

    async def _slot_again(self, call: Call, history: retry.History) -> Slot:
        """A slot to send a call once more; a closed client is judged as any other failure is."""
        try:
            return await self.slots.slot()
        except SeedanceError as closed:
            await self._obey(call, Failure(error=closed, outcome=Outcome.NOT_SENT, final=True), history)
            raise

    async def _obey(self, call: Call, failure: Failure, history: retry.History) -> None:
        jitter = random.random()  # noqa: S311 - spreads retries, guards nothing
        match retry.decide(call, failure, history, policy=self.policy, jitter=jitter):
            case retry.GiveUp(error):
                raise error from error.__cause__
            case retry.Wait(seconds):
                reason, extra = failure.error.message, {"retry_in": seconds}
                log.info("%s %s: %s; again in %.1f s", call.method, call.path, reason, seconds, extra=extra)
                self.usage.retries += 1
                await anyio.sleep(seconds)

    async def attempt(
        self, call: Call, read: Callable[[Reply], Answer | Failure], *, slot: Slot
    ) -> Answer | Failure:
        """Put a call on the wire once. The slot is settled when the answer is in, or known not to come."""
        while (outcome := await self._attempt(call, read, slot)) is None:
            slot = await self.slots.slot()
        return outcome

    async def _attempt(
        self, call: Call, read: Callable[[Reply], Answer | Failure], slot: Slot
    ) -> Answer | Failure | None:
        """One attempt within a slot; None if the slot was too old, and nothing was sent."""
        self._numbers += 1
        number = self._numbers
        self.usage.count(call.method)
        began = anyio.current_time()
        refused, wait = False, None
        arrives_within = self.timeouts.arrival  # unless an answer shows that it has arrived
        try:
            outcome = await self._exchange(call, read, slot)
            if not _is_unanswered(outcome):
                arrives_within = 0.0
            if isinstance(outcome, Failure):
                refused, wait = isinstance(outcome.error, RateLimitedError), outcome.retry_after
                self.usage.refusals += refused
            if log.isEnabledFor(logging.DEBUG):
                said = outcome.error.message if isinstance(outcome, Failure) else "ok"
                took = anyio.current_time() - began
                log.debug("#%d %s %s: %s in %.2f s", number, call.method, call.path, said, took)
            self._warn_of_outage(outcome)
        except _SlotTooOldError:
            slot.cancel()
            return None
        else:
            return outcome
        finally:
            slot.settle(refused=refused, retry_after=wait, arrives_within=arrives_within)

    def _warn_of_outage(self, outcome: object) -> None:
        """Warn once in an outage: a program that looks at warnings only must not seem to hang."""
        unanswered = isinstance(outcome, Failure) and isinstance(outcome.error, ConnectionFailedError)
        self._unanswered = self._unanswered + 1 if unanswered else 0
        if isinstance(outcome, Failure) and self._unanswered == OUTAGE:
            message = "%d requests in a row were not answered (%s); trying on, as the retry policy says"
            log.warning(message, OUTAGE, outcome.error.message, extra={"outage": True})

    async def _exchange(
        self, call: Call, read: Callable[[Reply], Answer | Failure], slot: Slot
    ) -> Answer | Failure:
        if self.session.closed:  # aiohttp would raise a bare RuntimeError
            whose = "the client" if self.owns_session else "the aiohttp session passed in as session="
            message = f"{whose} is closed; nothing was sent"
            return Failure(error=ClientStateError(message), outcome=Outcome.NOT_SENT, final=True)
        attempt = _Attempt(slot)
        token = _current.set(attempt)
        before = sys.exception()
        try:
            if not self.owns_session:  # a foreign session notes nothing: assume the worst
                attempt.begin()
            reply = await self._round_trip(call)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as problem:
            return _failure(problem, self.base_url, sent=attempt.sent)
        except BaseException as passing:
            _leave_frames(passing, before)
            raise
        finally:
            _current.reset(token)
        if reply.status in REDIRECTS:
            return self._redirected(reply)
        return read(reply)

    async def _round_trip(self, call: Call) -> Reply:
        async with self.session.request(
            call.method,
            URL(f"{self.base_url}{call.path}", encoded=True),
            data=call.body,
            headers={**call.headers, "Authorization": f"Bearer {self.key.reveal()}"},
            allow_redirects=False,
            timeout=self._timeout,
        ) as response:
            body = self.key.scrub_body(await _read_capped(response))
            fault_point("after_body")
            given = response.headers
            headers = {
                name: encodable(self.key.scrub_text(given[name])) for name in READ_HEADERS if name in given
            }
            return Reply(status=response.status, headers=headers, body=body)

    def _redirected(self, reply: Reply) -> Failure:
        """Obey only apex <-> www of the same host over https, once; name any other target."""
        target = _twin(self.base_url, reply.headers.get("location", ""))
        if target is None or self._moved:
            return redirect_failure(reply, asked=str(self.base_url.origin()))
        log.info("the API answers at %s; using that from now on", target.host)
        self.base_url, self._moved = target, True
        return Failure(
            error=UnexpectedReplyError(f"the API has moved to {target.host}", status=reply.status),
            outcome=Outcome.NOT_SENT,  # a redirect did not process anything; the call is sent again whole
        )


_TOO_LATE: Final = Failure(
    error=ConnectionFailedError("the process was stopped before it could send"), outcome=Outcome.NOT_SENT
)


def _is_unanswered(outcome: object) -> bool:
    """Whether a request left, and nothing shows that it has arrived."""
    if not isinstance(outcome, Failure) or outcome.outcome is not Outcome.UNKNOWN:
        return False
    return isinstance(outcome.error, ConnectionFailedError)


def _refuse_outlived(call: Call, failure: Failure, history: retry.History, slot: Slot) -> None:
    """Check the key's age right before it is sent again: the machine may have slept since."""
    error = retry.outlived(call, failure, history)
    if error is not None:
        slot.cancel()
        raise error from error.__cause__


def _hand_over_key(cancelled: BaseException, key: str) -> None:
    """Add the key to a cancellation after a POST may have left: it collects what was paid."""
    message = f"a POST may have been accepted under idempotency key {key}"
    cancelled.idempotency_key = key  # type: ignore[attr-defined]  # a handle for whoever catches it
    cancelled.add_note(message)
    log.warning("cancelled: %s", message)


def _leave_frames(passing: BaseException, before: BaseException | None) -> None:
    """Let an exception go on as itself, without what the session put on it: its frames hold the key.

    Args:
        passing: whatever is neither an answer nor a failure.
        before: what the caller was already handling; it is the caller's, and stays whole.
    """
    if isinstance(passing, Exception):  # a fault in somebody's code: where it was may be known
        passing.add_note("".join(["raised at\n", *traceback.format_tb(passing.__traceback__)]))
    inner = passing.__context__
    if inner is not before and isinstance(inner, asyncio.CancelledError):
        _leave_frames(inner, before)  # anyio looks here for a cancellation of its own
    elif inner is not before:
        passing.__context__ = None
    passing.__cause__ = passing.__traceback__ = None
    passing.__suppress_context__ = False  # which setting a cause turns on


def _twin(base_url: URL, location: str) -> URL | None:
    """The base URL on its ``www.`` twin, if that is where the redirect points."""
    try:
        target = URL(location)
    except ValueError:
        return None
    host = base_url.host or ""
    twin = host.removeprefix("www.") if host.startswith("www.") else f"www.{host}"
    if target.scheme == "https" == base_url.scheme and target.host == twin and target.port == base_url.port:
        return base_url.with_host(twin)
    return None


async def _read_capped(response: ClientResponse) -> bytes:
    """Read the body, decompressed, up to the cap; a longer one is foreign."""
    length = response.content_length
    if length is not None and length <= MAX_BODY_BYTES and "Content-Encoding" not in response.headers:
        return await response.read()
    chunks, total = [], 0
    async for chunk in response.content.iter_chunked(65536):
        total += len(chunk)
        if total > MAX_BODY_BYTES:
            raise aiohttp.ClientPayloadError(f"the answer is longer than {MAX_BODY_BYTES} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


def _failure(problem: Exception, base_url: URL, *, sent: bool) -> Failure:
    """Judge by *when* it happened: aiohttp's classes mix what came before and after the send."""
    not_sent = isinstance(
        problem, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError | aiohttp.ClientHttpProxyError
    )
    outcome = Outcome.NOT_SENT if not_sent or not sent else Outcome.UNKNOWN
    broken_trust = isinstance(problem, aiohttp.ClientConnectorCertificateError | ssl.SSLCertVerificationError)
    error: SeedanceError
    if isinstance(problem, aiohttp.ClientResponseError) and not not_sent:
        # aiohttp reports garbage as "status 400"; the API has said no such thing.
        error = UnexpectedReplyError(f"{base_url.host} sent something that is not HTTP")
    else:
        error = ConnectionFailedError(f"{_phrase(problem, outcome)} ({base_url.host})")
    return Failure(error=error, outcome=outcome, final=broken_trust)


def _phrase(problem: Exception, outcome: Outcome) -> str:
    """What happened, in words of ours: foreign texts may quote headers."""
    when = "before the request was sent" if outcome is Outcome.NOT_SENT else "before a whole answer arrived"
    if isinstance(problem, aiohttp.ClientConnectorDNSError):
        return "the host name could not be resolved"
    if isinstance(problem, aiohttp.ClientHttpProxyError):
        return f"the proxy refused to connect (HTTP {problem.status})"
    if isinstance(problem, aiohttp.ClientProxyConnectionError):
        return "the proxy could not be reached"
    if isinstance(problem, aiohttp.ClientConnectorCertificateError):
        return "the server's certificate is not trusted; mend the system's clock or certificates"
    if isinstance(problem, TimeoutError):
        return f"no answer in time, {when}"
    if isinstance(problem, aiohttp.ClientConnectorError):
        return f"could not connect: {problem.os_error.strerror or type(problem.os_error).__name__}"
    return f"connection lost {when} ({type(problem).__name__})"


def open_session() -> ClientSession:
    """A session for the API: no cookies, no environment credentials, every wire attempt accounted for."""
    # The budget bounds what is on the wire. A second bound would let a request's time pass before it is sent.
    connector = aiohttp.TCPConnector(limit=0)
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        request_class=_AccountedRequest,
    )


class _AccountedRequest(aiohttp.ClientRequest):
    """A request that notes when it is written, and refuses to be written twice for one attempt.

    aiohttp repeats a GET whose kept-alive connection died; unbudgeted, that could be the 31st request. And it
    hands out kept-alive connections on which something has arrived meanwhile, such as a second answer to the
    request before: that would be taken for the answer to this one.
    """

    async def send(self, conn: Connection) -> ClientResponse:
        """Write the request; called with the connection standing, so nothing has left before."""
        attempt = _current.get()
        if conn.protocol is None or conn.protocol.should_close:
            raise aiohttp.ServerDisconnectedError
        if attempt is not None:
            if attempt.sent:
                raise aiohttp.ServerDisconnectedError
            attempt.begin()
        response = await super().send(conn)
        if self.method == "POST":
            # Its body is written in the next step of the loop, by a task begun just now.
            asyncio.get_running_loop().call_soon(fault_point, "after_send")
        return response


def parse_base_url(text: str) -> URL:
    """The API's base URL, checked: https, or http at loopback for the sandbox.

    Raises:
        ConfigurationError: no URL, another scheme, credentials, query or fragment in it, or no host.
    """
    url = _readable(text)
    if url is None or not url.host or url.scheme not in {"http", "https"} or _with_extras(url):
        raise ConfigurationError("base_url must look like https://host/path, without credentials or query")
    if url.scheme == "http" and not is_loopback(url.host):
        raise ConfigurationError(
            f"base_url {url} would send the API key unencrypted; http is for the sandbox on this machine only"
        )
    return url


def _readable(text: str) -> URL | None:
    """Nothing of a text that cannot be read is repeated: there is no telling where its password stands."""
    try:
        return URL(text.strip().rstrip("/"))
    except ValueError:
        return None


def _with_extras(url: URL) -> bool:
    """A URL may have a password without a user, and yarl then gives None for the user."""
    return bool(url.raw_user or url.raw_password or url.query or url.fragment)
