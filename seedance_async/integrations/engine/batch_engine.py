"""The distributed engine's interface for programs: enqueue, work and follow, each on any host."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, ParamSpec, Self, TypeVar

import anyio
from anyio import to_thread
from anyio.abc import TaskStatus
from sqlalchemy.exc import DBAPIError

from seedance_async import arguments
from seedance_async.batch import names
from seedance_async.batch.jobs import Job, JobResult
from seedance_async.batch.journal.remains import RESULTS, paid_keys
from seedance_async.batch.run_plan import RunPlan
from seedance_async.client import SeedanceClient
from seedance_async.errors import ClientStateError, ConfigurationError
from seedance_async.integrations.engine.accounts import check_account
from seedance_async.integrations.engine.addresses import engine_address
from seedance_async.integrations.engine.database import AWAY_WAIT, EngineAwayError, patiently
from seedance_async.integrations.engine.dbos_records import Records, Runner, restore_threads
from seedance_async.integrations.engine.enqueuing import enqueue, read_jobs
from seedance_async.integrations.engine.files import PlacedFiles
from seedance_async.integrations.engine.following import Follower
from seedance_async.integrations.engine.intents import Intent
from seedance_async.integrations.engine.liveness import FileLiveness, Liveness, PostgresLiveness
from seedance_async.integrations.engine.places import read_place
from seedance_async.integrations.engine.tables import Tables
from seedance_async.integrations.engine.worker import JobSteps
from seedance_async.logs import Log
from seedance_async.models import Request
from seedance_async.models.rules import true_or_false
from seedance_async.retry import KEY_TRUSTED
from seedance_async.setting_sources import usable
from seedance_async.stream import first_problem

log: Log = Log(__name__)

P = ParamSpec("P")
T = TypeVar("T")

CHECK_INTERVAL: Final = 1.0
"""Seconds between two checks for workers that have died."""

INTERVALS_AFTER_A_START: Final = 3
"""So many intervals after the database has started, others are checked: the live ones lock their names."""


class BatchEngine:
    """A batch over hosts, kept in one database.

    Args:
        url: ``postgresql://user@host/database``, or ``sqlite:///path`` for the processes of one host.
        batch: which of several batches in that database; each has names, keys and a cap of its own, and a
            folder of its name for its files. The files of the batch without a name are in no such folder.
        max_credits: most credits the batch may cost, refunds deducted. ``enqueue`` sets it, for all who
            enqueue into the batch; None leaves the cap that the batch has, or has it begin without one.
        replay_window: seconds for which a job whose answer was lost is sent again under its key, by ``work``.

    Raises:
        ConfigurationError: the URL cannot be read; on entering, the database cannot be used.

    Use it with ``async with``, in one event loop.

    Example::

        async with BatchEngine("postgresql://studio@db/seedance") as engine:
            await engine.enqueue("jobs.jsonl")             # on any host
            async for result in engine.results():          # on any host
                print(result.name, result.state)

        async with SeedanceClient() as client, BatchEngine(url) as engine:
            await engine.work(client, "/shared/clips")     # on every worker's host
    """

    def __init__(
        self,
        url: str,
        *,
        batch: str = "",
        max_credits: float | None = None,
        replay_window: float = KEY_TRUSTED,
    ) -> None:
        found = engine_address(url)
        del url  # it may hold a password, and what fails below shows this frame
        self._address = usable(found)
        arguments.check(
            "BatchEngine",
            batch=(_batch_name, batch),
            max_credits=(arguments.amount, max_credits),
            replay_window=(arguments.patience, replay_window),
        )
        self._batch = batch
        self._max_credits = max_credits
        self._replay_window = replay_window
        self._followed: Sequence[Intent] | None = None
        self._plan: RunPlan | None = None
        self._opened: tuple[Tables, Records] | None = None

    def __repr__(self) -> str:
        return f"BatchEngine({self._address.shown!r}, batch={self._batch!r})"

    @property
    def shown(self) -> str:
        """Where the engine is, for messages: without a password."""
        return self._address.shown

    async def __aenter__(self) -> Self:
        """Connect, and make the tables if they are missing."""
        self._opened = await to_thread.run_sync(self._open)
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """Close every connection."""
        if self._opened is not None:
            (tables, records), self._opened = self._opened, None
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(records.close)
                await to_thread.run_sync(tables.close)

    def _open(self) -> tuple[Tables, Records]:
        tables = Tables(self._address)
        try:
            tables.create()  # first: it says in our words what is wrong with the database
            with tables.reached((DBAPIError,)):
                return tables, Records(self._address)
        except BaseException:
            tables.close()
            raise

    @property
    def _parts(self) -> tuple[Tables, Records]:
        if self._opened is None:
            raise ClientStateError("the engine is not open; use `async with BatchEngine(...) as engine:`")
        return self._opened

    async def enqueue(
        self, jobs: str | os.PathLike[str] | Iterable[Job | Request] | AsyncIterable[Job | Request]
    ) -> Sequence[str]:
        """Put jobs into the queue; one that is there already stays the same job, and is not paid again.

        A job that has stopped short of its end (no credits, an answer that was lost) is taken up again where
        it stopped, under its key. All of a manifest is read before anything of it is enqueued.

        Args:
            jobs: the path of a manifest (``-`` is standard input), or jobs or requests, which must be finite.

        Returns:
            Their idempotency keys, in order.

        Raises:
            ManifestError: with everything that is wrong. Nothing was enqueued.

        While the database is away it waits. Left before it returns, some of the jobs may be enqueued.
        """
        tables, records = self._parts
        entries = await read_jobs(jobs)
        put = partial(enqueue, tables, records, self._batch, entries, cap=self._max_credits)
        enqueued = await patiently(put)
        self._followed, self._plan = enqueued.intents, enqueued.plan
        self._max_credits = enqueued.plan.max_credits
        return [intent.key for intent in self._followed]

    async def check_results(self, directory: str | os.PathLike[str]) -> None:
        """See that the jobs which are paid by the results in a directory are on record here.

        Another database derives other keys: what is enqueued there for these jobs is paid again.

        Raises:
            ConfigurationError: one is not.
        """
        tables, _ = self._parts
        paid = await to_thread.run_sync(paid_keys, Path(directory))
        known = await patiently(tables.states, list(paid))
        unknown = next((key for key in paid if key not in known), None)
        if unknown is not None:
            raise ConfigurationError(
                f"{directory}: {RESULTS} has {paid[unknown]}, paid under the key {unknown:.40}, and the "
                f"engine at {self.shown} has no record of it: it is another database, and would pay again. "
                "Name the one in which this batch was enqueued, or use another directory"
            )

    @property
    def plan(self) -> RunPlan | None:
        """What the workers were about to send for the jobs enqueued last; None if none were."""
        return self._plan

    def follow(self) -> Follower:
        """What becomes of the jobs that were enqueued here; of all in the batch, if none were."""
        tables, records = self._parts
        return Follower(tables, records, self._batch, self._followed, max_credits=self._max_credits)

    async def results(self) -> AsyncGenerator[JobResult]:
        """Each job as it ends, those that have ended already first; see ``follow`` for the sums.

        Yields:
            A result for every job. One that no worker can bring further for now is yielded as it stands, and
            its error says why. ``files`` are below the place of the workers.
        """
        async for entry, error, earlier in self.follow().ends():
            yield Follower.result(entry, error, earlier=earlier)

    async def work(
        self,
        client: SeedanceClient,
        directory: str | os.PathLike[str],
        *,
        output_name: str = names.DEFAULT,
        embed: bool = True,
        task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
    ) -> None:
        """Take jobs of every batch in the database, until cancelled.

        Cancelled, it sends nothing more and waits shortly for the answers on the wire; its jobs are continued
        by other workers, or by the next one. A worker that dies is noticed by the others in a second or
        two. One worker to a process.

        Args:
            client: open; its budget and its schedule decide when something is sent.
            directory: where files go: a directory that all workers share, or an object store's URL.
            output_name: where files go below it; see ``names.Template``.
            embed: put each job's prompt into its files' own metadata.
            task_status: for ``await task_group.start(engine.work, client, directory)``, which returns once
                jobs are taken.

        Raises:
            UnauthorizedError: the key was refused.
            ConfigurationError: the jobs belong to another account, or an argument makes no sense.
            ClientStateError: this process has a worker, or uses DBOS for something else.
        """
        tables, records = self._parts
        arguments.check("work", output_name=(arguments.text, output_name), embed=(true_or_false, embed))
        files = PlacedFiles(client, read_place(directory), names.Template(output_name), embed=embed)
        await check_account(client, tables, self.shown)
        steps = JobSteps(client, tables, records, files, replay_window=self._replay_window)
        name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(8)}"
        runner = Runner(self._address, name, steps)
        try:
            await self._run(client, runner, self._liveness(tables, name), name, task_status)
        except ExceptionGroup as group:  # of one error: callers expect no group
            raise first_problem(group) from group
        finally:
            runner.free()
        if steps.fatal is not None:
            raise steps.fatal

    async def _run(
        self,
        client: SeedanceClient,
        runner: Runner[JobSteps],
        liveness: Liveness,
        name: str,
        task_status: TaskStatus[None],
    ) -> None:
        """Take jobs as the worker of this process."""
        _, records = self._parts
        steps = runner.steps
        async with anyio.create_task_group() as watch:
            watch.start_soon(_end_with, client, steps)
            is_trusted = await patiently(liveness.connect)
            watch.start_soon(_watch, liveness, records, name, is_trusted)
            try:
                await runner.start()
                task_status.started()
                await steps.ended.wait()
            finally:
                with anyio.CancelScope(shield=True):
                    await steps.stop()
                    await to_thread.run_sync(runner.close)
                    restore_threads()
                    await to_thread.run_sync(liveness.close)
                watch.cancel_scope.cancel()

    def _liveness(self, tables: Tables, name: str) -> Liveness:
        path = self._address.path
        return (
            PostgresLiveness(tables, name)
            if path is None
            else FileLiveness(path.with_name(f"{path.name}.workers"), name)
        )


async def _watch(liveness: Liveness, records: Records, name: str, is_trusted: bool) -> None:
    """Find workers that have died, and give their jobs to others."""
    while True:
        try:
            if not is_trusted:
                await anyio.sleep(INTERVALS_AFTER_A_START * CHECK_INTERVAL)
            while True:
                await anyio.sleep(CHECK_INTERVAL)
                await to_thread.run_sync(_take_over, liveness, records, name)
        except Exception as problem:
            # The engine may raise anything here; the worker continues, and tries again.
            if not isinstance(problem, EngineAwayError):
                log.warning("the search for dead workers failed, and is repeated: %r", problem)
            await anyio.sleep(AWAY_WAIT)
            is_trusted = False
            await patiently(liveness.connect)


def _take_over(liveness: Liveness, records: Records, name: str) -> None:
    """One check of this worker and of the others. Blocking."""
    liveness.check()
    for other in sorted(records.owners() - {name}):
        with liveness.claim(other) as is_dead:
            if is_dead and (keys := records.give_back(other)):
                log.warning("worker %s has died; %d of its jobs continue on other workers", other, len(keys))


async def _end_with(client: SeedanceClient, steps: JobSteps) -> None:
    """End the worker when its client is closed."""
    steps.fatal = await client.running_engine().end()
    steps.ended.set()


def _batch_name(value: object) -> str | None:
    return None if isinstance(value, str) and "\0" not in value else "must be text"
