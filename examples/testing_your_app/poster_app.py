"""The application under test: posters on demand."""

from __future__ import annotations

from typing import Annotated

from fastapi import Body, FastAPI

from seedance_async import NanoBananaPro
from seedance_async.integrations.fastapi import Client, error_handlers, lifespan

app = FastAPI(lifespan=lifespan, exception_handlers=error_handlers)


@app.post("/posters")
async def make(title: Annotated[str, Body(embed=True)], client: Client) -> dict[str, object]:
    """Make a poster with this title."""
    task = await client.generate(NanoBananaPro(prompt=f"A travel poster with the title {title}"))
    return {"picture": task.urls[0], "credits": task.credits_used}
