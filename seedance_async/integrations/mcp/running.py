"""Running plans: batches in the background of a server, each taken to its end however often it is begun.

A plan that was allowed is begun by whoever asks for it first and gone on with by whoever asks next, in this
server or the one after it; its journal and the record of plans know how far it has come.

What is made anew is ordered once: the order is in the batch's journal before the record says ``begun``. A
server that dies before that repeats the order, which the journal knows; one that dies after it gives none.

The record also says which journal that was, before anything is sent. Another one in its place knows nothing
of what was paid, and would pay all of it again under new keys: it is refused.
"""

from __future__ import annotations

import hashlib
from collections import deque
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

import anyio
from anyio import to_thread

from seedance_async.batch.journal.remains import JOURNAL
from seedance_async.batch.report import write_gallery_of
from seedance_async.batch.runner import BatchRunner
from seedance_async.batch.states import State
from seedance_async.batch.summary import SETTLED
from seedance_async.errors import JournalError, SeedanceError
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
"""Seconds that a call waits for a batch to be ready; clients give up a call that takes long."""

NEWEST: Final = 8
"""Files and failures that are remembered for the next answer."""


class Running:
    """A plan at work in this process, or what became of it.

    Attributes:
        order: the plan.
        directory: of its batch.
        changed: set when a job has ended, and at the end.
        summary: how the batch stands; None until its journal is open.
        error: what ended it; None if nothing did.
        is_over: whether it has left off, in whichever way.
        newest: what was saved last.
        failures: what ended otherwise last.
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
        """Why not all of it was sent, or why it broke off."""
        summary = self.summary
        return self.error or (summary.stopped if summary else None)

    @property
    def is_elsewhere(self) -> bool:
        """Whether another process works on it, or did when this one tried."""
        return isinstance(self.error, JournalError) and self.error.is_locked

    def take(self, result: JobResult) -> None:
        """Take in a job that has ended."""
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
        """What this server knows of a batch's newest run."""
        return self._running.get(batch_id)

    def check_room(self) -> None:
        """See that one more may begin.

        Raises:
            RefusedError: too many run.
        """
        if sum(not each.is_over for each in self._running.values()) >= MOST_RUNNING:
            raise RefusedError(
                "TooMuch",
                f"{MOST_RUNNING} batches run already",
                what_to_do="wait for one of them, then submit this plan",
            )

    def check_free(self, order: Order) -> None:
        """See that the batch of a plan does not run for another plan.

        Raises:
            RefusedError: it does.
        """
        running = self._running.get(order.batch_id)
        if running is not None and not running.is_over and running.order.plan_id != order.plan_id:
            raise RefusedError(
                "BatchBusy",
                f"the batch {order.batch_id} runs for another plan",
                what_to_do="wait until that has ended, then submit this plan",
                next_call=f'wait("{order.batch_id}")',
            )

    async def go_on(self, order: Order, directory: Path) -> Running:
        """Begin an allowed plan, or go on with it; one that runs is only returned.

        Raises:
            RefusedError: it was changed since it was planned, or too many run.
        """
        running = self._running.get(order.batch_id)
        if running is not None and not running.is_over:
            self.check_free(order)
            return running
        self.check_room()
        running = self._running[order.batch_id] = Running(order, directory)
        self._tasks.start_soon(self._run, running)
        with anyio.move_on_after(PATIENCE):  # a large plan takes longer; whoever asks next sees it running
            await running.ready.wait()
        return running

    async def _run(self, running: Running) -> None:
        """Take a plan to its end; what goes wrong is kept for whoever asks."""
        try:
            await to_thread.run_sync(check_unchanged, running.order, running.directory)
            await self._take_through(running)
        except (SeedanceError, RefusedError, OSError) as problem:
            running.error = problem
        except Exception as problem:  # a mistake of ours ends this batch's run, and nothing else
            log.critical("the batch %s broke off", running.order.batch_id, exc_info=problem)
            running.error = problem
        finally:
            running.is_over = True
            running.ready.set()
            running.changed.set()

    async def _take_through(self, running: Running) -> None:
        order, manifest = running.order, str(running.directory / MANIFEST)
        makes_anew = bool(order.reroll) and not order.begun
        runner = BatchRunner(
            self._client,
            running.directory,
            max_credits=order.cap,
            reroll=order.reroll if makes_anew else (),
            takes=order.takes if makes_anew else 1,
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
        """The marks of the journals that plans of a batch have begun in: one, or none yet. Blocking."""
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
        "the batch's journal is gone, or another is in its place: what was paid is not known any more",
        what_to_do="tell the person to put the journal back into the batch's directory. Never plan these "
        "jobs again: they may be paid already",
        money_moved="nothing new",
    )


def check_unchanged(order: Order, directory: Path) -> None:
    """See that a plan is what was planned. Blocking.

    Raises:
        RefusedError: its manifest or an input was changed since, or is gone.
    """
    try:
        is_same = digest_of(directory) == order.digest
    except OSError:
        is_same = False
    if not is_same:
        raise RefusedError(
            "PlanChanged",
            "the plan's manifest or inputs are not what was planned and priced",
            what_to_do="plan it anew; what was paid stays in the batch's directory",
            next_call="plan(jobs=[...])",
        )


def open_jobs(counts: Mapping[State, int] | Mapping[str, int]) -> int:
    """Jobs that have not come to their end."""
    return sum(count for state, count in counts.items() if state not in SETTLED)
