"""The schedule: the decision which request to send next: the POST of a job, a poll of a task, or none yet.

Every job needs at least two requests, a POST and a GET that finds it done; every further request delays jobs.
With ``p`` jobs waiting, ``m`` tasks in flight and ``c`` seconds per request, the batch cannot end before the
instant of request number ``2p + m`` from now. Three questions decide, in this order:

1. **Would a waiting job be late?** If all waiting jobs are submitted from now on, longest kind first, and the
   last of some kind would not be done by that end, there is no slack: the next job is submitted first. But if
   its kind may be faster than planned, a poll can show that there is slack, and is sent before (see below).
2. **Is a poll due?** A poll that finds a task running delays the results after it by one slot. So a request
   has a price in seconds of waiting: ``price = COURTESY + c * SHARE * (p + m) * scarcity ** 2``, where
   scarcity is the number of requests still needed divided by the slots until the end. A task is due when a
   poll has the lowest cost per result found (``duration.py``). Of the tasks that are due, the one most
   probably done is polled first; none is starved, because the probability of each rises with time. A caller
   with one video polls often; a batch of thousands only when a task is almost certainly done. An unknown kind
   has a base price of its own, and a discount on early polls.
3. **Else** the next job is submitted; without one, the slot is kept until a poll is due.

Polling before submitting, while there is slack, brings results early and does not delay the end.

**The information from a poll.** The first polls of a kind have a value beyond their own result: as long as
the duration of the kind is unknown, all other tasks of the kind, waiting or running, are found later than
possible. If ``n`` others depend on the same information, a delay counts ``1 + n`` times, which equals a price
divided by ``1 + n``. The value of further information falls with the square of what is known, like the error
of a mean: if ``k`` tasks of the kind have finished, were found running or have a poll on the wire, only ``n /
(1 + k) ** 2`` others are counted. Without slack, the price is the delay of everything, ``c * (p + m)``,
divided among those others alone: the result of such a poll itself is not urgent, only its information is.

Pure: ``now`` is an argument, and ``decide`` changes only its internal order of tasks that cannot be chosen
yet. A decision costs O(log n) in the number of jobs and tasks.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Final

from attrs import frozen

from seedance_async.scheduling.backlog import PESSIMISTIC, Backlog, Chain, SubmitOrder
from seedance_async.scheduling.watchlist import Price, Watchlist

if TYPE_CHECKING:
    from seedance_async.budget.allowance import Allowance
    from seedance_async.models import Kind
    from seedance_async.scheduling.forecast import Forecast
    from seedance_async.scheduling.watchlist import Running

COURTESY: Final = 0.2  # s; the base price of a poll, which applies when slots are not scarce
COURTESY_UNSEEN: Final = 0.34  # s; the same for a kind that never finished: 0.2 s leads to 20 polls of a clip
TAUGHT: Final = 0.1  # the part of the possible saving for other tasks that information really brings
MOST_LIKELY: Final = 0.9  # quantile at which a task counts as done in a message
ALL_BUT_SURE: Final = 0.99  # quantile at which a task counts as done when slots are counted
SHARE: Final = 0.5  # the part of the later results that a lost slot delays; 0.25 to 1 differ little


@frozen
class Submit:
    """Send this job's POST now."""

    job: Hashable


@frozen
class Poll:
    """Poll this task now."""

    task: Hashable


@frozen
class Sleep:
    """Send nothing before ``until`` on the loop's clock, or before a change if it is None."""

    until: float | None


