"""The batch runner: bulk runs that may end at any instruction and be run again.

Nothing is paid twice, and nothing paid is lost.

    async with BatchRunner(client, "out", max_credits=500) as batch:
        async for result in batch.run("jobs.jsonl"):
            print(result.name, result.state)

The directory is the batch: its journal knows what was asked for, sent, accepted and saved. Running it again
goes on from there, in this process or the next, whatever ended the last one.
"""

from __future__ import annotations

import os
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import anyio
from anyio import to_thread

from seedance_async import arguments, clocks
from seedance_async.batch import names, reroll, results
from seedance_async.batch.account_check import check_account
from seedance_async.batch.intake import take_manifest, take_stream
from seedance_async.batch.jobs import Job, JobResult
from seedance_async.batch.journal import Changes, JobEntry, Journal, Rerolled
from seedance_async.batch.ledger import Ledger
from seedance_async.batch.queue import Post
from seedance_async.batch.reroll import UNFINISHED, takes_fault, words_fault
from seedance_async.batch.run import PAGE, Run
from seedance_async.batch.run_options import RunOptions
from seedance_async.batch.saving import Saver
from seedance_async.batch.states import State
from seedance_async.batch.summary import Summary
from seedance_async.batch.survey import DURATIONS
from seedance_async.client import SeedanceClient
from seedance_async.errors import (
    ClientStateError,
    ConfigurationError,
    JournalError,
    SeedanceError,
)
from seedance_async.logs import Log
from seedance_async.models import Request
from seedance_async.models.display import shown
from seedance_async.models.rules import optional, true_or_false, whole_number
from seedance_async.retry import KEY_TRUSTED

log: Log = Log(__name__)

SHOWN: Final = 10
"""Names in a message."""


