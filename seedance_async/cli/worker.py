"""``seedance worker``: the process that runs the jobs of a distributed engine, on any number of hosts.

Ctrl-C shuts it down in an orderly way: nothing more is sent, replies to requests in progress are recorded,
and other workers take over its jobs. After a kill the others take over a second or two later, and send a POST
that was in progress again under its key.
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
        Parameter(
            help="The engine's database: postgresql://user@host/database, or sqlite:///FILE on one host."
        ),
    ] = None,
    output: Annotated[
        str | None,
        Parameter(
            name=("--output", "-o"),
            help="Where files go: a directory that all workers share, or s3://bucket/prefix (also gs, az).",
        ),
    ] = None,
    output_name: Annotated[
        str, Parameter(name="--output-name", help="Path of a job's files in it.")
    ] = names.DEFAULT,
    no_embed: Annotated[bool, flag("Do not write the prompts into the files' own metadata.")] = False,
    connection: Connection | None = None,
) -> int:
    """Run the jobs that `seedance batch --engine` has enqueued, until Ctrl-C.

    Start any number of workers on any number of hosts. If one dies, the others
    take over its jobs within seconds, and nothing is paid twice. All need a key
    of the same account and a shared budget (SEEDANCE_SHARED_BUDGET).

    Exit codes: 130 ended by a signal; 2 usage error, nothing sent; 4 key refused.

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
            write_message(f"worker: running the jobs of {jobs.shown}; files go to {output}; Ctrl-C ends it")
    except BaseExceptionGroup as group:
        errors, _ = group.split(SeedanceError)
        if errors is None:
            raise
        raise first_problem(errors) from None


class _Lines:
    """Plain lines about a signal."""

    def stopping(self, reason: str) -> None:
        """Write the reason to stderr."""
        write_message(reason)

    def stop(self) -> None:
        """Do nothing: there is no live display to remove."""
