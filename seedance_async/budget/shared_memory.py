"""The memory of a budget at a server, PostgreSQL or Redis, shared by all processes and hosts of an account.

The rules are those of the file (`file_memory`): a process that wants a slot writes its claim next to the
claims of others. The write is a compare-and-swap: it succeeds if no other process wrote in the meantime;
otherwise the process reads the page and decides again. When the answer to a request arrives, its claim is
moved to that instant. Pauses and lessons hold for all processes. The claims of a dead process expire without
any action.

All instants are in seconds of the server's clock. Every answer shows how far that clock and the loop's clock
differ, except for the time that the answer took. That time is always counted so that slots come back later,
never earlier.

Where something is unknown, the worst case is assumed for as long as it can last:

- the server is **away**, or cannot be written to: of what is free as far as is known, this process uses an
  equal share, at most `FALLBACK_SHARE`, so processes that all lose it together use no more than the window.
  One that has heard nothing for a while, or never, sends nothing for the first period: what it knows is old.
  The server is asked again twice a second.
- the server is **back**, after that or as **another one** (restarted, failed over, its clock set): its last
  stamps may be lost, and others write theirs again. What was known here is put back, nothing is sent until
  they have, and requests go one by one for one period. A process that was at work and does not write again
  may have died after requests that are not recorded: as many slots as it can have used stay taken for a
  period;
- **nothing is kept**: the same, where the server has not been up for longer than claims last.

One case can exceed the limit: only this process has lost the server. The others use the whole window, and its
share comes on top of that: of 30 requests up to 7 more in a period, which the API may answer with 429, and
never charges. A rule that cannot exceed it would have each process keep its share free at all times (four
processes could use 2 of 30 slots together), or send nothing without the server.
"""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from math import inf
from typing import TYPE_CHECKING, Final

import anyio
from attrs import evolve

from seedance_async.budget.memory import SETTLING, BudgetState
from seedance_async.budget.pace import LEEWAY, Pace, stricter
from seedance_async.budget.shared_page import Entry, SharedPage, merged, parsed
from seedance_async.budget.shared_view import Away, Known, Offset, missing, presumed, restated
from seedance_async.budget.store import StoreAwayError
from seedance_async.budget.turns import WAIT_LASTS, YIELD_CHECK, Wait, Waiting, others_first
from seedance_async.logs import Log
from seedance_async.signals import Signal
from seedance_async.state_files import account_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from seedance_async.budget.store import Kept, Store
    from seedance_async.models import RateLimit

_log: Log = Log(__name__)

FALLBACK_SHARE: Final = 1 / 4  # of what is free, for a process that cannot reach the server
PATIENCE: Final = 2.0  # s for an answer
ASK_AGAIN: Final = 0.5  # s, while it is away
REJOINING: Final = PATIENCE + ASK_AGAIN  # s until others, too, have noticed that it is back
BEAT: Final = 1.0  # s until the server is asked again, while this process waits or has slots
IDLE: Final = 5.0  # s, otherwise
GOODBYE: Final = 1.0  # s for the last writing


