"""The page of an account's budget that several hosts share: the slots of each budget, on the server's clock.

Every budget writes its own entry, and the entries of others unchanged. All instants are seconds on the clock
of the server that stores the page, so the hosts' clocks do not matter.

An impossible value is replaced by the safest possible one, as in the file.

Pure.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from math import inf
from typing import TYPE_CHECKING, Final, Literal

from attrs import Factory, evolve, frozen
from cattrs import BaseValidationError, Converter

from seedance_async.budget.memory import LONGEST_PERIOD, SLACK, bounded
from seedance_async.budget.pace import Pace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from seedance_async.models import RateLimit

KNOWN_FOR: Final = 15.0
"""Seconds without a write after which a budget is assumed to have ended."""

_converter = Converter()


@frozen(kw_only=True)
class Entry:
    """The entry of one budget.

    Attributes:
        claims: ascending instants until which its slots are taken.
        seen_at: when it wrote last.
        wait: the number of its ``priority.Wait``.
        server: the server at which it was written, see ``Kept.server``.
    """

    claims: tuple[float, ...] = ()
    seen_at: float = -inf
    wait: int = 0
    server: str = ""

    def without_past(self, now: float) -> Entry:
        """The same, without the slots that are free again."""
        past = bisect_right(self.claims, now)
        return evolve(self, claims=self.claims[past:]) if past else self

    def later(self, seconds: float) -> Entry:
        """The same on a clock that is ``seconds`` ahead."""
        return evolve(
            self, claims=tuple(claim + seconds for claim in self.claims), seen_at=self.seen_at + seconds
        )


@frozen(kw_only=True)
class SharedPage:
    """What the hosts of an account share.

    Attributes:
        version: of this layout.
        server: the identifier of the server it was written at, see ``Kept``.
        entries: by budget.
        pace: the pace learned from refusals.
        period: the longest window, in seconds, of the budgets that wrote.
        paced_until: requests are spaced evenly until then, because some slots may be unknown.
        in_a_row: see ``BudgetState``.
    """

    version: Literal[1] = 1
    server: str = ""
    entries: dict[str, Entry] = Factory(dict)
    pace: Pace = Factory(Pace)
    period: float = 0.0
    paced_until: float = -inf
    in_a_row: int = 0

    def alive(self, now: float) -> dict[str, Entry]:
        """The entries that have a slot or were written recently, without the slots that are free again."""
        entries = {budget: entry.without_past(now) for budget, entry in self.entries.items()}
        return {
            budget: entry
            for budget, entry in entries.items()
            if entry.claims or entry.seen_at > now - KNOWN_FOR
        }

    def bounded(self, now: float, limit: RateLimit) -> SharedPage:
        """The same, with a safe value in place of each impossible one."""
        period = max(limit.period, self.period) if 0 < self.period <= LONGEST_PERIOD else limit.period
        return evolve(
            self,
            entries={budget: _bounded(entry, now, 2 * period) for budget, entry in self.entries.items()},
            pace=self.pace.bounded(now + SLACK, limit),
            period=period,
            paced_until=min(self.paced_until, now + period) if self.paced_until > now else -inf,
        )

    def text(self) -> str:
        """The page as JSON."""
        return json.dumps(_converter.unstructure(self), separators=(",", ":"))


def parsed(text: str) -> SharedPage | None:
    """The page in a text; None if the text is not a valid page."""
    try:
        return _converter.structure(json.loads(text), SharedPage)
    except (ValueError, BaseValidationError, RecursionError):
        return None


def merged(page: SharedPage, known: Mapping[str, Entry]) -> SharedPage:
    """A page that may have lost entries, plus known ones; of two for a budget, the one with more claims."""
    entries = dict(page.entries)
    for budget, entry in known.items():
        if budget not in entries or len(entries[budget].claims) < len(entry.claims):
            entries[budget] = entry
    return evolve(page, entries=entries)


def _bounded(entry: Entry, now: float, longest: float) -> Entry:
    claims = bounded((claim - now for claim in entry.claims if not claim <= now), longest)
    return Entry(
        claims=tuple(sorted(now + claim for claim in claims)),
        seen_at=min(entry.seen_at, now) if entry.seen_at > -inf else -inf,
        wait=entry.wait,
        server=entry.server,
    )
