"""The ledger: the arithmetic of credits, and the decision whether a job may be sent under the cap.

The invariant is ``spent + reserved <= cap``. Prices are not published, so they are learned from
``credits_used`` in the answers, separately for each *tariff*. The next job of a tariff reserves the highest
price seen for it; if none was seen, or it was 0, the highest price that users have documented.

A price may rise at any POST. So under a cap only one POST whose price is awaited is on the wire at a time:
the next one is sent when the answer is booked, or when it is known that none will come. If an answer has no
price, that of the finished task is awaited. The first answer of a tariff, and its first to a shared POST, is
compared with its tasks before another POST is sent, see ``confirm``; so is the lowest of those that an
earlier run has got and whose tasks are not final, see ``resume``. If that fails, the next answer is compared.
Once a task reports more than its answer did, no answer of the tariff is trusted to be below the highest price
that a task has reported, and each of them is compared. A tariff without any known price has one job under way
at a time, also without a cap; under a cap that job reserves all that is left, and is not sent if others were
charged more.

Several jobs in one POST may cost more than singly; this is not documented. Under a cap they share one only
if `MARGIN` times their single price is left, until an answer has priced as many jobs together. Nor is a price
far below the documented one trusted to last: under a cap, the next job of such a price is sent only if
`MARGIN` times the documented one is left.

An uncertain job keeps its reservation, because it may have been paid. The invariant can be broken by a POST
that is charged more than any before. Then all reservations of the tariff rise, and jobs that were not sent
yet may no longer be covered. It can also be broken by POSTs whose answers were lost, because their charge is
unknown: with `MOST_IN_DOUBT` of them, no new POST is sent until one of the tariff is answered.

Pure. Source: the vendor's ``credits_used`` and ``credits_refunded``; prices are not documented.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias

import attrs

from seedance_async.models import Kind
from seedance_async.prices import Tariff, documented_price, is_in_doubt

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Mapping

_Priced: TypeAlias = tuple[Tariff, bool]
"""What answers state prices for: a tariff, and whether its POSTs are shared."""

MOST_IN_DOUBT: Final = 2
"""Number of new POSTs with lost answers at which a cap allows no further POST."""

MARGIN: Final = 10.0
"""How many times dearer than believed a job may be, where its price is in doubt, without passing a cap."""


class Ledger:
    """The credits that a batch has spent, has reserved, and may still spend.

    Args:
        cap: most credits that the batch may cost; None for no limit.
        spent: credits charged and not refunded so far.
        prices: the highest price seen for each tariff.
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
        self._confirmed: set[_Priced] = set()  # or about to be
        self._to_confirm: dict[Hashable, _Priced] = {}
        self._understated: set[Tariff] = set()  # tasks said more than the answers to their POSTs
        self._answered: dict[Hashable, tuple[Tariff, float]] = {}  # booked, and no task is final yet

    def dump(self) -> dict[str, object]:
        """Return what hosts share of the ledger, as a JSON document (jobs are texts).

        Without the cap, and without what is known of shared POSTs: hosts that share a ledger share no POSTs.
        """
        return {
            "spent": self.spent,
            "prices": [[_cells(tariff), price] for tariff, price in self.prices.items()],
            "reserved": [[job, _cells(tariff), held] for job, (tariff, held) in self._reserved.items()],
            "first_of": [[_cells(tariff), job] for tariff, job in self._first_of.items()],
            "awaited": sorted(map(str, self._awaited)),
            "in_doubt": [[job, _cells(tariff)] for job, tariff in self._in_doubt.items()],
            "assumed": dict(self._assumed),
            "confirmed": [_cells(tariff) for tariff, _ in self._confirmed],
            "to_confirm": [[job, _cells(tariff)] for job, (tariff, _) in self._to_confirm.items()],
            "understated": [_cells(tariff) for tariff in self._understated],
            "answered": [[job, _cells(tariff), booked] for job, (tariff, booked) in self._answered.items()],
        }

    @classmethod
    def load(cls, document: Mapping[str, Any], *, cap: float | None) -> Self:
        """Return the ledger from a document of ``dump``, with this cap."""
        prices = {_tariff(cells): price for cells, price in document["prices"]}
        ledger = cls(cap=cap, spent=document["spent"], prices=prices)
        ledger._reserved = {job: (_tariff(cells), held) for job, cells, held in document["reserved"]}
        ledger._first_of = {_tariff(cells): job for cells, job in document["first_of"]}
        ledger._awaited = set(document["awaited"])
        ledger._in_doubt = {job: _tariff(cells) for job, cells in document["in_doubt"]}
        ledger._assumed = dict(document["assumed"])
        ledger._confirmed = {(_tariff(cells), False) for cells in document["confirmed"]}
        ledger._to_confirm = {job: (_tariff(cells), False) for job, cells in document["to_confirm"]}
        ledger._understated = {_tariff(cells) for cells in document["understated"]}
        ledger._answered = {job: (_tariff(cells), booked) for job, cells, booked in document["answered"]}
        return ledger

    def will_know(self, tariff: Tariff) -> bool:
        """Whether an answer is still awaited after which a job of this tariff may be sent."""
        return bool(self._awaited) or tariff in self._first_of

    @property
    def reserved(self) -> float:
        """Credits held for jobs whose price is not known yet."""
        return sum(credits_held for _, credits_held in self._reserved.values())

    @property
    def left(self) -> float:
        """Credits that are neither spent nor reserved; never below zero, infinite without a cap."""
        return float("inf") if self.cap is None else max(0.0, self.cap - self.spent - self.reserved)

    def affords(self, tariff: Tariff, *, same_post: Collection[Hashable] = ()) -> bool:
        """Whether one more job of this tariff may be sent now.

        Args:
            tariff: the job's tariff.
            same_post: the jobs with which it would share a POST.
        """
        if self.is_awaiting(same_post):
            return False
        if tariff not in self.prices and (tariff in self._first_of or self.left <= 0):
            return False
        return self.needs(tariff) <= self.left and self._affords_sharing(tariff, same_post)

    def _affords_sharing(self, tariff: Tariff, same_post: Collection[Hashable]) -> bool:
        """Whether the cap allows that jobs cost more together than singly, where nobody knows."""
        together = len(same_post) + 1
        if self.cap is None or not same_post or together <= self._shared.get(tariff, 1):
            return True
        singly = together * self.expects(tariff)
        return 0 < singly * MARGIN <= self.left + sum(self._held(job) for job in same_post)

    def _held(self, job: Hashable) -> float:
        return self._reserved[job][1] if job in self._reserved else 0.0

    def priced_together(self, tariff: Tariff, jobs: int) -> None:
        """An answer has stated what so many jobs of a tariff cost in one POST."""
        self._shared[tariff] = max(jobs, self._shared.get(tariff, 1))

    def expects(self, tariff: Tariff) -> float:
        """Return the expected price of a job of this tariff, in credits; 0 if unknown."""
        return self.prices.get(tariff) or documented_price(tariff)

    def needs(self, tariff: Tariff) -> float:
        """Return the credits that must be left for one more job of this tariff: its price, or a margin."""
        price = self.expects(tariff)
        in_doubt = self.cap is not None and is_in_doubt(price, tariff)
        return MARGIN * documented_price(tariff) if in_doubt else price

    def is_awaiting(self, same_post: Collection[Hashable] = ()) -> bool:
        """Whether, under a cap, the price of another POST must be known before the next one is sent."""
        return self.cap is not None and (not self._awaited.issubset(same_post) or self.is_in_doubt)

    @property
    def is_in_doubt(self) -> bool:
        """Whether the answers of so many new POSTs were lost that prices count as unknown."""
        return len(self._in_doubt) >= MOST_IN_DOUBT

    def reserve(self, job: Hashable, tariff: Tariff, *, same_post: Collection[Hashable] = ()) -> bool:
        """Reserve the price of a job that is about to be sent; return False if the cap does not allow it."""
        if not self.affords(tariff, same_post=same_post):
            return False
        self.hold(job, tariff)
        self.await_price(job)
        return True

    def await_price(self, job: Hashable) -> None:
        """Note that a reserved job is about to be sent, so its price is awaited."""
        self._awaited.add(job)

    def retried(self, job: Hashable) -> None:
        """Note that an attempt was not charged and is repeated: others need not wait for its price."""
        self._awaited.discard(job)

    def lost(self, job: Hashable) -> None:
        """Note that the answer to a new POST was lost: it may have been charged an unknown amount.

        Args:
            job: the job that stands for the POST.
        """
        if job in self._reserved:
            self._in_doubt[job] = self._reserved[job][0]

    def begin_run(self) -> None:
        """Forget the lost answers of earlier runs: they say nothing about present prices."""
        self._in_doubt.clear()

    def covers(self, job: Hashable) -> bool:
        """Whether a reserved job may still be sent, as prices may have risen since."""
        return self.cap is None or job not in self._reserved or self.spent + self.reserved <= self.cap

    def hold(self, job: Hashable, tariff: Tariff) -> None:
        """Reserve the price of a job that may have been paid already, even if it exceeds the cap."""
        if tariff in self.prices:
            price = self.expects(tariff)
        else:
            self._first_of.setdefault(tariff, job)
            price = 0.0 if self.cap is None else self.left
        self._reserved[job] = tariff, price

    def is_held(self, job: Hashable) -> bool:
        """Whether the price of a job is reserved."""
        return job in self._reserved

    def hold_ahead(self, jobs: Mapping[Hashable, Tariff], *, sources: Collection[Hashable]) -> bool:
        """Reserve the expected prices of jobs that are sent later, all of them or none.

        Args:
            jobs: the jobs. Those without a known price are not reserved.
            sources: the jobs on which they depend. If one of these has an unknown price, it has reserved all
                that is left, and gives up as much as is missing.

        Returns:
            Whether the cap allows it.
        """
        held = {
            job: (tariff, self.expects(tariff)) for job, tariff in jobs.items() if job not in self._reserved
        }
        if any(self.needs(tariff) > max(price, self.left) for tariff, price in held.values()):
            return False
        missing = sum(price for _, price in held.values()) - self.left
        if missing > 0:
            first = next((job for job in sources if job in self._first_of.values()), None)
            if first is None or self._reserved[first][1] - missing < self.expects(self._reserved[first][0]):
                return False
            tariff, price = self._reserved[first]
            self._reserved[first] = tariff, price - missing
        self._reserved |= {job: (tariff, price) for job, (tariff, price) in held.items() if price}
        return True

    def resume(self, job: Hashable, tariff: Tariff, charged: float | None, *, is_shared: bool) -> None:
        """Note a job that an earlier run has sent and whose tasks are not final; its charge is booked.

        The caller calls ``confirm`` if ``is_to_confirm``. Jobs with lower charges have to be noted first,
        because a task of the others may have been compared.

        Args:
            job: the job.
            tariff: its tariff.
            charged: what is booked; None if it is not known, so its price is reserved.
            is_shared: whether its POST was shared.
        """
        if self.cap is None:
            return
        if charged is not None:
            self._answered[job] = tariff, charged
        priced = tariff, is_shared
        if charged is None or priced not in self._to_confirm.values():
            self._to_confirm[job] = priced  # this run's first answer is compared, too
            self._awaited.add(job)

    def settle(
        self,
        job: Hashable,
        credits_used: float | None,
        *,
        will_confirm: bool = False,
        is_shared: bool = False,
    ) -> None:
        """Book the charge of an accepted job. Without a reservation, nothing is booked.

        Args:
            job: the job.
            credits_used: the charge in the answer; None if it had none. Then a known price is booked until
                the tasks report theirs, see ``conclude``; an unknown one stays reserved under a cap.
            will_confirm: the caller calls ``confirm`` if ``is_to_confirm``; other jobs wait for that.
            is_shared: whether its POST was shared.
        """
        self._in_doubt.pop(job, None)
        if job not in self._reserved:
            self._awaited.discard(job)
            return
        tariff, held = self._reserved[job]
        self._end_first(job, tariff)
        is_silent = credits_used is None
        priced = tariff, is_shared
        is_known = priced in self._confirmed and tariff not in self._understated
        if will_confirm and self.cap is not None and (is_silent or not is_known):
            self._to_confirm[job] = priced
            self._confirmed.add(priced)
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
        del self._reserved[job]
        self.spent += credits_used or 0.0
        if self.cap is not None:
            self._answered[job] = tariff, credits_used or 0.0

    def is_to_confirm(self, job: Hashable) -> bool:
        """Whether the others wait for ``confirm`` of this job."""
        return job in self._to_confirm

    def confirm(self, job: Hashable, tariff: Tariff, charged: float | None) -> None:
        """What the tasks of a job say that it costs, asked as soon as it was accepted.

        Args:
            job: that ``is_to_confirm``.
            tariff: of the job.
            charged: what the tasks say; None if that is not known. Then nobody waits for it longer than for
                that of any other, and the next one is asked.
        """
        priced = self._to_confirm.pop(job, None)
        if charged is None:
            self._confirmed.discard(priced or (tariff, False))
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
        """Correct the charge of a job whose tasks are final, as these may report another one.

        Args:
            job: a job that was settled, or is still reserved.
            tariff: its tariff.
            booked: the charge in the answer to its POST.
            charged: the final charge; None if it was never reported.
        """
        self._awaited.discard(job)
        self._to_confirm.pop(job, None)
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
        """Note that a job's outcome stays unknown: its price stays reserved, but is no longer awaited."""
        self._awaited.discard(job)
        self._answered.pop(job, None)
        if job in self._reserved:
            self._end_first(job, self._reserved[job][0])

    def pay_again(self, *jobs: Hashable) -> float | None:
        """Book the reserved price of uncertain jobs as spent, and keep it reserved for another attempt.

        Returns:
            The credits booked; None, without a change, if the cap does not allow that much again.
        """
        held = sum(self._reserved[job][1] for job in jobs)
        if held > self.left:
            return None
        self.spent += held
        return held

    def release(self, job: Hashable) -> None:
        """Release the reservation of a job that was proved not to be charged."""
        self._awaited.discard(job)
        self._in_doubt.pop(job, None)
        if job in self._reserved:
            tariff, _ = self._reserved.pop(job)
            self._end_first(job, tariff)

    def refund(self, job: Hashable, credits_refunded: float, *, charged: float | None) -> None:
        """Book the refund of a job, at most what it was charged.

        Args:
            job: a failed job.
            credits_refunded: the refund that the server reports; 0 for none.
            charged: the job's charge; None if it was never reported.
        """
        if job not in self._reserved:  # its charge was booked, or it has none
            self.spent -= min(credits_refunded, charged or 0.0)
        elif 0 < self.expects(self._reserved[job][0]) <= credits_refunded:
            self.release(job)  # the charge is unknown, and the refund covers its expected price

    def _learn(self, tariff: Tariff, credits_used: float) -> None:
        """Update the price of a tariff by a charge, and raise lower reservations of the tariff to it."""
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
