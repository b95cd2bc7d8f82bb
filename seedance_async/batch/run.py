"""One run of a batch: a coroutine for every POST and its jobs, from the intent to the delivered result.

The order of the steps is the promise of the package::

    intent on disk -> POST -> ids on disk -> polled -> result on disk -> files -> saved on disk -> delivered

``Run._run`` follows it, from ``_make`` (in flight) to ``_save`` and ``Delivery``. When a run is stopped, no
more POSTs are sent; the results of accepted ones are still collected, unless the API key is refused.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import anyio
from attrs import evolve

from seedance_async import clocks
from seedance_async.batch import pages
from seedance_async.batch.canaries import Canaries
from seedance_async.batch.collecting import Collector, End
from seedance_async.batch.delivering import Delivery
from seedance_async.batch.queue import JobQueue, Post
from seedance_async.batch.reading_ahead import ReadingAhead
from seedance_async.batch.refunded import RefundedJobs
from seedance_async.batch.saving import DOWNLOADS
from seedance_async.batch.sending import Parts, Sender
from seedance_async.batch.sources import Sources
from seedance_async.batch.states import State
from seedance_async.batch.trials import Trials
from seedance_async.batch.verdicts import Outlook
from seedance_async.engine import PRICE_AWAITED
from seedance_async.errors import (
    CreditCapError,
    JournalError,
    MediaError,
    RateLimitedError,
    SeedanceError,
    UnauthorizedError,
)
from seedance_async.logs import Log
from seedance_async.models import Task
from seedance_async.signals import Signal
from seedance_async.stream import Stream

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Sequence
    from pathlib import Path

    from anyio.abc import TaskGroup

    from seedance_async.batch.jobs import JobResult
    from seedance_async.batch.journal import JobEntry, Journal
    from seedance_async.batch.ledger import Ledger
    from seedance_async.batch.run_options import RunOptions
    from seedance_async.batch.saving import Saver
    from seedance_async.budget.gate import Slot
    from seedance_async.engine import Engine
    from seedance_async.models import Kind, Submission
    from seedance_async.prices import Tariff
    from seedance_async.scheduling.poller import Follower

log: Log = Log(__name__)


class Run:
    """One run. Created after the run has begun in the journal, and used once.

    Attributes:
        delivery: delivers results to the caller.
    """

    def __init__(
        self,
        engine: Engine,
        journal: Journal,
        ledger: Ledger,
        saver: Saver,
        *,
        directory: Path,
        options: RunOptions,
    ) -> None:
        self._engine = engine
        self._journal = journal
        self._ledger = ledger
        self._saver = saver
        self._directory = directory
        self._options = options
        self._stream: Stream[JobResult] = Stream(engine, max_in_flight=options.max_in_flight)
        canaries = Canaries(options.canary, options.accept_delivery)
        self._queue = JobQueue(ledger, share_posts=options.share_posts, canaries=canaries)
        self._collector = Collector(journal, ledger)
        self._trials = Trials(engine, journal, ledger, canaries)
        self._sources = Sources(engine, journal, ledger)
        self._changed = Signal()
        self._outlook = Outlook()
        self._refunded = RefundedJobs(journal, most=options.reroll_refunded)
        self._sender = Sender(
            engine,
            journal,
            ledger,
            self._stream,
            self._changed,
            replay_window=options.replay_window,
            pay_twice=options.pay_twice,
            project=options.project,
        )
        self._under_way = 0  # posts that were started and whose jobs may return to the queue
        self._suspect: Post | None = None
        self._journal_failure: JournalError | None = None
        self._reading = ReadingAhead(self._queue, self._changed)
        self._downloads = anyio.Semaphore(DOWNLOADS)
        self._older_saved = anyio.Event()
        self.delivery: Delivery = Delivery(self._stream, journal, directory)

    @property
    def stopped(self) -> SeedanceError | None:
        """Why no more jobs are sent, with precedence for a journal failure; None if the run goes on."""
        return self._journal_failure or self._trials.latest(self._stream.stopped)

    def start(self, begun: AsyncIterable[Post], planned: AsyncIterable[list[JobEntry]]) -> None:
        """Start the run in the client's task group.

        Args:
            begun: posts that an earlier run has sent; they go first, without a new reservation.
            planned: chunks of jobs to be sent; read a bounded way ahead.
        """
        self._stream.start(partial(self._feed, begun, planned))

    async def results(self) -> AsyncGenerator[JobResult]:
        """Yield each job as it ends.

        Raises:
            SeedanceError: the journal or the source of the jobs failed; raised after all results were
            yielded.
        """
        async for result in self._stream.results():
            yield result

    async def deliver_earlier(self, entry: JobEntry) -> None:
        """Deliver a job that ended in an earlier run, when its files have their present names."""
        if entry.saved_as is not None:
            await self._saver.mover.settle(entry.number)
            entry = await self._journal.do(self._journal.store.entry, entry.number)
        await self.delivery.deliver_earlier(entry)

    async def leave(self) -> None:
        """End a run that was started, after a short grace period for POSTs on the wire."""
        if not self._stream.is_finished:
            self.stop(SeedanceError("the caller left"))
        with anyio.CancelScope(shield=True):
            await self._stream.last_answers()
            self._stream.leave()
            await self._stream.finished()

    def stop(self, error: SeedanceError) -> None:
        """Send nothing more; accepted jobs are still collected, unless the API key is refused."""
        if isinstance(error, JournalError):  # to be raised even if the run was stopped before
            self._journal_failure = self._journal_failure or error
        self._stream.stop(error, collect=not isinstance(error, UnauthorizedError))
        self._changed.set()

    # --- the promise

    async def _run(self, post: Post) -> None:
        """Take a post and its jobs through all steps; see the top of the file."""
        try:
            for job, error in await self._make(post):
                if job.state is State.COMPLETED:
                    job, error = await self._save_after_older(job)  # noqa: PLW2901 - the same job, further on
                await self.delivery.deliver(job, error)
        except JournalError as failure:
            self.stop(failure)

    async def _make(self, post: Post) -> list[End]:
        """In flight: intent on disk, POST, ids on disk, polled, result on disk."""
        try:
            async with self._stream.place:
                with self._engine.observer.work("job", job_name=post.name, model=post.kind.model or ""):
                    answer, followers = await self._submit(post)
                    if isinstance(answer, SeedanceError):
                        ends = await self._not_accepted(post, answer)
                    else:
                        await self._confirm_price(answer, post.jobs[0].tariff)
                        outcomes = await self._stream.outcomes(followers)
                        ends = await self._collect(post, answer, outcomes)
                self._trials.ended(post, [job for job, _ in ends])
                ends = await self._repeat_refunded(ends)
            return [*ends, *await self._pass_on(ends)]
        finally:
            self._under_way -= 1
            self._changed.set()

    async def _submit(self, post: Post) -> tuple[Parts | SeedanceError, list[Follower]]:
        """Return the jobs' parts of the answer and the followers of their tasks, or why there are none."""
        then = await self._sources.path_after(post)
        if post.state is State.ACCEPTED:
            parts: Parts | SeedanceError = {job.number: self._resumed(job) for job in post.jobs}
            return parts, self._follow(parts, then)
        renewed: set[int] = set()
        while True:
            if problem := await self._sources.publish(post):
                return problem, []
            async with self._stream.turn(post.kind, then, with_media=post.has_media) as slot:
                if slot is None:
                    return SeedanceError(f"not sent: {self.stopped and self.stopped.message}"), []
                outdated = await self._sources.outdated(post) - renewed
                if not outdated and (urls := self._sources.file_urls(post)) is not None:
                    parts = await self._answer(post, slot, urls)
                    return parts, self._follow(parts, then)
                slot.cancel()
            await self._sources.renew(outdated)
            renewed |= outdated

    async def _answer(self, post: Post, slot: Slot, urls: dict[str, str]) -> Parts | SeedanceError:
        answer = await self._stream.protect(self._sender.post(post, slot, urls))
        self._judge(post, answer)
        return answer or SeedanceError("not answered before the run ended; the next run asks again")

    def _judge(self, post: Post, answer: Parts | SeedanceError | None) -> None:
        """Stop the run if the next post would probably fail in the same way."""
        if self._suspect is post:
            self._suspect = None
        if isinstance(answer, SeedanceError):
            is_new = post.state is State.PLANNED
            recurs = self._outlook.failed(answer, is_new=is_new, now=anyio.current_time())
            if recurs or (isinstance(answer, CreditCapError) and not is_new):
                self.stop(answer)
        elif answer is not None:
            self._outlook.accepted()
        self._changed.set()

    async def _confirm_price(self, parts: Parts, tariff: Tariff) -> None:
        """Under a cap, ask the tasks of the first job of a tariff what it costs: the answer may say less."""
        number = next((number for number in parts if self._ledger.is_to_confirm(number)), None)
        part = None if number is None else parts[number]
        if number is None or part is None:
            return
        charged, tasks = None, list[Task]()
        try:
            if self._queue or not self._reading.is_ended:  # else nobody waits for it
                with anyio.move_on_after(PRICE_AWAITED), suppress(SeedanceError):
                    tasks = [await self._engine.task(task_id) for task_id in part.task_ids]
            if tasks and all(task.credits_used is not None for task in tasks):
                charged = await self._journal.do(self._journal.store.confirm_charge, number, tasks)
        finally:
            self._ledger.confirm(number, tariff, charged)
            self._changed.set()

    async def _not_accepted(self, post: Post, error: SeedanceError) -> list[End]:
        """Return the ends of a post's jobs that was not accepted; a 429 or a risen price fails no job."""
        ends: list[End] = []
        for job in post.jobs:
            entry = await self._journal.do(self._journal.store.entry, job.number)
            if entry.state is State.PLANNED:
                self._ledger.release(job.number)
            if entry.state is not State.PLANNED or isinstance(error, MediaError):
                ends.append((entry, error))
            elif isinstance(error, RateLimitedError | CreditCapError) and self.stopped is None:
                self._requeue(entry)
            # Otherwise it is delivered at the end, with all jobs that were not sent.
        return ends

    def _requeue(self, entry: JobEntry) -> None:
        """Return a planned job to the queue, as one without a refused key."""
        self._reading.handled.add(entry.number)
        self._queue.add(evolve(entry, key=None))

    # --- collecting

    def _resumed(self, job: JobEntry) -> Submission | None:
        """Return the submission of a job accepted in an earlier run, and resume its tasks with their age."""
        if job.submission is not None:
            age = max(0.0, clocks.wall_now() - (job.accepted_at or 0.0))
            self._engine.resume(job.submission, job.kind, age=age)
        return job.submission

    def _follow(self, parts: Parts | SeedanceError, then: Sequence[Kind]) -> list[Follower]:
        if isinstance(parts, SeedanceError):
            return []
        ids = [task_id for part in parts.values() if part for task_id in part.task_ids]
        return self._engine.follow(ids, then=then)

    async def _collect(self, post: Post, parts: Parts, outcomes: Sequence[Task | SeedanceError]) -> list[End]:
        """Store the results; jobs that the POST did not start return to the queue."""
        ends = await self._collector.record(post, parts, outcomes)
        self._changed.set()
        for entry, error in ends:
            if entry.state is State.PLANNED:
                self._requeue(entry)
            if isinstance(error, UnauthorizedError):
                self.stop(error)
        return [end for end in ends if end[0].state is not State.PLANNED]

    async def _repeat_refunded(self, ends: list[End]) -> list[End]:
        """Return failed and refunded jobs to the queue if they may be repeated; return the other ends."""
        failed = {job.number for job, _ in ends if job.state is State.FAILED}
        if not failed or not self._options.reroll_refunded or self.stopped is not None:
            return ends
        self._reading.handled |= failed
        planned = {entry.number: entry for entry in await self._refunded.plan(failed)}
        for entry in planned.values():
            self._requeue(entry)
        return [end for end in ends if end[0].number not in planned]

    async def _pass_on(self, ends: Sequence[End]) -> list[End]:
        """Queue the jobs whose sources are ready now; return the jobs that are blocked now."""
        blocked: list[JobEntry] = []
        for job, _ in ends:
            ready, newly_blocked = await self._sources.pass_on(job.number)
            blocked += newly_blocked
            self._reading.add(ready)
        return [(job, None) for job in blocked]

    async def _save_after_older(self, job: JobEntry) -> End:
        """Save a job; if an older result may get files under its name first, after all older results."""
        if await self._journal.do(self._journal.store.is_preceded, job.number):
            await self._older_saved.wait()
        return await self._save(job)

    async def _save(self, job: JobEntry) -> End:
        """Download the files, and store that the job is saved."""
        async with self._downloads:
            job, error = await self._saver.save_on_record(job)
            if job.state is State.SAVED:
                self._trials.saved(job)
                self._stop_for_canaries()
            else:
                self._trials.not_ended(job)
            self._changed.set()
            return job, error

    # --- starting posts

    async def _feed(self, begun: AsyncIterable[Post], planned: AsyncIterable[list[JobEntry]]) -> None:
        """Start a coroutine for every post, as soon as it may be sent."""
        await self._trials.load()
        await self._sources.hold_begun()  # before any job waits in the queue
        async with anyio.create_task_group() as readers:
            readers.start_soon(self._save_left_over, readers)
            readers.start_soon(self._reading.run, planned, lambda: self.stopped is not None)
            await self._hand_out_begun(begun)
            self._stop_for_canaries()
            await self._hand_out_planned()
            self._stream.no_more_to_come()
            self._reading.end()
        self._reading.raise_problem()

    async def _hand_out_begun(self, begun: AsyncIterable[Post]) -> None:
        async for post in begun:
            if post.state is State.SUBMITTING:
                self._trials.canaries.wanted(post.kind)
                self._stop_for_canaries()
                await self._reserve_begun(post)
            if self.stopped is None:
                self._reading.handled.update(post.numbers)
                self._suspect = post if post.is_suspect else None
                await self._hand_out(post)
            # A suspect post is sent alone: if the run dies again, its cause is known.
            while self._suspect and self.stopped is None:
                await self._changed.wait()

    def _stop_for_canaries(self) -> None:
        """Stop the run if a canary does not match its request; accepted jobs are still collected."""
        if mismatch := self._trials.canaries.error:
            self.stop(mismatch)

    async def _reserve_begun(self, post: Post) -> None:
        """Wait until a POST without an answer may be replayed: it may be charged then, like a new one."""
        while self._ledger.is_awaiting() and self.stopped is None:
            await self._changed.wait()
        for number in post.numbers:
            self._ledger.await_price(number)

    async def _hand_out_planned(self) -> None:
        """Start all posts that may be sent, until there are no more jobs, or none that the cap allows."""
        self._stop_for_canaries()
        while self.stopped is None:
            post = self._queue.take()
            if post is not None:
                await self._hand_out_held(post)
            elif self._is_waited_for():
                if self._reading.is_ended and not self._queue:
                    self._stream.no_more_to_come()  # apart from jobs that return to the queue
                await self._changed.wait()
            elif self._queue and (self._reading.is_ended or self._queue.is_full):
                self.stop(self._queue.stuck())
            elif self._reading.is_ended:
                return
            else:
                await self._changed.wait()
            self._stop_for_canaries()

    def _is_waited_for(self) -> bool:
        """Whether a post under way may still change the queue: its jobs may return, or it is a canary."""
        return bool(self._under_way or (self._queue and self._trials.canaries.are_out))

    async def _hand_out_held(self, post: Post) -> None:
        """Start a post if the cap also allows the jobs that depend on it; otherwise set it aside."""
        if not await self._sources.hold_production(post):
            self._queue.set_aside(post)
            return
        self._changed.set()
        await self._trials.sent(post)
        await self._hand_out(post)

    async def _hand_out(self, post: Post) -> None:
        self._under_way += 1
        await self._stream.spawn(self._run, post)

    async def _save_left_over(self, savers: TaskGroup) -> None:
        """Download the files of jobs completed in earlier runs, those of older results first."""
        places, to_save = anyio.Semaphore(DOWNLOADS), self._journal.store.to_save
        begun = set[int]()
        try:
            async for job in pages.entries(self._journal, partial(to_save, only_renamed=True)):
                # A program's jobs are planned meanwhile, and may have given this one its name back.
                if not await self._journal.do(self._journal.store.is_preceded, job.number):
                    begun.add(job.number)
                    await places.acquire()
                    await self._save_one(job, places)
        finally:
            self._older_saved.set()
        # All others: one of them may have been renamed meanwhile, too.
        async for job in pages.entries(self._journal, partial(to_save, only_renamed=False)):
            if job.number not in begun:
                await places.acquire()
                savers.start_soon(self._save_one, job, places)

    async def _save_one(self, job: JobEntry, places: anyio.Semaphore) -> None:
        try:
            await self.delivery.deliver(*await self._save(job))
        except JournalError as failure:
            self.stop(failure)
        finally:
            places.release()
