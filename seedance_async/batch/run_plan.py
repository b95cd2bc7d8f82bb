"""The plan of a run: the jobs it is about to send and their cost, known before its first POST. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from attrs import frozen

from seedance_async.batch.states import State
from seedance_async.convertible import Convertible
from seedance_async.prices import NOTHING_RECORDED, Tariff, is_in_doubt, price_of

if TYPE_CHECKING:
    from seedance_async.models import Kind


@frozen(kw_only=True)
class RunPlan(Convertible):
    """The jobs that a run is about to send, and their cost.

    Attributes:
        counts: number of jobs in each state, without those for a later run; the ``planned`` ones are sent.
        later: number of jobs left for a later run.
        credits_low: least cost of the ``planned`` jobs with a known price.
        credits_high: most cost of these, including the POSTs of earlier runs without an answer: they are
            replayed under their keys, and may be paid already.
        unpriced: number of jobs without a known price; with a cap, also those whose price is in doubt, see
            ``prices.is_in_doubt``.
        credits_spent: charged and not refunded in earlier runs.
        max_credits: the cap over all runs; None for no cap.
    """

    counts: Mapping[State, int]
    later: int = 0
    credits_low: float = 0.0
    credits_high: float = 0.0
    unpriced: int = 0
    credits_spent: float = 0.0
    max_credits: float | None = None

    @property
    def to_send(self) -> int:
        """Number of jobs that are sent for the first time, or again under a new key."""
        return self.counts.get(State.PLANNED, 0)

    @property
    def total(self) -> int:
        """Number of all jobs."""
        return sum(self.counts.values()) + self.later

    @property
    def fits_cap(self) -> bool | None:
        """Whether the cap suffices for all jobs; None if that is not certain, or there is no cap."""
        if self.max_credits is None:
            return None
        if self.credits_spent + self.credits_low > self.max_credits:
            return False
        is_sure = not self.unpriced and self.credits_spent + self.credits_high <= self.max_credits
        return True if is_sure else None


def run_plan(
    tally: Mapping[tuple[Tariff, State], int],
    *,
    prices: Mapping[Tariff, float],
    recorded: Mapping[Kind, float] = NOTHING_RECORDED,
    later: int = 0,
    spent: float = 0.0,
    max_credits: float | None = None,
) -> RunPlan:
    """Return the plan of a run.

    Args:
        tally: number of chosen jobs by tariff and state.
        prices: the prices that this batch was charged.
        recorded: prices of one task of each kind in the account record.
        later: number of jobs left for a later run.
        spent: credits charged and not refunded so far.
        max_credits: the cap over all runs.
    """
    counts = dict.fromkeys(State, 0)
    low: float = 0  # stays an integer if all prices are integers, as the vendor's are
    high: float = 0
    unpriced = 0
    for (tariff, state), count in tally.items():
        counts[state] += count
        if state not in {State.PLANNED, State.SUBMITTING}:
            continue
        price = price_of(tariff, prices, recorded)
        if price is None or (max_credits is not None and is_in_doubt(price.high, tariff)):
            unpriced += count
        else:
            low += price.low * count if state is State.PLANNED else 0
            high += price.high * count
    return RunPlan(
        counts={state: count for state, count in counts.items() if count},
        later=later,
        credits_low=low,
        credits_high=high,
        unpriced=unpriced,
        credits_spent=spent,
        max_credits=max_credits,
    )
