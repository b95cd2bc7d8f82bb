"""An aiohttp backend that submits clips, reports their status, and waits for them.

seedance sandbox --speed 20 -- python examples/aiohttp_app.py
curl -X POST 'localhost:8080/clips?prompt=A+paper+boat'

One client serves the whole application, so all its users share one account's limit.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from aiohttp import web

from seedance_async import (
    InvalidRequestError,
    NotFoundError,
    Seedance2Video,
    SeedanceClient,
    SeedanceError,
    ValidationError,
    WaitTimeoutError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp.typedefs import Handler

STATUS = {ValidationError: 422, InvalidRequestError: 422, NotFoundError: 404, WaitTimeoutError: 504}
"""The status of each error; any other is a 502, a problem between this backend and the API."""
CLIENT = web.AppKey("client", SeedanceClient)
routes = web.RouteTableDef()


async def client_context(app: web.Application) -> AsyncIterator[None]:
    """Keep a client open as long as the application runs."""
    async with SeedanceClient() as client:
        app[CLIENT] = client
        yield


@web.middleware
async def error_responses(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Return the error, with the ids by which a paid task can be collected."""
    try:
        return await handler(request)
    except SeedanceError as error:
        status = next((code for kind, code in STATUS.items() if isinstance(error, kind)), 502)
        body = {"error": error.message, "task_id": error.task_id, "idempotency_key": error.idempotency_key}
        return web.json_response(body, status=status)


@routes.post("/clips")
async def submit(request: web.Request) -> web.Response:
    """Submit a clip, which is paid for; return its id."""
    wanted = Seedance2Video(prompt=request.query.get("prompt", ""))
    submission = await request.app[CLIENT].submit(wanted)
    return web.json_response({"id": submission.id}, status=202)


@routes.get("/clips/{id}")
async def status(request: web.Request) -> web.Response:
    """Return the status of a clip, with ``?wait=true`` once it is final."""
    client, task_id = request.app[CLIENT], request.match_info["id"]
    task = await (client.wait(task_id) if request.query.get("wait") == "true" else client.get_task(task_id))
    return web.json_response({"id": task.id, "status": task.status, "urls": task.urls})


app = web.Application(middlewares=[error_responses])
app.add_routes(routes)
app.cleanup_ctx.append(client_context)

if __name__ == "__main__":
    web.run_app(app, host="127.0.0.1", port=int(os.environ.get("PORT", "8080")))
