"""One process's knowledge of the shared page: clock offset, slots of others, and its share in an outage.

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
    from seedance_async.budget.shared_store import Kept
    from seedance_async.models import RateLimit

HEARD_OF: Final = 7.0
"""Seconds within which every budget that is at work writes, an idle one whose server is slow included."""

MOST_DRIFT: Final = 0.1  # s; a larger difference between two answers means that a clock was set


@frozen
class Offset:
    """The bounds in seconds of the difference between the server's clock and the loop's."""

    low: float
    high: float

    @classmethod
    def between(cls, asked_at: float, at: float, heard_at: float) -> Offset:
        """The offset shown by an answer.

        Args:
            asked_at: when the server was asked, on the loop's clock.
            at: the time in the answer, on the server's clock.
            heard_at: when the answer was received, on the loop's clock.
        """
        return cls(at - heard_at, at - asked_at)

    def differs(self, other: Offset) -> bool:
        """Whether one of the clocks was set between the two measurements."""
        return self.low > other.high + MOST_DRIFT or self.high < other.low - MOST_DRIFT


@frozen
class Known:
    """The page of the last answer.

    Attributes:
        version: of the page at the server.
        page: as it was read, or as we wrote it.
        offset: the difference between the server's clock and the loop's.
        server: the server's identifier, see ``Kept``.
    """

    version: int
    page: SharedPage
    offset: Offset
    server: str

    def is_another(self, kept: Kept, offset: Offset) -> bool:
        """Whether another server has answered, or a clock was set."""
        return kept.server != self.server or offset.differs(self.offset)

    def others(self, me: str, now: float) -> list[Entry]:
        """The entries of other budgets that have a slot or were written recently."""
        alive = self.page.alive(now + self.offset.low)
        return [entry for budget, entry in alive.items() if budget != me]

    def ours(self, me: str) -> tuple[float, ...]:
        """The instants on the loop's clock until which slots of ours are taken in it."""
        entry = self.page.entries.get(me, Entry())
        return tuple(claim - self.offset.low for claim in entry.claims)

    def had_slots(self, me: str, now: float) -> bool:
        """Whether slots of ours are taken in it."""
        return any(claim > now for claim in self.ours(me))

    def entries_at(self, offset: Offset, now: float, *, alive_at: float) -> dict[str, Entry]:
        """The entries alive at an instant, as they are now by a server's clock with another offset."""
        seconds = offset.high - self.offset.low
        alive = self.page.alive(alive_at + self.offset.low)
        return {
            budget: entry.without_past(now + self.offset.low).later(seconds)
            for budget, entry in alive.items()
        }


@frozen
class Away:
    """A time in which the server cannot be reached.

    Attributes:
        began_at: when the outage began, by the loop's clock.
        share: the part of the free slots that this process may use.
        claims: instants until which slots of ours were taken when the outage began.
        unsure: slots that seem free, but may have been taken by others since the server was heard last.
        unsure_until: until when they may be.
    """

    began_at: float
    share: float
    claims: tuple[float, ...]
    unsure: int
    unsure_until: float

    def others(self, known: tuple[float, ...], now: float, limit: RateLimit) -> tuple[float, ...]:
        """Instants until which slots must not be used: those of others, and the free ones beyond our share.

        Args:
            known: instants on the loop's clock until which slots of others are taken.
            now: on the loop's clock.
            limit: the account's limit.
        """
        theirs = [claim for claim in known if claim > now]
        free = max(0, limit.requests - len(theirs) - sum(claim > now for claim in self.claims))
        unsure = min(free, self.unsure) if now < self.unsure_until else 0
        sure = free - unsure
        ours = max(int(sure * self.share), sure == limit.requests)
        return (*sorted([*theirs, *[self.unsure_until] * unsure, *[now + limit.period] * (sure - ours)]),)


def missing(page: SharedPage, me: str, *, server: str, since: float) -> list[str]:
    """The budgets that were at work when the server was lost, and have not written since.

    Args:
        page: with all that was known before.
        me: this process's budget.
        server: the one that answers now.
        since: when it was lost, by its clock, if it is the one that it was.
    """
    silent = {
        budget: entry.seen_at
        for budget, entry in page.entries.items()
        if entry.server != server or entry.seen_at <= since
    }
    newest = max(silent.values(), default=-inf)  # before the server was lost
    return [budget for budget, seen_at in silent.items() if budget != me and seen_at > newest - HEARD_OF]


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
    """A pace on the server's clock; an instant unchanged since it was read keeps its stored value."""
    moved = pace.moved(seconds)
    return evolve(
        moved,
        refused_at=kept.refused_at if pace.refused_at == read.refused_at else moved.refused_at,
        closed_until=kept.closed_until if pace.closed_until == read.closed_until else moved.closed_until,
        granted_at=kept.granted_at if pace.granted_at == read.granted_at else moved.granted_at,
    )
