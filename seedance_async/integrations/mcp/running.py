"""The runs of plans: batches in the background of a server, each of which can be stopped and resumed.

The first call that needs an allowed plan starts it, and a later call resumes it, in this server process or
the next. The batch's journal and the record of plans hold how far it is.

New takes are ordered once: the order is in the batch's journal before the record says ``begun``. A server
that dies before that repeats the order, which the journal recognises; one that dies after it orders nothing.

The record also holds an identifier of that journal, before anything is sent. Another journal in its place
would not contain what was paid, and everything would be paid again under new keys: it is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

import anyio
from anyio import to_thread

from seedance_async.batch.journal.remains import JOURNAL
from seedance_async.batch.report import write_gallery_of
from seedance_async.batch.run_options import PlanOptions
from seedance_async.batch.runner import BatchRunner
from seedance_async.batch.states import State
from seedance_async.batch.summary import SETTLED
from seedance_async.errors import JournalError, SeedanceError
from seedance_async.integrations.mcp import planning
from seedance_async.integrations.mcp.answers import RefusedError
from seedance_async.integrations.mcp.planning import digest_of
from seedance_async.integrations.mcp.workspace import MANIFEST
from seedance_async.logs import Log
from seedance_async.signals import Signal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from anyio.abc import TaskGroup

    from seedance_async.batch.jobs import JobResult
    from seedance_async.batch.journal import Journal
    from seedance_async.batch.summary import Summary
    from seedance_async.client import SeedanceClient
    from seedance_async.integrations.mcp.orders import Order, Orders

log: Log = Log(__name__)

MOST_RUNNING: Final = 8
"""Batches at once; all share the account's limit, so more would not be faster."""

PATIENCE: Final = 10.0
"""Seconds that a call waits for a batch to be ready; clients cancel a call that takes long."""

NEWEST: Final = 8
"""Files and failures that are remembered for the next answer."""


class Running:
    """A run of a plan in this process, or its result.

    Attributes:
        order: the plan.
        directory: of its batch.
        changed: set when a job has ended, and at the end.
        summary: how the batch stands; None until its journal is open.
        error: what broke it off; None if nothing did.
        is_over: whether it has ended or was stopped, for any reason.
        newest: the last jobs that were saved.
        failures: the last jobs that ended without being saved.
    """

    def __init__(self, order: Order, directory: Path) -> None:
        self.order = order
        self.directory = directory
        self.changed: Signal = Signal()
        self.ready: anyio.Event = anyio.Event()
        self.error: Exception | None = None
        self.is_over: bool = False
        self.newest: deque[JobResult] = deque(maxlen=NEWEST)
        self.failures: deque[JobResult] = deque(maxlen=NEWEST)
        self.runner: BatchRunner | None = None

    @property
    def summary(self) -> Summary | None:
        """How the batch stands."""
        return self.runner.summary if self.runner is not None else None

    @property
    def stopped(self) -> Exception | None:
        """Why not everything was sent, or why it broke off."""
        summary = self.summary
        return self.error or (summary.stopped if summary else None)

    @property
    def is_elsewhere(self) -> bool:
        """Whether another process was running it when this one tried."""
        return isinstance(self.error, JournalError) and self.error.is_locked

    def take(self, result: JobResult) -> None:
        """Note a job that has ended."""
        if not result.earlier:
            (self.newest if result.state is State.SAVED else self.failures).append(result)
        self.changed.set()


