"""The ledger, the arithmetic of credits: what is spent and reserved, and whether a job may be sent.

The law: ``spent + reserved <= cap``. Nobody publishes prices, so they are learned from the answers'
``credits_used``, for each *tariff* apart. What the next job of a tariff reserves is the highest price seen of
it, or, before the first and where nothing was charged so far, the highest that is documented.

A price may rise at any POST, so under a cap one POST at a time is on the wire whose price is awaited: the
next one leaves when the answer is booked, or when it is known that none will come. Where an answer states no
price, that of the task is awaited. The first answer of a tariff is compared with its task before another POST
leaves, see ``confirm``; once a task says more than its answer did, no answer of the tariff is believed to be
less than the highest price that a task has told. A tariff of which nobody knows a price has one job under way
at a time without a cap, too; under a cap it reserves everything that is left, and is not sent at all if
others were charged more.

Several jobs in one POST may cost more than one by one: nobody documents it. Under a cap they share one only
where `SHARED_MARGIN` times what they cost singly is left, until an answer has priced as many together.

A job whose outcome is uncertain keeps its reservation: it may have been paid. The law can be broken by one
POST only, whose answer charges more than anybody was charged before. Then every reservation of the tariff
rises with it, and jobs that have not left yet are not covered any more. Where answers are lost, nobody knows
what was charged: beside so many POSTs without an answer (`MOST_IN_DOUBT`) no new one leaves, until one of the
tariff is answered, so these can break it, too.

Pure. Source: the vendor's ``credits_used`` and ``credits_refunded``; prices are not documented.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Self

import attrs

from seedance_async.models import Kind
from seedance_async.prices import Tariff, documented_price

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Mapping

MOST_IN_DOUBT: Final = 2
"""New POSTs whose answers were lost for good, beside which a cap allows no other."""

SHARED_MARGIN: Final = 10.0
"""How many times dearer jobs may be in a shared POST, before the first is answered, without passing a cap."""


class Ledger:
    """What a batch has spent and may still spend, in credits.

    Args:
        cap: most credits that the batch may cost; None for no limit.
        spent: credits charged and not refunded so far.
        prices: the highest price seen of each tariff.
    """

    def __init__(
        self,
        *,
        cap: float | None = None,
        spent: float = 0.0,
        prices: Mapping[Tariff, float] | None = None,
    ) -> None:
        self.cap = cap
        self.spent: float = spent
        self.prices: dict[Tariff, float] = dict(prices or {})
        self._reserved: dict[Hashable, tuple[Tariff, float]] = {}
        self._first_of: dict[Tariff, Hashable] = {}
        self._awaited: set[Hashable] = set()
        self._in_doubt: dict[Hashable, Tariff] = {}
        self._assumed: dict[Hashable, float] = {}
        self._shared: dict[Tariff, int] = {}  # how many jobs of one POST were priced together
        self._confirmed: set[Tariff] = set()  # or about to be
        self._to_confirm: set[Hashable] = set()
        self._understated: set[Tariff] = set()  # tasks said more than the answers to their POSTs
        self._answered: dict[Hashable, tuple[Tariff, float]] = {}  # booked, and no task is final yet

    def dump(self) -> dict[str, object]:
        """What several hosts share of it, as JSON has it; jobs are texts there.

        Not the cap, and not what is known of shared POSTs and of answers that were compared: nobody shares or
        compares there.
        """
        return {
            "spent": self.spent,
            "prices": [[_cells(tariff), price] for tariff, price in self.prices.items()],
            "reserved": [[job, _cells(tariff), held] for job, (tariff, held) in self._reserved.items()],
            "first_of": [[_cells(tariff), job] for tariff, job in self._first_of.items()],
            "awaited": sorted(map(str, self._awaited)),
            "in_doubt": [[job, _cells(tariff)] for job, tariff in self._in_doubt.items()],
            "assumed": dict(self._assumed),
        }

    @classmethod
    def load(cls, document: Mapping[str, Any], *, cap: float | None) -> Self:
        """The ledger that ``dump`` has made a document of, under this cap."""
        prices = {_tariff(cells): price for cells, price in document["prices"]}
        ledger = cls(cap=cap, spent=document["spent"], prices=prices)
        ledger._reserved = {job: (_tariff(cells), held) for job, cells, held in document["reserved"]}
        ledger._first_of = {_tariff(cells): job for cells, job in document["first_of"]}
        ledger._awaited = set(document["awaited"])
        ledger._in_doubt = {job: _tariff(cells) for job, cells in document["in_doubt"]}
        ledger._assumed = dict(document["assumed"])
        return ledger

    def will_know(self, tariff: Tariff) -> bool:
        """Whether an answer is still to come that may let a job of this tariff through."""
        return bool(self._awaited) or tariff in self._first_of

    @property
    def reserved(self) -> float:
        """Credits held for jobs whose price is not known yet."""
        return sum(credits_held for _, credits_held in self._reserved.values())

    @property
    def left(self) -> float:
        """Credits that are neither spent nor reserved; never below zero, infinite without a cap."""
        return float("inf") if self.cap is None else max(0.0, self.cap - self.spent - self.reserved)

    def affords(self, tariff: Tariff, *, beside: Collection[Hashable] = ()) -> bool:
        """Whether one more job of this tariff may be sent now.

        Args:
            tariff: of the job.
            beside: the jobs that it would share a POST with.
        """
        if self.is_awaiting(beside):
            return False
        if tariff not in self.prices and (tariff in self._first_of or self.left <= 0):
            return False
        return self.expects(tariff) <= self.left and self._affords_sharing(tariff, beside)

    def _affords_sharing(self, tariff: Tariff, beside: Collection[Hashable]) -> bool:
        """Whether the cap allows that jobs cost more together than singly, where nobody knows."""
        together = len(beside) + 1
        if self.cap is None or not beside or together <= self._shared.get(tariff, 1):
            return True
        singly = together * self.expects(tariff)
        return 0 < singly * SHARED_MARGIN <= self.left + sum(self._held(job) for job in beside)

    def _held(self, job: Hashable) -> float:
        return self._reserved[job][1] if job in self._reserved else 0.0

    def priced_together(self, tariff: Tariff, jobs: int) -> None:
        """An answer has stated what so many jobs of a tariff cost in one POST."""
        self._shared[tariff] = max(jobs, self._shared.get(tariff, 1))

    def expects(self, tariff: Tariff) -> float:
        """What a job of this tariff may cost, as far as anybody knows."""
        return self.prices.get(tariff) or documented_price(tariff)

    def is_awaiting(self, beside: Collection[Hashable] = ()) -> bool:
        """Whether the price of some POST has to be known before another one leaves: under a cap only."""
        return self.cap is not None and (not self._awaited.issubset(beside) or self.is_in_doubt)

    @property
    def is_in_doubt(self) -> bool:
        """Whether so many new POSTs are without an answer that no price is known any more."""
        return len(self._in_doubt) >= MOST_IN_DOUBT

    def reserve(self, job: Hashable, tariff: Tariff, *, beside: Collection[Hashable] = ()) -> bool:
        """Hold the price of a job that is about to be sent; False, and nothing held, if it cannot be."""
        if not self.affords(tariff, beside=beside):
            return False
        self.hold(job, tariff)
        self.await_price(job)
        return True

    def await_price(self, job: Hashable) -> None:
        """A job that is reserved is about to be sent: its answer says what it costs."""
        self._awaited.add(job)

    def retried(self, job: Hashable) -> None:
        """An attempt at a job was not charged: it keeps its reservation, and others need not wait for it."""
        self._awaited.discard(job)

    def lost(self, job: Hashable) -> None:
        """The answer to a new POST was lost: it may be charged, and nobody knows how much.

        Args:
            job: the one that stands for the POST.
        """
        if job in self._reserved:
            self._in_doubt[job] = self._reserved[job][0]

    def begin_run(self) -> None:
        """What was lost in earlier runs says nothing about present prices, and holds nobody up."""
        self._in_doubt.clear()

    def covers(self, job: Hashable) -> bool:
        """Whether a job that was reserved may still be sent: the price may have risen since."""
        return self.cap is None or job not in self._reserved or self.spent + self.reserved <= self.cap

    def hold(self, job: Hashable, tariff: Tariff) -> None:
        """Hold the price of a job that may have been paid already, whether or not it fits."""
        if tariff in self.prices:
            price = self.expects(tariff)
        else:
            self._first_of.setdefault(tariff, job)
            price = 0.0 if self.cap is None else self.left
        self._reserved[job] = tariff, price

    def is_held(self, job: Hashable) -> bool:
        """Whether the price of a job is reserved."""
        return job in self._reserved

    def hold_ahead(self, jobs: Mapping[Hashable, Tariff], *, beside: Collection[Hashable]) -> bool:
        """Reserve what other jobs will cost, all of it or nothing.

        Args:
            jobs: to be sent later. Those of an unknown price wait for it to be known.
            beside: what they are made of; of an unknown price it holds everything that is left.
        """
        held = {
            job: (tariff, self.expects(tariff)) for job, tariff in jobs.items() if job not in self._reserved
        }
        missing = sum(price for _, price in held.values()) - self.left
        if missing > 0:
            first = next((job for job in beside if job in self._first_of.values()), None)
            if first is None or self._reserved[first][1] - missing < self.expects(self._reserved[first][0]):
                return False
            tariff, price = self._reserved[first]
            self._reserved[first] = tariff, price - missing
        self._reserved |= {job: (tariff, price) for job, (tariff, price) in held.items() if price}
        return True

    def settle(self, job: Hashable, credits_used: float | None, *, will_confirm: bool = False) -> None:
        """The job was accepted and charged. A job without a reservation changes nothing.

        Args:
            job: one that was reserved.
            credits_used: what the answer said; None if it said nothing. Then the known price is booked until
                the tasks tell, see ``conclude``, and an unknown one stays reserved under a cap.
            will_confirm: the caller calls ``confirm`` if ``is_to_confirm`` then; the others wait for that.
        """
        self._in_doubt.pop(job, None)
        if job not in self._reserved:
            self._awaited.discard(job)
            return
        tariff, held = self._reserved[job]
        self._end_first(job, tariff)
        is_silent = credits_used is None
        if will_confirm and self.cap is not None and (is_silent or tariff not in self._confirmed):
            self._to_confirm.add(job)
        if credits_used is not None:
            self._learn(tariff, credits_used)
            if tariff in self._understated:
                credits_used = self._assumed[job] = self.expects(tariff)
        elif tariff in self.prices:
            credits_used = self._assumed[job] = self.expects(tariff)
        elif held:
            self._awaited.discard(job)
            return
        if not is_silent and job not in self._to_confirm:
            self._awaited.discard(job)
        self._confirmed.add(tariff)
        del self._reserved[job]
        self.spent += credits_used or 0.0
        if self.cap is not None:
            self._answered[job] = tariff, credits_used or 0.0

    def is_to_confirm(self, job: Hashable) -> bool:
        """Whether the others wait for ``confirm`` of this job."""
        return job in self._to_confirm

    def confirm(self, job: Hashable, tariff: Tariff, charged: float | None) -> None:
        """What the task of a job says that it costs, asked as soon as it was accepted.

        Args:
            job: that ``is_to_confirm``.
            tariff: of the job.
            charged: what the task says; None if that is not known, and nobody waits for it longer than for
                that of any other.
        """
        self._to_confirm.discard(job)
        if charged is None:
            if job not in self._assumed:
                self._awaited.discard(job)
            return
        self._awaited.discard(job)
        if job in self._reserved:
            self.settle(job, charged)
            self._assumed[job] = charged
        elif job in self._answered and charged > self._answered[job][1]:
            self._understate(tariff, charged)

    def conclude(self, job: Hashable, tariff: Tariff, *, booked: float | None, charged: float | None) -> None:
        """The tasks of a job are final: what they say may be more than what was booked.

        Args:
            job: that was settled, or is reserved still.
            tariff: of the job.
            booked: what the answer to its POST said.
            charged: the most that any answer said.
        """
        self._awaited.discard(job)
        self._to_confirm.discard(job)
        self._answered.pop(job, None)
        earlier = self._assumed.pop(job, booked)
        if charged is None:
            return
        if job in self._reserved:
            self.settle(job, charged)
            self._answered.pop(job, None)
        elif earlier is not None:
            self.spent += charged - earlier
            if booked is not None and charged > booked:
                self._understate(tariff, charged)
            else:
                self._learn(tariff, charged)

    def _understate(self, tariff: Tariff, charged: float) -> None:
        """A task has said more than the answer to its POST: so may all others of the tariff, in time."""
        self._learn(tariff, charged)
        if self.cap is None:
            return
        self._understated.add(tariff)
        price = self.expects(tariff)
        for job, (own, booked) in self._answered.items():
            if own == tariff and booked < price:
                self._answered[job] = tariff, price
                self._assumed[job] = price
                self.spent += price - booked

    def doubt(self, job: Hashable) -> None:
        """The job's outcome stays unknown: its price stays held, but nobody waits to learn it."""
        self._awaited.discard(job)
        self._answered.pop(job, None)
        if job in self._reserved:
            self._end_first(job, self._reserved[job][0])

    def pay_again(self, *jobs: Hashable) -> float | None:
        """Count what jobs of unknown outcome may have cost as spent, and hold as much for another attempt.

        Returns:
            What is counted; None, and nothing is, if the cap does not allow as much again.
        """
        held = sum(self._reserved[job][1] for job in jobs)
        if held > self.left:
            return None
        self.spent += held
        return held

    def release(self, job: Hashable) -> None:
        """It is proven that the job was not charged. A job without a reservation changes nothing."""
        self._awaited.discard(job)
        self._in_doubt.pop(job, None)
        if job in self._reserved:
            tariff, _ = self._reserved.pop(job)
            self._end_first(job, tariff)

    def refund(self, job: Hashable, credits_refunded: float, *, charged: float | None) -> None:
        """The server gave a job's credits back, at most what it was charged.

        Args:
            job: that failed.
            credits_refunded: what the server says; 0 if nothing.
            charged: what the job was charged; None if that was never stated.
        """
        if job not in self._reserved:  # what was never booked cannot be given back
            self.spent -= min(credits_refunded, charged or 0.0)
        elif 0 < self.expects(self._reserved[job][0]) <= credits_refunded:
            self.release(job)  # nobody said what it was charged: as much, as far as anybody knows

    def _learn(self, tariff: Tariff, credits_used: float) -> None:
        """A job was charged so much: every reservation of its tariff is at least that."""
        self._in_doubt = {other: own for other, own in self._in_doubt.items() if own != tariff}
        price = self.prices[tariff] = max(credits_used, self.prices.get(tariff, 0.0))
        for job, (own, held) in self._reserved.items():
            if own == tariff and held < price:
                self._reserved[job] = tariff, price

    def _end_first(self, job: Hashable, tariff: Tariff) -> None:
        if self._first_of.get(tariff) == job:
            del self._first_of[tariff]


def _cells(tariff: Tariff) -> list[object]:
    return [*attrs.asdict(tariff.kind).values(), tariff.tasks]


def _tariff(cells: list[Any]) -> Tariff:
    *kind, tasks = cells
    return Tariff(Kind(**dict(zip(attrs.fields_dict(Kind), kind, strict=True))), tasks)
