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

- The server **cannot be reached** or written to: of the slots known to be free, this process uses an equal
  share, at most `FALLBACK_SHARE`, so processes that all lose the server together stay within the window. A
  process that has received nothing for a while, or never, sends nothing for the first period, because what it
  knows is old. The server is tried again twice a second.
- The server is **reachable again**, or is **another one** (restarted, failed over, its clock set): its last
  claims may be lost, and the other processes write theirs again. This process writes back what it knew, sends
  nothing until the others had time to do the same, and spaces requests evenly for one period. A process that
  was at work and does not write again may have died after requests that are not recorded: as many slots as it
  can have used stay taken for a period.
- The server **stores nothing** for the account: the same, unless it has been up for longer than claims last.

What was sent is unknown to all if the server has lost its data and every process that knew has ended; then
only the even spacing limits what is sent.

Apart from that, one case can exceed the limit: only this process has lost the server. The others use the
whole window, and its share is in excess of it: for a limit of 30 up to 7 requests a period, which the API may
answer with 429, and never charges. A rule that cannot exceed it would have each process keep its share free
at all times (four processes could use 2 of 30 slots together), or send nothing without the server.
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
from seedance_async.budget.priority import WAIT_LASTS, YIELD_CHECK, Wait, Waiting, others_first
from seedance_async.budget.shared_page import Entry, SharedPage, merged, parsed
from seedance_async.budget.shared_store import StoreUnavailableError
from seedance_async.budget.shared_view import Away, Known, Offset, missing, presumed, restated
from seedance_async.logs import Log
from seedance_async.signals import Signal
from seedance_async.state_files import account_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from seedance_async.budget.shared_store import Kept, Store
    from seedance_async.models import RateLimit

_log: Log = Log(__name__)

FALLBACK_SHARE: Final = 1 / 4  # of the free slots, for a process that cannot reach the server
ANSWER_TIMEOUT: Final = 2.0  # s
RETRY_EVERY: Final = 0.5  # s, while the server cannot be reached
REJOINING: Final = (
    ANSWER_TIMEOUT + RETRY_EVERY
)  # s until all processes have noticed that it is reachable again
HEARTBEAT: Final = 1.0  # s between two exchanges while a request waits or slots of ours are taken
IDLE: Final = 5.0  # s between two exchanges otherwise
LAST_WRITE_TIMEOUT: Final = 1.0  # s


