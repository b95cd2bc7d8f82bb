"""A caller of the emulated API for these tests: plain aiohttp, and no part of the client."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import aiohttp
from attrs import frozen

from seedance_async.sandbox import Sandbox

VIDEO: Final = "/video/seedance2"
GPT_IMAGE: Final = "/image/gpt-image-2"
NANO_BANANA: Final = "/image/nano-banana-pro"
CLIP: Final[Mapping[str, object]] = {"prompt": "A glass train crosses a bridge"}
PICTURE: Final[Mapping[str, object]] = {
    "type": "text-to-image", "prompt": "A running shoe on chrome", "resolution": "1K", "aspect_ratio": "1:1",
}  # fmt: skip


@frozen
class Reply:
    """One answer: its status, its JSON and its headers."""

    status: int
    document: dict[str, object]
    headers: Mapping[str, str]

    @property
    def code(self) -> object:
        """The error's code, empty for a success."""
        error = self.document.get("error")
        return error["code"] if isinstance(error, dict) else ""

    @property
    def message(self) -> str:
        """The error's message, empty for a success."""
        error = self.document.get("error")
        return str(error["message"]) if isinstance(error, dict) else ""

    @property
    def id(self) -> str:
        """The task's id."""
        return str(self.document["id"])


@frozen
class Api:
    """A caller with one API key."""

    sandbox: Sandbox
    session: aiohttp.ClientSession
    key: str

    async def post(
        self,
        path: str,
        body: Mapping[str, object] | bytes,
        *,
        key: str | None = None,
        api_key: str | None = None,
    ) -> Reply:
        """POST a body, with ``key`` as its Idempotency-Key."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = self._headers(api_key) | {"Content-Type": "application/json"}
        if key is not None:
            headers["Idempotency-Key"] = key
        async with self.session.post(self.sandbox.base_url + path, data=data, headers=headers) as response:
            return await _reply(response)

    async def task(self, task_id: str, *, api_key: str | None = None) -> Reply:
        """GET a task."""
        url = f"{self.sandbox.base_url}/tasks/{task_id}"
        async with self.session.get(url, headers=self._headers(api_key)) as response:
            return await _reply(response)

    def _headers(self, api_key: str | None) -> dict[str, str]:
        return {"Authorization": f"Bearer {api_key or self.key}"}


@asynccontextmanager
async def calling(sandbox: Sandbox) -> AsyncIterator[Api]:
    """Start the sandbox and give a caller of it."""
    async with sandbox, aiohttp.ClientSession() as session:
        yield Api(sandbox, session, sandbox.api_key)


async def _reply(response: aiohttp.ClientResponse) -> Reply:
    return Reply(response.status, await response.json(), response.headers)
