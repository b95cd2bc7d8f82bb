"""Waiting for several tasks at the same time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import anyio

from seedance_async.errors import SeedanceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from seedance_async.models import Task


class Wait(Protocol):
    """Waits for one task; ``SeedanceClient.wait``."""

    async def __call__(self, task: str, *, timeout: float | None = None) -> Task:
        """The final task."""
        ...


async def wait_for_all(wait: Wait, task_ids: Sequence[str], *, until: float | None) -> list[Task]:
    """Every task, in the order of the ids; the first error ends the waiting.

    Args:
        wait: waits for one of them.
        task_ids: of tasks that run at the server.
        until: the instant of the loop's clock at which the waiting ends; None for as long as ``wait`` waits.

    Raises:
        SeedanceError: what ``wait`` has raised first.
    """
    tasks: dict[str, Task] = {}
    errors: list[SeedanceError] = []

    async def wait_for(task_id: str) -> None:
        left = None if until is None else max(0.0, until - anyio.current_time())
        try:
            tasks[task_id] = await wait(task_id, timeout=left)
        except SeedanceError as error:
            errors.append(error)
            waiters.cancel_scope.cancel()

    async with anyio.create_task_group() as waiters:
        for task_id in task_ids:
            waiters.start_soon(wait_for, task_id)
    for error in errors:
        raise error
    return [tasks[task_id] for task_id in task_ids]
