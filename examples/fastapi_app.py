"""A FastAPI backend that submits clips, reports their status, and waits for them.

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
"""The status of each error; any other is a 502, a problem between this backend and the API."""


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, object]]:
    """Keep a client open as long as the application runs."""
    async with SeedanceClient() as client:
        yield {"seedance": client}


app = FastAPI(title="Clips", lifespan=lifespan)


@app.exception_handler(SeedanceError)
async def error_response(_: Request, error: SeedanceError) -> JSONResponse:
    """Return the error, with the ids by which a paid task can be collected."""
    status = next((code for kind, code in STATUS.items() if isinstance(error, kind)), 502)
    body = {"error": error.message, "task_id": error.task_id, "idempotency_key": error.idempotency_key}
    return JSONResponse(body, status)


def get_client(request: Request) -> SeedanceClient:
    """Return the application's client."""
    client: SeedanceClient = request.state.seedance
    return client


Client = Annotated[SeedanceClient, Depends(get_client)]


@app.post("/clips", status_code=202)
async def submit(prompt: str, client: Client, duration: int = 5) -> dict[str, str]:
    """Submit a clip, which is paid for; return its id."""
    submission = await client.submit(Seedance2Video(prompt=prompt, duration=duration))
    return {"id": submission.id}


@app.get("/clips/{task_id}")
async def status(task_id: str, client: Client, *, wait: bool = False) -> dict[str, object]:
    """Return the status of a clip, with ``?wait=true`` once it is final."""
    task = await (client.wait(task_id) if wait else client.get_task(task_id))
    return {"id": task.id, "status": task.status, "urls": task.urls}


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")))
