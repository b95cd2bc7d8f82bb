"""``seedance status``, ``wait`` and ``download``: tasks by their ids, whoever submitted them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

from cyclopts import Parameter

from seedance_async.cli.collect import save, wait_for_all
from seedance_async.cli.connection import Connection
from seedance_async.cli.exits import code_of_all, lines_of
from seedance_async.cli.output import write_data, write_message
from seedance_async.cli.paths import Output  # noqa: TC001 - cyclopts reads the annotations
from seedance_async.errors import SeedanceError, UnauthorizedError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from seedance_async.models import Task

TaskIds: TypeAlias = Annotated[list[str], Parameter(name="ID", negative=(), help="Task ids, such as sd2_…")]
AsJson: TypeAlias = Annotated[
    bool, Parameter(name="--json", negative=(), show_default=False, help="The API's own answers, one a line.")
]


def _seconds(_: object, value: float | None) -> None:
    """Check a length of time before a task is paid for that could not be waited for."""
    if value is not None and not 0 <= value < math.inf:
        raise ValueError("It must be a number of seconds, 0 or more.")


TimeoutFlag: TypeAlias = Annotated[
    float | None,
    Parameter(
        name="--timeout",
        validator=_seconds,
        help="Most seconds to wait for a task; it goes on at the server after them.",
    ),
]


async def status(
    task_ids: TaskIds, /, *, as_json: AsJson = False, connection: Connection | None = None
) -> int:
    """Ask once how tasks stand: a line each, of id, status, model and output URLs, with tabs between.

    A failed task is an answer like any other here; the exit code is 1 only if one could not be asked for.

    Example: seedance status sd2_a1b2c3
    """
    errors = []
    connection = connection or Connection()
    async with connection.client() as client:
        for task_id in task_ids:
            try:
                write_data(_line(await client.get_task(task_id), as_json=as_json))
            except SeedanceError as error:
                error.task_id = error.task_id or task_id
                errors.append(error)
                if isinstance(error, UnauthorizedError):
                    break
    return report(errors, connection)


async def wait(
    task_ids: TaskIds,
    /,
    *,
    as_json: AsJson = False,
    timeout: TimeoutFlag = None,
    connection: Connection | None = None,
) -> int:
    """Wait until tasks are final and write a line for each as it gets there, like status does.

    The exit code is 1 if one of them failed.

    Example: seedance wait sd2_a1b2c3 --timeout 600
    """
    connection = connection or Connection()
    async with connection.client() as client:
        errors = await wait_for_all(
            client, task_ids, timeout=timeout, on_final=lambda task: write_data(_line(task, as_json=as_json))
        )
    return report(errors, connection)


async def download(
    task_ids: TaskIds, /, *, output: Output = Path(), connection: Connection | None = None
) -> int:
    """Save the files of completed tasks and write their paths. A file that is there already is kept.

    Example: seedance download sd2_a1b2c3 -o clips
    """
    connection = connection or Connection()
    async with connection.client() as client:
        errors = await save(client, task_ids, output)
    return report(errors, connection, directory=output)


def report(errors: Iterable[SeedanceError], connection: Connection, *, directory: Path | None = None) -> int:
    """Write every error to stderr and return the exit code that they make together.

    Args:
        errors: one for each task that did not work.
        connection: of the command, whose flags one that goes on needs as well.
        directory: where files go, if any do.
    """
    errors = list(errors)
    for error in errors:
        flags, key_source = connection.words(), connection.key_source()
        for line in lines_of(error, flags=flags, directory=directory, key_source=key_source):
            write_message(line)
    return code_of_all(errors)


def _line(task: Task, *, as_json: bool) -> str:
    if as_json:
        return json.dumps(task.raw)
    return "\t".join([task.id, task.status or "-", task.model or "-", *task.urls])
