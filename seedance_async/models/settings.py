"""The settings of the client: rate limit, timeouts, retry policy and credit limits.

All durations are seconds. An invalid setting is refused when it is constructed, not when it is first used.
"""

from __future__ import annotations

import re
from math import inf, nan
from typing import TYPE_CHECKING, Final

import attrs
from attrs import field, frozen

from seedance_async.errors import ConfigurationError
from seedance_async.models.rules import (
    Problem,
    credit_amount,
    make_plain,
    optional,
    problems,
    rate_period,
    ruled,
    seconds,
    whole_number,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

SLOWEST_ARRIVAL: Final = 10.0
"""Seconds within which a request may still reach the server, even if its caller gives up earlier."""

_RATE: Final = re.compile(r"([0-9]{1,9})/([0-9]{1,9}(?:\.[0-9]{1,9})?)")


@frozen(kw_only=True)
class RateLimit:
    """How many requests the account may send in any window of ``period`` seconds.

    The vendor's German page states 30 requests per 60 seconds per account. It does not state whether polls
    count; this package assumes that they do. ``requests`` is at least 1, ``period`` at least 0.001.

    Raises:
        ConfigurationError: a value is not valid.

    Example:
        >>> client = SeedanceClient(rate_limit=RateLimit(requests=60, period=60.0))
    """

    requests: int = field(default=30, metadata=ruled(whole_number(1)))
    period: float = field(default=60.0, metadata=ruled(rate_period))

    def __attrs_post_init__(self) -> None:
        _check(self)

    @classmethod
    def parse(cls, text: str) -> RateLimit:
        """Read ``"30/60"``: requests, a slash, seconds.

        Raises:
            ConfigurationError: the text is not of that form, or a number in it is zero.
        """
        match = _RATE.fullmatch(str(text).strip())
        if match is None:
            raise ConfigurationError(f"a rate limit is written requests/seconds, as in 30/60; got {text!r}")
        return cls(requests=int(match[1]), period=float(match[2]))


@frozen(kw_only=True)
class Timeouts:
    """Limits of time, in seconds.

    Attributes:
        connect: to establish a connection.
        request: for one complete exchange with the API, from sending to the end of the answer.
        wait: until a task is final; None for no limit.
        download_idle: for the next 64 KiB of a result file, or its end.

    Raises:
        ConfigurationError: a value is not valid.
    """

    connect: float = field(default=10.0, metadata=ruled(seconds))
    request: float = field(default=60.0, metadata=ruled(seconds))
    wait: float | None = field(default=7200.0, metadata=ruled(optional(seconds)))
    download_idle: float = field(default=60.0, metadata=ruled(seconds))

    def __attrs_post_init__(self) -> None:
        _check(self)

    @property
    def arrival(self) -> float:
        """Seconds after sending within which a request without an answer may still reach the server.

        At least 10: a shorter timeout does not take back what was sent.
        """
        return max(self.request, SLOWEST_ARRIVAL)


@frozen(kw_only=True)
class RetryPolicy:
    """How failed calls are retried. Durations are in seconds.

    Attributes:
        first_wait: the back-off before the second attempt; it doubles with each further one.
        max_wait: the longest back-off.
        max_elapsed: the time after the first attempt after which no new attempt is made. The time for which a
            POST is held because the server is busy and tasks of ours are running does not count.
        max_unresolved: the same if the API's host name cannot be resolved and no request was answered yet, so
            that a wrong name is reported early. None for ``max_elapsed``.
        max_server_errors: after this number of 500s under one key, the 500 is assumed to be stored under it.
        conflict_wait: for how long a 409 for our own key and bytes is taken to mean "still running".
        max_retry_after: the longest Retry-After that is obeyed; a longer one ends the retries with an error.

    Raises:
        ConfigurationError: a value is not valid.
    """

    first_wait: float = field(default=1.0, metadata=ruled(seconds))
    max_wait: float = field(default=30.0, metadata=ruled(seconds))
    max_elapsed: float = field(default=600.0, metadata=ruled(seconds))
    max_unresolved: float | None = field(default=None, metadata=ruled(optional(seconds)))
    max_server_errors: int = field(default=5, metadata=ruled(whole_number(1)))
    conflict_wait: float = field(default=900.0, metadata=ruled(seconds))
    max_retry_after: float = field(default=600.0, metadata=ruled(seconds))

    def __attrs_post_init__(self) -> None:
        _check(self)
        if self.max_wait < self.first_wait:
            _check(self, [("max_wait", f"must not be below first_wait, {self.first_wait}")])


@frozen(kw_only=True)
class CreditLimits:
    """Standing limits: the most credits that an account may be charged from this machine.

    They apply to everything that uses the account's key: scripts, commands, batches and servers, in all
    processes together. Days and months are those of UTC. Refunds are deducted.

    Attributes:
        day: credits per day, 0 or more; None for no limit.
        month: credits per month, 0 or more; None for no limit.

    Raises:
        ConfigurationError: a value is not valid.
    """

    day: float | None = field(default=None, metadata=ruled(optional(credit_amount)))
    month: float | None = field(default=None, metadata=ruled(optional(credit_amount)))

    def __attrs_post_init__(self) -> None:
        _check(self)

    @property
    def are_set(self) -> bool:
        """Whether at least one limit is set."""
        return self.day is not None or self.month is not None


def time_scale(text: str) -> float:
    """Parse a time scale, the seconds that one second of the vendor's takes: ``"0.05"`` at speed 20.

    Raises:
        ConfigurationError: the text is not a positive number.
    """
    try:
        scale = float(text)
    except ValueError:
        scale = nan
    if not 0 < scale < inf:
        raise ConfigurationError(f"a time scale is a positive number, as in 0.05; got {text!r}")
    return scale


def _check(setting: attrs.AttrsInstance, conflicts: Iterable[Problem] = ()) -> None:
    make_plain(setting)
    found = problems(setting, conflicts)
    if found:
        name = type(setting).__name__
        raise ConfigurationError("; ".join(f"{name}.{field_name} {reason}" for field_name, reason in found))
