"""The schedule: which request is worth sending next, the POST of a job, a poll of a task, or none yet.

Every job costs two requests at least, a POST and a GET that finds it done; all else is bought with jobs.
With ``p`` jobs waiting, ``m`` tasks in flight and ``c`` seconds a request, the batch ends no earlier
than the instant of the request number ``2p + m`` from now. Three questions decide, in this order:

1. **Would a waiting job come too late?** If every waiting job is submitted now, longest kind first, and
   the last of some kind would not be done by that end, there is no slack: the next job goes first. But if
   the kind may be faster than planned, a poll can show that there is slack, and then goes before (below).
2. **Is a poll due?** A poll in vain pushes the results behind it back by a slot. So a request has a
   price in seconds of waiting: ``price = COURTESY + c * SHARE * (p + m) * scarcity ** 2``, where
   scarcity is the requests still needed over the slots until the end. A task is due when a poll costs
   least for each result it finds (``duration.py``). Of those due, the one most surely done goes first,
   so none is starved: waiting makes every task surer. One caller with one video polls often; a batch of
   thousands only when nearly sure. A kind never seen has its own courtesy, and a discount on early polls.
3. **Else** the next job is submitted, and without one the slot is kept until a poll falls due.

Polling before submitting, while there is slack, brings results early and costs no time in the end.

**What a poll teaches.** The first polls of a kind are worth more than their own result: every other task of
the kind, waiting or running, is seen later than it could be while nobody knows how long the kind takes. If
``n`` others wait for the same news, a delay counts ``1 + n`` times, which is the same as a price divided by
``1 + n``. News loses its worth with the square of what is known, as the error of a mean does: where ``k``
tasks of the kind were seen to finish, were found running or have a poll on the wire, ``n / (1 + k) ** 2``
others are counted. Where there is no slack, the price is the delay of everything, ``c * (p + m)``, shared
among those others alone: the own result of such a poll is in no hurry, only its news is.

Pure: ``now`` comes in, and ``decide`` only moves what cannot be chosen out of its own way. A decision
costs O(log n) in jobs and tasks.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Final

from attrs import frozen

from seedance_async.scheduling.backlog import PESSIMISTIC, Backlog, Line, SubmitOrder
from seedance_async.scheduling.watchlist import Price, Watchlist

if TYPE_CHECKING:
    from seedance_async.budget.allowance import Allowance
    from seedance_async.models import Kind
    from seedance_async.scheduling.forecast import Forecast
    from seedance_async.scheduling.watchlist import Running

COURTESY: Final = 0.2  # s; the price of a poll when slots are plenty
COURTESY_UNSEEN: Final = 0.34  # s; of a kind never seen to finish: 0.2 s would buy 20 polls of one clip
TAUGHT: Final = 0.1  # of the seconds that news could save the others of a kind, what they do save
MOST_LIKELY: Final = 0.9  # quantile by which a task counts as over in a message
ALL_BUT_SURE: Final = 0.99  # quantile by which a task is over when slots are counted
SHARE: Final = 0.5  # of the results behind a lost slot that it delays; measured: 0.25 to 1 differ little


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
    """Send nothing before ``until`` (loop clock), or before something changes when it is None."""

    until: float | None


class Schedule:
    """All that waits and runs, and the decision what to send next."""

    def __init__(self, forecast: Forecast, *, order: SubmitOrder = "longest-first") -> None:
        self._forecast = forecast
        self._backlog = Backlog(forecast, order=order)
        self._watchlist = Watchlist(forecast)
        self._more = False

    def offer(self, job: Hashable, kind: Kind, then: Sequence[Kind] = ()) -> None:
        """A request waits to be submitted, and others of the kinds ``then`` wait for its result in turn."""
        self._backlog.offer(job, kind, then)

    def withdraw(self, job: Hashable) -> None:
        """The job is being submitted, or is not wanted any more."""
        self._backlog.withdraw(job)

    def expect_more(self, more: bool) -> None:
        """Say whether further jobs may be offered later."""
        self._more = more

    def watch(self, task: Hashable, kind: Kind, started_at: float, then: Sequence[Kind] = ()) -> None:
        """An accepted task is in flight since ``started_at``; others wait for its result as in ``offer``."""
        self._watchlist.add(task, (kind, *then), started_at)

    def polling(self, task: Hashable) -> None:
        """A poll of the task is on the wire: it is not chosen again before ``polled``."""
        self._watchlist.polling(task)

    def polled(self, task: Hashable, now: float) -> None:
        """The task was last seen running at ``now``: it may be chosen again.

        A poll that failed shows nothing: pass the instant of the one before, or of the start.
        """
        self._watchlist.polled(task, now)

    def forget(self, task: Hashable) -> None:
        """The task is final, or nobody waits for it any more."""
        self._watchlist.remove(task)

    def decide(self, now: float, allowance: Allowance, *, room: bool = True) -> Submit | Poll | Sleep:
        """The request most worth sending at ``now``. Asking twice gives the same answer.

        Args:
            now: loop clock.
            allowance: what the budget says.
            room: whether the server has room for another job; without it none is submitted.
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
        """The instant by which all of this is expected to be over, and so many further jobs besides."""
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

    def _prices(self, now: float, allowance: Allowance) -> dict[Line, Price]:
        """What a poll of each kind costs that is due for its own result's sake and for its news."""
        scarce = self._price_of_scarcity(now, allowance)
        return {
            line: self._price(
                scarce, running, others=self._others(line, running), seen=self._forecast.seen(line[0])
            )
            for line, running in self._watchlist.kinds().items()
        }

    def _price(self, scarce: float, running: Running, *, others: int, seen: int) -> Price:
        """The price where scarcity alone costs ``scarce``.

        A kind never seen may be over soon, so its first polls are cheap. That is for few tasks; a hundred
        would fill a window with such polls.
        """
        share = 1 + TAUGHT * _learners(others, seen + running.polling + running.outlasted)
        if seen:
            return Price((COURTESY + scarce) / share)
        discount = COURTESY_UNSEEN / max(1, self._to_come + len(self._watchlist))
        return Price((COURTESY_UNSEEN + scarce) / share, discount / share)

    def _prices_of_news(self, allowance: Allowance) -> dict[Line, Price]:
        """What a poll of each kind costs of which only the news is worth a delay of everything."""
        price = allowance.pace * (len(self._backlog) + len(self._watchlist))
        learners = {
            line: _learners(self._others(line, running), self._forecast.seen(line[0]) + running.polling)
            for line, running in self._watchlist.kinds().items()
        }
        return {line: Price(price / count) for line, count in learners.items() if count}

    def _others(self, line: Line, running: Running) -> int:
        """Tasks of a kind, waiting or running, but for one."""
        return running.size + self._backlog.count(line[0]) - 1

    def _price_of_scarcity(self, now: float, allowance: Allowance) -> float:
        """Seconds of waiting elsewhere that one request costs now because slots are scarce."""
        scarcity = min(1.0, self._needed / max(1, allowance.until(self._end(now, allowance), now=now)))
        return allowance.pace * SHARE * (self._to_come + len(self._watchlist)) * scarcity**2

    def _end(self, now: float, allowance: Allowance) -> float:
        """When all this is over: the last request has left and the last task is done."""
        ends = [allowance.instant(before, now=now) + length for before, length in self._backlog.stages()]
        last_request = allowance.instant(max(0, self._needed - 1), now=now)
        return max(last_request, self._watchlist.last_end(ALL_BUT_SURE), *ends)

    @property
    def _needed(self) -> int:
        """Requests without which this cannot end."""
        return 2 * self._to_come + len(self._watchlist)

    @property
    def _to_come(self) -> int:
        """Jobs to submit. Of a source that may go on, as many again are expected as are in flight."""
        later = self._backlog.later + self._watchlist.later
        return len(self._backlog) + later + (len(self._watchlist) if self._more else 0)


def _learners(others: int, known: int) -> float:
    """How many others a result teaches, each for as much as is not known yet.

    Args:
        others: tasks of the kind.
        known: tasks of it whose polls have taught something, or will in a moment.
    """
    return others / (1 + known) ** 2
