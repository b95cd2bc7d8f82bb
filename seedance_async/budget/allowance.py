"""The allowance: what the budget says about the coming minute, as a value the schedule can decide upon.

Pure: instants are float seconds on the loop clock, and come in as arguments.
"""

from __future__ import annotations

from bisect import bisect_right

from attrs import frozen


@frozen(kw_only=True)
class Allowance:
    """How many requests may leave now, and when further ones may.

    Attributes:
        free: requests that may leave at once, at least 0.
        returns: ascending instants, all in the future, at which further slots are known to come back. Slots
            that hang on an answer still on its way are in neither; they are a few, for a moment, and count
            as free wherever the future is reckoned.
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
        """Requests of the period that are not spent; of these, ``free`` may leave at once."""
        return self.requests - len(self.returns)

    def instant(self, index: int, *, now: float) -> float:
        """When the request number ``index`` from now, counted from 0, can leave if all slots are used."""
        periods, place = divmod(index, self.requests)
        late = place - self.unspent
        return (self.returns[late] if late >= 0 else now) + periods * self.period

    def until(self, instant: float, *, now: float) -> int:
        """How many requests can leave between ``now`` and an instant not before it, both included."""
        periods, rest = divmod(instant - now, self.period)
        return int(periods) * self.requests + self.unspent + bisect_right(self.returns, now + rest)


def most_unanswered(requests: int) -> int:
    """How many requests may be on the wire at a time, where ``requests`` are allowed in a period.

    Ten refusals at once would be many, and six a round trip are fast enough for the vendor's limit; where the
    limit is higher, a fifth of a period's requests.
    """
    return max(6, requests // 5)
