"""The lessons of refusals: how long the gate stays closed, and how far apart requests go from then on.

Untaught, requests go as the window allows. The first 429 changes that, by its likely cause:

- **window**: our own requests of the last two periods are enough for a sliding *counter* to have refused
  (last period's count, weighted by what still overlaps, plus this one's). Even spacing, a little wider than
  one request fewer a period, satisfies the strictest counter known.
- **others**: no known way of counting our own requests explains it, so somebody else spends this account.
  What is left for us is found by trying: a quarter wider at each pause, then narrower with every success;
  soon back near the spacing that was refused, long around it, then boldly beyond it, for the other one has
  left. (The curve is the cubic one by which TCP CUBIC finds a link's free capacity. A straight line is
  either refused more often or recovers later.)

Where both explain it, the window is blamed first; the other cause, if it was the true one, soon shows.
Without further refusals either is forgotten, somebody else sooner than the server's nature.

Requests that were under way together are refused together: they are one pause, and teach once.

Pure: instants are float seconds on the caller's clock, and come in as arguments.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from math import ceil, inf
from typing import TYPE_CHECKING, Final, Literal

from attrs import evolve, frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from seedance_async.models import RateLimit

Cause = Literal["window", "others"]

WIDER: Final = 1.25
PLATEAU: Final = 50  # successes until the refused spacing is reached again: one request in 51 is refused then
BOLD: Final = 30.0  # beyond it: a third as many successes later, twice as many requests are sent
WIDEST: Final = 4  # requests a period, at the widest spacing
LEEWAY: Final = 1.01  # 31 requests so far apart span more than a period under 0.6 s of jitter
STRICT_LEEWAY: Final = 1.015  # the same for one request fewer a period
LONGEST_PAUSE: Final = 600.0  # s; one absurd Retry-After must not stop us for good
MOST_SUCCESSES: Final = 1_000_000  # more of them change nothing
ROUNDING: Final = 1.0  # s; some servers round Retry-After down to whole seconds
FORGET: Final[dict[Cause, float]] = {"window": 6 * 3600.0, "others": 1800.0}  # s without a further refusal


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
        steepness = BOLD if progress > 0 else 1 - 1 / WIDER
        interval = self.refused_interval / (1 + steepness * progress**3)
        return min(max(interval, narrowest(limit, self.cause)), limit.period / WIDEST)

    def slots(self, limit: RateLimit) -> int:
        """Requests one period may carry: after a refusal, it has to drain to what the spacing allows."""
        interval = self.interval(limit)
        return limit.requests if interval is None else min(limit.requests, ceil(limit.period / interval))

    def granted(self, now: float) -> Pace:
        """A request was let through."""
        return evolve(self, granted_at=now)

    def succeeded(self) -> Pace:
        """A request was answered, and not refused."""
        return self if self.cause is None else evolve(self, successes=self.successes + 1)

    def refused(
        self, now: float, *, sent_at: float, wait: float, sent: Sequence[float], limit: RateLimit
    ) -> Pace:
        """A request was refused.

        Args:
            now: when that was heard.
            sent_at: when the request had left.
            wait: seconds to keep the gate closed, from now.
            sent: when our requests of the last two periods had left, this one included.
            limit: the account's limit.
        """
        closed_until = max(self.closed_until, now + wait)
        if sent_at < self.refused_at:  # it was under way when this pause began
            return evolve(self, closed_until=closed_until)
        cause: Cause = "window" if counter_could_refuse(sent, now, limit) else "others"
        return Pace(
            cause=cause,
            refused_interval=self._refused_interval(cause, _mean_interval(sent, now, limit), limit),
            refused_at=now,
            closed_until=closed_until,
            granted_at=self.granted_at,
        )

    def at(self, now: float) -> Pace:
        """The same, without what is too old to be true still."""
        if self.cause is None or now - self.refused_at < FORGET[self.cause]:
            return self
        return Pace(granted_at=self.granted_at)

    def moved(self, seconds: float) -> Pace:
        """The same on a clock that shows ``seconds`` more."""
        return evolve(
            self,
            refused_at=self.refused_at + seconds,
            closed_until=self.closed_until + seconds,
            granted_at=self.granted_at + seconds,
        )

    def bounded(self, now: float, limit: RateLimit) -> Pace:
        """The same, with the careful value in the place of each that cannot be.

        A pause longer than any is taken for one whose server named no time: it lasts one period.
        """
        longest = now + LONGEST_PAUSE + 2 * ROUNDING
        return Pace(
            cause=self.cause,
            refused_interval=_within(self.refused_interval, 0.0, limit.period, limit.period),
            successes=int(_within(self.successes, 0, MOST_SUCCESSES, 0)),
            refused_at=_within(self.refused_at, -inf, now, now),
            closed_until=_within(self.closed_until, -inf, longest, now + limit.period + ROUNDING),
            granted_at=_within(self.granted_at, -inf, now, now),
        )

    def _refused_interval(self, cause: Cause, mean: float, limit: RateLimit) -> float:
        interval = self.interval(limit)
        if cause == "window":  # the first lesson is the spacing itself, not a quarter more
            return narrowest(limit, cause) / WIDER if interval is None else interval
        return max(interval or narrowest(limit, cause), mean)


def stricter(one: Pace, other: Pace) -> Pace:
    """The later lesson of the two, with the later end of their pauses."""
    later = one if one.refused_at >= other.refused_at else other
    return evolve(
        later,
        closed_until=max(one.closed_until, other.closed_until),
        granted_at=max(one.granted_at, other.granted_at),
    )


def _within(value: float, least: float, most: float, otherwise: float) -> float:
    """``value`` if it lies between the two; what is not a number lies nowhere."""
    return value if least <= value <= most else otherwise


def narrowest(limit: RateLimit, cause: Cause) -> float:
    """The spacing in seconds that no server is known to refuse while nobody else spends the account.

    Under ``window`` the strictest counter is one of those servers.
    """
    if cause == "window":
        return STRICT_LEEWAY * limit.period / max(1, limit.requests - 1)
    return LEEWAY * limit.period / limit.requests


def pause(retry_after: float | None, *, limit: RateLimit, jitter: float) -> float:
    """Seconds the gate closes for after a 429.

    Args:
        retry_after: what the server asked for, if it did; else a whole period is taken.
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
    ordered = sorted(sent)
    return any(
        _weighted(ordered, now, border, limit) + 1 > limit.requests for border in _borders(sent, now, limit)
    )


def _mean_interval(sent: Sequence[float], now: float, limit: RateLimit) -> float:
    """The spacing that the server's window saw, which looks back over a whole period.

    0 where that says nothing: who was quiet in the period before has only just begun to send.
    """
    of_late = sum(now - limit.period < instant <= now for instant in sent)
    before = any(now - 2 * limit.period < instant <= now - limit.period for instant in sent)
    return limit.period / of_late if of_late and before else 0.0


def _borders(sent: Sequence[float], now: float, limit: RateLimit) -> Iterable[float]:
    """Where the current window may have begun; between two of these the estimate only rises."""
    instants = (instant + age for instant in sent for age in (0.0, limit.period))
    return [now, *(instant for instant in instants if now - limit.period < instant <= now)]


def _weighted(ordered: Sequence[float], now: float, border: float, limit: RateLimit) -> float:
    at_border = bisect_left(ordered, border)
    before = at_border - bisect_left(ordered, border - limit.period)
    since = bisect_right(ordered, now) - at_border
    return before * (1 - (now - border) / limit.period) + since
