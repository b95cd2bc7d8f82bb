"""The aiohttp session for API calls: always our own, even if it uses the connector of a caller's session.

A caller's session provides access to the network, but none of its settings that change the meaning of an
exchange. So the calls go through a session made here, over the caller's connector:

| of the caller's session | |
|---|---|
| connector (TLS, resolver, local address, limits) | used |
| ``proxy``, ``proxy_auth``, and ``trust_env`` for proxies | used, by ``route`` |
| ``headers`` | sent, except those that the client sets or that describe the message (``OURS``) |
| ``trace_configs`` | called; what a hook raises is logged, and the request continues |
| ``middlewares`` | called; a second request of theirs is refused, an answer that has arrived is used, and our headers and body are set again |
| all else: ``raise_for_status``, ``auth``, cookies, ``timeout``, ``version``, ``base_url``, limits of sizes, ``auto_decompress``, ``skip_auto_headers``, classes of requests and answers, ``json_serialize`` | not used |
| closed, or made in another event loop | refused when the client is opened |
"""  # noqa: E501 - a row of a table

from __future__ import annotations

import asyncio
import re
from contextvars import ContextVar
from types import SimpleNamespace
from typing import TYPE_CHECKING, Final

import aiohttp
from aiohttp import ClientSession
from attrs import define

from seedance_async.budget.gate import Slot
from seedance_async.errors import ClientStateError, ConfigurationError
from seedance_async.fault_points import fault_point
from seedance_async.foreign import cancellations, is_stray, place
from seedance_async.logs import Log
from seedance_async.protocol import Call, Reply

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from aiohttp import ClientResponse
    from aiohttp.connector import Connection
    from yarl import URL

    Hook = Callable[[ClientSession, SimpleNamespace, object], Awaitable[None]]

log: Log = Log(__name__)

