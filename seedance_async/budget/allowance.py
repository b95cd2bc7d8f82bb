"""The allowance: how many requests may leave now and later, as a value on which the schedule decides.

Pure: instants are float seconds on the clock of the event loop, passed as arguments.
"""

from __future__ import annotations

from bisect import bisect_right

from attrs import frozen


@frozen(kw_only=True)
class Allowance:
    """How many requests may leave now, and when further ones may.

    Attributes:
        free: requests that may leave at once, at least 0.
        returns: ascending instants, all in the future, at which further slots are known to become free.
            Slots of requests that are still unanswered are in neither field. They are few, become free soon,
            and count as free where this class calculates the future.
        requests: requests the account may send in one period.
        period: length of the window in seconds.
    """

    free: int
    returns: tuple[float, ...] = ()
    requests: int = 30
    period: float = 60.0

    @property
    def pace(self) -> float:
        """Seconds between two requests when the allowance is spent evenly."""
        return self.period / self.requests

    @property
    def unspent(self) -> int:
        """Requests of the period that are not used up; of these, ``free`` may leave at once."""
        return self.requests - len(self.returns)

    def instant(self, index: int, *, now: float) -> float:
        """When the request number ``index`` from now, counted from 0, can leave if all slots are used."""
        periods, place = divmod(index, self.requests)
        late = place - self.unspent
        return (self.returns[late] if late >= 0 else now) + periods * self.period

    def until(self, instant: float, *, now: float) -> int:
        """How many requests can leave from ``now`` to ``instant``, both included and in this order."""
        periods, rest = divmod(instant - now, self.period)
        return int(periods) * self.requests + self.unspent + bisect_right(self.returns, now + rest)


def most_unanswered(requests: int) -> int:
    """How many requests may be on the wire at the same time, if ``requests`` are allowed in a period.

    Six: few enough that not many are refused together, and fast enough for the vendor's limit. With a higher
    limit, a fifth of the requests of a period.
    """
    return max(6, requests // 5)
