"""Integration with FastAPI: one client for the application, request bodies, error responses, events.

::

    app = FastAPI(lifespan=lifespan, exception_handlers=error_handlers, responses=error_responses)

    @app.post("/clips", status_code=202)
    async def submit(clip: Annotated[Seedance2Video, Body()], client: Client) -> Submission:
        return await client.submit(clip)

    @app.get("/clips/{task_id}/events")
    async def events(task_id: str, client: Client, last: LastEventId = None) -> EventResponse:
        return EventResponse(task_events(client, task_id, last_event_id=last))

A request class can be a body as it is: a body that breaks its rules gets FastAPI's own 422, with every
problem at its field, and the OpenAPI document has its descriptions, bounds and defaults. Tasks and
submissions can be responses as they are.

If a caller disconnects, nothing that was paid is lost: the handler runs to its end, and the POST is in the
account record. When the server gets SIGINT or SIGTERM, the client is closed at once: requests that wait for a
task are answered 503 with its id, event streams end, and POSTs in progress get ten seconds for their replies.
A listener that does not read its events can still keep the server from ending, so uvicorn needs a
``timeout_graceful_shutdown`` longer than those ten seconds, such as 15.
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
"""Name of the client in the application's state."""

WithClient: TypeAlias = Callable[[FastAPI], AbstractAsyncContextManager[Mapping[str, Any]]]
"""A lifespan whose state has the client."""


def lifespan_with(
    make_client: Callable[[], SeedanceClient], *, inner: Lifespan[FastAPI] | None = None
) -> WithClient:
    """Return a lifespan that keeps a client open which you make.

    Args:
        make_client: makes the client, once per application; each worker process has its own.
        inner: a lifespan of yours. It is entered once the client is open, as ``app.state.seedance``, and left
            before the client is closed. What it yields is added to the state.
    """

    @asynccontextmanager
    async def with_client(app: FastAPI) -> AsyncGenerator[Mapping[str, Any]]:
        async with make_client() as client, anyio.create_task_group() as group:
            ending = anyio.Event()
            group.start_soon(_close_at, ending, client)
            with _set_at_shutdown(ending):
                app.state.seedance = client  # for the inner lifespan, which has no request
                async with inner(app) if inner is not None else nullcontext({}) as more:
                    yield {**(more or {}), STATE: client}
            group.cancel_scope.cancel()

    return with_client


lifespan: Final[WithClient] = lifespan_with(SeedanceClient)
"""A lifespan that keeps a client open, made from the environment: ``FastAPI(lifespan=lifespan)``."""


def get_client(connection: HTTPConnection) -> SeedanceClient:
    """Return the application's client. A test replaces it with ``app.dependency_overrides[get_client]``."""
    client: SeedanceClient = getattr(connection.state, STATE)
    return client


Client: TypeAlias = Annotated[SeedanceClient, Depends(get_client)]
"""The application's client, as a parameter of a handler."""

LastEventId: TypeAlias = Annotated[
    str | None, Header(alias="Last-Event-ID", description="Sent by a browser that reconnects.")
]
"""The last event that a listener has received, as a parameter of a handler: ``last: LastEventId = None``."""

IdempotencyKey: TypeAlias = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        description="A random text of yours: the same request sent again under it is not paid twice.",
    ),
]
"""The caller's own key, as a parameter of a handler: ``key: IdempotencyKey = None``.

Keys belong to the account: if callers do not trust each other, put the caller's name in front of the key.
"""


async def error_response(_: Request, error: Exception) -> Response:
    """Return the response to an error of the package; details that clients must not see are logged."""
    if not isinstance(error, SeedanceError):
        raise error
    if is_private(error):
        log.warning("a request could not be served: %s: %s", type(error).__name__, error)
    problem = problem_of(error)
    return Response(problem.body, problem.status, headers=problem.headers, media_type=MEDIA_TYPE)


error_handlers: Final[dict[int | type[Exception], Any]] = {SeedanceError: error_response}
"""For ``FastAPI(exception_handlers=…)``: errors of the package as problem documents; see ``problems``."""

error_responses: Final[dict[int | str, dict[str, Any]]] = {
    status: {
        "description": ", ".join(kind.__name__ for kind, its in STATUS.items() if its == status),
        "content": {MEDIA_TYPE: {"schema": SCHEMA}},
    }
    for status in sorted({*STATUS.values()} - {422})  # FastAPI describes its own 422
}
"""For ``FastAPI(responses=…)``: the error responses, for the OpenAPI document."""


class EventResponse(Response):
    """Response that sends events until they end or the listener disconnects.

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
def _set_at_shutdown(ending: anyio.Event) -> Generator[None]:
    """Set ``ending`` when the process is asked to end, before the server waits for its connections.

    A server notifies the application only once all connections are closed, and those that wait for a task
    stay open. So signal handlers of our own set the event and then call those of the server.
    """
    if threading.current_thread() is not threading.main_thread():  # a test client, or a server in a thread
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
