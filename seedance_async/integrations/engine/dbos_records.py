"""DBOS, the engine that keeps each step of a job: everything that this package uses of it, and nothing else.

A job is a workflow whose id is its idempotency key and whose input is its intent. Its steps, in this order::

    begin    the exact bytes and the instant are on record: from here on the POST may have left
    post     what was accepted, or what the refusal proves
    collect  the final tasks, and the files
    pass_on  the jobs that take its output are released

A step that is on record is not run again, whichever worker goes on with the job. DBOS decides no retries:
that stays with ``seedance_async.retry``. Which workers count as dead is decided in ``liveness``.

Blocking, but for ``Runner.start``: call it in threads.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from attrs import frozen
from dbos import DBOS, DBOSClient, DBOSConfig, DBOSPortableJSONSerializer, EnqueueOptions, error

from seedance_async.errors import ClientStateError
from seedance_async.integrations.engine.database import pages

if TYPE_CHECKING:
    from collections.abc import Sequence

    import sqlalchemy as sa

    from seedance_async.integrations.engine.addresses import EngineAddress
    from seedance_async.integrations.engine.intents import Intent

APPLICATION: Final = "seedance"
QUEUE: Final = "seedance"
RETURNED: Final = "seedance.returned"
"""The queue of what a worker had in hand when it died, without a limit: all jobs that the others have in hand
may wait to learn the price of one of these."""

WORKFLOW: Final = "seedance.job"
VERSION: Final = "1"
"""Of the steps above: workers of another one leave each other's jobs alone."""

BEGIN: Final = 1
POST: Final = 2
COLLECT: Final = 3
STEPS: Final = {"begin": BEGIN, "post": POST, "collect": COLLECT}
"""The numbers of the steps, to which a job is set back."""

JOBS_AT_ONCE: Final = 50
"""Jobs that one worker has in hand: more than any budget of thirty requests a minute feeds."""

QUEUES: Final = [QUEUE, RETURNED]

POLL: Final = 0.5
"""Seconds between two queries of the queue."""

ACTIVE: Final = frozenset({"ENQUEUED", "PENDING", "DELAYED"})


class Steps(Protocol):
    """What a worker does at each step. Values are JSON."""

    async def begin(self, intent: dict[str, Any], /) -> dict[str, Any]:
        """Make ready to send; with ``state`` if the job ends here."""
        ...

    async def post(self, intent: dict[str, Any], begun: dict[str, Any], /) -> dict[str, Any]:
        """Send; the outcome so far."""
        ...

    async def collect(self, intent: dict[str, Any], posted: dict[str, Any], /) -> dict[str, Any]:
        """Wait for the tasks and save their files; the outcome."""
        ...

    async def pass_on(self, intent: dict[str, Any], outcome: dict[str, Any], /) -> None:
        """Tell what takes the job's output."""
        ...

    def enter(self, key: str) -> None:
        """A job is taken in hand, by the running task."""
        ...

    async def leave(self, key: str) -> None:
        """It is not any more."""
        ...


S = TypeVar("S", bound=Steps)

_steps: Steps | None = None  # DBOS is one for each process


def _worker() -> Steps:
    if _steps is None:
        raise ClientStateError("no worker runs in this process")
    return _steps


@DBOS.step(name="begin")
async def _begin(intent: dict[str, Any]) -> dict[str, Any]:
    return await _worker().begin(intent)


@DBOS.step(name="post")
async def _post(intent: dict[str, Any], begun: dict[str, Any]) -> dict[str, Any]:
    return await _worker().post(intent, begun)


@DBOS.step(name="collect")
async def _collect(intent: dict[str, Any], posted: dict[str, Any]) -> dict[str, Any]:
    return await _worker().collect(intent, posted)


@DBOS.step(name="pass_on")
async def _pass_on(intent: dict[str, Any], outcome: dict[str, Any]) -> None:
    await _worker().pass_on(intent, outcome)


@DBOS.workflow(name=WORKFLOW)
async def _job(intent: dict[str, Any]) -> dict[str, Any]:
    worker, key = _worker(), intent["key"]
    worker.enter(key)
    try:
        begun = await _begin(intent)
        if "state" in begun:
            outcome = begun
        else:
            outcome = await _post(intent, begun)
            if outcome["state"] == "accepted":
                outcome = await _collect(intent, outcome)
        await _pass_on(intent, outcome)
        return outcome
    finally:
        await worker.leave(key)


@frozen
class JobRecord:
    """What DBOS knows of a job.

    Attributes:
        is_active: whether it waits in the queue, or a worker has it.
        output: its outcome; None where it has not ended, or has broken down.
    """

    is_active: bool
    output: dict[str, Any] | None


