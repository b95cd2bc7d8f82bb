"""The journal's data for a run: posts under way, planned and ended jobs, the ledger, and the results file.

Rows are read in pages, so that memory does not grow with the batch.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from anyio import to_thread

from seedance_async.batch import pages, results
from seedance_async.batch.journal.remains import RESULTS
from seedance_async.batch.ledger import Ledger
from seedance_async.batch.pages import PAGE
from seedance_async.batch.queue import Post
from seedance_async.batch.states import State
from seedance_async.logs import Log
from seedance_async.shortened import first_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from seedance_async.batch.jobs import JobResult
    from seedance_async.batch.journal import JobEntry, Journal
    from seedance_async.batch.journal.store import Store
    from seedance_async.batch.run import Run

log: Log = Log(__name__)


async def begun(journal: Journal) -> AsyncIterator[Post]:
    """Yield the posts that earlier runs left under way: first accepted ones, then those without an answer."""
    async for job in pages.entries(journal, journal.store.to_collect):
        yield Post((job,))
    async for job in pages.entries(journal, journal.store.to_send_again):
        members = await journal.do(journal.store.members, job.number)
        if members and members[0].number == job.number:  # one post for all its members
            yield Post(tuple(members))


async def planned(journal: Journal) -> AsyncIterator[list[JobEntry]]:
    """Yield the manifest's planned jobs that can be sent, as lists of one."""
    async for job in pages.entries(journal, journal.store.to_send):
        yield [job]


async def ended(journal: Journal, directory: Path) -> AsyncIterator[JobResult]:
    """Yield the results of the manifest's jobs that ended in earlier runs."""
    async for entry in pages.entries(journal, journal.store.ended_earlier):
        yield results.result(entry, directory, earlier=True)


async def left_over(journal: Journal, directory: Path, run: Run) -> AsyncIterator[JobResult]:
    """Yield the jobs that are still open after a run was stopped, with the reason as their error."""
    if run.stopped is None:
        return
    async for entry in pages.entries(journal, journal.store.still_open):
        if not run.delivery.has_delivered(entry.number):
            error = run.stopped.about(idempotency_key=entry.key, task_id=next(iter(entry.task_ids), None))
            yield results.result(entry, directory, error=error)


def ledger(store: Store, cap: float | None) -> Ledger:
    """Return the ledger for the journal's charges, uncertain jobs and prices."""
    spent = store.credits_used - store.credits_refunded + store.credits_doubted
    opened = Ledger(cap=cap, spent=spent, prices=store.prices())
    for number, tariff, state in store.unpriced():
        opened.hold(number, tariff)
        if state is not State.SUBMITTING:
            opened.doubt(number)
    for number, tariff, charged, is_shared in store.accepted_charges():
        opened.resume(number, tariff, charged, is_shared=is_shared)
    return opened


async def fetch_missing_again(journal: Journal, directory: Path) -> None:
    """Set saved jobs with deleted files back to completed, so that the files are downloaded again."""
    last, found = 0, 0
    while page := await journal.do(journal.store.saved_files, after=last, limit=PAGE):
        missing = await to_thread.run_sync(_without_files, page, directory)
        if missing:
            await journal.do(journal.store.complete_again, missing)
        last, found = page[-1][0], found + len(missing)
    if found:
        jobs = "a saved job" if found == 1 else f"{found} saved jobs"
        log.info("files of %s are not there any more, and are fetched again", jobs)


async def rewrite_results(journal: Journal, directory: Path) -> None:
    """Rewrite ``results.jsonl`` from the journal, and log which jobs are stale."""
    try:
        rewriting = results.Rewriting(journal.store, directory)
        while await journal.do(rewriting.page):
            pass
        if rewriting.stale:
            log.warning("%s", _stale(rewriting.stale))
    except OSError as problem:  # only a copy of the journal; the lines appended so far are kept
        log.warning("%s could not be rewritten: %s", RESULTS, problem)


def _stale(names: list[str]) -> str:
    made = "made from an output that was made again since, and kept as made"
    return f"{first_of(names, 10)}: {made}; --reroll NAME, or reroll= in Python, makes one again"


def _without_files(jobs: Sequence[tuple[int, tuple[str, ...]]], directory: Path) -> list[int]:
    """Return the numbers of the jobs with a missing file."""
    return [number for number, files in jobs if not all(os.path.lexists(directory / file) for file in files)]
