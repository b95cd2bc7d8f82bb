"""The trials of a run: every job is compared with what was asked, and of each kind a canary is sent first.

What a canary is expected to cost is written down before it is sent: afterwards the account's record knows
its own charge, and would find it as expected.
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
"""The fact of what canaries were expected to cost, by tariff."""

ENDED_WITHOUT: Final = frozenset({State.FAILED, State.REFUSED, State.PLANNED, State.BLOCKED})
"""States in which a canary has nothing to measure, and never will."""

TO_SEND: Final = frozenset({State.PLANNED, State.SUBMITTING})
"""States of jobs that a run sends, for the first time or again."""


class Trials:
    """The trials of one run.

    Args:
        engine: knows what the account was charged before.
        journal: of the batch.
        ledger: knows what this batch was charged before.
        canaries: which jobs go alone.
    """

    def __init__(self, engine: Engine, journal: Journal, ledger: Ledger, canaries: Canaries) -> None:
        self.canaries = canaries
        self._engine = engine
        self._journal = journal
        self._ledger = ledger
        self._expected: dict[str, Price] = {}
        self._recorded: Mapping[Kind, float] = {}

    async def load(self) -> None:
        """Judge what is saved already of the kinds to be sent, and take what is under way for canaries."""
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
        """A post is about to be handed out: what a canary may cost is on record before it leaves."""
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
        """The jobs of a post have come as far as they do before their files are fetched."""
        ends = {entry.number: entry for entry in entries}
        for job in post.jobs:
            end = ends.get(job.number)
            if end is None or end.state in ENDED_WITHOUT:
                self.canaries.not_made(job.number)
            elif end.state is not State.COMPLETED:
                self.not_ended(end)

    def not_ended(self, entry: JobEntry) -> None:
        """A job's end is not known, or its files could not be saved: the next run sees to it."""
        what = "is not known yet" if entry.state is not State.COMPLETED else "could not be saved yet"
        self.canaries.held(
            entry.number,
            f"the canary of {entry.kind.words}: what came of {entry.name} {what}, so nothing more of its "
            "kind is sent; run again to ask for it",
        )

    def latest(self, stopped: SeedanceError | None) -> SeedanceError | None:
        """Why a run has stopped, as it is known by now: canaries that were out may have come since."""
        return self.canaries.error or stopped if isinstance(stopped, CanaryError) else stopped

    def saved(self, entry: JobEntry) -> None:
        """A job is saved: warn of what is not as asked, and judge it if it is a canary."""
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
    """In how far the files of a job are not what was asked for, and what it cost; one text at most."""
    found = mismatches_of(entry)
    if not found:
        return []
    charged = "credits not stated" if entry.credits_used is None else f"{entry.credits_used:g} credits"
    return [f"{_subject(entry)} came as {'; '.join(found)} ({charged})"]


def mismatches_of(entry: JobEntry) -> Sequence[str]:
    """In how far the files of a job are not what was asked for."""
    return file_mismatches(wish_of(entry.model, entry.request_fields), entry.delivered)


def _subject(entry: JobEntry) -> str:
    shape = wish_of(entry.model, entry.request_fields).shape
    return f"{entry.name} ({' '.join(filter(None, (entry.kind.words, shape)))})"


def _acceptance(entry: JobEntry) -> tuple[float, int]:
    return entry.accepted_at or 0.0, entry.number


def _key(tariff: Tariff) -> str:
    return json.dumps([*asdict(tariff.kind).values(), tariff.tasks])


def _read(fact: str | None) -> dict[str, Price]:
    """What an earlier run has expected; nothing where that cannot be read."""
    try:
        document = json.loads(fact or "{}")
        return {key: Price(**price) for key, price in document.items()}
    except (ValueError, TypeError, AttributeError):
        return {}
