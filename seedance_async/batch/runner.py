"""The batch runner: bulk runs that may be interrupted at any instruction and resumed.

No job is paid twice, and no paid result is lost.

    async with BatchRunner(client, "out", max_credits=500) as batch:
        async for result in batch.run("jobs.jsonl"):
            print(result.name, result.state)

The directory is the batch: its journal stores which jobs were planned, sent, accepted and saved. Another run
resumes from there, in this process or another one, however the last one ended.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

import anyio

from seedance_async import arguments, clocks
from seedance_async.batch import names, on_record
from seedance_async.batch.account_check import check_account
from seedance_async.batch.finals import changes_fault
from seedance_async.batch.jobs import Job, JobResult
from seedance_async.batch.journal import JobEntry, Journal, before_anything_is_sent
from seedance_async.batch.ledger import Ledger
from seedance_async.batch.preparing import Preparation
from seedance_async.batch.reroll import takes_fault, words_fault
from seedance_async.batch.run import Run
from seedance_async.batch.run_options import PlanOptions, RunOptions, refuse
from seedance_async.batch.run_plan import RunPlan, run_plan
from seedance_async.batch.saving import Saver
from seedance_async.batch.states import State
from seedance_async.batch.summary import Summary
from seedance_async.batch.survey import DURATIONS
from seedance_async.client import SeedanceClient
from seedance_async.credit_format import credit_count
from seedance_async.errors import (
    ClientStateError,
    JournalError,
    ManifestError,
    SeedanceError,
    ValidationError,
)
from seedance_async.models import Request
from seedance_async.models.display import shown
from seedance_async.models.rules import optional, true_or_false, whole_number
from seedance_async.prompts.lint import codes_fault, read_codes
from seedance_async.reprs import even_if_unfinished
from seedance_async.retry import KEY_TRUSTED

Jobs: TypeAlias = str | os.PathLike[str] | Iterable[Job | Request] | AsyncIterable[Job | Request]
"""The path of a manifest, or jobs or requests."""

Ready: TypeAlias = tuple[AsyncIterator[list[JobEntry]], AsyncIterator[JobResult]]
"""The jobs to send, and the results of jobs that ended in earlier runs."""


class BatchRunner:
    """The runner of one batch, whose journal, results and files are in one directory.

    Use it with ``async with``. A batch that was interrupted is resumed by running it again.

    Args:
        client: an open client; the batch shares the client's budget with its other calls.
        directory: the directory of the journal, the results and the files; created if missing.
        max_credits: most credits the batch may cost over all its runs, minus refunds; None for no cap.
        max_in_flight: most jobs submitted and not finished at a time; None for as many as the budget allows.
        output_name: the template of the files' paths below the directory; see ``names.Template``.
        replay_window: seconds for which a job whose answer was lost is sent again under its key.
        resubmit_uncertain: also send jobs again whose key is older than that, or during whose POST several
            runs have crashed; under a new key if the server only answers that it knows the old one. They may
            be paid twice.
        retry_failed: send jobs again that failed or were refused in earlier runs, once and under new keys, as
            ``reroll`` does. What they have cost before remains in the totals.
        reroll_refunded: how often, over all runs, a job that failed and was fully refunded is made again,
            under new keys and the cap. A job that was refused or not fully refunded is never made again.
        embed: write each job's prompt to the metadata of its files; False keeps the files as the server
            sent them.
        share_posts: send up to four equal ``GptImage2`` jobs, such as the takes of one, in one POST. Each
            remains a separate job, but ends with the last of them. Not with ``max_in_flight``.
        until: send only jobs of a manifest whose names match this pattern (``still-*``), and the jobs whose
            output they use. A later run without it sends the others.
        reroll: names of jobs of a manifest to make again, or patterns of names, or ``rejected``. The present
            result of each is kept as ``NAME-take-1``, …. A job that is not finished, or whose new take was
            begun by a run that did not end, gets no further take, so a run that was killed can be repeated
            with the same arguments. Within one ``async with``, another run begins no further take.
        takes: how many new takes of each, 1 to 10,000.
        adopt: a new job of a manifest takes over the result of an equal one that was removed from it; False
            pays for a new one.
        ignore: codes of prompt rules that a manifest's prompts may break, such as ``["P02"]``; see
            ``lint_prompt``. A prompt that certainly breaks another rule makes the manifest invalid.
        canary: send the first job of each kind alone, and the others once it is saved and measured. If it is
            not what was asked for, or costs more than expected, the run stops: ``summary.stopped`` is a
            ``CanaryError``. The next run does not pay for it again.
        accept_delivery: continue in spite of such differences, with a warning.
        finish: make the kept takes (see ``seedance review``) again with these fields changed and the same
            seed, each as a job ``NAME-final``. No other job of the manifest is sent, and ``until`` selects
            among the names of the takes. See ``batch.finals``.
        project: the project to which the account record assigns the costs; else the client's project, else
            the name of the directory.

    Raises:
        ConfigurationError: an option is not valid.
        JournalError: on entering: another process uses the directory, or the journal cannot be used.

    Example:
        >>> jobs = [Job(Seedance2Video(prompt="A paper boat crosses a pond"), name="boat", repeat=2)]
        >>> async with BatchRunner(client, "out", max_credits=100) as batch:
        ...     async for result in batch.run(jobs):
        ...         print(result.name, result.state, result.error or result.files)
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
        reroll_refunded: int = 0,
        embed: bool = True,
        share_posts: bool = True,
        until: str | None = None,
        reroll: Sequence[str] = (),
        takes: int = 1,
        adopt: bool = True,
        ignore: str | Sequence[str] = (),
        canary: bool = False,
        accept_delivery: bool = False,
        finish: Mapping[str, object] | None = None,
        project: str | None = None,
    ) -> None:
        is_client = isinstance(client, SeedanceClient)
        refuse(
            {
                "client": None if is_client else f"must be a SeedanceClient; got {shown(client)}",
                "directory": arguments.path(directory),
                "max_credits": arguments.amount(max_credits),
                "max_in_flight": optional(whole_number(1))(max_in_flight),
                "output_name": arguments.text(output_name),
                "replay_window": arguments.patience(replay_window),
                "resubmit_uncertain": true_or_false(resubmit_uncertain),
                "retry_failed": true_or_false(retry_failed),
                "reroll_refunded": whole_number(0)(reroll_refunded),
                "embed": true_or_false(embed),
                "share_posts": true_or_false(share_posts),
                "until": optional(arguments.text)(until),
                "reroll": words_fault(reroll),
                "takes": takes_fault(takes, reroll),
                "adopt": true_or_false(adopt),
                "ignore": codes_fault(ignore),
                "canary": true_or_false(canary),
                "accept_delivery": true_or_false(accept_delivery),
                "finish": changes_fault(finish),
                "project": optional(arguments.text)(project),
            }
        )
        self._client = client
        self._given = Path(directory).absolute()  # the process may change its working directory
        self._directory = self._given.resolve()
        self._max_credits, self._max_in_flight = max_credits, max_in_flight
        self._template = names.Template(output_name)
        self._share_posts = share_posts and max_in_flight is None
        options = PlanOptions(
            until=until,
            reroll=(reroll,) if isinstance(reroll, str) else tuple(reroll),
            takes=takes,
            adopt=adopt,
            ignored=read_codes(ignore, "ignore")[0],
            finish=finish,
            retry_failed=retry_failed,
            reroll_refunded=reroll_refunded,
        )
        self._preparation = Preparation(self._directory, options, has_store=client.has_media_store)
        self._canary, self._accept_delivery, self._reroll_refunded = canary, accept_delivery, reroll_refunded
        self._embed, self._project = embed, project
        self._resubmit_uncertain = resubmit_uncertain
        self._replay_window = float("inf") if resubmit_uncertain else replay_window
        self._ledger = Ledger(cap=max_credits)
        self._stopped: SeedanceError | None = None
        self._busy = self._is_done = self._refused = False
        self._prepared: tuple[str | os.PathLike[str], Ready] | None = None
        self._run: Run | None = None
        self._journal: Journal | None = None
        self._last: Summary | None = None

    @even_if_unfinished
    def __repr__(self) -> str:
        state = "not open" if self._journal is None else "running" if self._run else "open"
        cap = "no cap" if self._max_credits is None else f"at most {credit_count(self._max_credits)}"
        return f"<BatchRunner {str(self._directory)!r}, {state}, {cap}>"

    async def __aenter__(self) -> Self:
        """Open the journal, and add its durations to the client's forecast."""
        journal = await Journal.open(self._directory, given=self._given)
        try:
            for kind, seconds in await journal.do(journal.store.durations, limit=DURATIONS):
                self._client.forecasts.observe(kind, seconds)
        except BaseException:  # __aexit__ will not be called
            with anyio.CancelScope(shield=True):
                await journal.close(keep_unused=False)
            raise
        self._journal, self._last, self._is_done = journal, None, False
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """End a run that is still going on, and close the journal.

        If the last run ended normally and no exception is raised, the order to re-roll jobs is completed:
        only after that the same command makes further takes.
        """
        journal = self.journal
        try:
            if self._run is not None:
                await self._leave(journal, self._run)
            self._last = self.summary  # before close_rerolls changes further takes to older ones
            if self._is_done and _error is None:
                await journal.do(journal.store.close_rerolls)
        finally:
            self._last, self._journal = self.summary, None
            await journal.close(keep_unused=False, refused=self._refused)

    @property
    def journal(self) -> Journal:
        """The open journal, from which displays and reports read.

        Raises:
            ClientStateError: the batch is not open.
        """
        if self._journal is None:
            raise ClientStateError("the batch is not open; use `async with BatchRunner(...) as batch:`")
        return self._journal

    @property
    def summary(self) -> Summary:
        """The present state of the batch; after closing, its state at that time."""
        if self._last is not None:
            return self._last
        store = self.journal.store
        return Summary(
            counts={state: store.counts[state] for state in State if store.counts[state]},
            credits_used=store.credits_used,
            credits_refunded=store.credits_refunded,
            credits_reserved=self._ledger.reserved,
            max_credits=self._max_credits,
            changes=self._preparation.changes,
            stopped=self._run.stopped if self._run else self._stopped,
            later=self._preparation.later,
            rerolled=self._preparation.rerolled.takes,
            others={state: store.others[state] for state in State if store.others[state]},
        )

    async def prepare(self, manifest: str | os.PathLike[str]) -> RunPlan:
        """Do everything that comes before the first POST of a manifest; ``run`` with the same path continues.

        Returns:
            The number of jobs that the run will send, and their cost.

        Raises:
            ManifestError: with every problem of the manifest. Nothing was sent.
            JournalError: the journal cannot be written, or belongs to another account. Nothing was sent.

        Example:
            >>> plan = await batch.prepare("jobs.toml")
            >>> print(plan.to_send, "jobs,", plan.credits_low, "to", plan.credits_high, "credits")
            >>> async for result in batch.run("jobs.toml"):
            ...     print(result.name, result.state)
        """
        journal = self.journal
        self._prepared = manifest, await self._make_ready(journal, manifest)
        return run_plan(
            await journal.do(journal.store.tally),
            prices=self._ledger.prices,
            recorded=await self._client.running_engine().recorded_prices(),
            later=self._preparation.later,
            spent=journal.store.credits_used - journal.store.credits_refunded,
            max_credits=self._max_credits,
        )

    async def run(self, jobs: Jobs) -> AsyncGenerator[JobResult]:
        """Run every job, and yield its result once, also if it ended in an earlier run.

        Args:
            jobs: the path of a manifest (``-`` is standard input), or an iterable of jobs or requests.

        Yields:
            A result for every job, in the order in which they end. Jobs that could not be sent come last, as
            ``planned``; their error and ``summary.stopped`` have the reason.

        Raises:
            ManifestError: with every problem of the manifest. Nothing was sent.
            JournalError: the journal can no longer be written, or belongs to another account.
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
            async for result in on_record.left_over(journal, self._directory, run):
                yield result
            if run.stopped is None:  # otherwise re-rolls may still be under way
                await journal.do(journal.store.promote)
                await self._saver(journal).mover.settle_all()
            await on_record.rewrite_results(journal, self._directory)
            if isinstance(run.stopped, JournalError):
                raise run.stopped
            self._is_done = run.stopped is None
        except (ManifestError, ValidationError):  # raised for a program's jobs; a manifest is checked before
            self._refused = True
            raise
        finally:
            if self._run is run:  # otherwise the batch was closed before this generator
                await self._leave(journal, run)

    async def _start(self, journal: Journal, jobs: Jobs) -> tuple[Run, AsyncIterator[JobResult]]:
        """Start a run; return it, and the results of jobs that ended in earlier runs."""
        if self._prepared is None:
            planned, known = await self._make_ready(journal, jobs)
        else:
            (manifest, (planned, known)), self._prepared = self._prepared, None
            if manifest != jobs:
                raise ClientStateError(f"{shown(manifest)} was prepared, and is what has to be run first")
        run = self._run = self._prepare(journal)
        run.start(on_record.begun(journal), planned)
        return run, known

    async def _make_ready(self, journal: Journal, jobs: Jobs) -> Ready:
        """Do everything before the first POST; return the jobs to send, and the results of earlier runs."""
        if self._busy:
            raise ClientStateError("a batch does one run at a time")
        self._busy, self._is_done = True, False
        try:
            with before_anything_is_sent():
                planned, known = await self._plan(journal, jobs)
                await self._begin(journal)
        except BaseException:
            self._busy = False
            raise
        return planned, known

    async def _plan(self, journal: Journal, jobs: Jobs) -> Ready:
        """Plan the jobs of a manifest, or prepare to read those of a program; returns as ``_make_ready``."""
        if isinstance(jobs, str | os.PathLike):
            await self._preparation.take(journal, jobs)
            return on_record.planned(journal), on_record.ended(journal, self._directory)
        self._preparation.check_without_manifest()
        return self._preparation.stream(journal, jobs, self._deliver_earlier), _nothing()

    async def _leave(self, journal: Journal, run: Run) -> None:
        """End a run, and store that it ended normally."""
        await run.leave()
        self._stopped, self._run, self._busy = run.stopped, None, False
        with suppress(JournalError):  # the first failure of the journal was raised already
            await journal.do(journal.store.end_run)

    async def _begin(self, journal: Journal) -> None:
        """Check the account, begin a run in the journal, and do everything else before the first POST."""
        account = await check_account(
            self._client, journal, self._directory, pay_twice=self._resubmit_uncertain
        )
        now = clocks.wall_now()
        oldest = now - self._replay_window
        await journal.do(journal.store.begin_run, replayable_since=oldest, account=account, now=now)
        await self._preparation.plan(journal)
        await self._saver(journal).mover.settle_all()
        await on_record.fetch_missing_again(journal, self._directory)
        self._ledger = await journal.do(on_record.ledger, journal.store, self._max_credits)

    def _saver(self, journal: Journal) -> Saver:
        return Saver(self._client, journal, self._directory, self._template, embed=self._embed)

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
                reroll_refunded=self._reroll_refunded,
                canary=self._canary,
                accept_delivery=self._accept_delivery,
            ),
        )

    async def _deliver_earlier(self, entry: JobEntry) -> None:
        if self._run is not None:
            await self._run.deliver_earlier(entry)


async def _nothing() -> AsyncIterator[JobResult]:
    return
    yield  # makes it a generator
