"""The following of a batch on the engine, from any host: each job as it ends, and how all of them stand.

Those jobs are asked for that have not ended. A job that waits for another one's output is not in the queue
yet; it is at an end for now if nothing that it waits for can go on.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio

from seedance_async.batch import results
from seedance_async.batch.states import State
from seedance_async.batch.summary import Summary
from seedance_async.errors import CreditCapError, SeedanceError
from seedance_async.integrations.engine.database import patiently
from seedance_async.integrations.engine.ends import end_job
from seedance_async.integrations.engine.outcomes import Outcome, error_facts, restored

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Mapping, Sequence

    from seedance_async.batch.jobs import JobResult
    from seedance_async.batch.journal import JobEntry
    from seedance_async.integrations.engine.dbos_records import JobRecord, Records
    from seedance_async.integrations.engine.intents import Intent
    from seedance_async.integrations.engine.tables import Tables

INTERVAL: Final = 1.0
"""Seconds between two queries."""

BROKEN: Final = "its workflow broke down or was cancelled; run again to continue it"
WAITS: Final = "it waits for {sources}, which did not end"


class Follower:
    """Follows jobs to their ends.

    Args:
        tables: of the engine.
        records: of the engine.
        batch: whose jobs they are.
        intents: the jobs; None for all of the batch.
        max_credits: the cap, for the sums.

    Attributes:
        entries: of the jobs that have ended, by key.
    """

    def __init__(
        self,
        tables: Tables,
        records: Records,
        batch: str,
        intents: Sequence[Intent] | None,
        *,
        max_credits: float | None,
    ) -> None:
        self._tables = tables
        self._records = records
        self._batch = batch
        self._intents = intents
        self._max_credits = max_credits
        self._open: dict[str, Intent] = {}
        self._stopped: SeedanceError | None = None
        self._capped: CreditCapError | None = None
        self._states: Mapping[str, State] = {}
        self._reserved = 0.0
        self.entries: dict[str, JobEntry] = {}

    @staticmethod
    def result(entry: JobEntry, error: SeedanceError | None, *, earlier: bool = False) -> JobResult:
        """The result of a job; its files as the workers name them."""
        return results.result(entry, Path(), error=error, earlier=earlier)

    @property
    def in_order(self) -> list[JobEntry]:
        """The jobs that have ended, in the order of the manifest."""
        return [self.entries[intent.key] for intent in self._intents or () if intent.key in self.entries]

    @property
    def summary(self) -> Summary:
        """How the jobs stand."""
        counts = Counter(entry.state for entry in self.entries.values())
        counts.update(self._states.get(key, State.PLANNED) for key in self._open)
        used = [entry.credits_used or 0.0 for entry in self.entries.values()]
        refunded = [entry.credits_refunded or 0.0 for entry in self.entries.values()]
        return Summary(
            counts={state: counts[state] for state in State if counts[state]},
            credits_used=sum(used),
            credits_refunded=sum(refunded),
            credits_reserved=self._reserved,
            max_credits=self._max_credits,
            stopped=self._stopped or self._capped,
        )

    async def ends(self) -> AsyncGenerator[tuple[JobEntry, SeedanceError | None, bool]]:
        """Each job as it ends, with its error, and whether it had ended before the first query."""
        if self._intents is None:
            rows = await patiently(self._tables.jobs_of, self._batch)
            self._intents = [row.intent for row in rows]
        self._open = {intent.key: intent for intent in self._intents}
        earlier = True
        while True:
            for key, entry, error in await patiently(self._newly_ended):
                self.entries[key] = entry
                if isinstance(error, CreditCapError):
                    self._capped = self._capped or error
                yield entry, error, earlier
            if not self._open:
                return
            earlier = False
            await anyio.sleep(INTERVAL)

    def _newly_ended(self) -> list[tuple[str, JobEntry, SeedanceError | None]]:
        """The jobs that have ended since the last query, which are not open any more. Blocking."""
        keys = list(self._open)
        found = self._records.find(keys)
        self._states = self._tables.states(keys)
        waits = self._tables.open_links(keys)
        ended = [self._ended(key, record) for key, record in found.items() if not record.is_active]
        for key, outcome, _, _ in ended:
            if any(key in sources for sources in waits.values()):
                end_job(self._tables, self._records, key, outcome)  # where it ended as its taker was enqueued
        active = {key for key, record in found.items() if record.is_active}
        ended += [
            self._never_released(key, waits)
            for key in _stuck(waits, active, set(found), {k for k, *_ in ended})
        ]
        self._reserved = self._tables.ledger(self._batch).reserved
        why = self._tables.stopped(self._batch)
        self._stopped = None if why is None else restored(why)
        for key, *_ in ended:
            self._open.pop(key, None)
        return [(key, entry, error) for key, _, entry, error in ended]

    def _ended(self, key: str, record: JobRecord) -> tuple[str, Outcome, JobEntry, SeedanceError | None]:
        if record.output is None:
            facts = error_facts(SeedanceError(BROKEN))
            outcome = Outcome(state=self._states.get(key, State.SUBMITTING), error=facts)
        else:
            outcome = Outcome.load(record.output)
        entry = outcome.entry(self._open[key])
        return key, outcome, entry, outcome.failure(entry)

    def _never_released(
        self, key: str, waits: Mapping[str, Collection[str]]
    ) -> tuple[str, Outcome, JobEntry, SeedanceError | None]:
        names = {intent.key: intent.name for intent in self._intents or ()}
        sources = ", ".join(sorted(names.get(source, "a job") for source in waits[key]))
        outcome = Outcome(
            state=State.PLANNED,
            was_sent=False,
            error=error_facts(SeedanceError(WAITS.format(sources=sources))),
        )
        entry = outcome.entry(self._open[key])
        return key, outcome, entry, outcome.failure(entry)


def _stuck(
    waits: Mapping[str, Collection[str]],
    active: Collection[str],
    found: Collection[str],
    ended: Collection[str],
) -> list[str]:
    """The jobs that are not in the queue, and wait for nothing that can still come to an end."""
    waiting = {key: set(sources) for key, sources in waits.items() if key not in found}
    moving = set(active) | set(ended)  # an end may release what waits for it: the next query shows it
    while True:
        more = {key for key, sources in waiting.items() if key not in moving and sources & moving}
        if not more:
            return [key for key in waiting if key not in moving]
        moving |= more
