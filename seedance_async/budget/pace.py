"""What refusals have taught: how long the gate stays closed, and how far apart requests go from then on.

Untaught, requests go as the window allows. The first 429 changes that, by its likely cause:

- **window**: our own requests of the last two periods are enough for a sliding *counter* to have refused
  (last period's count, weighted by what still overlaps, plus this one's). Even spacing, a little wider than
  one request fewer a period, satisfies the strictest counter known. That is the server's nature: remembered
  a day.
- **others**: no known way of counting our own requests explains it, so somebody else spends this account.
  What is left is found by trying: a quarter wider at each pause, then narrower with every success, fast at
  first, hardly at all near the spacing that was refused last, and boldly beyond it, for then the other one
  has left. (The curve is the cube that TCP CUBIC finds a link's free capacity with; a straight line either
  asks too often or recovers too late.) Forgotten after ten quiet periods.

Requests that were under way together are refused together: they are one pause, and teach once.

Pure: instants are float seconds on the caller's clock, and come in as arguments.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final, Literal

from attrs import evolve, frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from seedance_async.models import RateLimit

Cause = Literal["window", "others"]

WIDER: Final = 0.25
PLATEAU: Final = 30  # successes until the spacing that was refused is reached again
LEEWAY: Final = 1.01  # 30 requests in 60 s with 0.6 s of jitter: 31 sent so far apart never fit one window
STRICT_LEEWAY: Final = 1.015  # the same for one request fewer
WIDEST: Final = 4  # requests a period, at the widest spacing
LONGEST_PAUSE: Final = (
    600.0  # s; a Retry-After beyond it is tried again then, or one bad header stops us for good
)
ROUNDING: Final = 1.0  # s; some servers round Retry-After down to whole seconds
FORGET: Final[dict[Cause, float]] = {"window": 86_400.0, "others": 600.0}  # s without a further refusal


@frozen(kw_only=True)
class Pace:
    """What is known about the spacing of requests.

    Attributes:
        cause: why the last refusal came; None while none is remembered.
        refused_interval: the spacing in seconds that was refused last.
        successes: answers since then that were not refusals.
        refused_at: when the last pause began.
        closed_until: when it ends; nobody sends before.
        granted_at: when the last request was let through.
    """

    cause: Cause | None = None
    refused_interval: float = 0.0
    successes: int = 0
    refused_at: float = -inf
    closed_until: float = -inf
    granted_at: float = -inf

    def interval(self, limit: RateLimit) -> float | None:
        """Seconds between two requests; None where the window alone decides."""
        if self.cause is None:
            return None
        progress = (self.successes - PLATEAU) / PLATEAU
        narrowed = self.refused_interval / (1 - WIDER / (1 + WIDER) * -(progress**3))
        return min(max(narrowed, narrowest(limit, self.cause)), limit.period / WIDEST)

    def succeeded(self) -> Pace:
        """A request was answered, and not refused."""
        return self if self.cause is None else evolve(self, successes=self.successes + 1)

    def refused(self, now: float, *, sent_at: float, wait: float, cause: Cause, limit: RateLimit) -> Pace:
        """A request sent at ``sent_at`` was refused; the gate closes for ``wait`` seconds from ``now``."""
        until = max(self.closed_until, now + wait)
        if sent_at < self.refused_at:  # under way when this pause began
            return evolve(self, closed_until=until)
        return Pace(
            cause=cause,
            refused_interval=self.interval(limit) or _first(limit, cause),
            refused_at=now,
            closed_until=until,
            granted_at=self.granted_at,
        )

    def at(self, now: float) -> Pace:
        """The same, without what is too old to be true still."""
        if self.cause is None or now - self.refused_at < FORGET[self.cause]:
            return self
        return Pace(granted_at=self.granted_at)


def narrowest(limit: RateLimit, cause: Cause) -> float:
    """The spacing in seconds that a server is not known to refuse while nobody else spends the account."""
    if cause == "window":
        return STRICT_LEEWAY * limit.period / max(1, limit.requests - 1)
    return LEEWAY * limit.period / limit.requests


def pause(retry_after: float | None, *, limit: RateLimit, jitter: float) -> float:
    """Seconds the gate closes for after a 429.

    Args:
        retry_after: what the server asked for, if it did; else a whole period.
        limit: the account's limit.
        jitter: 0 to 1, so that programs refused together do not come back together.
    """
    asked = limit.period if retry_after is None else min(retry_after, LONGEST_PAUSE)
    return asked + ROUNDING + jitter / 4


def counter_could_refuse(sent: Sequence[float], now: float, limit: RateLimit) -> bool:
    """Whether some sliding counter, wherever its windows begin, would refuse one more request at ``now``.

    Args:
        sent: when the requests of the last two periods were sent.
        now: the instant of the request in question.
        limit: the account's limit.
    """
    return any(
        _weighted(sent, now, border, limit) + 1 > limit.requests for border in _borders(sent, now, limit)
    )


def _first(limit: RateLimit, cause: Cause) -> float:
    """As if this spacing had been refused: a counter then gets its own at once, others a quarter more."""
    return narrowest(limit, cause) / (1 + WIDER if cause == "window" else 1)


def _borders(sent: Sequence[float], now: float, limit: RateLimit) -> Iterable[float]:
    """Where the current window may have begun; between two of these the estimate only rises."""
    instants = (instant + age for instant in sent for age in (0.0, limit.period))
    return [now, *(instant for instant in instants if now - limit.period < instant <= now)]


def _weighted(sent: Sequence[float], now: float, border: float, limit: RateLimit) -> float:
    before = sum(border - limit.period <= instant < border for instant in sent)
    since = sum(border <= instant <= now for instant in sent)
    return before * (1 - (now - border) / limit.period) + since