OURS: Final = frozenset(
    {
        "accept", "accept-encoding", "authorization", "connection", "cookie", "expect", "host",
        "idempotency-key", "keep-alive", "range", "te", "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip
"""Headers that a caller's session does not set, in lower case; nor any ``content-…`` and ``if-…``."""

_NOT_IN_A_HEADER: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_SIGNALS: Final = tuple(name for name in dir(aiohttp.TraceConfig) if name.startswith("on_"))


@define
class Attempt:
    """One time a call goes on the wire.

    Attributes:
        slot: its slot of the budget.
        sent: whether a byte of it can have left.
        too_old: the process was stopped, or slow, between taking the slot and sending; nothing was sent.
        reply: the answer, once it is complete.
    """

    slot: Slot
    sent: bool = False
    too_old: bool = False
    reply: Reply | None = None

    def begin(self) -> None:
        """Note that bytes leave now.

        Raises:
            ServerDisconnectedError: of aiohttp: the slot is too old, or bytes have left before.
        """
        self.too_old = not self.sent and not self.slot.is_fresh()
        if self.sent or self.too_old:
            raise aiohttp.ServerDisconnectedError
        self.sent = True


current: Final[ContextVar[Attempt | None]] = ContextVar("seedance_async_attempt", default=None)
"""The attempt for which a request is written; set while the session works for it."""


class AccountedRequest(aiohttp.ClientRequest):
    """A request that records when it is written, and is not written twice for one attempt.

    aiohttp repeats a GET whose kept-alive connection was lost, and a middleware may repeat any request;
    without a slot, that could be the 31st request. aiohttp also reuses kept-alive connections on which data
    has arrived in the meantime, such as a second answer to the previous request, which would be read as the
    answer to this one.
    """

    async def send(self, conn: Connection) -> ClientResponse:
        """Write the request; called when the connection is established, so nothing has left before."""
        attempt = current.get()
        if conn.protocol is None or conn.protocol.should_close:
            raise aiohttp.ServerDisconnectedError
        if attempt is not None:
            attempt.begin()
        response = await super().send(conn)
        if self.method == "POST":
            # Its body is written in the next step of the loop, by a task that was just started.
            asyncio.get_running_loop().call_soon(fault_point, "after_send")
        return response


def checked_session(given: object) -> ClientSession | None:
    """Return what a caller gave as a session, or None.

    Raises:
        ConfigurationError: it is not a session.
    """
    if given is None or isinstance(given, ClientSession):
        return given
    raise ConfigurationError(f"session must be an aiohttp.ClientSession; got {type(given).__name__}")


def open_session(callers_session: ClientSession | None = None) -> ClientSession:
    """Open a session for the API: without cookies and foreign credentials, and with every attempt recorded.

    Args:
        callers_session: the caller's session, of which the connector and other parts are used, see above.

    Raises:
        ClientStateError: callers_session is closed, or belongs to another event loop.
    """
    jar = aiohttp.DummyCookieJar()
    if callers_session is None:
        # The budget limits the requests on the wire. Under a second limit, a request could time out unsent.
        connector: aiohttp.BaseConnector = aiohttp.TCPConnector(limit=0)
        return ClientSession(connector=connector, cookie_jar=jar, request_class=AccountedRequest)
    return ClientSession(
        connector=_usable(callers_session),
        connector_owner=False,
        cookie_jar=jar,
        request_class=AccountedRequest,
        headers={name: value for name, value in callers_session.headers.items() if not _is_ours(name)},
        trace_configs=[_guarded(config, callers_session) for config in callers_session.trace_configs],
    )


def middlewares_of(callers_session: ClientSession | None) -> Sequence[aiohttp.ClientMiddlewareType]:
    """The middlewares of a caller's session."""
    return tuple(getattr(callers_session, "_middlewares", ()))


async def write_ours(
    request: aiohttp.ClientRequest, url: URL, call: Call, *, headers: Mapping[str, str]
) -> None:
    """Set our headers and body on a request before it leaves, whatever hooks and middlewares have changed.

    Raises:
        ConfigurationError: a middleware has changed its address, as the key is sent to the API only, or its
            method; or a header cannot be sent.
    """
    if str(request.url) != str(url):
        raise ConfigurationError("a middleware of the session changed the address; nothing was sent there")
    if request.method != call.method:
        raise ConfigurationError("a middleware of the session changed the method; nothing was sent")
    for name in [name for name in request.headers if _is_ours(name)]:
        request.headers.popall(name, None)
    request.headers.update({"Host": str(url.host_port_subcomponent), **headers})
    _check_headers(request.headers)  # aiohttp would do so only when the attempt counts as sent
    request.compress = request.chunked = None
    await request.update_body(call.body)


def _usable(callers_session: ClientSession) -> aiohttp.BaseConnector:
    connector = callers_session.connector
    if connector is None or callers_session.closed:
        raise ClientStateError("the aiohttp session passed in as session= is closed; nothing was sent")
    if getattr(connector, "_loop", None) not in {asyncio.get_running_loop(), None}:
        raise ClientStateError(
            "the aiohttp session passed in as session= belongs to another event loop; make one in this loop"
        )
    return connector


def _check_headers(headers: Mapping[str, object]) -> None:
    """Check what a caller's session has added to the headers of a request.

    Raises:
        ConfigurationError: a header cannot be sent.
    """
    for name, value in headers.items():
        if not isinstance(value, str) or _NOT_IN_A_HEADER.search(name + value):
            raise ConfigurationError(
                f"the header {name!r} of the aiohttp session is no text, or has a line break or another "
                "control character; nothing was sent"
            )


def _is_ours(name: str) -> bool:
    return name.lower() in OURS or name.lower().startswith(("content-", "if-"))


def _guarded(config: aiohttp.TraceConfig, callers_session: ClientSession) -> aiohttp.TraceConfig:
    """The caller's hooks, called with the caller's session and unable to end a request."""
    guarded = aiohttp.TraceConfig(trace_config_ctx_factory=_context_of(config))  # type: ignore[arg-type]  # called as one
    for name in _SIGNALS:
        for hook in getattr(config, name):
            getattr(guarded, name).append(_contained(hook, callers_session))
    return guarded


def _context_of(config: aiohttp.TraceConfig) -> Callable[..., SimpleNamespace]:
    def make(trace_request_ctx: object = None) -> SimpleNamespace:
        try:
            return config.trace_config_ctx(trace_request_ctx)
        except Exception as problem:
            log.warning("a trace context of the session failed; the request continues: %s", place(problem))
            return SimpleNamespace()

    return make


def _contained(hook: Hook, callers_session: ClientSession) -> Hook:
    async def call(_session: ClientSession, context: SimpleNamespace, params: object) -> None:
        since = cancellations()
        try:
            await hook(callers_session, context, params)
        except BaseException as problem:
            if not isinstance(problem, Exception) and not is_stray(problem, since=since):
                raise
            log.warning("a trace hook of the session failed, and the request continues: %s", place(problem))

    return call
