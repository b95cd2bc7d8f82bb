"""The allowance of POSTs with reference media, which the server checks under a separate limit.

The API's documentation does not name this limit, but the vendor's site does: three validations of reference
media a minute. So it is applied only if the caller sets it, or after refusals have shown it: a POST with
media was answered 429 after as many of them in a period as the site allows, while no other request was ever
refused. A limit that was learned in this way is dropped after half an hour, and as soon as a request without
media is refused, because then another sender on this account is the more likely cause.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import TYPE_CHECKING, Final

import anyio

from seedance_async.budget.gate import Budget
from seedance_async.budget.memories import memory_of
from seedance_async.budget.pace import LONGEST_PAUSE, ROUNDING
from seedance_async.logs import Log
from seedance_async.models import RateLimit

if TYPE_CHECKING:
    from yarl import URL

    from seedance_async.budget.gate import Slot
    from seedance_async.budget.memory import BudgetMemory
    from seedance_async.budget.shared import SharedBudget
    from seedance_async.usage import Usage

log: Log = Log(__name__)

OF_THE_SITE: Final = RateLimit(requests=3, period=60.0)
FORGET: Final = 1800.0  # s without a further refusal


class ReferenceBudget:
    """One account's allowance of POSTs with media, in addition to the budget of all requests.

    Args:
        limit: the account's limit; None to learn it from refusals.
        usage: counts the refusals of all requests.
        memory: stores used slots; by default they end with the budget.
    """

    def __init__(self, limit: RateLimit | None, *, usage: Usage, memory: BudgetMemory | None = None) -> None:
        self._limit = limit
        self._usage = usage
        self._refusals = 0
        self._budget = Budget(limit or OF_THE_SITE, memory=memory)
        self._learned_until = self._closed_until = -inf
        self._sent: deque[float] = deque(maxlen=OF_THE_SITE.requests)
        self._one_at_a_time = anyio.Lock()

    @property
    def applies(self) -> bool:
        """Whether POSTs with media have to wait for a slot of this budget now."""
        learned = anyio.current_time() < self._learned_until and not self._others_refused
        return self._limit is not None or learned

    @property
    def _others_refused(self) -> bool:
        return self._usage.refusals > self._refusals

    async def serve(self) -> None:
        """Exchange state with the other processes of the account until cancelled."""
        await self._budget.serve()

    async def acquire(self) -> Slot | None:
        """Wait until one more POST with media may leave, and return its slot; None if no limit is known.

        The caller must settle or cancel the slot.
        """
        if not self.applies:
            return None
        async with self._one_at_a_time:
            await anyio.sleep(max(0.0, self._closed_until - anyio.current_time()))
            return await self._budget.acquire()

    def sent(self) -> None:
        """Record that a POST with media is sent now."""
        self._sent.append(anyio.current_time())

    def refused(self, *, explained: bool, retry_after: float | None) -> bool:
        """Record that a POST with media was answered 429; returns whether the media are the likely cause.

        Args:
            explained: whether the number of all requests sent explains the refusal.
            retry_after: seconds that the answer asks to wait, if it does.
        """
        self._refusals += 1
        now = anyio.current_time()
        window_full = len(self._sent) == self._sent.maxlen and self._sent[0] > now - OF_THE_SITE.period
        if explained or self._others_refused or not (self.applies or window_full):
            return False
        if not self.applies:
            limit = f"{OF_THE_SITE.requests} in {OF_THE_SITE.period:g} s"
            log.warning("the server seems to check reference media under a limit of %s; kept for now", limit)
        self._learned_until = now + FORGET
        wait = min(retry_after or OF_THE_SITE.period, LONGEST_PAUSE)
        self._closed_until = max(self._closed_until, now + wait + ROUNDING)
        return True


def reference_budget(
    account: str, base_url: URL, limit: RateLimit | None, shared: SharedBudget | None, *, usage: Usage
) -> ReferenceBudget:
    """The reference budget of an account; if ``limit`` is set, it is shared like the main budget."""
    memory = memory_of(f"{account} references", base_url, limit, shared) if limit else None
    return ReferenceBudget(limit, usage=usage, memory=memory)
