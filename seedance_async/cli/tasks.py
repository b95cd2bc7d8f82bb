"""``seedance status``, ``wait`` and ``download``: commands for tasks by id, however they were submitted."""

from __future__ import annotations

import json
import math
import re
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


def _check_ids(_: object, value: list[str]) -> None:
    """Check that task ids can be ids, before any is asked for.

    Raises:
        ValueError: one has a character that no id has, as a URL or a sentence does.
    """
    for task_id in value:
        if re.search(r"[\s/:]", task_id) or not task_id:
            meant = re.search(r"(?:sd2|gpt2|nbp)_\w+", task_id)
            hint = f"; did you mean {meant[0]}?" if meant else ""
            raise ValueError(f"{task_id!r} is no task id; these begin with sd2_, gpt2_ or nbp_{hint}")


TaskIds: TypeAlias = Annotated[
    list[str], Parameter(name="ID", negative=(), validator=_check_ids, help="Task ids, such as sd2_…")
]
AsJson: TypeAlias = Annotated[
    bool,
    Parameter(
        name="--json", negative=(), show_default=False, help="Print the API's JSON, one task on each line."
    ),
]


def _seconds(_: object, value: float | None) -> None:
    """Check a timeout, before a task is paid for.

    Raises:
        ValueError: it is negative, infinite or not a number.
    """
    if value is not None and not 0 <= value < math.inf:
        raise ValueError("It must be a number of seconds, 0 or more.")


TimeoutFlag: TypeAlias = Annotated[
    float | None,
    Parameter(
        name="--timeout",
        validator=_seconds,
        help="Most seconds to wait for a task; after that the server still continues it.",
    ),
]


async def status(
    task_ids: TaskIds, /, *, as_json: AsJson = False, connection: Connection | None = None
) -> int:
    """Print the status of tasks.

    One line for each task, with tabs between: id, status, model and output URLs.
    A failed task is a normal result here: the exit code is 1 only if a status
    could not be fetched.

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
    """Wait until tasks are final, and print a line for each as it ends.

    The lines are those of `seedance status`. The exit code is 1 if a task failed.

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
    """Save the files of completed tasks and print their paths. A file that already exists is kept.

    Example: seedance download sd2_a1b2c3 -o clips
    """
    connection = connection or Connection()
    async with connection.client() as client:
        errors = await save(client, task_ids, output)
    return report(errors, connection, directory=output)


def report(errors: Iterable[SeedanceError], connection: Connection, *, directory: Path | None = None) -> int:
    """Write every error to stderr, and return the exit code for all of them.

    Args:
        errors: one for each task that did not succeed.
        connection: of the command; its flags are repeated in the commands that the advice names.
        directory: where files go, if any are downloaded.
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
