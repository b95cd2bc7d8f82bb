"""Functions that wait for tasks and download their files, for ``generate``, ``wait`` and ``download``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
from anyio import to_thread

from seedance_async.batch.mismatches import file_mismatches
from seedance_async.cli.output import write_data, write_message
from seedance_async.cli.progress import Progress
from seedance_async.credit_format import format_credits
from seedance_async.errors import SeedanceError, TaskFailedError, WaitTimeoutError
from seedance_async.time_format import format_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from seedance_async import SeedanceClient
    from seedance_async.batch.mismatches import Wish
    from seedance_async.models import Task


async def wait_for_all(
    client: SeedanceClient,
    task_ids: Sequence[str],
    *,
    timeout: float | None,
    on_final: Callable[[Task], None],
) -> list[SeedanceError]:
    """Wait for every task with the client's one poller, and call ``on_final`` with each final task.

    Returns:
        One error for each task that did not complete.
    """
    errors: list[SeedanceError] = []

    async def wait(task_id: str) -> None:
        try:
            task = await _final(client, task_id, timeout)
        except SeedanceError as error:
            error.task_id = error.task_id or task_id
            errors.append(error)
        else:
            on_final(task)
            if task.is_failed:
                errors.append(TaskFailedError(task))
        progress.finished(failed=bool(errors) and errors[-1].task_id == task_id)

    with Progress(len(task_ids)) as progress:
        async with anyio.create_task_group() as waiters:
            for task_id in task_ids:
                waiters.start_soon(wait, task_id)
    return errors


async def _final(client: SeedanceClient, task_id: str, timeout: float | None) -> Task:
    """Return the task once it is final; with a timeout of 0 it is polled once."""
    if timeout != 0:
        return await client.wait(task_id, timeout=timeout)
    task = await client.get_task(task_id)
    if not task.is_final:
        raise _not_final(task)
    return task


def _not_final(task: Task) -> WaitTimeoutError:
    message = f"the task is not done yet, its status is {task.status!r}; the server continues it"
    return WaitTimeoutError(message, task_id=task.id)


async def save(
    client: SeedanceClient,
    tasks: Iterable[Task | str],
    directory: Path,
    *,
    prompt: str | None = None,
    wish: Wish | None = None,
) -> list[SeedanceError]:
    """Download the files of all tasks concurrently, and write the paths of each task to stdout once saved.

    Args:
        client: open.
        tasks: tasks, or their ids.
        directory: for the files.
        prompt: goes into the files' metadata; None leaves the files exactly as the server sent them.
        wish: what was requested; differences are reported on stderr.

    Returns:
        One error for each task whose files could not be saved.
    """
    errors: list[SeedanceError] = []

    async def fetch(task: Task | str) -> None:
        try:
            known = await client.get_task(task) if isinstance(task, str) else task
            if known.is_failed:
                raise TaskFailedError(known)
            if not known.is_final:
                raise _not_final(known)
            paths = await client.download(known, directory, prompt=prompt)
        except SeedanceError as error:
            error.task_id = error.task_id or (task if isinstance(task, str) else task.id)
            errors.append(error)
        else:
            for path in paths:
                write_data(str(path))
            if wish is not None:
                await _write_mismatches(known, paths, wish)

    async with anyio.create_task_group() as workers:
        for task in tasks:
            workers.start_soon(fetch, task)
    return errors


async def _write_mismatches(task: Task, paths: Sequence[Path], wish: Wish) -> None:
    # Imported late: the HTTP stack takes long to load, and a help page does not need it.
    from seedance_async.downloads.measuring import measure  # noqa: PLC0415

    found = file_mismatches(wish, [await to_thread.run_sync(measure, path) for path in paths])
    if found:
        charged = "credits not stated" if task.credits_used is None else f"{task.credits_used:g} credits"
        write_message(f"{task.id} came as {'; '.join(found)} ({charged})")


def write_final(task: Task) -> None:
    """Write to stderr how a task ended."""
    words = [task.id, task.status]
    if task.duration is not None:
        words.append(f"after {format_seconds(task.duration)}")
    if task.credits_used is not None:
        words.append(f"· {format_credits(task.credits_used, task.credits_refunded, with_unit=True)}")
    write_message(" ".join(words))
