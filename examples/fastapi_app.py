"""A FastAPI backend that submits clips, tells how they stand, and waits for them.

seedance sandbox --speed 20 -- python examples/fastapi_app.py     # then: http://127.0.0.1:8000/docs

One client serves the whole application, so all its users share one account's limit.
"""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

import uvicorn
from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse

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

STATUS = {ValidationError: 422, InvalidRequestError: 422, NotFoundError: 404, WaitTimeoutError: 504}
"""What a caller is told of an error; of any other, 502: it is between us and the API."""


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, object]]:
    """Open the client with the application, and close it with it."""
    async with SeedanceClient() as client:
        yield {"seedance": client}


app = FastAPI(title="Clips", lifespan=lifespan)


@app.exception_handler(SeedanceError)
async def tell(_: Request, error: SeedanceError) -> JSONResponse:
    """Answer with what went wrong, and with the handles that collect what may be paid."""
    status = next((code for kind, code in STATUS.items() if isinstance(error, kind)), 502)
    told = {"error": error.message, "task_id": error.task_id, "idempotency_key": error.idempotency_key}
    return JSONResponse(told, status)


def the_client(request: Request) -> SeedanceClient:
    """The application's client."""
    client: SeedanceClient = request.state.seedance
    return client


Client = Annotated[SeedanceClient, Depends(the_client)]


@app.post("/clips", status_code=202)
async def submit(prompt: str, client: Client, duration: int = 5) -> dict[str, str]:
    """Pay for a clip; its id collects it."""
    submission = await client.submit(Seedance2Video(prompt=prompt, duration=duration))
    return {"id": submission.id}


@app.get("/clips/{task_id}")
async def status(task_id: str, client: Client, *, wait: bool = False) -> dict[str, object]:
    """How a clip stands now, or with ``?wait=true`` once it is final."""
    task = await (client.wait(task_id) if wait else client.get_task(task_id))
    return {"id": task.id, "status": task.status, "urls": task.urls}


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")))