class Schedule:
    """The waiting jobs and running tasks, and the decision what to send next."""

    def __init__(self, forecast: Forecast, *, order: SubmitOrder = "longest-first") -> None:
        self._forecast = forecast
        self._backlog = Backlog(forecast, order=order)
        self._watchlist = Watchlist(forecast)
        self._more = False

    def offer(self, job: Hashable, kind: Kind, then: Sequence[Kind] = ()) -> None:
        """Add a job; jobs of the kinds ``then`` wait for it, each for the result of the one before."""
        self._backlog.offer(job, kind, then)

    def withdraw(self, job: Hashable) -> None:
        """Remove a job, which is being submitted or not wanted any more."""
        self._backlog.withdraw(job)

    def expect_more(self, more: bool) -> None:
        """Set whether further jobs may be offered later."""
        self._more = more

    def watch(self, task: Hashable, kind: Kind, started_at: float, then: Sequence[Kind] = ()) -> None:
        """Add a task accepted at ``started_at``; jobs of the kinds ``then`` wait for it as in ``offer``."""
        self._watchlist.add(task, (kind, *then), started_at)

    def polling(self, task: Hashable) -> None:
        """Note that a poll of the task is on the wire; it is not chosen again before ``polled``."""
        self._watchlist.polling(task)

    def polled(self, task: Hashable, now: float) -> None:
        """Note that the task was last seen running at ``now``; it may be chosen again.

        A failed poll shows nothing: after it, pass the instant of the one before, or of the start.
        """
        self._watchlist.polled(task, now)

    def forget(self, task: Hashable) -> None:
        """Remove a task, which is final or not waited for any more."""
        self._watchlist.remove(task)

    def decide(self, now: float, allowance: Allowance, *, room: bool = True) -> Submit | Poll | Sleep:
        """The request most worth sending at ``now``. Calling it twice gives the same result.

        Args:
            now: seconds on the loop's clock.
            allowance: how many requests the budget allows.
            room: whether the server accepts another job; if not, none is submitted.
        """
        if allowance.free <= 0:
            return Sleep(allowance.returns[0] if allowance.returns else None)
        if room and self._would_be_late(now, allowance):
            teaching = self._watchlist.teaching(now, self._prices_of_news(allowance), chance=PESSIMISTIC)
            return Submit(self._backlog.first()) if teaching is None else Poll(teaching)
        task, due = self._watchlist.best(now, self._prices(now, allowance))
        if task is not None:
            return Poll(task)
        if room and self._backlog:
            return Submit(self._backlog.first())
        return Sleep(due if due < math.inf else None)

    def expected_end(self, now: float, allowance: Allowance, *, further: int = 0) -> float:
        """The instant by which all jobs and tasks, and ``further`` jobs, are expected to be finished."""
        needed = 2 * (len(self._backlog) + further) + len(self._watchlist)
        ends = [allowance.instant(before, now=now) + length for before, length in self._backlog.stages()]
        last_request = allowance.instant(max(0, needed - 1), now=now)
        return max(last_request, self._watchlist.last_end(MOST_LIKELY), *ends)

    def _would_be_late(self, now: float, allowance: Allowance) -> bool:
        """Whether the last job of some kind would not be done when the last request can leave."""
        if self._more:
            return False
        end = allowance.instant(self._needed - 1, now=now)
        return any(
            allowance.instant(before, now=now) + length > end for before, length in self._backlog.stages()
        )

    def _prices(self, now: float, allowance: Allowance) -> dict[Chain, Price]:
        """The price, by kind, of a poll for its own result and its information."""
        scarce = self._price_of_scarcity(now, allowance)
        return {
            chain: self._price(
                scarce, running, others=self._others(chain, running), seen=self._forecast.seen(chain[0])
            )
            for chain, running in self._watchlist.kinds().items()
        }

    def _price(self, scarce: float, running: Running, *, others: int, seen: int) -> Price:
        """The price of a poll if the scarcity of slots alone costs ``scarce`` seconds.

        A task of an unknown kind may end soon, so its first polls are cheap. That applies to few tasks only;
        a hundred would fill a window with such polls.
        """
        share = 1 + TAUGHT * _learners(others, seen + running.polling + running.outlasted)
        if seen:
            return Price((COURTESY + scarce) / share)
        discount = COURTESY_UNSEEN / max(1, self._to_come + len(self._watchlist))
        return Price((COURTESY_UNSEEN + scarce) / share, discount / share)

    def _prices_of_news(self, allowance: Allowance) -> dict[Chain, Price]:
        """The price, by kind, of a poll whose information alone must be worth a delay of everything."""
        price = allowance.pace * (len(self._backlog) + len(self._watchlist))
        learners = {
            chain: _learners(self._others(chain, running), self._forecast.seen(chain[0]) + running.polling)
            for chain, running in self._watchlist.kinds().items()
        }
        return {chain: Price(price / count) for chain, count in learners.items() if count}

    def _others(self, chain: Chain, running: Running) -> int:
        """The number of jobs and tasks of a kind, waiting or running, minus one."""
        return running.size + self._backlog.count(chain[0]) - 1

    def _price_of_scarcity(self, now: float, allowance: Allowance) -> float:
        """Seconds of waiting elsewhere that one request costs now because slots are scarce."""
        scarcity = min(1.0, self._needed / max(1, allowance.until(self._end(now, allowance), now=now)))
        return allowance.pace * SHARE * (self._to_come + len(self._watchlist)) * scarcity**2

    def _end(self, now: float, allowance: Allowance) -> float:
        """When everything is finished: the last request has left and the last task is done."""
        ends = [allowance.instant(before, now=now) + length for before, length in self._backlog.stages()]
        last_request = allowance.instant(max(0, self._needed - 1), now=now)
        return max(last_request, self._watchlist.last_end(ALL_BUT_SURE), *ends)

    @property
    def _needed(self) -> int:
        """The number of requests still needed."""
        return 2 * self._to_come + len(self._watchlist)

    @property
    def _to_come(self) -> int:
        """The number of jobs to submit; for a source with more to come, as many more as are in flight."""
        later = self._backlog.later + self._watchlist.later
        return len(self._backlog) + later + (len(self._watchlist) if self._more else 0)


def _learners(others: int, known: int) -> float:
    """How many others the information of a poll is worth, less the more is known already.

    Args:
        others: the number of other jobs and tasks of the kind.
        known: the number of its tasks whose polls have given information, or are on the wire.
    """
    return others / (1 + known) ** 2
