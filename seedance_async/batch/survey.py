"""The survey of a manifest together with its batch directory; nothing is sent or changed.

The manifest is planned, with the code of a real run, into a copy of the directory's journal or into an empty
one. So all problems that a run would find are found, and the results of earlier runs are known.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from anyio import to_thread
from attrs import frozen

from seedance_async.batch import reroll
from seedance_async.batch.finals_planning import chosen, finishing_of
from seedance_async.batch.intake import take_manifest
from seedance_async.batch.journal import Changes, Journal, before_anything_is_sent
from seedance_async.batch.journal.opening import not_permitted
from seedance_async.batch.journal.remains import JOURNAL, RESULTS, check_nothing_is_left, last_of_results
from seedance_async.batch.queue import posts_for
from seedance_async.batch.refunded import plan_earlier
from seedance_async.batch.run_options import ALL_JOBS, PlanOptions
from seedance_async.batch.states import State
from seedance_async.errors import ConfigurationError, JournalError
from seedance_async.models import Kind
from seedance_async.prices import Tariff

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike

    from seedance_async.prompts.batch_lint import BatchLint

SHARED_MEMORY: Final = "/dev/shm"  # noqa: S108 - a private directory is created in it
DURATIONS: Final = 500
"""Most finished tasks from which durations are learned."""


@frozen(kw_only=True)
class Survey:
    """A batch as it would begin now.

    Attributes:
        tally: number of jobs by tariff and state.
        alike: groups of planned jobs with equal requests: tariff, jobs per group, and number of groups.
        changes: the differences from the manifest of the last run.
        prices: the highest price charged for each tariff, in credits.
        durations: durations of finished tasks in seconds, oldest first.
        spent: credits charged and not refunded so far.
    """

    tally: Mapping[tuple[Tariff, State], int]
    alike: tuple[tuple[Tariff, int, int], ...]
    changes: Changes
    prices: Mapping[Tariff, float]
    durations: tuple[tuple[Kind, float], ...]
    spent: float

    def jobs(self, *states: State) -> dict[Tariff, int]:
        """Return the number of jobs in any of these states, by tariff."""
        jobs: dict[Tariff, int] = {}
        for (tariff, state), count in self.tally.items():
            if state in states:
                jobs[tariff] = jobs.get(tariff, 0) + count
        return jobs

    def posts(self) -> Counter[Tariff]:
        """Return the number of POSTs for the planned jobs, by tariff, if equal jobs share them."""
        posts: Counter[Tariff] = Counter()
        for tariff, jobs, groups in self.alike:
            for each, count in posts_for(tariff, jobs).items():
                posts[each] += count * groups
        return posts


async def survey(
    manifest: str | PathLike[str],
    directory: Path | None = None,
    options: PlanOptions = ALL_JOBS,
    *,
    has_store: bool = True,
    lint: BatchLint | None = None,
) -> Survey:
    """Survey a manifest together with its batch directory.

    Args:
        manifest: its path; ``-`` is standard input.
        directory: the batch directory, if there is one.
        options: the choice of jobs to be sent.
        has_store: whether a media store is configured; without one, local files are a problem.
        lint: gets every job, to check its prompt.

    Raises:
        ConfigurationError: no name matches a pattern.
        ManifestError: with every problem, line by line.
        JournalError: the directory's journal cannot be read.
    """
    with before_anything_is_sent(), _copied(directory) as copy:
        journal = await Journal.open(copy)
        try:
            finishing = await to_thread.run_sync(finishing_of, directory, options.finish, options.until)
            changes = await take_manifest(
                journal, manifest, options, finishing, has_store=has_store, lint=lint
            )
            rerolls = await reroll.chosen(journal, options.reroll, directory or copy)
            if options.retry_failed:
                await journal.do(journal.store.plan_ended_again)
            async for _ in plan_earlier(journal, most=options.reroll_refunded):
                pass
            if rerolls:
                await journal.do(journal.store.reroll, rerolls, options.takes)
            if await journal.do(journal.store.choose, *chosen(options.until, finishing)) is None:
                raise ConfigurationError(f"no job of the manifest has a name that matches {options.until!r}")
            return await journal.do(_look, journal, changes)
        finally:
            await journal.close()


def _look(journal: Journal, changes: Changes) -> Survey:
    store = journal.store
    return Survey(
        tally=store.tally(),
        alike=tuple(store.alike()),
        changes=changes,
        prices=store.prices(),
        durations=tuple(store.durations(limit=DURATIONS)),
        spent=store.credits_used - store.credits_refunded,
    )


@contextmanager
def _copied(directory: Path | None) -> Iterator[Path]:
    """Create a temporary directory with a copy of the journal, if there is one.

    Raises:
        ConfigurationError: no temporary directory can be created.
        JournalError: the journal cannot be copied.
    """
    with _scratch(directory) as name:
        copy = Path(name)
        try:
            if directory is not None:
                check_nothing_is_left(directory)
                # Before the journal, which a run may change meanwhile: it must not be older than the results.
                (copy / RESULTS).write_bytes(last_of_results(directory))
            for file in directory.glob(f"{JOURNAL}*") if directory else ():
                shutil.copyfile(file, copy / file.name)
        except OSError as problem:
            reason = not_permitted(directory) if directory else None
            raise JournalError(reason or f"the journal cannot be read: {problem}") from problem
        yield copy


def _scratch(directory: Path | None) -> tempfile.TemporaryDirectory[str]:
    """Create a temporary directory where that is possible: a read-only container may have no /tmp."""
    for place in (None, SHARED_MEMORY, directory):
        with suppress(OSError):
            return tempfile.TemporaryDirectory(prefix="seedance-survey-", dir=place)
    raise ConfigurationError(
        "there is no directory for temporary files; set TMPDIR to one that can be written to"
    )
