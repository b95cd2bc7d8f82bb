"""The account as an agent sees it: what this machine has requested, and the files of single tasks."""

from __future__ import annotations

import math
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import anyio
from anyio import to_thread

from seedance_async import clocks
from seedance_async.errors import SeedanceError
from seedance_async.integrations.mcp.answers import explained, fitted, text_of, wrong_arguments
from seedance_async.record import Reader, record_path

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from seedance_async.client import SeedanceClient
    from seedance_async.integrations.mcp.workspace import Workspace
    from seedance_async.record import PostRecord

PAGE: Final = 5
"""Few enough that all of them fit into an answer: an entry that was cut would be on no page."""

DAYS: Final = 366
MOST_DOWNLOADS: Final = 5
PATIENCE: Final = 25.0  # s


async def list_tasks(client: SeedanceClient, days: float, page: int) -> str:
    """A page of the account's record, the newest first.

    Raises:
        RefusedError: the arguments make no sense.
        RecordError: the record cannot be read.
    """
    if not 0 < days <= DAYS or page < 1:
        raise wrong_arguments(f"days must be above 0 and at most {DAYS}, page 1 or more")
    rows, total = await to_thread.run_sync(_rows, Reader(record_path(client.account)), days, page)
    return fitted(
        {
            "tasks": rows,
            "page": f"{page} of {max(1, math.ceil(total / PAGE))}",
            "next": f"list_tasks(days={days:g}, page={page + 1})" if total > page * PAGE else None,
        },
        lists=["tasks"],
    )


async def download(client: SeedanceClient, workspace: Workspace, task_ids: Sequence[str]) -> str:
    """Fetch the files of finished tasks, as many as there is time for.

    Raises:
        RefusedError: these are too many.
        ConfigurationError: there is no place for them.
    """
    if len(task_ids) > MOST_DOWNLOADS:
        raise wrong_arguments(f"at most {MOST_DOWNLOADS} ids in one call")
    folder = await to_thread.run_sync(workspace.downloads)
    rows: list[dict[str, object]] = []
    with anyio.move_on_after(PATIENCE):
        for task_id in task_ids:
            facts = await _downloaded(client, workspace, task_id, folder)
            rows.append(facts)
    rest = list(task_ids[len(rows) :])
    return fitted(
        {"tasks": rows, "money_moved": "no", "next": f"download({rest!r})" if rest else None}, lists=["tasks"]
    )


async def _downloaded(
    client: SeedanceClient, workspace: Workspace, task_id: str, folder: Path
) -> dict[str, object]:
    try:
        task = await client.get_task(task_id)
        paths = await client.download(task, folder) if task.is_completed else []
    except SeedanceError as error:
        facts = {name: value for name, value in explained(error).items() if value is not None}
        return {"id": text_of(task_id, 60), **facts}
    files = [workspace.shown(path) for path in paths]
    return {"id": text_of(task.id, 60), "status": text_of(task.status, 40), "files": files}


def _rows(reader: Reader, days: float, page: int) -> tuple[list[dict[str, object]], int]:
    """A page of the account's record, and how many entries there are. Blocking."""
    since = datetime.fromtimestamp(clocks.wall_now(), UTC) - timedelta(days=days)
    newest: deque[PostRecord] = deque(maxlen=page * PAGE)
    total = 0
    for post in reader.posts(since=since):
        newest.append(post)
        total += 1
    wanted = list(reversed(newest))[(page - 1) * PAGE :] if total > (page - 1) * PAGE else []
    return [row_of(post) for post in wanted], total


def row_of(post: PostRecord) -> dict[str, object]:
    """One request to the account as a row of an answer; ids and states are the API's words."""
    states = dict.fromkeys(task.status or post.state for task in post.tasks)
    return {
        "ids": [text_of(task.id, 60) for task in post.tasks],
        "state": text_of(", ".join(states) or post.state, 40),
        "model": post.model,
        "sent": post.sent_at.isoformat(timespec="minutes"),
        "credits": post.credits_used,
        "batch": post.project and text_of(post.project, 40),
    }
