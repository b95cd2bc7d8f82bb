"""What one process knows of the shared page: its clock offset, the slots of others, and its share without it.

Pure.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

from attrs import evolve, frozen

from seedance_async.budget.shared_page import Entry, SharedPage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from seedance_async.budget.pace import Pace
    from seedance_async.budget.store import Kept
    from seedance_async.models import RateLimit

HEARD_OF: Final = 7.0
"""Seconds within which every budget that is at work writes, an idle one whose server is slow included."""

MOST_DRIFT: Final = 0.1  # s; a larger difference between two answers means that a clock was set


@frozen
class Offset:
    """The server's clock less the loop's, which lies between these two."""

    low: float
    high: float

    @classmethod
    def between(cls, asked_at: float, at: float, heard_at: float) -> Offset:
        """What an answer shows that was asked for and heard at these instants of the loop's clock."""
        return cls(at - heard_at, at - asked_at)

    def differs(self, other: Offset) -> bool:
        """Whether one of the clocks was set in between."""
        return self.low > other.high + MOST_DRIFT or self.high < other.low - MOST_DRIFT


@frozen
class Known:
    """The page of the last answer.

    Attributes:
        version: of the page at the server.
        page: as it was, or as we wrote it.
        offset: the server's clock less the loop's.
        server: which it was.
    """

    version: int
    page: SharedPage
    offset: Offset
    server: str

    def is_another(self, kept: Kept, offset: Offset) -> bool:
        """Whether another server answers, or a clock was set."""
        return kept.server != self.server or offset.differs(self.offset)

    def others(self, me: str, now: float) -> list[Entry]:
        """The entries of other budgets that still say something."""
        alive = self.page.alive(now + self.offset.low)
        return [entry for budget, entry in alive.items() if budget != me]

    def ours(self, me: str) -> tuple[float, ...]:
        """Until when slots of ours are taken in it, by the loop's clock."""
        entry = self.page.entries.get(me, Entry())
        return tuple(claim - self.offset.low for claim in entry.claims)

    def had_slots(self, me: str, now: float) -> bool:
        """Whether slots of ours are taken in it."""
        return any(claim > now for claim in self.ours(me))

    def entries_at(self, offset: Offset, now: float) -> dict[str, Entry]:
        """The entries on a server's clock that differs from the loop's by another offset."""
        seconds = offset.high - self.offset.low
        alive = self.page.alive(now + self.offset.low)
        return {budget: entry.later(seconds) for budget, entry in alive.items()}


@frozen
class Away:
    """The time in which the server cannot be reached.

    Attributes:
        began_at: by the loop's clock.
        share: of what is free that this process may use.
        claims: until when slots of ours were taken, when it began.
        unsure_until: others may have slots until then that are not known: nothing is free.
    """

    began_at: float
    share: float
    claims: tuple[float, ...]
    unsure_until: float = -inf

    def others(self, known: tuple[float, ...], now: float, limit: RateLimit) -> tuple[float, ...]:
        """Until when slots are not ours to use: those of others, and the free ones beyond our share.

        Args:
            known: until when slots of others are taken, by the loop's clock.
            now: of the loop's clock.
            limit: the account's limit.
        """
        theirs = [claim for claim in known if claim > now]
        free = max(0, limit.requests - len(theirs) - sum(claim > now for claim in self.claims))
        if now < self.unsure_until:
            return (*sorted([*theirs, *[self.unsure_until] * free]),)
        ours = max(int(free * self.share), free == limit.requests)
        return (*sorted([*theirs, *[now + limit.period] * (free - ours)]),)


def missing(page: SharedPage, me: str, *, server: str, since: float) -> list[str]:
    """The budgets that were at work when the server was lost, and have not written since.

    Args:
        page: with all that was known before.
        me: this process's budget.
        server: the one that answers now.
        since: when it was lost, by its clock, if it is the one that it was.
    """
    newest = max((entry.seen_at for entry in page.entries.values()), default=-inf)
    return [
        budget
        for budget, entry in page.entries.items()
        if budget != me
        and entry.seen_at > newest - HEARD_OF
        and (entry.server != server or entry.seen_at <= since)
    ]


def presumed(
    page: SharedPage, budgets: Sequence[str], *, kept: Kept, until: float, free: int, share: int
) -> SharedPage:
    """A page in which budgets have slots that are not recorded, until they write what they have.

    One that has died while the server was lost never will.

    Args:
        page: to start from.
        budgets: see ``missing``.
        kept: what the server has answered.
        until: when such slots come back, by its clock.
        free: slots that are not known to be taken. A server that was restarted may have lost any of them.
        share: of these, those that one may have used without the server, if it is the one that it was.
    """
    entries = dict(page.entries)
    for budget in budgets:
        entry = entries[budget]
        slots = free if entry.server != kept.server else min(free, share)
        entries[budget] = Entry(
            claims=(*sorted([*entry.claims, *[until] * slots]),), seen_at=kept.at, server=kept.server
        )
    return evolve(page, entries=entries)


def restated(pace: Pace, *, read: Pace, kept: Pace, seconds: float) -> Pace:
    """A pace on the server's clock; instants that are as they were read stay as they are kept."""
    moved = pace.moved(seconds)
    return evolve(
        moved,
        refused_at=kept.refused_at if pace.refused_at == read.refused_at else moved.refused_at,
        closed_until=kept.closed_until if pace.closed_until == read.closed_until else moved.closed_until,
        granted_at=kept.granted_at if pace.granted_at == read.granted_at else moved.granted_at,
    )
