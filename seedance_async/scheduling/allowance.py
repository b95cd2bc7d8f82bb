"""What the budget says about the coming minute, as a value the schedule can decide upon.

Pure: instants are float seconds on the loop clock, and come in as arguments.
"""

from __future__ import annotations

from attrs import frozen


@frozen(kw_only=True)
class Allowance:
    """How many requests may leave now, and when further ones may.

    Attributes:
        free: requests that may leave at once, at least 0.
        returns: ascending instants at which further slots are known to come back; slots whose answer is
            still on its way have no instant yet and are not listed.
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