class Batches:
    """The batches of a server.

    Args:
        client: open.
        orders: the record of plans.
        tasks: that they run in.
    """

    def __init__(self, client: SeedanceClient, orders: Orders, tasks: TaskGroup) -> None:
        self._client = client
        self._orders = orders
        self._tasks = tasks
        self._running: dict[str, Running] = {}

    def of(self, batch_id: str) -> Running | None:
        """The newest run of a batch in this process."""
        return self._running.get(batch_id)

    def check_room(self) -> None:
        """Check that one more may begin.

        Raises:
            RefusedError: too many are running.
        """
        if sum(not each.is_over for each in self._running.values()) >= MOST_RUNNING:
            raise RefusedError(
                "TooMuch",
                f"{MOST_RUNNING} batches are running already",
                what_to_do="wait for one of them, then submit this plan",
            )

    def check_free(self, order: Order) -> None:
        """Check that the batch of a plan is not running for another plan.

        Raises:
            RefusedError: it is.
        """
        running = self._running.get(order.batch_id)
        if running is not None and not running.is_over and running.order.plan_id != order.plan_id:
            raise RefusedError(
                "BatchBusy",
                f"the batch {order.batch_id} is running for another plan",
                what_to_do="wait until that has ended, then submit this plan",
                next_call=f'wait("{order.batch_id}")',
            )

    def is_at_work(self, order: Order) -> bool:
        """Whether a plan runs in this process."""
        running = self._running.get(order.batch_id)
        return running is not None and not running.is_over and running.order.plan_id == order.plan_id

    async def check_current(self, order: Order, directory: Path) -> None:
        """Check that new takes cost what they did when they were planned.

        The cap of such a plan is above what its batch had cost by then. Had the batch spent more since, the
        plan would use up its allowance and pay for nothing.

        Raises:
            RefusedError: its batch has been continued since.
        """
        if not order.reroll or order.begun:
            return
        now = await planning.quote(
            directory / MANIFEST,
            planning.Basis(has_store=self._client.has_media_store),
            directory=directory,
            options=PlanOptions(reroll=order.reroll, takes=order.takes),
        )
        if (now.spent, now.jobs) != (order.spent, order.jobs):
            raise _outdated(order)

    async def go_on(self, order: Order, directory: Path) -> Running:
        """Start or resume an allowed plan; one that is running is only returned.

        Raises:
            RefusedError: too many are running, or its batch is running for another plan.
        """
        running = self._running.get(order.batch_id)
        if running is not None and not running.is_over:
            self.check_free(order)
            return running
        self.check_room()
        running = self._running[order.batch_id] = Running(order, directory)
        self._tasks.start_soon(self._run, running)
        with anyio.move_on_after(PATIENCE):  # a large plan takes longer; the next call sees it running
            await running.ready.wait()
        return running

    async def _run(self, running: Running) -> None:
        """Run a plan to its end; an error is kept for the next call."""
        try:
            await to_thread.run_sync(check_unchanged, running.order, running.directory)
            await self.check_current(running.order, running.directory)
            await self._take_through(running)
        except (SeedanceError, RefusedError, OSError) as problem:
            running.error = problem
        except Exception as problem:  # an unexpected error ends this batch's run, and nothing else
            log.critical("the batch %s broke off", running.order.batch_id, exc_info=problem)
            running.error = problem
        finally:
            running.is_over = True
            running.ready.set()
            running.changed.set()

    async def _take_through(self, running: Running) -> None:
        order, manifest = running.order, str(running.directory / MANIFEST)
        makes_takes = bool(order.reroll) and not order.begun
        runner = BatchRunner(
            self._client,
            running.directory,
            max_credits=order.cap,
            reroll=order.reroll if makes_takes else (),
            takes=order.takes if makes_takes else 1,
        )
        known = await to_thread.run_sync(self._journals_of, order)
        if known and not (running.directory / JOURNAL).exists():
            raise _replaced()  # before a new one is made in its place
        async with runner:
            mark = await _mark_of(runner.journal)
            if known and mark not in known:
                raise _replaced()
            await runner.prepare(manifest)
            if not order.begun:
                await to_thread.run_sync(self._orders.begun, order.plan_id, mark)
            running.runner = runner
            running.ready.set()
            async with aclosing(runner.run(manifest)) as results:
                async for result in results:
                    running.take(result)
            await self._write_gallery(runner, running.directory)
            if runner.summary.stopped is None and not open_jobs(runner.summary.counts):
                await to_thread.run_sync(self._orders.ended, order.plan_id)

    def _journals_of(self, order: Order) -> set[str]:
        """The marks of the journals that plans of a batch were started in: one, or none yet. Blocking."""
        plans = self._orders.of_batch(order.batch_id)
        return {plan.journal for plan in plans if plan.journal}

    async def _write_gallery(self, runner: BatchRunner, directory: Path) -> None:
        try:
            await write_gallery_of(runner.journal, directory)
        except (OSError, JournalError) as problem:  # what is saved is saved
            log.warning("the gallery could not be written: %s", problem)


async def _mark_of(journal: Journal) -> str:
    """What a journal is recognised by: a hash of what its keys are derived from."""
    nonce = await journal.fact("nonce")
    return hashlib.sha256(f"seedance-mcp {nonce}".encode()).hexdigest()[:32]


def _replaced() -> RefusedError:
    return RefusedError(
        "JournalReplaced",
        "the batch's journal is gone, or another one is in its place: what was paid is no longer known",
        what_to_do="tell the person to put the journal back into the batch's directory. Never plan these "
        "jobs again: they may be paid already",
        money_moved="nothing new",
    )


def _outdated(order: Order) -> RefusedError:
    names = json.dumps(order.reroll, ensure_ascii=False)
    return RefusedError(
        "PlanOutdated",
        "the batch has been continued since this plan was priced; nothing was sent for it",
        what_to_do="call reroll again, and submit that plan",
        next_call=f'reroll("{order.batch_id}", {names}, takes={order.takes})',
    )


def check_unchanged(order: Order, directory: Path) -> None:
    """Check that the files of a plan are what was planned. Blocking.

    Raises:
        RefusedError: its manifest or an input has been changed or deleted.
    """
    try:
        is_same = digest_of(directory) == order.digest
    except OSError:
        is_same = False
    if not is_same:
        raise _changed(order)


def _changed(order: Order) -> RefusedError:
    message = "the plan's manifest or inputs are not what was planned and priced"
    if not order.begun:
        advice = "call plan again with what is wanted now"
        return RefusedError("PlanChanged", message, what_to_do=advice, next_call="plan(jobs=[...])")
    return RefusedError(
        "PlanChanged",
        message,
        what_to_do="tell the person to restore the files of the batch's directory. Do not plan these jobs "
        "again: what was paid is in its journal, and would be paid a second time",
        next_call=f'submit("{order.plan_id}") once they are restored',
        money_moved="nothing new",
    )


def open_jobs(counts: Mapping[State, int] | Mapping[str, int]) -> int:
    """How many jobs have not ended."""
    return sum(count for state, count in counts.items() if state not in SETTLED)