class BatchRunner:
    """One batch directory, opened.

    Args:
        client: an open client; the batch shares its budget with whatever else it does.
        directory: where journal, results and files are; made if missing.
        max_credits: most credits the batch may cost over all its runs, refunds deducted; None for no cap.
        max_in_flight: most jobs submitted and not finished at once; None for as many as the budget feeds.
        output_name: where files go below the directory; see ``names.Template``.
        replay_window: seconds for which a job whose answer was lost is sent again under its key.
        resubmit_uncertain: send also those again that are older than that, or that runs have died of; under a
            new key where the server says no more than that it knows theirs. They may be paid twice.
        retry_failed: send those anew that failed or were refused in earlier runs, under new keys. What they
            cost so far stays in the sums, what they cost now comes to it.
        embed: put each job's prompt into its files' own metadata; False keeps them as the server made them.
        share_posts: let up to four ``GptImage2`` jobs that ask for the same, such as the takes of one, go out
            in one POST. Each stays a job of its own, but ends with the last of them. Posts are not shared
            under a ``max_in_flight``.
        until: send only jobs of a manifest whose names are like this pattern (``still-*``), and what they
            take. A run without it goes on.
        reroll: names of jobs of a manifest that are made anew, or patterns of names, or ``rejected``. What
            each has stays as ``NAME-take-1``, …. Of a job that is not finished, or that a run made anew which
            has not come to its end, no other take is begun: a run that was killed may be repeated as it was.
        takes: how many new ones of each, 1 to 10,000.
        adopt: let a job of a manifest that is new, and asks for the same as one that is gone from it, take
            over its result; False pays for a new one.
        project: whose costs the POSTs are in the account's record; else the client's, else the directory's
            name.

    Raises:
        ConfigurationError: an option makes no sense.
        JournalError: on entering; another process works there, or the journal cannot be used.
    """

    def __init__(
        self,
        client: SeedanceClient,
        directory: str | os.PathLike[str],
        *,
        max_credits: float | None = None,
        max_in_flight: int | None = None,
        output_name: str = names.DEFAULT,
        replay_window: float = KEY_TRUSTED,
        resubmit_uncertain: bool = False,
        retry_failed: bool = False,
        embed: bool = True,
        share_posts: bool = True,
        until: str | None = None,
        reroll: Sequence[str] = (),
        takes: int = 1,
        adopt: bool = True,
        project: str | None = None,
    ) -> None:
        is_client = isinstance(client, SeedanceClient)
        _refuse(
            {
                "client": None if is_client else f"must be a SeedanceClient; got {shown(client)}",
                "directory": arguments.path(directory),
                "max_credits": arguments.amount(max_credits),
                "max_in_flight": optional(whole_number(1))(max_in_flight),
                "output_name": arguments.text(output_name),
                "replay_window": arguments.patience(replay_window),
                "resubmit_uncertain": true_or_false(resubmit_uncertain),
                "retry_failed": true_or_false(retry_failed),
                "embed": true_or_false(embed),
                "share_posts": true_or_false(share_posts),
                "until": optional(arguments.text)(until),
                "reroll": words_fault(reroll),
                "takes": takes_fault(takes, reroll),
                "adopt": true_or_false(adopt),
                "project": optional(arguments.text)(project),
            }
        )
        self._client = client
        self._given = Path(directory).absolute()  # wherever the process goes later
        self._directory = self._given.resolve()
        self._max_credits = max_credits
        self._max_in_flight = max_in_flight
        self._template = names.Template(output_name)
        self._embed = embed
        self._share_posts = share_posts and max_in_flight is None
        self._until = until
        self._later = 0
        self._reroll = (reroll,) if isinstance(reroll, str) else tuple(reroll)
        self._takes = takes
        self._adopt = adopt
        self._chosen: list[int] = []
        self._rerolled = Rerolled()
        self._project = project
        self._resubmit_uncertain = resubmit_uncertain
        self._retry_failed = retry_failed
        self._replay_window = float("inf") if resubmit_uncertain else replay_window
        self._ledger = Ledger(cap=max_credits)
        self._changes = Changes()
        self._stopped: SeedanceError | None = None
        self._busy = False
        self._run: Run | None = None
        self._journal: Journal | None = None
        self._last: Summary | None = None

    async def __aenter__(self) -> Self:
        """Open the journal, and learn from it how long jobs take."""
        journal = await Journal.open(self._directory, given=self._given)
        try:
            for kind, seconds in await journal.do(journal.store.durations, limit=DURATIONS):
                self._client.forecasts.observe(kind, seconds)
        except BaseException:  # nobody would close it
            with anyio.CancelScope(shield=True):
                await journal.close(keep_unused=False)
            raise
        self._journal, self._last = journal, None
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """End what still runs, and close the journal."""
        journal = self.journal
        try:
            if self._run is not None:
                await self._leave(journal, self._run)
        finally:
            self._last, self._journal = self.summary, None
            await journal.close(keep_unused=False)

    @property
    def journal(self) -> Journal:
        """The open journal; what displays and reports read from.

        Raises:
            ClientStateError: the batch is not open.
        """
        if self._journal is None:
            raise ClientStateError("the batch is not open; use `async with BatchRunner(...) as batch:`")
        return self._journal

    @property
    def summary(self) -> Summary:
        """How the batch stands: while it runs, and as it stood when it was closed."""
        if self._last is not None:
            return self._last
        store = self.journal.store
        return Summary(
            counts={state: store.counts[state] for state in State if store.counts[state]},
            credits_used=store.credits_used,
            credits_refunded=store.credits_refunded,
            credits_reserved=self._ledger.reserved,
            max_credits=self._max_credits,
            changes=self._changes,
            stopped=self._run.stopped if self._run else self._stopped,
            later=self._later,
            rerolled=self._rerolled.takes,
        )

    async def run(
        self, jobs: str | os.PathLike[str] | Iterable[Job | Request] | AsyncIterable[Job | Request]
    ) -> AsyncGenerator[JobResult]:
        """Take every job to its end, and yield each once: as it ends, or because an earlier run ended it.

        Args:
            jobs: the path of a manifest (``-`` is standard input), or jobs or requests in any iterable.

        Yields:
            A result for every job, in the order in which they end. A job that could not be sent comes last,
            as ``planned``, and its error says why, as ``summary.stopped`` does.

        Raises:
            ManifestError: with everything that is wrong in the manifest. Nothing was sent.
            JournalError: the journal cannot be written any more, or belongs to another account.
        """
        journal = self.journal
        if not isinstance(jobs, str | os.PathLike):
            arguments.check("run", jobs=(arguments.iterable, jobs))
        run, known = await self._start(journal, jobs)
        try:
            async for result in known:
                yield result
            async for result in run.results():
                yield result
            async for result in self._left_over(journal, run):
                yield result
            if run.stopped is None:  # else what was asked for anew is still under way
                await journal.do(journal.store.promote)
                await self._saver(journal).mover.settle_all()
            await self._rewrite_results(journal)
            if isinstance(run.stopped, JournalError):
                raise run.stopped
            if run.stopped is None:  # last: whoever repeats the command before gets no other takes
                await journal.do(journal.store.close_rerolls)
        finally:
            if self._run is run:  # else the batch was closed before this generator was
                await self._leave(journal, run)

    async def _start(
        self,
        journal: Journal,
        jobs: str | os.PathLike[str] | Iterable[Job | Request] | AsyncIterable[Job | Request],
    ) -> tuple[Run, AsyncIterator[JobResult]]:
        """Start a run; return it, and the results that earlier ones have ended."""
        if self._busy:
            raise ClientStateError("a batch does one run at a time")
        self._busy = True
        try:
            if isinstance(jobs, str | os.PathLike):
                self._changes = await take_manifest(journal, jobs, adopts=self._adopt)
                await self._choose(journal)  # before anything of the journal is changed for the run
                self._chosen = await reroll.chosen(journal, self._reroll, self._directory)
                planned, known = self._listed(journal), self._known(journal)
            elif self._until is not None or self._reroll:
                option = "reroll" if self._reroll else "until"
                raise ConfigurationError(
                    f"{option}= chooses among the jobs of a manifest; give the path of one"
                )
            else:
                planned, known = self._streamed(journal, jobs), _nothing()
            await self._begin(journal)
        except BaseException:
            self._busy = False
            raise
        run = self._run = self._prepare(journal)
        run.start(self._begun(journal), planned)
        return run, known

    async def _leave(self, journal: Journal, run: Run) -> None:
        """End a run, in good order."""
        await run.leave()
        self._stopped, self._run, self._busy = run.stopped, None, False
        with suppress(JournalError):  # raised already, by whatever failed first
            await journal.do(journal.store.end_run)

    async def _begin(self, journal: Journal) -> None:
        """Start a run on record, once it is sure whose batch this is."""
        account = await check_account(
            self._client, journal, self._directory, pay_twice=self._resubmit_uncertain
        )
        now = clocks.wall_now()
        oldest = now - self._replay_window
        await journal.do(journal.store.begin_run, replayable_since=oldest, account=account, now=now)
        if self._retry_failed:
            await journal.do(journal.store.plan_ended_again)
        await self._make_anew(journal)
        await journal.do(journal.store.sort_linked)
        await self._choose(journal)
        await self._saver(journal).mover.settle_all()
        await self._find_missing_files(journal)
        self._ledger = await journal.do(_open_ledger, journal, self._max_credits)

    async def _make_anew(self, journal: Journal) -> None:
        """Plan further takes of the jobs that were chosen; they go on record with the order itself."""
        self._rerolled = Rerolled()
        if self._chosen:
            self._rerolled = await journal.do(journal.store.reroll, self._chosen, self._takes)
        if self._rerolled.unfinished:
            log.warning("%s: %s", _shown(self._rerolled.unfinished), UNFINISHED)

    def _saver(self, journal: Journal) -> Saver:
        return Saver(self._client, journal, self._directory, self._template, embed=self._embed)

    async def _choose(self, journal: Journal) -> None:
        """Leave the jobs for later that the run is not to send."""
        later = await journal.do(journal.store.choose, self._until)
        if later is None:
            raise ConfigurationError(f"no job of the manifest has a name that matches {self._until!r}")
        self._later = later

    async def _find_missing_files(self, journal: Journal) -> None:
        """Have the files of saved jobs fetched again that somebody has deleted."""
        last, found = 0, 0
        while page := await journal.do(journal.store.saved_files, after=last, limit=PAGE):
            missing = await to_thread.run_sync(_without_files, page, self._directory)
            if missing:
                await journal.do(journal.store.complete_again, missing)
            last, found = page[-1][0], found + len(missing)
        if found:
            log.info("files of %d saved jobs are not there any more, and are fetched again", found)

    def _prepare(self, journal: Journal) -> Run:
        engine = self._client.running_engine()
        return Run(
            engine,
            journal,
            self._ledger,
            self._saver(journal),
            directory=self._directory,
            options=RunOptions(
                max_in_flight=self._max_in_flight,
                share_posts=self._share_posts,
                replay_window=self._replay_window,
                pay_twice=self._resubmit_uncertain,
                project=self._project or engine.project or self._directory.name,
            ),
        )

    async def _begun(self, journal: Journal) -> AsyncIterator[Post]:
        """What earlier runs left on its way: first what is paid, then what may be."""
        async for job in _pages(journal, journal.store.to_collect):
            yield Post((job,))
        async for job in _pages(journal, journal.store.to_send_again):
            members = await journal.do(journal.store.members, job.number)
            if members and members[0].number == job.number:  # the others go with their first
                yield Post(tuple(members))

    async def _known(self, journal: Journal) -> AsyncIterator[JobResult]:
        """The manifest's jobs that an earlier run ended."""
        async for entry in _pages(journal, journal.store.ended_earlier):
            yield results.result(entry, self._directory, earlier=True)

    async def _listed(self, journal: Journal) -> AsyncIterator[list[JobEntry]]:
        """The manifest's jobs that were never sent."""
        async for job in _pages(journal, journal.store.to_send):
            yield [job]

    async def _streamed(
        self, journal: Journal, jobs: Iterable[Job | Request] | AsyncIterable[Job | Request]
    ) -> AsyncIterator[list[JobEntry]]:
        """A program's jobs that were never sent, as they come; those that ended earlier are delivered."""
        async for numbers in take_stream(journal, jobs, at_end=self._note_changes):
            await journal.do(journal.store.sort_linked, numbers)
            for entry in await journal.do(journal.store.ended_earlier_of, numbers):
                if self._run is not None:
                    await self._run.deliver_earlier(entry)
            yield await journal.do(journal.store.to_send_of, numbers)

    def _note_changes(self, changes: Changes) -> None:
        self._changes = changes

    async def _left_over(self, journal: Journal, run: Run) -> AsyncIterator[JobResult]:
        """Jobs that the run was stopped before."""
        if run.stopped is None:
            return
        async for entry in _pages(journal, journal.store.still_open):
            if not run.has_delivered(entry.number):
                error = run.stopped.about(idempotency_key=entry.key, task_id=next(iter(entry.task_ids), None))
                yield results.result(entry, self._directory, error=error)

    async def _rewrite_results(self, journal: Journal) -> None:
        try:
            rewriting = results.Rewriting(journal.store, self._directory)
            while await journal.do(rewriting.page):
                pass
            if rewriting.stale:
                log.warning("%s", _stale(rewriting.stale))
        except OSError as problem:  # a picture of the journal only; what was appended so far stays
            log.warning("%s could not be written anew: %s", results.RESULTS, problem)


