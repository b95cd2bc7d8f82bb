"""An aiohttp backend that submits clips, tells when they are final, and loses none.

seedance sandbox --speed 20 -- python examples/aiohttp_backend.py
curl -X POST localhost:8080/clips --json '{"prompt": "A paper boat"}'
curl -N localhost:8080/clips/ID/events

One client serves the whole application, so all its users share one account's limit.
"""

from __future__ import annotations

import os

from aiohttp import web

from seedance_async import Seedance2Video
from seedance_async.integrations.aiohttp import (
    CLIENT,
    json_response,
    last_event_id,
    read_request,
    send_events,
    setup,
    task_events,
)

routes = web.RouteTableDef()


@routes.post("/clips")
async def submit(request: web.Request) -> web.Response:
    """Submit a clip, which is paid for; under a key of the caller's it is not paid for twice."""
    clip = await read_request(request, Seedance2Video)
    key = request.headers.get("Idempotency-Key")
    return json_response(await request.app[CLIENT].submit(clip, idempotency_key=key), status=202)


@routes.get("/clips/{id}")
async def status(request: web.Request) -> web.Response:
    """Return how a clip stands, with ``?wait=true`` once it is final."""
    client, task_id = request.app[CLIENT], request.match_info["id"]
    wait = request.query.get("wait") == "true"
    return json_response(await (client.wait(task_id) if wait else client.get_task(task_id)))


@routes.get("/clips/{id}/events")
async def events(request: web.Request) -> web.StreamResponse:
    """Tell a browser's ``EventSource`` when a clip is final."""
    stream = task_events(request.app[CLIENT], request.match_info["id"], last_event_id=last_event_id(request))
    return await send_events(request, stream)


app = web.Application()
setup(app)
app.add_routes(routes)

if __name__ == "__main__":
    web.run_app(app, host="127.0.0.1", port=int(os.environ.get("PORT", "8080")))
