"""Waiting for several tasks at the same time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import anyio

from seedance_async.errors import SeedanceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from seedance_async.models import Task


class Wait(Protocol):
    """The type of ``SeedanceClient.wait``, as it is used here."""

    async def __call__(self, task: str, *, timeout: float | None = None) -> Task:
        """Wait for one task, and return it when it is final."""
        ...


async def wait_for_all(wait: Wait, task_ids: Sequence[str], *, until: float | None) -> list[Task]:
    """Wait for all tasks, and return them in the order of the ids; the first error ends the wait.

    Args:
        wait: waits for one task.
        task_ids: the ids of the tasks.
        until: the instant on the loop's clock at which the wait ends; None for as long as ``wait`` waits.

    Raises:
        SeedanceError: the first error raised by ``wait``.
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
