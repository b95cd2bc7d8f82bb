"""The arithmetic of credits: laws that hold whatever happens in whatever order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from seedance_async.batch.ledger import Ledger
from seedance_async.models import Kind
from seedance_async.prices import Tariff

CLIP = Tariff(Kind(model="seedance2", seconds=5))
PICTURE = Tariff(Kind(model="gpt-image-2"))
PRICES = {CLIP: 30.0, PICTURE: 8.0}
EXAMPLE = Kind(model="seedance2", quality_tier="standard", channel="standard", resolution="720p", seconds=5)
KNOWN_CLIP = Tariff(EXAMPLE)  # 30 in the vendor's example
KNOWN_PICTURE = Tariff(Kind(model="nano-banana-pro", resolution="1K"))  # 12


class Account(RuleBasedStateMachine):
    """A server with fixed prices charges what the ledger lets through."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: dict[int, Tariff] = {}
        self.paid: list[tuple[int, Tariff]] = []
        self.charged = 0.0
        self.refunded = 0.0
        self.number = 0

    @initialize(cap=st.integers(0, 300))
    def open(self, cap: int) -> None:
        """Start with nothing known."""
        self.ledger = Ledger(cap=cap)

    @rule(tariff=st.sampled_from([CLIP, PICTURE]))
    def send(self, tariff: Tariff) -> None:
        """Send a job if it may be sent."""
        self.number += 1
        if self.ledger.reserve(self.number, tariff):
            self.jobs[self.number] = tariff

    @rule(data=st.data(), reported=st.booleans())
    def accept(self, data: st.DataObject, reported: bool) -> None:
        """The server charges, and may not say how much."""
        if self.jobs:
            job = data.draw(st.sampled_from(sorted(self.jobs)))
            tariff = self.jobs.pop(job)
            self.charged += PRICES[tariff]
            self.paid.append((job, tariff))
            self.ledger.settle(job, PRICES[tariff] if reported else None)

    @rule(data=st.data())
    def refuse(self, data: st.DataObject) -> None:
        """The server refuses a job and charges nothing."""
        if self.jobs:
            job = data.draw(st.sampled_from(sorted(self.jobs)))
            del self.jobs[job]
            self.ledger.release(job)

    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        """The server charges, and nobody hears of it."""
        if self.jobs:
            job = data.draw(st.sampled_from(sorted(self.jobs)))
            self.charged += PRICES[self.jobs.pop(job)]
            self.ledger.doubt(job)

    @rule()
    def fail(self) -> None:
        """A task fails and its price comes back."""
        if self.paid:
            job, tariff = self.paid.pop()
            self.refunded += PRICES[tariff]
            self.ledger.refund(job, PRICES[tariff], charged=PRICES[tariff])

    @invariant()
    def what_is_booked_is_within_the_cap(self) -> None:
        """A first price may surprise; nothing else may pass the cap."""
        if hasattr(self, "ledger"):
            surprise = max(0.0, max(PRICES.values()) - 1)
            assert self.ledger.spent + self.ledger.reserved <= (self.ledger.cap or 0) + surprise
            assert self.ledger.spent >= 0

    @invariant()
    def what_is_charged_is_within_what_is_booked(self) -> None:
        """Nothing that was charged is forgotten."""
        if hasattr(self, "ledger") and not self.jobs and set(self.ledger.prices) == {CLIP, PICTURE}:
            assert self.charged - self.refunded <= self.ledger.spent + self.ledger.reserved + max(
                PRICES.values()
            )

    @invariant()
    def nothing_goes_through_a_full_ledger(self) -> None:
        """With nothing left, nothing is affordable."""
        if hasattr(self, "ledger") and self.ledger.left <= 0:
            assert not self.ledger.affords(CLIP)


TestAccount = Account.TestCase


