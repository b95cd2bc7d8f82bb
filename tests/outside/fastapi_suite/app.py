"""An application as a user writes it: bodies and answers of the package's, one client for all handlers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Body, Depends, FastAPI, Request

from seedance_async import NanoBananaPro, Seedance2Video, SeedanceClient, Submission, Task


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, SeedanceClient]]:
    """Open the client with the application."""
    async with SeedanceClient() as client:
        yield {"client": client}


def the_client(request: Request) -> SeedanceClient:
    """The client of the application."""
    client: SeedanceClient = request.state.client
    return client


Client = Annotated[SeedanceClient, Depends(the_client)]
app = FastAPI(lifespan=lifespan)


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
