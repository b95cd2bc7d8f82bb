"""The enqueuing of jobs for the engine: from a manifest or a program into its tables and its queue.

The jobs are read, checked and named as those of a one-host batch are, by the same code in a journal that is
deleted afterwards. What another run has enqueued already is found by name and request, and is the
same job; what had stopped short of its end is taken up where it stopped.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections import Counter
from collections.abc import AsyncIterable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import frozen

from seedance_async.batch import keys
from seedance_async.batch.intake import take_manifest, take_stream
from seedance_async.batch.journal import Changes, JobEntry, Journal
from seedance_async.batch.pages import entries as all_entries
from seedance_async.batch.run_plan import RunPlan, run_plan
from seedance_async.batch.states import State
from seedance_async.errors import ManifestError
from seedance_async.filenames import fold
from seedance_async.integrations.engine.database import pages
from seedance_async.integrations.engine.dbos_records import BEGIN, COLLECT, POST, QUEUE, RETURNED
from seedance_async.integrations.engine.ends import end_job
from seedance_async.integrations.engine.intents import Intent
from seedance_async.integrations.engine.outcomes import Outcome

if TYPE_CHECKING:
    from seedance_async.batch.jobs import Job
    from seedance_async.batch.ledger import Ledger
    from seedance_async.integrations.engine.dbos_records import JobRecord, Records
    from seedance_async.integrations.engine.tables import JobRow, Tables
    from seedance_async.models import Request

LOCAL_FILE: Final = "is a file of this host, which the workers' hosts do not have: name an https URL"

GOES_ON_FROM: Final = {
    State.PLANNED: BEGIN,  # it is certain that nothing was charged
    State.SUBMITTING: POST,
    State.UNCERTAIN: POST,
    State.ACCEPTED: COLLECT,
    State.COMPLETED: COLLECT,
}
"""By the state in which a job has stopped short, the step from which it goes on."""

ASKED_UNDER: Final = 2
"""So many refusals in a row until a job gets another key; see ``verdicts``."""


async def read_jobs(
    source: str | os.PathLike[str] | Iterable[Job | Request] | AsyncIterable[Job | Request],
) -> list[JobEntry]:
    """Every job of a manifest or of a program, checked and named.

    Raises:
        ManifestError: with everything that is wrong. Nothing was enqueued.
    """
    with tempfile.TemporaryDirectory(prefix="seedance-") as directory:
        journal = await Journal.open(Path(directory))
        try:
            if isinstance(source, str | os.PathLike):
                await take_manifest(journal, source)
            else:
                async for _ in take_stream(journal, source, at_end=_unchanged):
                    pass
            return await _entries(journal, source)
        finally:
            await journal.close()


async def _entries(journal: Journal, source: object) -> list[JobEntry]:
    entries = [entry async for entry in all_entries(journal, journal.store.entries)]
    is_file = isinstance(source, str | os.PathLike)
    if local := [
        (entry.line, next(iter(entry.inputs.values())), LOCAL_FILE) for entry in entries if entry.inputs
    ]:
        name = str(source) if is_file else "jobs"
        raise ManifestError(local, source=name, is_file=is_file)
    return entries


def _unchanged(_: Changes) -> None:
    """A batch of this run only has nothing before it."""


@frozen(kw_only=True)
class Planned:
    """One job, as it is to be enqueued.

    Attributes:
        intent: what its workflow is given.
        digest: of its request, by which it is found again.
        generation: how many keys its name and request have had, from 1.
        known: as the tables have it already; None for a new one.
    """

    intent: Intent
    digest: bytes
    generation: int
    known: JobRow | None


@frozen
class Enqueued:
    """What was enqueued.

    Attributes:
        intents: the jobs, in the order of the manifest.
        plan: how they stood before, and what the workers are about to send.
    """

    intents: Sequence[Intent]
    plan: RunPlan


def enqueue(
    tables: Tables, records: Records, batch: str, entries: Sequence[JobEntry], *, cap: float | None
) -> Enqueued:
    """Put jobs into the tables and the queue, and take up again what had stopped short. Blocking."""
    nonce = tables.open_batch(batch, nonce=secrets.token_bytes(keys.NONCE_BYTES), cap=cap)
    planned: dict[str, Planned] = {}
    for page in pages(entries):
        planned |= _planned(tables, batch, nonce, page)
    jobs = list(planned.values())
    plan = _plan(jobs, tables.ledger(batch))
    for group in pages(jobs):
        _put(tables, records, group, planned)
    _take_up_again(tables, records, jobs)
    return Enqueued([job.intent for job in jobs], plan)


def _plan(jobs: Sequence[Planned], ledger: Ledger) -> RunPlan:
    states = [State.PLANNED if job.known is None else job.known.state for job in jobs]
    tally = Counter((job.intent.tariff, state) for job, state in zip(jobs, states, strict=True))
    return run_plan(tally, prices=ledger.prices, spent=ledger.spent, max_credits=ledger.cap)


def _planned(tables: Tables, batch: str, nonce: bytes, entries: Sequence[JobEntry]) -> dict[str, Planned]:
    """What each entry is on the engine, by folded name."""
    folds = [fold(entry.name) for entry in entries]
    known = tables.jobs_named(batch, folds)
    taken = {name for name, _ in known}
    planned = {}
    for name, entry in zip(folds, entries, strict=True):
        row = known.get((name, entry.digest))
        is_closed = row is not None and row.state is State.PLANNED and row.refusals >= ASKED_UNDER
        generation = 1 if row is None else row.generation + is_closed
        if row is not None and generation == row.generation:
            planned[name] = Planned(intent=row.intent, digest=entry.digest, generation=generation, known=row)
            continue
        key = keys.derive(nonce, name=entry.name, generation=generation, digest=entry.digest)
        own = f"{entry.name}-{key[:8]}" if name in taken else entry.name
        label = f"{batch}/{own}" if batch else own  # an object store would overwrite another batch's files
        intent = Intent(
            key=key,
            batch=batch,
            number=entry.number,
            name=entry.name,
            label=label if row is None else row.intent.label,
            line=entry.line,
            take=entry.take,
            model=entry.model,
            path=entry.path,
            body=entry.body.decode(),
            project=entry.project,
        )
        planned[name] = Planned(intent=intent, digest=entry.digest, generation=generation, known=None)
    return planned


def _put(tables: Tables, records: Records, jobs: Sequence[Planned], planned: Mapping[str, Planned]) -> None:
    """Put a page of jobs down, with their links; those that wait for no other go into the queue with it."""
    with tables.alone() as connection:
        for job in jobs:
            intent = job.intent
            name = fold(intent.name)
            tables.add(connection, intent, fold=name, digest=job.digest, generation=job.generation)
            sources = {link: planned[fold(link.job)].intent.key for link in intent.links}
            if not tables.add_links(connection, intent.key, sources):
                records.enqueue(connection, intent)


def _take_up_again(tables: Tables, records: Records, jobs: Sequence[Planned]) -> None:
    """Let workers go on with what has come to no end; release what waits for ends that were missed."""
    found = records.find([job.intent.key for job in jobs])
    sources = {
        source for group in tables.open_links([job.intent.key for job in jobs]).values() for source in group
    }
    for job in jobs:
        record = found.get(job.intent.key)
        if record is None or record.is_active:
            continue
        if job.intent.key in sources and record.output is not None:
            end_job(tables, records, job.intent.key, Outcome.load(record.output))
        if step := _step_of(tables, records, job, record):
            records.set_back(job.intent.key, step, queue=_queue_of(tables, job.intent, record))


def _queue_of(tables: Tables, intent: Intent, record: JobRecord) -> str:
    """The queue for a job that goes on: others may wait to learn the price of one that has broken down."""
    is_awaited = record.output is None and tables.is_held(intent.key, intent.batch)
    return RETURNED if is_awaited else QUEUE


def _step_of(tables: Tables, records: Records, job: Planned, record: JobRecord) -> int | None:
    """The step from which a job goes on that is not active; None for one that has ended."""
    if record.output is None:  # it broke down, or was cancelled
        return records.next_step(job.intent.key)
    state = Outcome.load(record.output).state
    if state is State.BLOCKED:
        rows = tables.links_of(job.intent.key)
        return BEGIN if all(row.url is not None for row in rows) else None
    return GOES_ON_FROM.get(state)