@given(cap=st.integers(0, 1000), count=st.integers(1, 60))
def test_a_known_price_is_never_reserved_past_the_cap(cap: int, count: int) -> None:
    """With prices known the law is exact: as many jobs as fit, and not one more."""
    ledger = Ledger(cap=cap, prices=PRICES)

    sent = 0
    for number in range(count):
        sent += ledger.reserve(number, CLIP)
        ledger.retried(number)  # without an answer it keeps its reservation, and nobody waits for it

    assert min(count, cap // 30) == sent
    assert ledger.spent + ledger.reserved <= cap


def test_an_unknown_price_reserves_everything_that_is_left() -> None:
    """Nobody knows what the first job costs, so no second one may go before it is told."""
    ledger = Ledger(cap=100)

    assert ledger.reserve("first", CLIP)
    assert not ledger.affords(CLIP)
    assert not ledger.affords(PICTURE)
    ledger.settle("first", 30)
    assert (30, 0) == (ledger.spent, ledger.reserved)
    assert ledger.affords(CLIP)


def test_a_job_waits_when_others_have_been_charged_more_than_is_left() -> None:
    """The first of its tariff, too, is not sent to find that out."""
    ledger = Ledger(cap=100, spent=80)

    assert not ledger.affords(KNOWN_CLIP)
    assert ledger.reserve("picture", KNOWN_PICTURE)
    ledger.settle("picture", 8)
    assert (8, 30) == (ledger.expects(KNOWN_PICTURE), ledger.expects(KNOWN_CLIP))


def test_without_a_cap_an_unknown_price_holds_up_its_own_tariff_only() -> None:
    """A surprise is met once, and others need not wait for it."""
    ledger = Ledger()

    assert ledger.reserve("first", CLIP)
    assert not ledger.affords(CLIP)
    assert ledger.affords(PICTURE)


def test_an_uncertain_job_stays_reserved_and_holds_nobody_up() -> None:
    """It may have been paid; but its price will not be told by waiting."""
    capped, free = Ledger(cap=100, prices=PRICES), Ledger()
    for ledger in (capped, free):
        ledger.reserve("lost", CLIP)
        ledger.doubt("lost")

    assert 30 == capped.reserved
    assert free.affords(CLIP)


def test_the_highest_price_seen_is_reserved_next() -> None:
    """Prices may depend on what nobody documents; a cap must hold for the dear ones."""
    ledger = Ledger(cap=1000)
    for number, price in enumerate((30, 45, 30)):
        ledger.reserve(number, CLIP)
        ledger.settle(number, price)

    ledger.reserve("next", CLIP)

    assert 45 == ledger.reserved


def test_an_answer_without_a_price_is_booked_at_the_known_one() -> None:
    """What was paid is never booked as nothing, if anything is known of it."""
    ledger = Ledger(cap=100, prices=PRICES)
    ledger.reserve("silent", CLIP)

    ledger.settle("silent", None)

    assert (30, 0) == (ledger.spent, ledger.reserved)


def test_a_refund_makes_room() -> None:
    """What the server gives back may be spent again."""
    ledger = Ledger(cap=30, prices=PRICES)
    ledger.reserve("failing", CLIP)
    ledger.settle("failing", 30)
    assert not ledger.affords(CLIP)

    ledger.refund("failing", 30, charged=30)

    assert ledger.affords(CLIP)


@pytest.mark.case(183)
def test_a_refund_is_at_most_its_charge() -> None:
    """A server that gives back three times the price does not raise the cap."""
    ledger = Ledger(cap=60, prices=PRICES)
    ledger.reserve("failing", CLIP)
    ledger.settle("failing", 30)

    ledger.refund("failing", 90, charged=30)

    assert (0, 60) == (ledger.spent, ledger.left)


def test_a_refund_of_what_was_never_booked_makes_no_room() -> None:
    """Nobody said what the job was charged, so nothing was booked that could be given back."""
    ledger = Ledger(cap=60, spent=40)

    ledger.refund("unknown", 30, charged=None)

    assert 40 == ledger.spent


def test_under_a_cap_the_next_post_waits_for_the_price_of_the_last() -> None:
    """A price may rise at any POST; only the one on the wire can surprise."""
    ledger = Ledger(cap=300, prices=PRICES)
    assert ledger.reserve("first", CLIP)
    assert not ledger.affords(CLIP)
    assert not ledger.affords(PICTURE)

    ledger.settle("first", 250)

    assert not ledger.affords(CLIP)
    assert ledger.affords(PICTURE)


def test_beside_two_lost_answers_nothing_new_leaves() -> None:
    """Their prices are not known; an answer of their tariff tells them."""
    ledger = Ledger(cap=300, prices=PRICES)
    for job in ("a", "b"):
        assert ledger.reserve(job, PICTURE)
        ledger.lost(job)
        ledger.retried(job)

    assert not ledger.affords(PICTURE)
    assert not ledger.affords(CLIP)

    ledger.settle("a", 8)
    assert ledger.affords(CLIP)
    assert 8 == ledger.reserved


def test_a_lost_answer_that_proves_to_be_none_makes_room() -> None:
    """A refusal, say, or a request that was never sent."""
    ledger = Ledger(cap=300, prices=PRICES)
    for job in ("a", "b"):
        assert ledger.reserve(job, PICTURE)
        ledger.lost(job)
        ledger.retried(job)

    ledger.release("b")

    assert ledger.affords(CLIP)


def test_jobs_of_one_post_do_not_wait_for_each_other() -> None:
    """They leave together, and one answer says what they cost."""
    ledger = Ledger(cap=1000, prices=PRICES)
    ledger.reserve(1, PICTURE)

    assert not ledger.affords(PICTURE)
    assert ledger.affords(PICTURE, same_post=(1,))
    assert ledger.reserve(2, PICTURE, same_post=(1,))
    assert not ledger.affords(PICTURE, same_post=(1,))


@pytest.mark.case(186)
def test_jobs_share_a_post_only_where_they_may_be_much_dearer_so() -> None:
    """Nobody documents what several cost together: ten times as much as singly stays under the cap."""
    singly = PRICES[PICTURE]
    for left, together in ((2 * 10 * singly - 1, False), (2 * 10 * singly, True)):
        ledger = Ledger(cap=left, prices=PRICES)
        ledger.reserve(1, PICTURE)
        assert together == ledger.affords(PICTURE, same_post=(1,))

    ledger = Ledger(cap=100, prices=PRICES)
    ledger.priced_together(PICTURE, 3)
    for job in range(3):
        assert ledger.reserve(job, PICTURE, same_post=range(job))
    assert not ledger.affords(PICTURE, same_post=range(3))


def test_jobs_whose_price_is_nothing_so_far_do_not_share_a_post_under_a_cap() -> None:
    """There is nothing that a margin could be taken of."""
    unknown = Tariff(Kind(model="gpt-image-2", resolution="unheard of"))
    ledger = Ledger(cap=1000, prices={unknown: 0.0})
    ledger.reserve(1, unknown)
    assert not ledger.affords(unknown, same_post=(1,))
    assert Ledger(prices={unknown: 0.0}).affords(unknown, same_post=(1,))


def test_a_price_far_below_the_documented_one_is_trusted_only_with_a_margin() -> None:
    """It may rise to any other at the next POST; a price somewhat below it is one that users saw."""
    ledger = Ledger(cap=120)
    ledger.reserve("first", KNOWN_PICTURE)
    ledger.settle("first", 1)
    assert not ledger.affords(KNOWN_PICTURE)
    assert 120 == ledger.needs(KNOWN_PICTURE)
    ledger.cap = 121
    assert ledger.affords(KNOWN_PICTURE)
    for usual in (3, 8, 12):
        assert Ledger(cap=usual, prices={KNOWN_PICTURE: usual}).affords(KNOWN_PICTURE)
    assert Ledger(prices={KNOWN_PICTURE: 1}).affords(KNOWN_PICTURE)


def test_a_clip_of_a_price_in_doubt_is_not_reserved_ahead_without_the_margin() -> None:
    """Else its still would be paid for, and the clip sent, whatever it costs by then."""
    clip = Tariff(
        Kind(model="seedance2", quality_tier="standard", channel="standard", resolution="720p", seconds=5)
    )
    assert not Ledger(cap=299, prices={clip: 1}).hold_ahead({"clip": clip}, sources=["still"])
    assert Ledger(cap=300, prices={clip: 1}).hold_ahead({"clip": clip}, sources=["still"])
    assert Ledger(cap=30, prices={clip: 30}).hold_ahead({"clip": clip}, sources=["still"])


@pytest.mark.case(185)
class TestWhatTasksSay:
    """Answers to POSTs that state less than the tasks do."""

    @staticmethod
    def accepted(ledger: Ledger, job: str, stated: float | None) -> None:
        """One job, whose answer states so much."""
        assert ledger.reserve(job, KNOWN_PICTURE)
        ledger.settle(job, stated, will_confirm=True)

    def test_the_others_wait_for_the_first_task_of_a_tariff(self) -> None:
        """And for no further one where it says the same."""
        ledger = Ledger(cap=100)
        self.accepted(ledger, "first", 12)
        assert ledger.is_to_confirm("first")
        assert not ledger.affords(KNOWN_PICTURE)
        ledger.confirm("first", KNOWN_PICTURE, 12)
        self.accepted(ledger, "second", 12)
        assert not ledger.is_to_confirm("second")
        assert ledger.affords(KNOWN_PICTURE)
        assert (24, 0) == (ledger.spent, ledger.reserved)

    def test_without_a_cap_nobody_waits(self) -> None:
        """There is nothing to be kept."""
        ledger = Ledger()
        self.accepted(ledger, "first", 1)
        assert not ledger.is_to_confirm("first")

    def test_a_task_that_says_more_is_believed_for_all_of_its_tariff(self) -> None:
        """Also for those whose answers say less later on."""
        ledger = Ledger(cap=100)
        self.accepted(ledger, "first", 1)
        ledger.confirm("first", KNOWN_PICTURE, 12)
        assert 12 == ledger.spent
        self.accepted(ledger, "second", 1)
        assert (24, 12) == (ledger.spent, ledger.expects(KNOWN_PICTURE))
        assert ledger.is_to_confirm("second")
        assert not ledger.affords(KNOWN_PICTURE)
        ledger.confirm("second", KNOWN_PICTURE, 12)
        assert ledger.affords(KNOWN_PICTURE)
        for job in ("first", "second"):
            ledger.conclude(job, KNOWN_PICTURE, booked=1, charged=12)
        assert 24 == ledger.spent

    def test_what_was_believed_too_dear_is_taken_back_in_the_end(self) -> None:
        """The final task of that job has the last word."""
        ledger = Ledger(cap=100)
        self.accepted(ledger, "first", 1)
        ledger.confirm("first", KNOWN_PICTURE, 12)
        self.accepted(ledger, "second", 1)
        ledger.conclude("second", KNOWN_PICTURE, booked=1, charged=1)
        assert 13 == ledger.spent

    def test_a_final_task_that_says_more_counts_for_those_under_way(self) -> None:
        """Their answers were as wrong as its own."""
        ledger = Ledger(cap=1000)
        for job in "abc":
            self.accepted(ledger, job, 1)
            ledger.confirm(job, KNOWN_PICTURE, None)
        ledger.conclude("a", KNOWN_PICTURE, booked=1, charged=12)
        assert 36 == ledger.spent
        for job in "bc":
            ledger.conclude(job, KNOWN_PICTURE, booked=1, charged=12)
        assert 36 == ledger.spent

    def test_a_look_that_fails_holds_nobody_up(self) -> None:
        """The price is as known as any; but the next one is asked."""
        ledger = Ledger(cap=100)
        self.accepted(ledger, "first", 12)
        ledger.confirm("first", KNOWN_PICTURE, None)
        assert ledger.affords(KNOWN_PICTURE)
        self.accepted(ledger, "second", 12)
        assert ledger.is_to_confirm("second")

    def test_what_is_under_way_from_an_earlier_run_is_asked_first(self) -> None:
        """One of each price; its charge is booked already, and says nothing about this run's answers."""
        ledger = Ledger(cap=100, spent=14, prices={KNOWN_PICTURE: 12.0})
        for job, charged in (("b", 1), ("c", 1), ("a", 12)):
            ledger.resume(job, KNOWN_PICTURE, charged, is_shared=False)
        assert ["b"] == [job for job in "abc" if ledger.is_to_confirm(job)]
        assert not ledger.affords(KNOWN_PICTURE)
        ledger.confirm("b", KNOWN_PICTURE, 12)
        assert (36, 0) == (ledger.spent, ledger.reserved)
        assert ledger.affords(KNOWN_PICTURE)
        for job, booked in (("b", 1), ("c", 1), ("a", 12)):
            ledger.conclude(job, KNOWN_PICTURE, booked=booked, charged=12)
        assert 36 == ledger.spent
        self.accepted(ledger, "new", 12)
        assert ledger.is_to_confirm("new")

    def test_a_job_of_unknown_charge_from_an_earlier_run_is_asked_as_well(self) -> None:
        """Its price is reserved until then."""
        ledger = Ledger(cap=100, prices={KNOWN_PICTURE: 12.0})
        ledger.hold("silent", KNOWN_PICTURE)
        ledger.doubt("silent")
        ledger.resume("silent", KNOWN_PICTURE, None, is_shared=False)
        assert not ledger.affords(KNOWN_PICTURE)
        ledger.confirm("silent", KNOWN_PICTURE, 30)
        assert (30, 0) == (ledger.spent, ledger.reserved)
        assert ledger.affords(KNOWN_PICTURE)

    def test_a_shared_post_has_a_price_of_its_own(self) -> None:
        """What a job costs alone says nothing about it."""
        ledger = Ledger(cap=500)
        self.accepted(ledger, "alone", 8)
        ledger.confirm("alone", KNOWN_PICTURE, 8)
        for job in ("first", "second"):
            assert ledger.reserve(job, KNOWN_PICTURE, same_post=("first",))
        for job in ("first", "second"):
            ledger.settle(job, 8, will_confirm=job == "first", is_shared=True)
        assert ledger.is_to_confirm("first")
        ledger.confirm("first", KNOWN_PICTURE, 25)
        assert (75, 25) == (ledger.spent, ledger.expects(KNOWN_PICTURE))

    @pytest.mark.parametrize("known", [{}, {KNOWN_PICTURE: 12.0}], ids=["unknown price", "known price"])
    def test_a_task_tells_what_a_silent_answer_did_not(self, known: dict[Tariff, float]) -> None:
        """At once, and the final one once more."""
        ledger = Ledger(cap=300, prices=known)
        self.accepted(ledger, "silent", None)
        assert not ledger.affords(KNOWN_PICTURE)
        ledger.confirm("silent", KNOWN_PICTURE, 20)
        assert (20, 0) == (ledger.spent, ledger.reserved)
        assert ledger.affords(KNOWN_PICTURE)
        ledger.conclude("silent", KNOWN_PICTURE, booked=None, charged=25)
        assert 25 == ledger.spent


@pytest.mark.case(184)
def test_a_free_first_job_makes_no_price() -> None:
    """What was free once is reserved at what is documented."""
    ledger = Ledger(cap=100)
    ledger.reserve("free", KNOWN_PICTURE)
    ledger.settle("free", 0)

    ledger.reserve("next", KNOWN_PICTURE)

    assert 12 == ledger.reserved


def test_a_price_that_only_the_task_tells_is_awaited_under_a_cap() -> None:
    """The known one is booked meanwhile; it may have risen."""
    ledger = Ledger(cap=300, prices=PRICES)
    ledger.reserve("silent", CLIP)
    ledger.settle("silent", None)
    assert not ledger.affords(PICTURE)

    ledger.conclude("silent", CLIP, booked=None, charged=200)

    assert (200, 0) == (ledger.spent, ledger.reserved)
    assert not ledger.affords(CLIP)
    assert ledger.affords(PICTURE)


def test_a_task_that_tells_nothing_either_leaves_the_known_price_booked() -> None:
    """And nobody waits any longer."""
    ledger = Ledger(cap=300, prices=PRICES)
    ledger.reserve("silent", CLIP)
    ledger.settle("silent", None)

    ledger.conclude("silent", CLIP, booked=None, charged=None)

    assert 30 == ledger.spent
    assert ledger.affords(CLIP)


@pytest.mark.parametrize(("stated", "spent"), [(30, 30), (80, 80)])
def test_a_task_that_tells_more_than_the_answer_is_believed(stated: int, spent: int) -> None:
    """The highest price that anybody told is the one that counts."""
    ledger = Ledger(cap=100, prices=PRICES)
    ledger.reserve("dear", CLIP)
    ledger.settle("dear", 30)

    ledger.conclude("dear", CLIP, booked=30, charged=stated)

    assert spent == ledger.spent
    assert ledger.affords(CLIP) is (stated == 30)


def test_a_refund_of_a_job_whose_price_was_never_told_makes_no_room() -> None:
    """It may be less than the charge."""
    ledger = Ledger(cap=60)
    ledger.reserve("first", PICTURE)
    ledger.settle("first", None)

    ledger.refund("first", 1, charged=None)

    assert 0 == ledger.left
