"""The checks of a run's deliveries: every job is compared with its request, and canaries are judged.

The expected price of a canary is stored before it is sent: afterwards the account record has the canary's own
price, which would always match.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from attrs import asdict

from seedance_async.batch.mismatches import file_mismatches, price_mismatch, wish_of
from seedance_async.batch.states import State
from seedance_async.errors import CanaryError
from seedance_async.logs import Log
from seedance_async.prices import Price, Tariff, price_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from seedance_async.batch.canaries import Canaries
    from seedance_async.batch.journal import JobEntry, Journal
    from seedance_async.batch.ledger import Ledger
    from seedance_async.batch.queue import Post
    from seedance_async.engine import Engine
    from seedance_async.errors import SeedanceError
    from seedance_async.models import Kind

log: Log = Log(__name__)

EXPECTED: Final = "canary_prices"
"""Name of the journal's fact with the expected prices of canaries, by tariff."""

ENDED_WITHOUT: Final = frozenset({State.FAILED, State.REFUSED, State.PLANNED, State.BLOCKED})
"""States in which a canary gives nothing to measure."""

TO_SEND: Final = frozenset({State.PLANNED, State.SUBMITTING})
"""States of jobs that a run sends, for the first time or again."""


class Trials:
    """The checks of one run's deliveries.

    Args:
        engine: has the prices of the account record.
        journal: the batch's journal.
        ledger: has the prices of this batch.
        canaries: the canaries of the run.
    """

    def __init__(self, engine: Engine, journal: Journal, ledger: Ledger, canaries: Canaries) -> None:
        self.canaries = canaries
        self._engine = engine
        self._journal = journal
        self._ledger = ledger
        self._expected: dict[str, Price] = {}
        self._recorded: Mapping[Kind, float] = {}

    async def load(self) -> None:
        """Judge the saved results of the kinds to be sent, and count jobs under way as canaries."""
        if not self.canaries.is_on:
            return
        store = self._journal.store
        self._expected = _read(await self._journal.fact(EXPECTED))
        self._recorded = await self._engine.recorded_prices()
        saved = await self._journal.do(store.newest_saved)
        newest = {entry.kind: entry for entry in sorted(saved, key=_acceptance)}
        for kind, entry in newest.items():
            self.canaries.found(kind, self._problems(entry))
        for tariff, state in await self._journal.do(store.tally):
            if state in TO_SEND:
                self.canaries.wanted(tariff.kind)
        for number, kind in await self._journal.do(store.under_way):
            self.canaries.sent(number, kind)

    async def sent(self, post: Post) -> None:
        """Note a post that is about to be sent; the expected price of a canary is stored first."""
        if self.canaries.is_proven(post.kind):
            return
        tariff = post.jobs[0].tariff
        expected = price_of(tariff, self._ledger.prices, self._recorded)
        if expected is not None and _key(tariff) not in self._expected:
            self._expected[_key(tariff)] = expected
            document = {key: asdict(price) for key, price in self._expected.items()}
            await self._journal.remember(EXPECTED, json.dumps(document))
        for number in post.numbers:
            self.canaries.sent(number, post.kind)

    def ended(self, post: Post, entries: Iterable[JobEntry]) -> None:
        """Note the states of a post's jobs before their files are downloaded."""
        ends = {entry.number: entry for entry in entries}
        for job in post.jobs:
            end = ends.get(job.number)
            if end is None or end.state in ENDED_WITHOUT:
                self.canaries.not_made(job.number)
            elif end.state is not State.COMPLETED:
                self.not_ended(end)

    def not_ended(self, entry: JobEntry) -> None:
        """Note that a job's outcome is unknown, or its files could not be saved; the next run continues."""
        what = "is not known yet" if entry.state is not State.COMPLETED else "could not be saved yet"
        self.canaries.held(
            entry.number,
            f"the canary of {entry.kind.words}: what came of {entry.name} {what}, so nothing more of its "
            "kind is sent; run again to ask for it",
        )

    def latest(self, stopped: SeedanceError | None) -> SeedanceError | None:
        """Return the newest reason why a run has stopped: more canaries may have been judged since."""
        return self.canaries.error or stopped if isinstance(stopped, CanaryError) else stopped

    def saved(self, entry: JobEntry) -> None:
        """Log the mismatches of a saved job, and judge it if it is a canary."""
        for problem in delivery_problems(entry):
            log.warning("%s", problem)
        if self.canaries.is_out(entry.number) and not self.canaries.is_proven(entry.kind):
            self._judge(entry)

    def _judge(self, entry: JobEntry) -> None:
        self.canaries.judged(entry.number, entry.kind, self._problems(entry))

    def _problems(self, entry: JobEntry) -> list[str]:
        expected = self._expected.get(_key(entry.tariff)) or price_of(entry.tariff, {})
        problems = delivery_problems(entry)
        if price := price_mismatch(entry.credits_used, expected):
            problems.append(f"{_subject(entry)} {price}")
        return problems


def delivery_problems(entry: JobEntry) -> list[str]:
    """Return a text with the mismatches of a job's files and its charge; empty if there are none."""
    found = mismatches_of(entry)
    if not found:
        return []
    charged = "credits not stated" if entry.credits_used is None else f"{entry.credits_used:g} credits"
    return [f"{_subject(entry)} came as {'; '.join(found)} ({charged})"]


def mismatches_of(entry: JobEntry) -> Sequence[str]:
    """Return the differences of a job's files from its request."""
    return file_mismatches(wish_of(entry.model, entry.request_fields), entry.delivered)


def _subject(entry: JobEntry) -> str:
    shape = wish_of(entry.model, entry.request_fields).shape
    return f"{entry.name} ({' '.join(filter(None, (entry.kind.words, shape)))})"


def _acceptance(entry: JobEntry) -> tuple[float, int]:
    return entry.accepted_at or 0.0, entry.number


def _key(tariff: Tariff) -> str:
    return json.dumps([*asdict(tariff.kind).values(), tariff.tasks])


def _read(fact: str | None) -> dict[str, Price]:
    """Decode the expected prices of earlier runs; empty if they cannot be read."""
    try:
        document = json.loads(fact or "{}")
        return {key: Price(**price) for key, price in document.items()}
    except (ValueError, TypeError, AttributeError):
        return {}
