"""The transport: the only place from which requests are sent to the API, by the budget and the retry policy.

It guarantees the following:

* Every attempt, including retries, uses one slot of the budget. aiohttp itself repeats a GET whose kept-alive
  connection was lost; this repetition is refused and becomes an attempt of ours.
* The Authorization header is written at the last moment, and only for the API's origin. Redirects are not
  followed, with one exception: if the vendor's apex host answers 301 or 307 with its own ``www.`` host, the
  complete call is sent there, and the host is remembered.
* Whether a byte can have left is recorded where the session writes it, not derived from the class of an
  exception: a bare ``TimeoutError`` may come from before or after the connect.
* Foreign code in a caller's session can only end its own attempt (``foreign``). An answer is read before the
  session's middlewares see it, so they cannot discard it.
* Exceptions of aiohttp contain the request's headers in their repr, so none of them becomes a cause or
  context. Stack frames of aiohttp contain them too, so the traceback of anything that passes through is
  removed.
* An answer leaves this module without the key: body and headers are scrubbed before anything reads them.
"""

from __future__ import annotations

import random
import sys
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import aiohttp
import anyio
from aiohttp import ClientSession, ClientTimeout
from attrs import define, evolve, field
from yarl import URL

from seedance_async import clocks, posts, retry
from seedance_async.api_session import Attempt, current, middlewares_of, write_ours
from seedance_async.base_url import with_or_without_www
from seedance_async.budget.references import ReferenceBudget
from seedance_async.credentials import ApiKey
from seedance_async.errors import (
    ApiError,
    ClientStateError,
    ConnectionFailedError,
    RateLimitedError,
    SeedanceError,
    UnexpectedReplyError,
)
from seedance_async.fault_points import fault_point
from seedance_async.foreign import as_reported, cancellations, is_stray, leave_frames, place
from seedance_async.logs import Log
from seedance_async.models import RetryPolicy, Timeouts
from seedance_async.network_failures import SESSIONS, foreign_failure, network_failure
from seedance_async.observer import Observer
from seedance_async.outages import Outages
from seedance_async.protocol import Call, Failure, Outcome, Reply, redirect_failure
from seedance_async.route import MAX_HEADER_BYTES, MAX_HEADERS, Route
from seedance_async.usage import Usage
from seedance_async.wire import encodable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp import ClientResponse

    from seedance_async.budget.gate import Slot


Answer = TypeVar("Answer")

log: Log = Log(__name__)

MAX_BODY_BYTES: Final = 4 * 1024 * 1024
"""The largest body that is read; an answer of this API is under 2 kB."""

READ_HEADERS: Final = ("date", "location", "retry-after", "x-request-id")
"""The headers of an answer that are read."""

REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


class Slots(Protocol):
    """The source of the budget's slots: the dispatcher."""

    async def slot(self) -> Slot:
        """Wait for a slot to send one request, ahead of scheduled work."""
        ...

    async def until_closed(self, wait: Awaitable[Answer]) -> Answer | None:
        """The result of ``wait``; None if the client is closed meanwhile, so that ``slot`` raises."""
        ...


