"""``results.jsonl``: a line for each job, for programs and for the next manifest.

The journal is authoritative; this file is a copy of it. While a batch runs, a line is appended whenever a job
ends; a later line of a job replaces an earlier one. At the end of the run the whole file is rewritten from
the journal, one line per job in the order of their numbers, and replaced atomically.

A line has the job's result and the request's own fields, so the file can be used as a manifest. ``seed`` is
the seed that the server reports; that of the request is kept as ``asked_seed``, so that the same request is
read from the line.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from seedance_async.batch.cells import ASKED_SEED
from seedance_async.batch.jobs import JobResult
from seedance_async.batch.journal.records import as_json
from seedance_async.batch.journal.remains import RESULTS
from seedance_async.batch.trials import mismatches_of
from seedance_async.errors import SeedanceError, TaskFailedError, UnexpectedReplyError
from seedance_async.safe_files import OWNER, append, create, replacing

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from seedance_async.batch.journal import JobEntry, Store
    from seedance_async.models import Task

PAGE: Final = 500


def result(
    entry: JobEntry, directory: Path, *, error: SeedanceError | None = None, earlier: bool = False
) -> JobResult:
    """Return the public result for a job's entry.

    Args:
        entry: the journal's entry.
        directory: the batch directory, which has its files.
        error: the exception, if it was raised in this run; None makes one from the stored message.
        earlier: whether the job ended in an earlier run.
    """
    return JobResult(
        name=entry.name,
        state=entry.state,
        model=entry.model,
        task_ids=entry.task_ids,
        idempotency_key=entry.key,
        credits_used=entry.credits_used,
        credits_refunded=entry.credits_refunded,
        urls=entry.urls,
        files=tuple(directory / file for file in entry.files),
        error=error or _error_on_record(entry),
        earlier=earlier,
        stale=entry.stale,
        in_manifest=entry.in_manifest,
        older_of=entry.older_of,
        final_of=entry.final_of,
        seed=entry.seed,
        delivered=entry.delivered,
        mismatches=tuple(mismatches_of(entry)),
    )


def _error_on_record(entry: JobEntry) -> SeedanceError | None:
    """Return an error with the message that the journal stores; None if there is none."""
    if not entry.error:
        return None
    task_id = next(iter(entry.task_ids), None)
    return SeedanceError(entry.error, idempotency_key=entry.key, task_id=task_id)


def failure_among(tasks: Sequence[Task], entry: JobEntry) -> SeedanceError | None:
    """Return the error of a job's first failed task, or of missing tasks; None if there is none."""
    for task in tasks:
        if task.is_failed:
            return TaskFailedError(task, idempotency_key=entry.key)
    if len(tasks) < entry.tariff.tasks:
        message = (
            f"the server started {len(tasks)} of {entry.tariff.tasks} tasks; the others were not charged"
        )
        return UnexpectedReplyError(
            message, idempotency_key=entry.key, task_id=tasks[0].id if tasks else None
        )
    return None


def line(entry: JobEntry) -> str:
    """Return a job's line."""
    facts = {
        "name": entry.name,
        "model": entry.model,
        "state": entry.state,
        "task_ids": entry.task_ids,
        "idempotency_key": entry.key,
        "credits_used": entry.credits_used,
        "credits_refunded": entry.credits_refunded,
        "urls": entry.urls,
        "files": entry.files,
        "error": entry.error,
        "project": entry.project,
        "line": entry.line,
        "stale": entry.stale,
        "in_manifest": entry.in_manifest,
        "older_of": entry.older_of,
        "final_of": entry.final_of,
        "delivered": [each and each.to_dict() for each in entry.delivered],
        "mismatches": mismatches_of(entry),
    }
    asked = entry.request_fields
    return as_json({**facts, **asked, "seed": entry.seed, ASKED_SEED: asked.get("seed")}) + "\n"


def add(directory: Path, entry: JobEntry) -> None:
    """Append the line of a job that has just ended. Blocking."""
    with append(directory / RESULTS, OWNER) as file:
        file.write(line(entry).encode())


def write_all(directory: Path, entries: Iterable[JobEntry]) -> None:
    """Write the whole file for jobs that are not in a journal. Blocking."""
    with replacing(directory / RESULTS, OWNER) as file:
        file.writelines(line(entry).encode() for entry in entries)


class Rewriting:
    """The rewriting of the file in pages, in the journal's thread.

    Attributes:
        stale: the names of stale jobs, except older results.
    """

    def __init__(self, store: Store, directory: Path) -> None:
        self._store = store
        self._target = directory / RESULTS
        self._part = self._target.with_name(f"{RESULTS}.part")
        self._last = 0
        self.stale: list[str] = []
        create(self._part, OWNER).close()

    def page(self) -> bool:
        """Write the next page of jobs; after the last one, replace the file and return False."""
        entries = self._store.entries(after=self._last, limit=PAGE)
        with append(self._part, OWNER) as file:
            file.writelines(line(entry).encode() for entry in entries)
            self.stale += [entry.name for entry in entries if entry.stale and entry.older_of is None]
            if entries:
                self._last = entries[-1].number
                return True
            file.flush()
            os.fsync(file.fileno())
        self._part.replace(self._target)
        return False
