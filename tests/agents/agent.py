"""An agent for the tests: the official client, in either era of the protocol, with or without a person."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal

from attrs import define, field
from mcp.client.client import Client
from mcp_types import ElicitRequestParams, ElicitResult, ErrorData, ImageContent, TextContent

from seedance_async import SeedanceClient
from seedance_async.integrations.mcp.desk import Desk
from seedance_async.integrations.mcp.server import Server, build
from seedance_async.integrations.mcp.settings import Settings
from tests.canary import clean

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from mcp.client.session import ClientRequestContext

    from seedance_async.sandbox import Sandbox

ERAS: tuple[Literal["auto", "legacy"], ...] = ("auto", "legacy")
MOST_BYTES = 2_000
PRICE = 12
"""Credits of a picture in the sandbox."""


@define
class Person:
    """Who is asked: answers each form in the same way, and remembers the questions and the forms' fields."""

    action: Literal["accept", "decline", "cancel"] = "accept"
    max_credits: float | None = None
    questions: list[str] = field(factory=list)
    forms: list[dict[str, Any]] = field(factory=list)

    async def answer(
        self,
        context: ClientRequestContext,  # noqa: ARG002 - the library hands it over
        params: ElicitRequestParams,
    ) -> ElicitResult | ErrorData:
        """Fill in a form."""
        self.questions.append(params.message)
        self.forms.append(getattr(params, "requested_schema", {}))
        if self.action != "accept":
            return ElicitResult(action=self.action)
        given = {} if self.max_credits is None else {"max_credits": self.max_credits}
        return ElicitResult(action="accept", content=given)  # type: ignore[arg-type]  # values are numbers


@define
class Agent:
    """A client of the server; every answer is measured, and searched for secrets."""

    client: Client
    progress: list[str] = field(factory=list)
    picture: bytes = b""

    async def __call__(self, tool: str, **arguments: object) -> dict[str, Any]:
        """Call a tool, and read its answer; ``is_error`` stands in it where it is one."""
        marks: list[float] = []

        async def note(progress: float, total: float | None, message: str | None) -> None:
            marks.append(progress)
            self.progress.append(message or "")

        result = await self.client.call_tool(tool, arguments, progress_callback=note)
        assert marks == sorted(set(marks))
        *pictures, told = result.content
        assert isinstance(told, TextContent)
        assert len(told.text.encode()) <= MOST_BYTES
        for each in pictures:
            assert isinstance(each, ImageContent)
            self.picture = each.data.encode()
        answer: dict[str, Any] = json.loads(clean(told.text))
        assert bool(result.is_error) == ("error" in answer)
        assert not result.is_error or {"what_to_do", "next", "money_moved"} <= answer.keys()
        return answer

    async def sent(self, jobs: list[dict[str, object]]) -> str:
        """Plan jobs, submit and wait for them; the id of their batch."""
        plan = await self("plan", jobs=jobs)
        await self("submit", plan_id=plan["plan_id"])
        await self.ended(plan["batch_id"])
        return str(plan["batch_id"])

    async def ended(self, batch_id: str) -> dict[str, Any]:
        """Wait until a batch does not run any more; how it stands then."""
        while (answer := await self("wait", batch_id=batch_id))["state"] == "running":
            assert answer["come_back_in"] >= 1
        return answer


@asynccontextmanager
async def serving(
    sandbox: Sandbox,
    workspace: Path,
    *,
    unasked: float = 0.0,
    **options: Any,  # noqa: ANN401 - whatever a client takes
) -> AsyncIterator[Server]:
    """A server in this process, until it is left in good order."""
    workspace.mkdir(exist_ok=True)
    settings = Settings(workspace=workspace.resolve(), unasked_a_day=unasked)
    client = SeedanceClient(sandbox.api_key, sandbox.base_url, **options)
    async with Desk(settings, client) as desk:
        yield build(desk)


@asynccontextmanager
async def agent_of(
    server: Server | AbstractAsyncContextManager[Any],
    *,
    person: Person | None = None,
    era: Literal["auto", "legacy"] = "auto",
) -> AsyncIterator[Agent]:
    """An agent at a server, or at a transport that leads to one."""
    asked = None if person is None else person.answer
    async with Client(server, mode=era, elicitation_callback=asked) as client:
        yield Agent(client)


def pictures(count: int, word: str = "boat") -> list[dict[str, object]]:
    """Jobs of one kind: pictures, which the sandbox draws faster than clips."""
    return [
        {"model": "nano-banana-pro", "name": f"{word}-{number}", "prompt": f"A {word} on pond {number}"}
        for number in range(count)
    ]