@define(kw_only=True)
class Transport:
    """The sender of calls to one API origin with one key."""

    base_url: URL
    key: ApiKey
    slots: Slots
    references: ReferenceBudget
    policy: RetryPolicy
    timeouts: Timeouts
    usage: Usage
    session: ClientSession = field(repr=False)
    callers_session: ClientSession | None = field(default=None, repr=False)
    route: Route = field(factory=Route)
    observer: Observer = field(factory=Observer, repr=False)
    _numbers: int = 0
    _moved: bool = False
    _outages: Outages = field(factory=Outages)
    _answered: bool = False
    _timeout: ClientTimeout = field(init=False, repr=False)
    _network_problems: tuple[type[Exception], ...] = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        kinds = (aiohttp.ClientError, OSError, TimeoutError)
        # aiohttp also raises ValueError, for an impossible host name; but so may the code of a caller's
        # session.
        self._network_problems = (*kinds, ValueError) if self.callers_session is None else kinds
        # Not sock_connect, which does not include name resolution.
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
        """Send a call until it is answered or the retry policy gives up, and return the answer.

        Args:
            call: the call; every attempt sends exactly the same bytes.
            read: reads an answer or a failure from a reply.
            slot: a slot that is already taken; None to wait for one.
            history: earlier attempts, such as those of a process that was killed.
            before_again: awaited before each retry; its time does not count for the policy.

        Raises:
            SeedanceError: as ``retry`` decides; for a POST it carries the idempotency key.
        """
        history = history or retry.History()
        in_doubt = history.uncertain
        try:
            slot = slot or await self.slots.slot()
            began = clocks.now()  # after the wait for the slot, which is no failed attempt
            first_sent = clocks.Begun(history.age)
            while True:
                in_doubt = True
                tried_at = clocks.now()
                outcome = await self._attempt(call, read, slot, resends=history.attempts)
                if not isinstance(outcome, Failure):
                    return outcome
                if outcome.outcome is Outcome.NOT_SENT:
                    # No attempt takes longer than a request may, unless the process was stopped.
                    began += max(0.0, clocks.now() - tried_at - self.timeouts.request)
                elapsed = clocks.now() - began
                history = history.after(outcome, elapsed=elapsed, age=first_sent.age())
                in_doubt = history.uncertain
                await self._obey(call, outcome, history)
                if before_again is not None:
                    paused_at = clocks.now()
                    await before_again(outcome)
                    began += clocks.now() - paused_at
                slot = await self._slot_again(call, history)
                _refuse_outlived(call, outcome, evolve(history, age=first_sent.age()), slot)
        except anyio.get_cancelled_exc_class() as cancelled:
            if in_doubt and call.idempotency_key is not None:
                _hand_over_key(cancelled, call.idempotency_key)
            raise

    async def _slot_again(self, call: Call, history: retry.History) -> Slot:
        """Wait for a slot to send a call again; a closed client is handled like any other failure."""
        try:
            return await self.slots.slot()
        except SeedanceError as closed:
            await self._obey(call, Failure(error=closed, outcome=Outcome.NOT_SENT, final=True), history)
            raise

    async def _obey(self, call: Call, failure: Failure, history: retry.History) -> None:
        jitter = random.random()  # noqa: S311 - spreads retries, guards nothing
        policy = self._patience(failure, history)
        match retry.decide(call, failure, history, policy=policy, jitter=jitter):
            case retry.GiveUp(error):
                raise error from error.__cause__
            case retry.Wait(seconds):
                reason = failure.error.message
                extra = {"retry_in": seconds, "retry_for": policy.max_elapsed}
                log.info("%s %s: %s; again in %.1f s", call.method, call.path, reason, seconds, extra=extra)
                self.usage.retries += 1
                self.observer.retry(call, failure, seconds)
                await self.slots.until_closed(anyio.sleep(seconds))

    def _patience(self, failure: Failure, history: retry.History) -> RetryPolicy:
        """The policy; with ``max_unresolved`` if the host was never reached and the call cannot be paid."""
        longest = self.policy.max_unresolved
        if longest is None or not failure.unresolved or self._answered or history.uncertain:
            return self.policy
        return evolve(self.policy, max_elapsed=min(longest, self.policy.max_elapsed))

    async def attempt(
        self, call: Call, read: Callable[[Reply], Answer | Failure], *, slot: Slot
    ) -> Answer | Failure:
        """Put a call on the wire once, and return its answer or failure; the slot is settled in any case."""
        try:
            return await self._attempt(call, read, slot)
        except SeedanceError:
            raise
        except Exception as problem:  # of the caller's session, which does not wait here
            return foreign_failure(problem, sent=True, final=True)

    async def _attempt(
        self, call: Call, read: Callable[[Reply], Answer | Failure], slot: Slot, *, resends: int = 0
    ) -> Answer | Failure:
        """Make one attempt with a slot, which is given back if it was too old, so that nothing was sent."""
        self._numbers += 1
        number = self._numbers
        self.usage.count(call.method)
        began = clocks.now()
        refused, wait = False, None
        arrives_within = self.timeouts.arrival  # unless an answer shows that it has arrived
        attempt = Attempt(slot)
        try:
            if _has_media(call):
                self.references.sent()
            with self.observer.attempt(call, self.base_url, number=number, resends=resends) as watch:
                reply = await self._exchange(call, attempt)
                outcome = self._read(reply, read) if isinstance(reply, Reply) else reply
                watch.ended(reply, outcome)
            if attempt.too_old:
                slot.cancel()
            self._answered = self._answered or isinstance(reply, Reply)
            if not _is_unanswered(outcome):
                arrives_within = 0.0
            if isinstance(outcome, Failure):
                wait = outcome.retry_after
                refused = self._is_refused(call, outcome, slot)
            if log.shows_debug():
                said = outcome.error.message if isinstance(outcome, Failure) else "ok"
                took = clocks.now() - began
                log.debug("#%d %s %s: %s in %.2f s", number, call.method, call.path, said, took)
            self._outages.note(outcome, patience=self.policy.max_elapsed)
            return outcome
        finally:
            slot.settle(refused=refused, retry_after=wait, arrives_within=arrives_within)

    def _is_refused(self, call: Call, failure: Failure, slot: Slot) -> bool:
        """Count a 429; returns whether it is about the number of all requests, not about reference media."""
        if not isinstance(failure.error, RateLimitedError):
            return False
        self.usage.refusals += 1
        return not _has_media(call) or not self.references.refused(
            explained=slot.explains_refusal(), retry_after=failure.retry_after
        )

    async def _exchange(self, call: Call, attempt: Attempt) -> Reply | Failure:
        """Make one exchange.

        Raises:
            Exception: an exception of the caller's session in a GET. A POST may be paid, so once it can have
                left, its exchange ends with a reply or a failure.
        """
        callers = self.callers_session
        if self.session.closed or (callers is not None and callers.closed):  # aiohttp: RuntimeError
            whose = "the client" if callers is None else "the aiohttp session passed in as session="
            message = f"{whose} is closed; nothing was sent"
            return Failure(error=ClientStateError(message), outcome=Outcome.NOT_SENT, final=True)
        token = current.set(attempt)
        before, since = sys.exception(), cancellations()
        try:
            return await self._round_trip(call, attempt)
        except self._network_problems as problem:
            if attempt.too_old:
                return _too_late(attempt.slot)
            return attempt.reply or network_failure(
                problem, f"{self.base_url.host}{self.route.hint}", sent=attempt.sent
            )
        except SeedanceError as refused:
            outcome = Outcome.UNKNOWN if attempt.sent else Outcome.NOT_SENT
            return attempt.reply or Failure(error=refused, outcome=outcome, final=True)
        except BaseException as passing:
            fault = as_reported(passing, code=SESSIONS) if is_stray(passing, since=since) else passing
            where = place(passing)
            leave_frames(passing, before)
            harmless = call.method == "GET" or (self.callers_session is None and not attempt.sent)
            if not isinstance(fault, Exception) or (harmless and fault is passing):
                raise
            log.warning("%s failed: %s", SESSIONS, where)
            return attempt.reply or foreign_failure(fault, sent=attempt.sent, final=not attempt.sent)
        finally:
            current.reset(token)

    async def _round_trip(self, call: Call, attempt: Attempt) -> Reply:
        url = URL(f"{self.base_url}{call.path}", encoded=True)

        async def write(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> ClientResponse:
            authorization = {"Authorization": f"Bearer {self.key.reveal()}"}
            if self.callers_session is None:  # nobody else can have changed the request
                request.headers.update(authorization)
            else:
                await write_ours(request, url, call, headers={**call.headers, **authorization})
            response = await handler(request)
            try:
                attempt.reply = await self._reply(response)
            except BaseException:  # the session has not seen it yet, so it would not close it
                response.close()
                raise
            return response

        proxy = self.route.proxy_for(url)
        async with self.session.request(
            call.method,
            url,
            data=call.body,
            headers=call.headers,
            allow_redirects=False,
            timeout=self._timeout,
            proxy=proxy.url,
            proxy_headers=proxy.headers(),
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
            max_headers=MAX_HEADERS,
            middlewares=(*middlewares_of(self.callers_session), write),
        ) as response:
            return attempt.reply or await self._reply(response)  # a middleware has answered itself

    async def _reply(self, response: ClientResponse) -> Reply:
        """The complete answer, without the key."""
        body = self.key.scrub_body(await _read_capped(response))
        fault_point("after_body")
        given = response.headers
        headers = {
            name: encodable(self.key.scrub_text(given[name])) for name in READ_HEADERS if name in given
        }
        return Reply(status=response.status, headers=headers, body=body)

    def _read(self, reply: Reply, read: Callable[[Reply], Answer | Failure]) -> Answer | Failure:
        return self._redirected(reply) if reply.status in REDIRECTS else read(reply)

    def _redirected(self, reply: Reply) -> Failure:
        """Follow a redirect between apex and www of the same host over https, once; refuse any other."""
        target = with_or_without_www(self.base_url, reply.headers.get("location", ""))
        if target is None or self._moved:
            return redirect_failure(reply, asked=str(self.base_url.origin()))
        log.info("the API answers at %s; using that from now on", target.host)
        self.base_url, self._moved = target, True
        return Failure(
            error=UnexpectedReplyError(f"the API has moved to {target.host}", status=reply.status),
            outcome=Outcome.NOT_SENT,  # a redirect has processed nothing; the complete call is sent again
        )


def _too_late(slot: Slot) -> Failure:
    message = (
        f"the request could not leave within {slot.fresh_for:g} s, half of the rate limit's period: the "
        "process was stopped, or connecting is slow; then state the same rate over a longer period"
    )
    return Failure(error=ConnectionFailedError(message), outcome=Outcome.NOT_SENT)


def _is_unanswered(outcome: object) -> bool:
    """Whether a request was sent and nothing shows that it has arrived."""
    if not isinstance(outcome, Failure) or outcome.outcome is not Outcome.UNKNOWN:
        return False
    return not isinstance(outcome.error, ApiError | UnexpectedReplyError)


def _refuse_outlived(call: Call, failure: Failure, history: retry.History, slot: Slot) -> None:
    """Check the key's age directly before a retry, as the machine may have been suspended."""
    error = retry.outlived(call, failure, history)
    if error is not None:
        slot.cancel()
        raise error from error.__cause__


def _hand_over_key(cancelled: BaseException, key: str) -> None:
    """Add the key to a cancellation after a POST may have left, so that it can be collected."""
    message = f"a POST may have been accepted under idempotency key {key}"
    cancelled.idempotency_key = key  # type: ignore[attr-defined]  # an attribute for the code that catches it
    cancelled.add_note(message)
    log.warning("cancelled: %s", message)


async def _read_capped(response: ClientResponse) -> bytes:
    """Read the decompressed body, up to ``MAX_BODY_BYTES``.

    Raises:
        ClientPayloadError: of aiohttp: the body is longer.
    """
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


def _has_media(call: Call) -> bool:
    """Whether a call refers to pictures or clips that the server has to fetch."""
    return call.body is not None and posts.has_media(call.body)
