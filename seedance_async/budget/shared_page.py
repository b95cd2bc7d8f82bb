"""The page of an account's budget that several hosts share: who has taken which slots, on the server's clock.

Every budget writes its own entry, and those of others back as they were. All instants are seconds of the
server that keeps the page, so no host's clock has a say.

What cannot be is replaced by the most careful value that can, as in the file.

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
"""Seconds after which a budget that nothing was heard of is taken to have ended."""

_converter = Converter()


@frozen(kw_only=True)
class Entry:
    """What one budget says.

    Attributes:
        claims: ascending instants until which its slots are taken.
        seen_at: when it wrote last.
        wait: the number of what it waits with, see ``turns.Wait``.
        server: at which server it was written, see ``Kept.server``.
    """

    claims: tuple[float, ...] = ()
    seen_at: float = -inf
    wait: int = 0
    server: str = ""

    def without_past(self, now: float) -> Entry:
        """The same, without the slots that have come back."""
        past = bisect_right(self.claims, now)
        return evolve(self, claims=self.claims[past:]) if past else self

    def later(self, seconds: float) -> Entry:
        """The same on a clock that shows ``seconds`` more."""
        return evolve(
            self, claims=tuple(claim + seconds for claim in self.claims), seen_at=self.seen_at + seconds
        )


@frozen(kw_only=True)
class SharedPage:
    """What the hosts of an account share.

    Attributes:
        version: of this layout.
        server: which server it was written at.
        entries: by budget.
        pace: what refusals have taught.
        period: the longest window of those who wrote.
        paced_until: requests go one by one until then: some slots may not be known.
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
        """The entries that still say something."""
        entries = {budget: entry.without_past(now) for budget, entry in self.entries.items()}
        return {
            budget: entry
            for budget, entry in entries.items()
            if entry.claims or entry.seen_at > now - KNOWN_FOR
        }

    def bounded(self, now: float, limit: RateLimit) -> SharedPage:
        """The same, with the careful value in the place of each that cannot be."""
        period = max(limit.period, self.period) if 0 < self.period <= LONGEST_PERIOD else limit.period
        return evolve(
            self,
            entries={budget: _bounded(entry, now, 2 * period) for budget, entry in self.entries.items()},
            pace=self.pace.bounded(now + SLACK, limit),
            period=period,
            paced_until=min(self.paced_until, now + period) if self.paced_until > now else -inf,
        )

    def text(self) -> str:
        """What is stored."""
        return json.dumps(_converter.unstructure(self), separators=(",", ":"))


def parsed(text: str) -> SharedPage | None:
    """The page of a text; None if it is none."""
    try:
        return _converter.structure(json.loads(text), SharedPage)
    except (ValueError, BaseValidationError, RecursionError):
        return None


def merged(page: SharedPage, known: Mapping[str, Entry]) -> SharedPage:
    """A page that may have lost something, with what was known; of two entries of a budget the fuller one."""
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