class SharedMemory:
    """Remembers an account at a server.

    Args:
        name: the account's there, see `fingerprint`.
        store: the server.
        limit: the account's limit.
        shown: the server's address for messages, without a password.
    """

    check_every: float | None

    def __init__(self, name: str, store: Store, *, limit: RateLimit, shown: str) -> None:
        self._name = name
        self._store = store
        self._limit = limit
        self._shown = shown
        self.check_every = self._beat = min(BEAT, limit.period / 4)
        self._me = secrets.token_hex(8)
        self._state = BudgetState()
        self._known: Known | None = None
        self._away: Away | None = None
        self._read_pace = Pace()  # the pace of the page, on the loop's clock
        self._heard = 0  # pages of others
        self._changes = 0  # of ours
        self._is_urgent = False  # whether they are more than that slots come back earlier
        self._written = 0  # of them, those that the server has
        self._written_at = self._asked_at = self._heard_at = -inf
        self._has_rejoined = False  # and that is not logged yet
        self._one_at_a_time = anyio.Lock()
        self._wake = Signal()

    @contextmanager
    def open(self, clock: Callable[[], float]) -> Iterator[BudgetState]:
        """The state as far as it is known; what is changed is written soon, or by ``commit``."""
        now, state = clock(), self._state
        state.now, state.others = now, ()
        if self._known is not None:
            self._show(self._known, now)
        if self._away is not None:
            state.others = self._away.others(state.others, now, self._limit)
        claims, urgent = self._claims(now), self._urgent()
        yield state
        if self._urgent() != urgent:
            self._is_urgent = True
            self._wake.set()
        if self._is_urgent or self._claims(now) != claims:
            self._changes += 1

    async def commit(self) -> bool:
        """Whether the last change holds for everybody, or, while the server is away, for our share."""
        if self._away is not None:
            return True
        decided_on = self._version
        async with self._one_at_a_time:
            return decided_on == self._version and await self._exchange()

    async def serve(self, changed: Callable[[], object]) -> None:
        """Write down what has changed, and read what others have, until cancelled."""
        try:
            while True:
                while (rest := self._rest(anyio.current_time())) > 0.0:
                    await self._wake.wait(rest)
                heard = self._heard
                async with self._one_at_a_time:
                    await self._exchange()
                if heard != self._heard:
                    changed()
        finally:
            with anyio.move_on_after(GOODBYE, shield=True):
                if self._changes != self._written and self._away is None:
                    async with self._one_at_a_time:
                        await self._exchange()
                await self._store.close()

    def _show(self, known: Known, now: float) -> None:
        """Say what is known, as of now."""
        state, offset = self._state, known.offset
        theirs = known.others(self._me, now)
        state.others = tuple(sorted(claim - offset.low for entry in theirs for claim in entry.claims))
        said = [entry for entry in theirs if entry.seen_at > now + offset.low - WAIT_LASTS]
        state.others_wait = tuple(Waiting(Wait.of(entry.wait), len(entry.claims)) for entry in said)
        is_paced = now + offset.low < known.page.paced_until
        state.spacing = LEEWAY * self._limit.period / self._limit.requests if is_paced else 0.0

    def _claims(self, now: float) -> list[float]:
        return [claim for claim in self._state.claims if claim > now]

    def _urgent(self) -> tuple[object, ...]:
        """What is written at once when it changes, because others act on it."""
        wait, others = self._state.wait, self._state.others_wait
        is_contended = Wait.INTERACTIVE in {wait, *(other.wait for other in others)}
        return self._state.pace.closed_until, wait if is_contended else Wait.NONE

    def _rest(self, now: float) -> float:
        """Seconds until the next exchange with the server."""
        if self._away is not None:
            return self._asked_at + ASK_AGAIN - now
        if self._is_urgent:
            return 0.0
        if self._lets_others_go(now):
            return self._asked_at + YIELD_CHECK - now
        is_busy = self._state.wait or self._claims(now)
        return self._asked_at + (self._beat if is_busy else IDLE) - now

    def _lets_others_go(self, now: float) -> bool:
        """Whether we wait until another one has taken its slot: it is looked for more often then."""
        mine, others = Waiting(self._state.wait, len(self._claims(now))), self._state.others_wait
        theirs = sum(claim > now for claim in self._state.others)
        is_free = mine.slots + theirs < self._limit.requests
        return bool(mine.wait) and is_free and others_first(mine, others, in_a_row=self._state.in_a_row)

    def _has_news(self, now: float) -> bool:
        """Whether we have something to write, or to say again."""
        said_for = self._beat if self._state.wait else IDLE
        return self._changes != self._written or now - self._written_at >= said_for

    @property
    def _version(self) -> int | None:
        """Of the page that is known."""
        return None if self._known is None else self._known.version

    async def _exchange(self) -> bool:
        """Write our entry, if there is need, or read; True if it was written on top of all that is known."""
        self._asked_at = anyio.current_time()
        try:
            with anyio.fail_after(PATIENCE):
                if self._away is not None:
                    await self._rejoin(self._away)
                    return False
                if self._has_news(self._asked_at) and await self._write():
                    return True
                await self._read()
        except (StoreAwayError, TimeoutError) as problem:
            self._lose(str(problem) or "no answer in time")
        return False

    async def _rejoin(self, away: Away) -> None:
        """Read and write again: the server is back only once it accepts a write."""
        before = self._state.pace.closed_until
        await self._read()
        read = self._state.pace
        try:
            await self._write()
        except BaseException:  # it can be read, and not written: a standby, a full disk
            self._away = away
            self._heard += 1
            if self._state.pace.refused_at == read.refused_at:  # else a 429 has come meanwhile
                self._state.pace = evolve(
                    self._state.pace, closed_until=max(before, self._read_pace.closed_until)
                )
            raise

    async def _write(self) -> bool:
        """Write our page in the place of the one that is known, unless there is another."""
        known, changes, pace = self._known, self._changes, self._state.pace
        if known is None or self._away is not None:
            return False
        asked_at, urgent = anyio.current_time(), self._is_urgent
        page, self._is_urgent = self._outgoing(known, asked_at), False
        kept = await self._store.replace(self._name, known.version, page.text())
        if kept is None:
            self._is_urgent |= urgent
            return False
        offset = Offset.between(asked_at, kept.at, anyio.current_time())
        if known.is_another(kept, offset):
            return False  # it has taken what it cannot know better: read it, and look what may be lost
        self._known = Known(kept.version, page, offset, kept.server)
        self._heard_at = self._written_at = anyio.current_time()
        self._written, self._read_pace = changes, pace
        if self._has_rejoined:
            self._has_rejoined = False
            _log.info("the shared request budget at %s may have lost slots; they go one by one", self._shown)
        return True

    async def _read(self) -> None:
        """Learn what is kept; our last change was not decided on it."""
        asked_at = anyio.current_time()
        kept = await self._store.read(self._name)
        self._heard_at = anyio.current_time()
        self._learn(kept, Offset.between(asked_at, kept.at, self._heard_at))

    def _outgoing(self, known: Known, now: float) -> SharedPage:
        """The page that is known, with our entry in it."""
        high = known.offset.high
        claims = tuple(claim + high for claim in self._state.claims if claim > now)
        ours = Entry(claims=claims, seen_at=now + high, wait=int(self._state.wait), server=known.server)
        return evolve(
            known.page,
            server=known.server,
            entries={**known.page.alive(now + known.offset.low), self._me: ours},
            pace=restated(self._state.pace, read=self._read_pace, kept=known.page.pace, seconds=high),
            in_a_row=self._state.in_a_row,
        )

    def _learn(self, kept: Kept, offset: Offset) -> None:
        """Take over what is kept, and put back what may be lost."""
        known, now = self._known, anyio.current_time()
        found = parsed(kept.text or "")
        page = (found or SharedPage(server=kept.server)).bounded(kept.at, self._limit)
        is_another = known is not None and known.is_another(kept, offset)
        is_lost = known is not None and known.had_slots(self._me, now) and self._me not in page.entries
        pace = self._read_pace = page.pace.moved(-offset.low)
        if known is not None and (is_another or is_lost or found is None):
            page = merged(page, known.entries_at(offset, now))
            pace = stricter(pace, self._state.pace)
        elif self._changes != self._written:  # a lesson of ours is on its way, but no slot
            pace = evolve(stricter(pace, self._state.pace), granted_at=pace.granted_at)
        if is_another or is_lost or self._away is not None or not _is_believable(kept, found, page):
            page = evolve(self._presumed(page, kept, offset), paced_until=kept.at + self._limit.period)
            is_damaged = found is None and kept.text is not None
            wait = self._limit.period if is_damaged else min(REJOINING, self._limit.period)
            pace = _closed(pace, now + wait)
            self._is_urgent = self._has_rejoined = True
            self._changes += 1
        elif found is None:
            pace = _closed(pace, now + min(SETTLING, self._limit.period))
            self._changes += 1
        self._heard += known is None or known.version != kept.version
        self._known, self._away = Known(kept.version, page, offset, kept.server), None
        self._state.pace, self._state.in_a_row = pace, page.in_a_row

    def _presumed(self, page: SharedPage, kept: Kept, offset: Offset) -> SharedPage:
        """The page, with the slots of those who may have died while the server was lost."""
        period, requests = self._limit.period, self._limit.requests
        lost_at = -inf if self._away is None else self._away.began_at + offset.high
        taken = sum(len(entry.claims) for entry in page.alive(kept.at).values())
        return presumed(
            page,
            missing(page, self._me, server=kept.server, since=lost_at),
            kept=kept,
            until=kept.at + period + min(REJOINING, period),
            free=max(0, requests - taken),
            share=int(requests * FALLBACK_SHARE),
        )

    def _lose(self, reason: str) -> None:
        """The server is away."""
        if self._away is not None:
            return
        known, now = self._known, anyio.current_time()
        budgets = 1 if known is None else len(known.page.alive(now + known.offset.low))
        share = min(FALLBACK_SHARE, 1 / max(1, budgets))
        is_unsure = self._asked_at - self._heard_at > 2 * self._beat
        self._away = Away(
            now,
            share,
            () if known is None else known.ours(self._me),
            unsure_until=now + self._limit.period if is_unsure else -inf,
        )
        self._heard += 1
        _log.warning(
            "the shared request budget at %s cannot be reached (%s); until it can, this process uses at most "
            "%.0f%% of the limit",
            self._shown,
            reason,
            100 * share,
        )


def _is_believable(kept: Kept, found: SharedPage | None, page: SharedPage) -> bool:
    """Whether what is kept, or that nothing is, says all that there was."""
    if found is None:
        return kept.text is None and kept.up_for > 2 * page.period
    return page.server == kept.server


def _closed(pace: Pace, until: float) -> Pace:
    return evolve(pace, closed_until=max(pace.closed_until, until))


def fingerprint(account: str) -> str:
    """What an account is called at a server: a hash of its name, which has no key in it either."""
    return account_digest(account, "budget")
