"""aiohttp's server: a client for the whole application, errors as answers, events as they come.

::

    async def submit(request: web.Request) -> web.Response:
        clip = await read_request(request, Seedance2Video)
        return json_response(await request.app[CLIENT].submit(clip), status=202)

    async def events(request: web.Request) -> web.StreamResponse:
        return await send_events(request, task_events(request.app[CLIENT], request.match_info["id"]))

    app = web.Application()
    setup(app)
    app.add_routes([web.post("/clips", submit), web.get("/clips/{id}/events", events)])

``setup`` adds the client, the answers to errors and the end: the client is closed before the server waits for
its handlers, so those who wait for a task are answered 503 with its id, streams of events end, and POSTs on
the wire get ten seconds for their answers. Whoever goes away loses nothing that was paid: aiohttp lets a
handler go on to its end, and the POST is in the account's record.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Final, TypeVar

from aiohttp import web
from aiohttp.typedefs import Handler

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

CLIENT: Final = web.AppKey("seedance", SeedanceClient)
"""The key of the application's client: ``request.app[CLIENT]``."""

Body = TypeVar("Body", Seedance2Video, GptImage2, NanoBananaPro)


def setup(app: web.Application, make_client: Callable[[], SeedanceClient] = SeedanceClient) -> None:
    """Give an application its client, the answers to errors, and an end that loses nothing.

    Args:
        app: not started yet.
        make_client: makes the client, when the application starts; by default of the environment.
    """
    app.middlewares.append(error_responses)
    app.cleanup_ctx.append(client_context(make_client))
    app.on_shutdown.append(close_client)


def client_context(
    make_client: Callable[[], SeedanceClient] = SeedanceClient,
) -> Callable[[web.Application], AsyncIterator[None]]:
    """A cleanup context that keeps a client open as long as the application runs; part of ``setup``."""

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
    """Answer every error of the tree with a problem document (see ``problems``); part of ``setup``."""
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
    """The request in a JSON body, of the fields that the API names.

    Args:
        request: as the handler got it.
        model: the class to read it by; left out, the body's ``model`` says which.

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
    """A task or a submission as JSON."""
    return web.Response(
        text=json.dumps(answer.to_dict(), ensure_ascii=False), status=status, content_type="application/json"
    )


def last_event_id(request: web.Request) -> str | None:
    """What a listener has got already, for ``task_events`` and ``batch_events``."""
    return request.headers.get("Last-Event-ID")


async def send_events(request: web.Request, stream: EventStream) -> web.StreamResponse:
    """Answer with events, until they end or the listener goes away.

    Args:
        request: as the handler got it.
        stream: of ``task_events`` or ``batch_events``.
    """
    response = web.StreamResponse(status=stream.status, headers=HEADERS)
    await response.prepare(request)
    try:
        await stream.serve(response.write)
        await response.write_eof()
    except* ConnectionError:  # the listener has gone
        pass
    return response
