"""The same small backend twice, with FastAPI and with aiohttp; as programs they serve at ``PORT``."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import uvicorn
from aiohttp import web
from fastapi import Body, FastAPI

from seedance_async import Seedance2Video, Submission, Task
from seedance_async.integrations import aiohttp as for_aiohttp
from seedance_async.integrations.fastapi import (
    AnyRequest,
    Client,
    EventResponse,
    IdempotencyKey,
    LastEventId,
    error_handlers,
    error_responses,
    lifespan,
    task_events,
)

with_fastapi = FastAPI(lifespan=lifespan, exception_handlers=error_handlers, responses=error_responses)


@with_fastapi.post("/clips", status_code=202)
async def submit(
    clip: Annotated[Seedance2Video, Body()], client: Client, key: IdempotencyKey = None
) -> Submission:
    """Accept a clip."""
    return await client.submit(clip, idempotency_key=key)


@with_fastapi.post("/any", status_code=202)
async def submit_any(request: Annotated[AnyRequest, Body()], client: Client) -> Submission:
    """Accept a request of any model."""
    return await client.submit(request)


@with_fastapi.post("/clips/made")
async def make(clip: Annotated[Seedance2Video, Body()], client: Client) -> Task:
    """Make a clip."""
    return await client.generate(clip)


@with_fastapi.get("/tasks/{task_id}")
async def status(task_id: str, client: Client) -> Task:
    """Say how a task stands."""
    return await client.get_task(task_id)


@with_fastapi.get("/tasks/{task_id}/events")
async def events(task_id: str, client: Client, last: LastEventId = None) -> EventResponse:
    """Tell when it is final."""
    return EventResponse(task_events(client, task_id, last_event_id=last))


async def submit_(request: web.Request) -> web.Response:
    """Accept a clip."""
    clip = await for_aiohttp.read_request(request, Seedance2Video)
    key = request.headers.get("Idempotency-Key")
    submission = await request.app[for_aiohttp.CLIENT].submit(clip, idempotency_key=key)
    return for_aiohttp.json_response(submission, status=202)


async def submit_any_(request: web.Request) -> web.Response:
    """Accept a request of any model."""
    wanted = await for_aiohttp.read_request(request)
    return for_aiohttp.json_response(await request.app[for_aiohttp.CLIENT].submit(wanted), status=202)


async def make_(request: web.Request) -> web.Response:
    """Make a clip."""
    clip = await for_aiohttp.read_request(request, Seedance2Video)
    return for_aiohttp.json_response(await request.app[for_aiohttp.CLIENT].generate(clip))


async def status_(request: web.Request) -> web.Response:
    """Say how a task stands."""
    task = await request.app[for_aiohttp.CLIENT].get_task(request.match_info["id"])
    return for_aiohttp.json_response(task)


async def events_(request: web.Request) -> web.StreamResponse:
    """Tell when it is final."""
    stream = for_aiohttp.task_events(
        request.app[for_aiohttp.CLIENT],
        request.match_info["id"],
        last_event_id=for_aiohttp.last_event_id(request),
    )
    return await for_aiohttp.send_events(request, stream)


def with_aiohttp() -> web.Application:
    """The application; one is made for each server."""
    app = web.Application()
    for_aiohttp.setup(app)
    app.add_routes(
        [
            web.post("/clips", submit_),
            web.post("/any", submit_any_),
            web.post("/clips/made", make_),
            web.get("/tasks/{id}", status_),
            web.get("/tasks/{id}/events", events_),
        ]
    )
    return app


if __name__ == "__main__":
    if sys.argv[1] == "fastapi":
        uvicorn.run(with_fastapi, port=int(os.environ["PORT"]), log_level="warning")
    else:
        web.run_app(with_aiohttp(), host="127.0.0.1", port=int(os.environ["PORT"]), print=None)
