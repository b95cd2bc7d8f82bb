"""The tools of the MCP server as a model sees them: names, arguments and descriptions.

No argument raises a limit. The answer of the person who is asked before money is spent is not an argument:
the protocol's library takes it from the form that the host shows, and leaves it out of the tool's schema.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Final, TypeAlias

from mcp.server.mcpserver import AcceptedElicitation, Context, Elicit, ElicitationResult, Resolve
from mcp_types import CallToolResult, ImageContent, TextContent, ToolAnnotations
from pydantic import BaseModel, Field, WithJsonSchema, create_model

from seedance_async.integrations.mcp.account import MOST_DOWNLOADS
from seedance_async.integrations.mcp.desk import LONGEST_WAIT, Desk
from seedance_async.integrations.mcp.planning import Asked
from seedance_async.models import Seedance2Video

FORMS_IN_ANSWERS: Final = "2026-07-28"
"""The first version of the protocol in which a form needs no channel from the server to the client."""

Jobs: TypeAlias = Annotated[
    Any,
    WithJsonSchema({"anyOf": [{"type": "array", "items": {"type": "object"}}, {"type": "null"}]}),
    Field(
        description='What to make, an object each: {"model": "seedance2", "gpt-image-2" or '
        '"nano-banana-pro", "prompt": …, "name": …}, and the fields of the API. A URL field takes an https '
        "URL, a file of the workspace, or another job's output: $NAME.video, $NAME.last_frame, $NAME.image."
    ),
]
Manifest: TypeAlias = Annotated[
    str | None, Field(description="Or the path of a manifest in the workspace: .jsonl, .json, .csv, .toml.")
]
PlanId: TypeAlias = Annotated[str, Field(description="The plan_id in an answer of plan or reroll.")]
BatchId: TypeAlias = Annotated[str, Field(description="The batch_id in an answer of plan or submit.")]
Names: TypeAlias = Annotated[
    Any,
    WithJsonSchema({"type": "array", "items": {"type": "string"}}),
    Field(description="Names of jobs, or patterns such as 'still-*'."),
]
Ids: TypeAlias = Annotated[
    Any,
    WithJsonSchema({"type": "array", "items": {"type": "string"}}),
    Field(description=f"Ids of finished tasks, {MOST_DOWNLOADS} at most. A batch fetches its own."),
]
Page: TypeAlias = Annotated[int, Field(description="From 1; an answer says how many there are.")]


class Permission(BaseModel):
    """The form that a person fills in."""

    max_credits: float = Field(ge=0, description="Credits that it may cost at most.")


class NotAsked:
    """Nobody was asked: it is not necessary, or this client shows no forms."""


async def ask_person(plan_id: str, ctx: Context[Any, Any]) -> NotAsked | Elicit[Permission]:
    """Ask a person whether a plan may be sent, where that is needed and the client can."""
    question = await desk_of(ctx).question(plan_id)
    if question is None or not _shows_forms(ctx):
        return NotAsked()
    message, most = question
    if most is None:  # a number that is filled in already would be accepted unread
        return Elicit(message, Permission)
    form = create_model(
        "Permission",
        __base__=Permission,
        max_credits=(float, Field(default=most, ge=0, description="Credits that it may cost at most.")),
    )
    return Elicit(message, form)


async def lint_prompt(
    ctx: Context[Any, Any],
    prompt: Annotated[str | None, Field(description="One prompt; or give jobs or manifest.")] = None,
    model: Annotated[str, Field(description="What the text is for.")] = Seedance2Video.model,
    jobs: Jobs = None,
    manifest: Manifest = None,
) -> CallToolResult:
    """Compare prompts with the prompt guide; of jobs also with their duration, shape, media and sound.

    An error has to be corrected: plan refuses it. A warning is worth a look, a note is advice.
    """
    return text(await desk_of(ctx).lint(prompt, model, _asked(jobs, manifest)))


async def estimate(ctx: Context[Any, Any], jobs: Jobs = None, manifest: Manifest = None) -> CallToolResult:
    """Price jobs without keeping or sending anything: credits and minutes, as ranges."""
    return text(await desk_of(ctx).estimate(_asked(jobs, manifest)))


async def plan(ctx: Context[Any, Any], jobs: Jobs = None, manifest: Manifest = None) -> CallToolResult:
    """Check and price jobs, and keep them as a plan, a batch of the workspace. Spends nothing.

    Answers a plan_id for submit and a table of prices, or everything that is wrong.
    """
    return text(await desk_of(ctx).plan(_asked(jobs, manifest)))


async def submit(
    plan_id: PlanId,
    ctx: Context[Any, Any],
    form: Annotated[ElicitationResult[Permission], Resolve(ask_person)],
) -> CallToolResult:
    """Send a plan: SPENDS CREDITS, once. Submitting the same plan again sends and pays nothing new.

    Above the limit that a person has set, the person is asked; where the client shows no forms, the answer
    has the command for the person to run.
    """
    answer: object = form.data if isinstance(form, AcceptedElicitation) else None
    if isinstance(answer, NotAsked):
        return text(await desk_of(ctx).submit(plan_id, None))
    granted = answer.max_credits if isinstance(answer, Permission) else 0.0
    return text(await desk_of(ctx).submit(plan_id, granted, declined=granted <= 0))


async def wait(
    batch_id: BatchId,
    ctx: Context[Any, Any],
    seconds: Annotated[
        float, Field(description=f"At most {LONGEST_WAIT:g}; sooner with the batch's end.")
    ] = 25,
) -> CallToolResult:
    """Wait for a batch and report its state: counts, newest files, and when to come back.

    Resumes a batch that an earlier server process left unfinished. Do other work until come_back_in seconds
    have passed.
    """

    async def report(gone: float, whole: float, message: str) -> None:
        await ctx.report_progress(gone, whole, message)

    return text(await desk_of(ctx).wait(batch_id, seconds, report))


async def look(
    batch_id: BatchId, ctx: Context[Any, Any], names: Names = None, page: Page = 1
) -> CallToolResult:
    """Look at what a batch has made: one contact sheet of frames and pictures, with names and times."""
    picture, facts = await desk_of(ctx).look(batch_id, names or [], page)
    image = ImageContent(type="image", data=base64.b64encode(picture).decode(), mime_type="image/jpeg")
    return CallToolResult(content=[image, TextContent(type="text", text=facts)])


async def reroll(
    batch_id: BatchId,
    names: Names,
    ctx: Context[Any, Any],
    takes: Annotated[int, Field(description="New takes of each job, 1 to 20.")] = 1,
) -> CallToolResult:
    """Plan new takes of some jobs of a batch; existing takes are kept. Answers a plan_id for submit."""
    return text(await desk_of(ctx).reroll(batch_id, names if isinstance(names, list) else [names], takes))


async def list_tasks(
    ctx: Context[Any, Any],
    days: Annotated[float, Field(description="How far back to look.")] = 1,
    page: Page = 1,
) -> CallToolResult:
    """List what this machine has requested, newest first: task ids, states, credits, batches."""
    return text(await desk_of(ctx).list_tasks(days, page))


async def download(
    task_ids: Ids,
    ctx: Context[Any, Any],
) -> CallToolResult:
    """Fetch the files of single finished tasks into the workspace. Costs nothing."""
    return text(await desk_of(ctx).download(task_ids if isinstance(task_ids, list) else [task_ids]))


Tool: TypeAlias = Callable[..., Coroutine[Any, Any, CallToolResult]]

_READS: Final = ToolAnnotations(read_only_hint=True, open_world_hint=False)
_WRITES: Final = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False
)
_FETCHES: Final = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=True
)
_SPENDS: Final = ToolAnnotations(
    read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=True
)

TOOLS: Final[tuple[tuple[Tool, ToolAnnotations], ...]] = (
    (lint_prompt, _READS),
    (estimate, _READS),
    (plan, _WRITES),
    (submit, _SPENDS),
    (wait, _FETCHES),
    (look, _READS),
    (reroll, _WRITES),
    (list_tasks, _READS),
    (download, _FETCHES),
)
"""Every tool, in the order in which they are used."""


def desk_of(ctx: Context[Any, Any]) -> Desk:
    """The desk of the server that a call came to."""
    desk: Desk = ctx.request_context.lifespan_context
    return desk


def text(answer: str, *, is_error: bool = False) -> CallToolResult:
    """An answer of one text."""
    return CallToolResult(content=[TextContent(type="text", text=answer)], is_error=is_error)


def _asked(jobs: object, manifest: str | None) -> Asked:
    return Asked(jobs=[jobs] if isinstance(jobs, dict) else jobs, manifest=manifest)


def _shows_forms(ctx: Context[Any, Any]) -> bool:
    """Whether the client shows forms, in the way of its version of the protocol."""
    capabilities = ctx.client_capabilities
    elicitation = capabilities.elicitation if capabilities is not None else None
    if elicitation is None or (elicitation.form is None and elicitation.url is not None):
        return False
    return (ctx.protocol_version or "") >= FORMS_IN_ANSWERS or ctx.session.can_send_request
