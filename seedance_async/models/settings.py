"""The settings of the client: the allowance of requests, limits of time and credits, patience with failures.

All durations are seconds. A setting that makes no sense is refused when it is written down, not when it first
matters.
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
    ruled,
    seconds,
    whole_number,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

SLOWEST_ARRIVAL: Final = 10.0
"""Seconds that a request may take to the server, however soon its caller gives up."""

_RATE: Final = re.compile(r"([0-9]{1,9})/([0-9]{1,9}(?:\.[0-9]{1,9})?)")


@frozen(kw_only=True)
class RateLimit:
    """How many requests the account may send in any window of ``period`` seconds.

    The vendor's German page states 30 requests per 60 seconds per account. Whether polls count is not said;
    they are taken to.

    Raises:
        ConfigurationError: a value makes no sense.
    """

    requests: int = field(default=30, metadata=ruled(whole_number(1)))
    period: float = field(default=60.0, metadata=ruled(seconds))

    def __attrs_post_init__(self) -> None:
        _refuse_nonsense(self)

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
    """Limits of time.

    Attributes:
        connect: until a connection stands.
        request: for one whole exchange with the API, sending and answer.
        wait: until a task is final; None waits as long as it takes.
        download_idle: without 64 KiB of a result file, or its end.

    Raises:
        ConfigurationError: a value makes no sense.
    """

    connect: float = field(default=10.0, metadata=ruled(seconds))
    request: float = field(default=60.0, metadata=ruled(seconds))
    wait: float | None = field(default=7200.0, metadata=ruled(optional(seconds)))
    download_idle: float = field(default=60.0, metadata=ruled(seconds))

    def __attrs_post_init__(self) -> None:
        _refuse_nonsense(self)

    @property
    def arrival(self) -> float:
        """Seconds after its sending in which a request without an answer may still reach the server.

        Whoever gives up sooner than the network is slow takes nothing back: 10 at least.
        """
        return max(self.request, SLOWEST_ARRIVAL)


@frozen(kw_only=True)
class RetryPolicy:
    """How patient the client is with failures.

    Attributes:
        first_wait: back-off before the second attempt; it doubles from there.
        max_wait: the longest back-off.
        max_elapsed: so long after the first attempt, no new one is made. While a POST is held back because
            the server is busy and tasks of ours are running there, this clock stands still.
        max_unresolved: the same where the API's host name cannot be resolved and no request was answered yet,
            so that a wrong name shows soon where somebody waits. None for ``max_elapsed``.
        max_server_errors: so many 500s under one key, and the answer is taken to be stored there for ever.
        conflict_wait: how long a 409 for our own key and bytes is taken to mean "still running".
        max_retry_after: a longer wait than this is reported when the server asks for it, not obeyed.

    Raises:
        ConfigurationError: a value makes no sense.
    """

    first_wait: float = field(default=1.0, metadata=ruled(seconds))
    max_wait: float = field(default=30.0, metadata=ruled(seconds))
    max_elapsed: float = field(default=600.0, metadata=ruled(seconds))
    max_unresolved: float | None = field(default=None, metadata=ruled(optional(seconds)))
    max_server_errors: int = field(default=5, metadata=ruled(whole_number(1)))
    conflict_wait: float = field(default=900.0, metadata=ruled(seconds))
    max_retry_after: float = field(default=600.0, metadata=ruled(seconds))

    def __attrs_post_init__(self) -> None:
        _refuse_nonsense(self)
        if self.max_wait < self.first_wait:
            _refuse_nonsense(self, [("max_wait", f"must not be below first_wait, {self.first_wait}")])


@frozen(kw_only=True)
class CreditLimits:
    """Standing limits: the most credits that an account may be charged from this machine.

    They hold over all that sends under the account's key: scripts, commands, batches and servers, of all
    processes together. A day and a month are those of UTC. Refunds are deducted.

    Attributes:
        day: credits a day, 0 or more; None for no limit.
        month: credits a month, 0 or more; None for no limit.

    Raises:
        ConfigurationError: a value makes no sense.
    """

    day: float | None = field(default=None, metadata=ruled(optional(credit_amount)))
    month: float | None = field(default=None, metadata=ruled(optional(credit_amount)))

    def __attrs_post_init__(self) -> None:
        _refuse_nonsense(self)

    @property
    def are_set(self) -> bool:
        """Whether there is any."""
        return self.day is not None or self.month is not None


def time_scale(text: str) -> float:
    """Read how long a second of the vendor's takes here: ``"0.05"`` in a sandbox at speed 20.

    Raises:
        ConfigurationError: the text is no positive number.
    """
    try:
        scale = float(text)
    except ValueError:
        scale = nan
    if not 0 < scale < inf:
        raise ConfigurationError(f"a time scale is a positive number, as in 0.05; got {text!r}")
    return scale


def _refuse_nonsense(setting: attrs.AttrsInstance, conflicts: Iterable[Problem] = ()) -> None:
    make_plain(setting)
    found = problems(setting, conflicts)
    if found:
        name = type(setting).__name__
        raise ConfigurationError("; ".join(f"{name}.{field_name} {reason}" for field_name, reason in found))
