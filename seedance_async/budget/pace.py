"""The pace after refusals: how long the gate stays closed, and how far apart requests are sent from then on.

Before the first 429, requests leave as the window allows. A 429 changes that, depending on its likely cause:

- **window**: our own requests of the last two periods are enough for a server that counts by a *sliding
  window counter* to refuse (the count of the last period, weighted by its overlap, plus the count of this
  one). Even spacing, slightly wider than for one request fewer per period, satisfies the strictest counter
  known.
- **others**: no known way of counting our own requests explains it, so another sender uses this account. The
  rate that is left for us is found by trying: the spacing becomes a quarter wider at each pause, then
  narrower with every success. It soon comes near the spacing that was refused, stays around it for long, and
  then falls quickly, because the other sender has probably stopped. (The curve is the cubic function by which
  TCP CUBIC finds the free capacity of a link. A straight line is either refused more often or recovers
  later.)

If both explain the refusal, the window is assumed first; if the cause is the other one, further refusals soon
show it. Without further refusals each cause is forgotten, another sender sooner than a server's way of
counting.

Requests that were on the wire at the same time are refused together: they cause one pause and one change.

Pure: instants are float seconds on the caller's clock, passed as arguments.
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
PLATEAU: Final = 50  # successes until the refused spacing is reached again: then one request in 51 is refused
BOLD: Final = 30.0  # after the plateau: a third as many successes later, twice as many requests are sent
WIDEST: Final = 4  # requests per period at the widest spacing
LEEWAY: Final = 1.01  # with this factor, 31 requests span more than a period despite 0.6 s of jitter
STRICT_LEEWAY: Final = 1.015  # the same for one request fewer per period
LONGEST_PAUSE: Final = 600.0  # s; one absurd Retry-After must not stop the client for hours
MOST_SUCCESSES: Final = 1_000_000  # more of them make no difference
ROUNDING: Final = 1.0  # s; some servers round Retry-After down to whole seconds
FORGET: Final[dict[Cause, float]] = {"window": 6 * 3600.0, "others": 1800.0}  # s without a further refusal


@frozen(kw_only=True)
class Pace:
    """What is known about the spacing of requests.

    Attributes:
        cause: the likely cause of the last refusal; None while no refusal is remembered.
        refused_interval: the spacing in seconds that was refused last.
        successes: answers since then that were not refusals.
        refused_at: when the last pause began.
        closed_until: when the last pause ends; no request is sent before.
        granted_at: when the last slot was given to a request.
    """

    cause: Cause | None = None
    refused_interval: float = 0.0
    successes: int = 0
    refused_at: float = -inf
    closed_until: float = -inf
    granted_at: float = -inf

    def interval(self, limit: RateLimit) -> float | None:
        """Seconds between two requests; None if only the window decides."""
        if self.cause is None:
            return None
        progress = (self.successes - PLATEAU) / PLATEAU
        steepness = BOLD if progress > 0 else 1 - 1 / WIDER
        interval = self.refused_interval / (1 + steepness * progress**3)
        return min(max(interval, narrowest(limit, self.cause)), limit.period / WIDEST)

    def slots(self, limit: RateLimit) -> int:
        """Requests that may be sent in one period: after a refusal, no more than the spacing allows."""
        interval = self.interval(limit)
        return limit.requests if interval is None else min(limit.requests, ceil(limit.period / interval))

    def granted(self, now: float) -> Pace:
        """The pace after a slot was given at ``now``."""
        return evolve(self, granted_at=now)

    def succeeded(self) -> Pace:
        """The pace after an answer that was no refusal."""
        return self if self.cause is None else evolve(self, successes=self.successes + 1)

    def refused(
        self, now: float, *, sent_at: float, wait: float, sent: Sequence[float], limit: RateLimit
    ) -> Pace:
        """The pace after a refusal.

        Args:
            now: when the 429 was received.
            sent_at: when the refused request was sent.
            wait: seconds from now for which the gate stays closed.
            sent: when our requests of the last two periods were sent, this one included.
            limit: the account's limit.
        """
        closed_until = max(self.closed_until, now + wait)
        if sent_at < self.refused_at:  # it was already on the wire when this pause began
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
        """The same, without a refusal that is too old to be used."""
        if self.cause is None or now - self.refused_at < FORGET[self.cause]:
            return self
        return Pace(granted_at=self.granted_at)

    def moved(self, seconds: float) -> Pace:
        """The same on a clock that is ``seconds`` ahead."""
        return evolve(
            self,
            refused_at=self.refused_at + seconds,
            closed_until=self.closed_until + seconds,
            granted_at=self.granted_at + seconds,
        )

    def bounded(self, now: float, limit: RateLimit) -> Pace:
        """The same, with a safe value in place of each impossible one.

        A pause that is longer than possible is treated like one without Retry-After: it lasts one period.
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
        if cause == "window":  # the first refusal leads to the narrowest spacing itself, not to a wider one
            return narrowest(limit, cause) / WIDER if interval is None else interval
        return max(interval or narrowest(limit, cause), mean)


def stricter(one: Pace, other: Pace) -> Pace:
    """The pace with the later refusal, with the later end of the two pauses."""
    later = one if one.refused_at >= other.refused_at else other
    return evolve(
        later,
        closed_until=max(one.closed_until, other.closed_until),
        granted_at=max(one.granted_at, other.granted_at),
    )


def _within(value: float, least: float, most: float, otherwise: float) -> float:
    """``value`` if it lies between ``least`` and ``most``, else ``otherwise``; so NaN is replaced too."""
    return value if least <= value <= most else otherwise


def narrowest(limit: RateLimit, cause: Cause) -> float:
    """The narrowest spacing in seconds that no known server refuses while nobody else uses the account.

    With the cause ``window``, servers with the strictest counter are among them.
    """
    if cause == "window":
        return STRICT_LEEWAY * limit.period / max(1, limit.requests - 1)
    return LEEWAY * limit.period / limit.requests


def pause(retry_after: float | None, *, limit: RateLimit, jitter: float) -> float:
    """Seconds the gate closes for after a 429.

    Args:
        retry_after: the seconds that the server asked for; None: a whole period is used.
        limit: the account's limit.
        jitter: 0 to 1, so that programs refused together do not send again together.
    """
    asked = limit.period if retry_after is None else min(retry_after, LONGEST_PAUSE)
    return asked + ROUNDING + jitter / 4


def counter_could_refuse(sent: Sequence[float], now: float, limit: RateLimit) -> bool:
    """Whether a sliding window counter could refuse one more request at ``now``, wherever its windows begin.

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
    """The mean spacing in seconds of our requests in the last period, which the server's window covers.

    0 if we sent nothing in the period before it: sending has only just begun, so the mean is not meaningful.
    """
    of_late = sum(now - limit.period < instant <= now for instant in sent)
    before = any(now - 2 * limit.period < instant <= now - limit.period for instant in sent)
    return limit.period / of_late if of_late and before else 0.0


def _borders(sent: Sequence[float], now: float, limit: RateLimit) -> Iterable[float]:
    """When the current window may have begun; between two of these instants the estimate only rises."""
    instants = (instant + age for instant in sent for age in (0.0, limit.period))
    return [now, *(instant for instant in instants if now - limit.period < instant <= now)]


def _weighted(ordered: Sequence[float], now: float, border: float, limit: RateLimit) -> float:
    at_border = bisect_left(ordered, border)
    before = at_border - bisect_left(ordered, border - limit.period)
    since = bisect_right(ordered, now) - at_border
    return before * (1 - (now - border) / limit.period) + since