def _stale(names: list[str]) -> str:
    return f"{_shown(names)}: made of something that was made anew since, and not made again"


def _shown(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"


def _without_files(jobs: Sequence[tuple[int, tuple[str, ...]]], directory: Path) -> list[int]:
    """The jobs of which a file is missing."""
    return [number for number, files in jobs if not all(os.path.lexists(directory / file) for file in files)]


async def _nothing() -> AsyncIterator[JobResult]:
    return
    yield  # makes it a generator


def _open_ledger(journal: Journal, cap: float | None) -> Ledger:
    """The ledger by what the journal knows: what is spent, what may be, and what jobs cost."""
    store = journal.store
    spent = store.credits_used - store.credits_refunded + store.credits_doubted
    ledger = Ledger(cap=cap, spent=spent, prices=store.prices())
    for number, tariff, state in store.unpriced():
        ledger.hold(number, tariff)
        if state is not State.SUBMITTING:
            ledger.doubt(number)
    return ledger


async def _pages(journal: Journal, read: Callable[..., list[JobEntry]]) -> AsyncIterator[JobEntry]:
    """Every row that ``read`` gives, a page at a time."""
    last = 0
    while page := await journal.do(read, after=last, limit=PAGE):
        for row in page:
            yield row
        last = page[-1].number


def _refuse(faults: Mapping[str, str | None]) -> None:
    """Refuse options with all that is wrong about them."""
    found = [f"{name} {fault}" for name, fault in faults.items() if fault is not None]
    if found:
        raise ConfigurationError("; ".join(found))
