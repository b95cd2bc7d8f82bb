"""Integration with aiohttp's server: one client for the application, error responses, events.

::

    async def submit(request: web.Request) -> web.Response:
        clip = await read_request(request, Seedance2Video)
        return json_response(await request.app[CLIENT].submit(clip), status=202)

    async def events(request: web.Request) -> web.StreamResponse:
        return await send_events(request, task_events(request.app[CLIENT], request.match_info["id"]))

    app = web.Application()
    setup(app)
    app.add_routes([web.post("/clips", submit), web.get("/clips/{id}/events", events)])

``setup`` adds the client, the error responses and an orderly shutdown: the client is closed before the server
waits for its handlers, so requests that wait for a task are answered 503 with its id, event streams end, and
POSTs in progress get ten seconds for their replies. If a caller disconnects, nothing that was paid is lost:
aiohttp lets the handler run to its end, and the POST is in the account record.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, TypeAlias, TypeVar

from aiohttp import web

from seedance_async import wire
from seedance_async.client import SeedanceClient
from seedance_async.convertible import Convertible
from seedance_async.errors import SeedanceError, ValidationError
from seedance_async.integrations.events import HEADERS, EventStream, batch_events, task_events
from seedance_async.integrations.problems import MEDIA_TYPE, is_private, problem_of
from seedance_async.logs import Log
from seedance_async.models import GptImage2, NanoBananaPro, Request, Seedance2Video

__all__ = [
    "CLIENT",
    "EventStream",
    "batch_events",
    "client_context",
    "error_responses",
    "json_response",
    "last_event_id",
    "read_request",
    "send_events",
    "setup",
    "task_events",
]

log: Log = Log(__name__)

# aiohttp's own alias has forward references, which cannot be resolved outside of aiohttp.
Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

CLIENT: Final = web.AppKey("seedance", SeedanceClient)
"""The key of the application's client: ``request.app[CLIENT]``."""

Body = TypeVar("Body", Seedance2Video, GptImage2, NanoBananaPro)


def setup(app: web.Application, make_client: Callable[[], SeedanceClient] = SeedanceClient) -> None:
    """Give an application its client, the error responses, and an orderly shutdown.

    Args:
        app: not started yet.
        make_client: makes the client when the application starts; by default from the environment.
    """
    app.middlewares.append(error_responses)
    app.cleanup_ctx.append(client_context(make_client))
    app.on_shutdown.append(close_client)


def client_context(
    make_client: Callable[[], SeedanceClient] = SeedanceClient,
) -> Callable[[web.Application], AsyncIterator[None]]:
    """Return a cleanup context that keeps a client open while the application runs; part of ``setup``."""

    async def with_client(app: web.Application) -> AsyncIterator[None]:
        async with make_client() as client:
            app[CLIENT] = client
            yield

    return with_client


async def close_client(app: web.Application) -> None:
    """Close the client before the server waits for handlers that wait for it; part of ``setup``."""
    await app[CLIENT].aclose()


@web.middleware
async def error_responses(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every error of the package with a problem document (see ``problems``); part of ``setup``."""
    try:
        return await handler(request)
    except SeedanceError as error:
        if is_private(error):
            log.warning("a request could not be served: %s: %s", type(error).__name__, error)
        problem = problem_of(error)
        return web.Response(
            body=problem.body, status=problem.status, headers=problem.headers, content_type=MEDIA_TYPE
        )


async def read_request(request: web.Request, model: type[Body] | None = None) -> Request:
    """Return the request in a JSON body, with the API's field names.

    Args:
        request: of the handler.
        model: class of the request; by default the body's field ``model`` selects it.

    Raises:
        ValidationError: with every problem, field by field; answered 422.
    """
    try:
        fields = wire.loads(await request.read())
    except ValueError as problem:
        raise ValidationError([("body", str(problem))], subject="the body") from None
    if not isinstance(fields, dict):
        raise ValidationError([("body", "must be a JSON object")], subject="the body")
    if model is not None:
        return model.from_dict(fields)
    return wire.build(str(fields.get("model", "")), fields)


def json_response(answer: Convertible, *, status: int = 200) -> web.Response:
    """Return a response with a task or a submission as JSON."""
    return web.Response(
        text=json.dumps(answer.to_dict(), ensure_ascii=False), status=status, content_type="application/json"
    )


def last_event_id(request: web.Request) -> str | None:
    """Return the last event that a listener has received, for ``task_events`` and ``batch_events``."""
    return request.headers.get("Last-Event-ID")


async def send_events(request: web.Request, stream: EventStream) -> web.StreamResponse:
    """Send events until they end or the listener disconnects, and return the response.

    Args:
        request: of the handler.
        stream: of ``task_events`` or ``batch_events``.
    """
    response = web.StreamResponse(status=stream.status, headers=HEADERS)
    await response.prepare(request)
    try:
        await stream.serve(response.write)
        await response.write_eof()
    except* ConnectionError:  # the listener has disconnected
        pass
    return response
