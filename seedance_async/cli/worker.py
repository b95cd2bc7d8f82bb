"""The command ``seedance worker``: takes jobs of a distributed engine, on any number of hosts.

Ctrl-C ends it in order: nothing more is sent, answers on the wire are recorded, and other workers take over
its jobs. After a kill they do so within a second or two, and send the POST that was on the wire again under
its key.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import anyio
from cyclopts import Parameter

from seedance_async.batch import names
from seedance_async.cli.batch_options import flag
from seedance_async.cli.connection import Connection
from seedance_async.cli.interrupts import interruptible
from seedance_async.cli.output import write_message
from seedance_async.cli.paths import check_writable
from seedance_async.errors import ConfigurationError, SeedanceError
from seedance_async.exit_codes import ExitCode
from seedance_async.stream import first_problem

if TYPE_CHECKING:
    from seedance_async.integrations.engine import BatchEngine


async def worker(
    *,
    engine: Annotated[
        str | None,
        Parameter(help="Whose jobs: postgresql://user@host/database, or sqlite:///FILE on one host."),
    ] = None,
    output: Annotated[
        str | None,
        Parameter(
            name=("--output", "-o"),
            help="Where files go: a directory that all workers share, or s3://bucket/prefix (also gs, az).",
        ),
    ] = None,
    output_name: Annotated[
        str, Parameter(name="--output-name", help="Where a job's files go below it.")
    ] = names.DEFAULT,
    no_embed: Annotated[bool, flag("Leave the prompts out of the files' own metadata.")] = False,
    connection: Connection | None = None,
) -> int:
    """Take jobs that `seedance batch --engine` has enqueued, until Ctrl-C.

    As many workers as you like, on as many hosts; one that dies is replaced by
    the others within seconds, and nothing is paid twice. All need the same
    account's key, and a budget that they share (SEEDANCE_SHARED_BUDGET).

    Exit codes: 130 ended by a signal; 2 a mistake, nothing sent; 4 key refused.

    Example: seedance worker --engine postgresql://me@db/seedance -o clips
    """
    if engine is None or not output:
        missing = "--engine URL" if engine is None else "--output DIR"
        raise ConfigurationError(f"{missing} is missing: seedance worker --engine URL --output DIR")
    if "://" not in output:
        check_writable(Path(output))
    from seedance_async.integrations.engine import BatchEngine  # noqa: PLC0415 - an extra

    jobs = BatchEngine(engine)
    with interruptible(_Lines()):
        await _work(jobs, output, output_name, embed=not no_embed, connection=connection or Connection())
    return ExitCode.INTERRUPTED


async def _work(
    jobs: BatchEngine, output: str, output_name: str, *, embed: bool, connection: Connection
) -> None:
    try:
        async with (
            jobs,
            connection.client(somebody_waits=False) as client,
            anyio.create_task_group() as working,
        ):
            await working.start(partial(jobs.work, client, output, output_name=output_name, embed=embed))
            write_message(f"worker: takes jobs of {jobs.shown}; files go to {output}; Ctrl-C ends it")
    except BaseExceptionGroup as group:
        errors, _ = group.split(SeedanceError)
        if errors is None:
            raise
        raise first_problem(errors) from None


class _Lines:
    """Writes that a signal has come."""

    def stopping(self, reason: str) -> None:
        """Write why."""
        write_message(reason)

    def stop(self) -> None:
        """Nothing is shown."""