class SharedMemory:
    """The memory of one account at a server.

    Args:
        name: the account's name at the server, see `fingerprint`.
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
        self.check_every = self._beat = min(HEARTBEAT, limit.period / 4)
        self._me = secrets.token_hex(8)
        self._state = BudgetState()
        self._known: Known | None = None
        self._away: Away | None = None
        self._read_pace = Pace()  # the pace of the page, on the loop's clock
        self._updates = 0  # number of pages read that others had written
        self._changes = 0  # number of our changes
        self._is_urgent = False  # whether they do more than make slots become free earlier
        self._written = 0  # how many of our changes the server has
        self._written_at = self._asked_at = self._heard_at = -inf
        self._announce_return = False  # whether to log that the server is reachable again
        self._one_at_a_time = anyio.Lock()
        self._wake = Signal()

    @contextmanager
    def open(self, clock: Callable[[], float]) -> Iterator[BudgetState]:
        """The last known state; changes made in the block are written soon by ``serve``, or by ``commit``."""
        now, state = clock(), self._state
        state.now, state.others = now, ()
        if self._known is not None:
            self._show(self._known, now)
        if self._away is not None:
            state.others = self._away.others(state.others, now, self._limit)
        claims, urgent_part = self._claims(now), self._urgent_part()
        yield state
        if self._urgent_part() != urgent_part:
            self._is_urgent = True
            self._wake.set()
        if self._is_urgent or self._claims(now) != claims:
            self._changes += 1

    async def commit(self) -> bool:
        """Whether the last change is valid for all processes, or is in our share while the server is lost."""
        if self._away is not None:
            return True
        decided_on = self._version
        async with self._one_at_a_time:
            return decided_on == self._version and await self._exchange()

    async def serve(self, changed: Callable[[], object]) -> None:
        """Write our changes and read those of others until cancelled."""
        try:
            while True:
                while (rest := self._rest(anyio.current_time())) > 0.0:
                    await self._wake.wait(rest)
                updates = self._updates
                async with self._one_at_a_time:
                    await self._exchange()
                if updates != self._updates:
                    changed()
        finally:
            with anyio.move_on_after(LAST_WRITE_TIMEOUT, shield=True):
                if self._changes != self._written and self._away is None:
                    async with self._one_at_a_time:
                        await self._exchange()
                await self._store.close()

    def _show(self, known: Known, now: float) -> None:
        """Put what is known into the state, as of ``now``."""
        state, offset = self._state, known.offset
        theirs = known.others(self._me, now)
        state.others = tuple(sorted(claim - offset.low for entry in theirs for claim in entry.claims))
        said = [entry for entry in theirs if entry.seen_at > now + offset.low - WAIT_LASTS]
        state.others_wait = tuple(Waiting(Wait.of(entry.wait), len(entry.claims)) for entry in said)
        is_paced = now + offset.low < known.page.paced_until
        spacing = LEEWAY * self._limit.period / self._limit.requests if is_paced else 0.0
        state.spacing = spacing if self._away is None else spacing / self._away.share  # each for itself

    def _claims(self, now: float) -> list[float]:
        return [claim for claim in self._state.claims if claim > now]

    def _urgent_part(self) -> tuple[object, ...]:
        """The part of the state whose changes are written at once."""
        wait, others = self._state.wait, self._state.others_wait
        is_contended = Wait.INTERACTIVE in {wait, *(other.wait for other in others)}
        return self._state.pace.closed_until, wait if is_contended else Wait.NONE

    def _rest(self, now: float) -> float:
        """Seconds until the next exchange with the server."""
        if self._away is not None:
            return self._asked_at + RETRY_EVERY - now
        if self._is_urgent:
            return 0.0
        if self._yields(now):
            return self._asked_at + YIELD_CHECK - now
        is_busy = self._state.wait or self._claims(now)
        return self._asked_at + (self._beat if is_busy else IDLE) - now

    def _yields(self, now: float) -> bool:
        """Whether we let another process take its slot first; the server is read more often then."""
        mine, others = Waiting(self._state.wait, len(self._claims(now))), self._state.others_wait
        theirs = sum(claim > now for claim in self._state.others)
        is_free = mine.slots + theirs < self._limit.requests
        return bool(mine.wait) and is_free and others_first(mine, others, in_a_row=self._state.in_a_row)

    def _has_news(self, now: float) -> bool:
        """Whether we have a change to write, or our entry must be renewed."""
        said_for = self._beat if self._state.wait else IDLE
        return self._changes != self._written or now - self._written_at >= said_for

    @property
    def _version(self) -> int | None:
        """The version of the known page; None if no page is known."""
        return None if self._known is None else self._known.version

    async def _exchange(self) -> bool:
        """Write our entry if needed, else read; True if it was written and no other process wrote before."""
        self._asked_at = anyio.current_time()
        try:
            with anyio.fail_after(ANSWER_TIMEOUT):
                if self._away is not None:
                    await self._rejoin(self._away)
                    return False
                if self._has_news(self._asked_at) and await self._write():
                    return True
                await self._read()
        except (StoreUnavailableError, TimeoutError) as problem:
            self._lose(str(problem) or "no answer in time")
        return False

    async def _rejoin(self, away: Away) -> None:
        """Read and write again; the server counts as reachable only after a successful write."""
        before = self._state.pace.closed_until
        page = await self._read()
        read = self._state.pace
        try:
            await self._write()
        except BaseException:  # readable but not writable: a standby server, a full disk
            self._away = away
            if self._known is not None:  # nobody can write, so who does not write need not be dead
                self._known = evolve(self._known, page=page)
            self._updates += 1
            if self._state.pace.refused_at == read.refused_at:  # else a 429 was received in the meantime
                self._state.pace = evolve(
                    self._state.pace, closed_until=max(before, self._read_pace.closed_until)
                )
            raise

    async def _write(self) -> bool:
        """Replace the known page by ours; False if another page is stored by now."""
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
            return False  # another server accepted it without knowing the rest: read what it has, and merge
        self._known = Known(kept.version, page, offset, kept.server)
        self._heard_at = self._written_at = anyio.current_time()
        self._written, self._read_pace = changes, pace
        if self._announce_return:
            self._announce_return = False
            _log.info(
                "the shared request budget at %s may have lost slots; requests are spaced evenly for now",
                self._shown,
            )
        return True

    async def _read(self) -> SharedPage:
        """Read and return what is stored. Our last change was decided without it: it is not confirmed."""
        asked_at = anyio.current_time()
        kept = await self._store.read(self._name)
        self._heard_at = anyio.current_time()
        return self._learn(kept, Offset.between(asked_at, kept.at, self._heard_at))

    def _outgoing(self, known: Known, now: float) -> SharedPage:
        """The known page with our current entry in it."""
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

    def _learn(self, kept: Kept, offset: Offset) -> SharedPage:
        """Take over what is stored, and add what the server may have lost; return the page without that."""
        known, now = self._known, anyio.current_time()
        found = parsed(kept.text or "")
        page = (found or SharedPage(server=kept.server)).bounded(kept.at, self._limit)
        is_another = known is not None and known.is_another(kept, offset)
        is_lost = known is not None and known.had_slots(self._me, now) and self._me not in page.entries
        pace = self._read_pace = page.pace.moved(-offset.low)
        if known is not None and (is_another or is_lost or found is None):
            lost_at = now if self._away is None else self._away.began_at
            page = merged(page, known.entries_at(offset, now, alive_at=lost_at))
            pace = stricter(pace, self._state.pace)
        elif self._changes != self._written:  # a pace of ours is not written yet, but no slot
            pace = evolve(stricter(pace, self._state.pace), granted_at=pace.granted_at)
        is_whole = _is_complete(kept, found, page)
        may_have_lost = is_another or is_lost or self._away is not None or not is_whole
        if may_have_lost:
            page = evolve(page, paced_until=kept.at + self._limit.period)
            is_damaged = found is None and kept.text is not None
            wait = self._limit.period if is_damaged else min(REJOINING, self._limit.period)
            pace = _closed(pace, now + wait)
            self._is_urgent = self._announce_return = True
            self._changes += 1
        elif found is None:
            pace = _closed(pace, now + min(SETTLING, self._limit.period))
            self._changes += 1
        self._updates += known is None or known.version != kept.version
        with_lost = self._presumed(page, kept, offset) if may_have_lost else page
        self._known, self._away = Known(kept.version, with_lost, offset, kept.server), None
        self._state.pace, self._state.in_a_row = pace, page.in_a_row
        return page

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

    def _unsure(self, others: Sequence[Entry]) -> int:
        """How many slots that seem free may have been taken since the server was heard last.

        All of them, if that was long ago, or if nothing was ever written: one who never wrote may follow one
        who died in this outage. Otherwise those for which others compete, who may have been first.
        """
        is_old = self._asked_at - self._heard_at > 2 * self._beat
        if is_old or self._written_at == -inf:
            return self._limit.requests
        if not any(entry.wait or entry.claims for entry in others):
            return 0
        taken = len(self._claims(anyio.current_time())) + sum(len(entry.claims) for entry in others)
        return max(0, self._limit.requests - taken)

    def _recorded(self, known: Known, now: float) -> tuple[float, ...]:
        """The instants until which slots of ours are taken, without a slot that was not written.

        They are our own, where these are earlier: the written ones are later by the time of the way there, in
        which others would count as free what we have used again.
        """
        written = (claim for claim in known.ours(self._me) if claim > now)
        return tuple(map(min, written, self._claims(now)))

    def _lose(self, reason: str) -> None:
        """Note that the server cannot be reached."""
        if self._away is not None:
            return
        known, now = self._known, anyio.current_time()
        others = [] if known is None else known.others(self._me, now)
        share = min(FALLBACK_SHARE, 1 / (1 + len(others)))
        self._away = Away(
            now,
            share,
            () if known is None else self._recorded(known, now),
            unsure=self._unsure(others),
            unsure_until=now + self._limit.period,
        )
        self._updates += 1
        _log.warning(
            "the shared request budget at %s cannot be reached (%s); until it can, this process uses at most "
            "%.0f%% of the limit",
            self._shown,
            reason,
            100 * share,
        )


def _is_complete(kept: Kept, found: SharedPage | None, page: SharedPage) -> bool:
    """Whether the stored page, or its absence, is complete: nothing can have been lost."""
    if found is None:
        return kept.text is None and kept.up_for > 2 * page.period
    return page.server == kept.server


def _closed(pace: Pace, until: float) -> Pace:
    return evolve(pace, closed_until=max(pace.closed_until, until))


def fingerprint(account: str) -> str:
    """The name of an account at a server: a hash of the account's name, which holds no key either."""
    return account_digest(account, "budget")
