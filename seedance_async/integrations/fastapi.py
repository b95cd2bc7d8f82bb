"""FastAPI: a client for the whole application, requests as bodies, errors as answers, events as they come.

::

    app = FastAPI(lifespan=lifespan, exception_handlers=error_handlers, responses=error_responses)

    @app.post("/clips", status_code=202)
    async def submit(clip: Annotated[Seedance2Video, Body()], client: Client) -> Submission:
        return await client.submit(clip)

    @app.get("/clips/{task_id}/events")
    async def events(task_id: str, client: Client, last: LastEventId = None) -> EventResponse:
        return EventResponse(task_events(client, task_id, last_event_id=last))

A request class is a body as it is: what breaks its rules is FastAPI's own 422, with every problem in its
place, and the OpenAPI document has its words, bounds and defaults. Tasks and submissions are answers as they
are.

Whoever goes away loses nothing that was paid: the handler goes on to its end, and the POST is in the
account's record. When the server is told to end (SIGINT, SIGTERM), the client is closed at once: those who
wait for a task are answered 503 with its id, streams of events end, POSTs on the wire get ten seconds for
their answers. Only a listener that does not read keeps a server from ending: uvicorn needs a
``timeout_graceful_shutdown``, such as 15 s, which is longer than those ten.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext
from types import FrameType
from typing import Annotated, Any, Final, TypeAlias

import anyio
from fastapi import Depends, FastAPI, Header, Request, Response
from starlette.requests import HTTPConnection
from starlette.types import Lifespan, Receive, Scope, Send

from seedance_async.client import SeedanceClient
from seedance_async.errors import SeedanceError
from seedance_async.integrations.bodies import AnyRequest
from seedance_async.integrations.events import HEADERS, EventStream, batch_events, task_events
from seedance_async.integrations.problems import MEDIA_TYPE, SCHEMA, STATUS, is_private, problem_of
from seedance_async.logs import Log

__all__ = [
    "AnyRequest",
    "Client",
    "EventResponse",
    "EventStream",
    "IdempotencyKey",
    "LastEventId",
    "batch_events",
    "error_handlers",
    "error_responses",
    "get_client",
    "lifespan",
    "lifespan_with",
    "task_events",
]

log: Log = Log(__name__)

STATE: Final = "seedance"
"""Where the client is in the state of the application."""

WithClient: TypeAlias = Callable[[FastAPI], AbstractAsyncContextManager[Mapping[str, Any]]]
"""A lifespan whose state has the client."""


def lifespan_with(
    make_client: Callable[[], SeedanceClient], *, inner: Lifespan[FastAPI] | None = None
) -> WithClient:
    """A lifespan that keeps a client of yours open.

    Args:
        make_client: makes the client, once an application; each worker process has one of its own.
        inner: a lifespan of yours, entered once the client is open, as ``app.state.seedance``, and left
            before it is closed. What it yields is part of the state, too.
    """

    @asynccontextmanager
    async def with_client(app: FastAPI) -> AsyncGenerator[Mapping[str, Any]]:
        async with make_client() as client, anyio.create_task_group() as group:
            ending = anyio.Event()
            group.start_soon(_close_at, ending, client)
            with _told_of_the_end(ending):
                app.state.seedance = client  # for the inner one, which sees no request
                async with inner(app) if inner is not None else nullcontext({}) as more:
                    yield {**(more or {}), STATE: client}
            group.cancel_scope.cancel()

    return with_client


lifespan: Final[WithClient] = lifespan_with(SeedanceClient)
"""Keeps a client open that is made of the environment: ``FastAPI(lifespan=lifespan)``."""


def get_client(connection: HTTPConnection) -> SeedanceClient:
    """The application's client. A test puts another one there by ``app.dependency_overrides[get_client]``."""
    client: SeedanceClient = getattr(connection.state, STATE)
    return client


Client: TypeAlias = Annotated[SeedanceClient, Depends(get_client)]
"""The application's client, as a parameter of a handler."""

LastEventId: TypeAlias = Annotated[
    str | None, Header(alias="Last-Event-ID", description="Sent by a browser that comes back.")
]
"""What a listener has got already, as a parameter of a handler: ``last: LastEventId = None``."""

IdempotencyKey: TypeAlias = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        description="A random text of yours: the same request again under it is not paid twice.",
    ),
]
"""A key of the caller's own, as a parameter of a handler: ``key: IdempotencyKey = None``.

Keys belong to the account: where callers do not trust each other, put the caller's name in front of it.
"""


async def error_response(_: Request, error: Exception) -> Response:
    """The answer for an error of the package; what strangers are not told is logged."""
    if not isinstance(error, SeedanceError):
        raise error
    if is_private(error):
        log.warning("a request could not be served: %s: %s", type(error).__name__, error)
    problem = problem_of(error)
    return Response(problem.body, problem.status, headers=problem.headers, media_type=MEDIA_TYPE)


error_handlers: Final[dict[int | type[Exception], Any]] = {SeedanceError: error_response}
"""For ``FastAPI(exception_handlers=…)``: every error of the tree as a problem document; see ``problems``."""

error_responses: Final[dict[int | str, dict[str, Any]]] = {
    status: {
        "description": ", ".join(kind.__name__ for kind, its in STATUS.items() if its == status),
        "content": {MEDIA_TYPE: {"schema": SCHEMA}},
    }
    for status in sorted({*STATUS.values()} - {422})  # FastAPI describes its own
}
"""For ``FastAPI(responses=…)``: the OpenAPI document names them."""


class EventResponse(Response):
    """The answer that sends events, until they end or the listener goes away.

    Args:
        stream: of ``task_events`` or ``batch_events``.
    """

    def __init__(self, stream: EventStream) -> None:
        super().__init__(status_code=stream.status, headers=HEADERS)
        del self.headers["content-length"]
        self._stream = stream

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the events to one listener."""

        async def write(chunk: bytes) -> None:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})

        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async with anyio.create_task_group() as group:
            group.start_soon(_cancel_at_disconnect, receive, group.cancel_scope)
            await self._stream.serve(write)
            group.cancel_scope.cancel()
        await send({"type": "http.response.body", "body": b""})


async def _cancel_at_disconnect(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


async def _close_at(ending: anyio.Event, client: SeedanceClient) -> None:
    await ending.wait()
    await client.aclose()


@contextmanager
def _told_of_the_end(ending: anyio.Event) -> Generator[None]:
    """Set ``ending`` when the process is asked to end, before the server waits for its connections.

    A server tells the application of its end only when all connections are closed, which those that wait for
    a task are not. So its own handlers of signals are called through ours meanwhile.
    """
    if threading.current_thread() is not threading.main_thread():  # a test client's, or a server in a thread
        yield
        return
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ended(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(ending.set)
        handler = before[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)

    ours = [number for number, handler in before.items() if callable(handler)]
    for number in ours:
        signal.signal(number, ended)
    try:
        yield
    finally:
        for number in ours:
            if signal.getsignal(number) is ended:
                signal.signal(number, before[number])
