"""An application as a user writes it: bodies and answers of the package's, one client for all handlers."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Body, FastAPI

from seedance_async import NanoBananaPro, Seedance2Video, Submission, Task
from seedance_async.integrations.fastapi import (
    Client,
    EventResponse,
    LastEventId,
    error_handlers,
    error_responses,
    lifespan,
    task_events,
)

app = FastAPI(lifespan=lifespan, exception_handlers=error_handlers, responses=error_responses)


@app.post("/clips", status_code=202)
async def submit(clip: Annotated[Seedance2Video, Body()], client: Client) -> Submission:
    """Accept a clip."""
    return await client.submit(clip)


@app.post("/pictures")
async def make(picture: Annotated[NanoBananaPro, Body()], client: Client) -> Task:
    """Make a picture."""
    return await client.generate(picture)


@app.post("/walk-outs")
async def walk_out(picture: Annotated[NanoBananaPro, Body()], client: Client) -> str:
    """Run a source that fails: the fault is this handler's, the client everybody's."""

    async def source() -> AsyncIterator[NanoBananaPro]:
        yield picture
        raise LookupError("no more rows")

    try:
        return str([completion.index async for completion in client.as_completed(source())])
    except LookupError as fault:
        return str(fault)


@app.get("/tasks/{task_id}")
async def status(task_id: str, client: Client) -> Task:
    """Say how a task stands."""
    return await client.get_task(task_id)


@app.get("/tasks/{task_id}/events")
async def events(task_id: str, client: Client, last: LastEventId = None) -> EventResponse:
    """Tell when a task is final."""
    return EventResponse(task_events(client, task_id, last_event_id=last))
