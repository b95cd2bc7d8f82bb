"""The backend of the benchmark ``web``: what a FastAPI application with the integration has, and no more."""

from __future__ import annotations

from typing import Annotated

from fastapi import Body, FastAPI

from seedance_async import NanoBananaPro, Submission
from seedance_async.integrations.fastapi import (
    Client,
    EventResponse,
    LastEventId,
    error_handlers,
    lifespan,
    task_events,
)

app = FastAPI(lifespan=lifespan, exception_handlers=error_handlers)


@app.post("/pictures", status_code=202)
async def submit(picture: Annotated[NanoBananaPro, Body()], client: Client) -> Submission:
    """Accept a picture."""
    return await client.submit(picture)


@app.get("/pictures/{task_id}/events")
async def events(task_id: str, client: Client, last: LastEventId = None) -> EventResponse:
    """Tell when it is final."""
    return EventResponse(task_events(client, task_id, last_event_id=last))