class Records:
    """The jobs of one database, from outside of any worker."""

    def __init__(self, address: EngineAddress) -> None:
        _be_quiet()
        DBOS.migrate(address.url)
        self._client = DBOSClient(
            system_database_url=address.url,
            application_name=APPLICATION,
            serializer=DBOSPortableJSONSerializer(),  # DBOS would pickle
        )

    def close(self) -> None:
        """Close every connection."""
        self._client.destroy()

    def enqueue(self, connection: sa.Connection, intent: Intent) -> None:
        """Let workers take a job, as part of a transaction; one that is there already stays as it is."""
        options: EnqueueOptions = {
            "workflow_name": WORKFLOW,
            "queue_name": QUEUE,
            "workflow_id": intent.key,
            "app_version": VERSION,
        }
        self._client.enqueue_in_transaction(connection, options, intent.dump())

    def find(self, keys: Sequence[str]) -> dict[str, JobRecord]:
        """What is known of jobs, by their keys; those that were never enqueued are left out."""
        found: dict[str, JobRecord] = {}
        for page in pages(keys):
            for flow in self._client.list_workflows(workflow_ids=list(page), load_input=False):
                output = flow.output if isinstance(flow.output, dict) else None
                found[flow.workflow_id] = JobRecord(flow.status in ACTIVE, output)
        return found

    def set_back(self, key: str, step: int, *, queue: str = QUEUE) -> None:
        """Let workers take a job again that has ended, from a step on; one that is back already stays so."""
        try:
            self._client.rewind_workflow(key, start_step=step, queue_name=queue)
        except error.DBOSException:
            record = self.find([key]).get(key)
            if record is None or not record.is_active:  # otherwise another process was faster
                raise

    def next_step(self, key: str) -> int:
        """The first step of a job that is not on record, or has broken down."""
        done = {
            step["function_name"] for step in self._client.list_workflow_steps(key) if step["error"] is None
        }
        return next((number for name, number in STEPS.items() if name not in done), COLLECT)

    def owners(self) -> set[str]:
        """The workers that have jobs in hand, or had when they died."""
        flows = self._client.list_workflows(
            status="PENDING", queue_name=QUEUES, load_input=False, load_output=False
        )
        return {str(flow.executor_id) for flow in flows if flow.executor_id}

    def give_back(self, owner: str) -> list[str]:
        """Let others take what a dead worker had in hand."""
        flows = self._client.list_workflows(
            status="PENDING", queue_name=QUEUES, executor_id=owner, load_input=False, load_output=False
        )
        keys = [flow.workflow_id for flow in flows]
        if keys:
            self._client.resume_workflows(keys, queue_name=RETURNED)
        return keys


class Runner(Generic[S]):
    """DBOS in a worker's process, in the running loop. There can be one.

    Args:
        address: of the database.
        name: of the worker.
        steps: what it does with the jobs.

    Raises:
        ClientStateError: this process has a worker already, or uses DBOS itself.
    """

    def __init__(self, address: EngineAddress, name: str, steps: S) -> None:
        global _steps  # noqa: PLW0603 - as DBOS has it
        if _steps is not None or _is_taken():
            raise ClientStateError(
                "a process has one DBOS, and this one's is taken: start the worker in another process"
            )
        self._address = address
        self._name = name
        self.steps: S = steps
        _steps = steps

    async def start(self) -> None:
        """Take jobs."""
        config = DBOSConfig(
            name=APPLICATION,
            system_database_url=self._address.url,
            executor_id=self._name,
            application_version=VERSION,
            serializer=DBOSPortableJSONSerializer(),
            run_migrations=False,  # ``Records`` has
            log_level="CRITICAL",
        )
        DBOS(config=config)
        DBOS.listen_queues(QUEUES)
        DBOS.launch()
        await DBOS.register_queue_async(
            QUEUE, worker_concurrency=JOBS_AT_ONCE, polling_interval_sec=POLL, on_conflict="always_update"
        )
        await DBOS.register_queue_async(RETURNED, polling_interval_sec=POLL, on_conflict="always_update")

    def close(self) -> None:
        """Take no more jobs; what was in hand is for others. Blocking."""
        DBOS.destroy(workflow_completion_timeout_sec=0)

    def free(self) -> None:
        """Let another worker come into this process."""
        global _steps  # noqa: PLW0603 - as DBOS has it
        _steps = None


def restore_threads() -> None:
    """Give the running loop a thread pool again: DBOS has put its own there, and closed it."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(thread_name_prefix="asyncio"))


def _is_taken() -> bool:
    from dbos import _dbos  # noqa: PLC0415 - nothing public tells

    return _dbos._dbos_global_instance is not None  # noqa: SLF001


def _be_quiet() -> None:
    """Leave to our own log what is worth telling: DBOS warns of each query while a server restarts."""
    logging.getLogger("dbos").setLevel(logging.CRITICAL)
