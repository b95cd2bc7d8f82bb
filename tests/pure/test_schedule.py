"""The schedule: laws that hold in every state, and the policy's answers to plain situations."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from seedance_async.budget.allowance import Allowance
from seedance_async.models import Kind
from seedance_async.scheduling.forecast import Forecast
from seedance_async.scheduling.schedule import Poll, Schedule, Sleep, Submit

if TYPE_CHECKING:
    from collections.abc import Iterable

CLIP = Kind(model="seedance2", resolution="720p", seconds=5)
LONG_CLIP = Kind(model="seedance2", resolution="1080p", seconds=15)
PICTURE = Kind(model="nano-banana-pro", resolution="1K")
KINDS = {CLIP: 150.0, LONG_CLIP: 240.0, PICTURE: 40.0}

PLENTY = Allowance(free=30)


def knowing(kinds: Iterable[Kind] = KINDS) -> Forecast:
    """A forecast that has seen fifty tasks of each kind."""
    forecast, chance = Forecast(), random.Random(0)
    for kind in kinds:
        for _ in range(50):
            forecast.observe(kind, KINDS[kind] * chance.lognormvariate(0, 0.2))
    return forecast


def first_look(schedule: Schedule, *, after: float, until: float = 10_000.0) -> float:
    """The instant at which the schedule first chooses to look, if nothing happens in between."""
    now = after
    while now < until:
        match schedule.decide(now, PLENTY):
            case Poll():
                return now
            case Sleep(wake) if wake is not None:
                now = wake
            case other:
                pytest.fail(f"neither a look nor a sleep: {other}")
    pytest.fail("never looked")


class AnySchedule(RuleBasedStateMachine):
    """Drives a schedule through any sequence of events, as a dispatcher might."""

    @initialize(order=st.sampled_from(["longest-first", "given"]), learned=st.booleans())
    def begin(self, order: str, *, learned: bool) -> None:
        """Start at an arbitrary instant of the clock."""
        self.schedule = Schedule(knowing() if learned else Forecast(), order=order)  # type: ignore[arg-type]
        self.now = 1000.0
        self.names = 0
        self.waiting: set[int] = set()
        self.idle: dict[int, float] = {}
        self.on_the_wire: dict[int, float] = {}

    @rule(kind=st.sampled_from(list(KINDS)))
    def offer(self, kind: Kind) -> None:
        """A job comes."""
        self.names += 1
        self.waiting.add(self.names)
        self.schedule.offer(self.names, kind)

    @rule(kind=st.sampled_from(list(KINDS)), age=st.floats(min_value=0, max_value=900))
    def watch(self, kind: Kind, age: float) -> None:
        """A task is attached, perhaps one that has run for long."""
        self.names += 1
        self.idle[self.names] = self.now - age
        self.schedule.watch(self.names, kind, self.now - age)

    @rule(more=st.booleans())
    def source(self, *, more: bool) -> None:
        """A lazy source opens or ends."""
        self.schedule.expect_more(more)

    @rule(seconds=st.floats(min_value=0, max_value=500))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds

    @rule(free=st.integers(min_value=0, max_value=30))
    def act(self, free: int) -> None:
        """The dispatcher does as it is told."""
        match self.schedule.decide(self.now, self.allowance(free)):
            case Submit(int(job)):
                self.waiting.remove(job)
                self.schedule.withdraw(job)
            case Poll(int(task)):
                self.on_the_wire[task] = self.idle.pop(task)
                self.schedule.polling(task)
            case _:
                pass

    @precondition(lambda self: self.on_the_wire)
    @rule(final=st.booleans(), failed=st.booleans())
    def answer(self, *, final: bool, failed: bool) -> None:
        """The oldest poll is answered, or fails."""
        task = next(iter(self.on_the_wire))
        started_at = self.on_the_wire.pop(task)
        if final:
            self.schedule.forget(task)
        else:
            self.schedule.polled(task, started_at if failed else self.now)
            self.idle[task] = started_at

    @precondition(lambda self: self.idle)
    @rule()
    def lose_interest(self) -> None:
        """Nobody waits for a task any more."""
        task, _ = self.idle.popitem()
        self.schedule.forget(task)

    @invariant()
    def decisions_are_lawful(self) -> None:
        """Asked twice it answers alike; it chooses only what waits; it never sleeps into the past."""
        for free in (0, 1, 30):
            allowance = self.allowance(free)
            decision = self.schedule.decide(self.now, allowance)
            assert decision == self.schedule.decide(self.now, allowance)
            match decision:
                case Submit(job):
                    assert free
                    assert job in self.waiting
                case Poll(task):
                    assert free
                    assert task in self.idle
                case Sleep(until):
                    assert not (free and self.waiting)
                    assert until is None or until > self.now
                    assert until is not None or not free or not self.idle

    def allowance(self, free: int) -> Allowance:
        """So many slots free, the others on their way."""
        return Allowance(free=free, returns=tuple(self.now + 1 + place for place in range(30 - free)))


TestAnySchedule = AnySchedule.TestCase
TestAnySchedule.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_nothing_to_do_is_to_sleep_until_something_changes() -> None:
    """An empty schedule wakes nobody."""
    assert Sleep(None) == Schedule(Forecast()).decide(0.0, PLENTY)


def test_without_a_slot_it_sleeps_until_the_next_one() -> None:
    """A job that waits for the window waits exactly as long."""
    schedule = Schedule(Forecast())
    schedule.offer("job", CLIP)

    assert Sleep(61.0) == schedule.decide(5.0, Allowance(free=0, returns=(61.0, 62.0)))


def test_a_task_just_submitted_is_not_looked_at() -> None:
    """A kind never seen is not polled at once, as loops do: first there must be a chance of success."""
    schedule = Schedule(Forecast())
    schedule.watch("task", CLIP, 100.0)

    assert first_look(schedule, after=100.0) > 106.0


def test_the_longest_kind_is_submitted_first() -> None:
    """What takes longest must not start last; within a kind the caller's order holds."""
    schedule = Schedule(knowing())
    for job, kind in enumerate([PICTURE, CLIP, LONG_CLIP, PICTURE, LONG_CLIP]):
        schedule.offer(job, kind)

    assert [2, 4, 1, 0, 3] == submitted(schedule)


def test_the_given_order_is_kept_where_wanted() -> None:
    """An option for callers whose order means something."""
    schedule = Schedule(knowing(), order="given")
    for job, kind in enumerate([PICTURE, CLIP, LONG_CLIP, PICTURE]):
        schedule.offer(job, kind)

    assert [0, 1, 2, 3] == submitted(schedule)


def test_kinds_of_which_nothing_is_known_take_turns() -> None:
    """So the first results speak of every kind, and none is left for a surprise at the end."""
    schedule = Schedule(Forecast())
    for job, kind in enumerate([CLIP] * 3 + [LONG_CLIP] * 3):
        schedule.offer(job, kind)

    assert [0, 3, 1, 4, 2, 5] == submitted(schedule)


def test_scouts_of_an_unknown_kind_go_ahead_of_all() -> None:
    """Two pictures are sent before the clips, so that what pictures take is known when their turn comes."""
    forecast = Forecast()
    for _ in range(50):
        forecast.observe(CLIP, 600.0)
    schedule = Schedule(forecast)
    for job, kind in enumerate([CLIP, CLIP, PICTURE, PICTURE, PICTURE]):
        schedule.offer(job, kind)

    assert [2, 3, 0, 1, 4] == submitted(schedule)


def submitted(schedule: Schedule) -> list[object]:
    """The jobs in the order in which they are submitted at one instant."""
    jobs = []
    while isinstance(decision := schedule.decide(0.0, PLENTY), Submit):
        schedule.withdraw(decision.job)
        jobs.append(decision.job)
    return jobs


def test_a_ripe_task_goes_before_a_submit_while_there_is_slack() -> None:
    """With a deep backlog a sure result costs the end nothing, so it is fetched first."""
    schedule = Schedule(knowing())
    schedule.watch("ripe", CLIP, 0.0)
    for job in range(300):
        schedule.offer(job, CLIP)

    assert Poll("ripe") == schedule.decide(400.0, PLENTY)


def test_of_those_due_the_one_most_surely_done_is_looked_at() -> None:
    """With one slot left it goes where a result is likeliest."""
    schedule = Schedule(knowing())
    for task, age in {"ripe": 190.0, "overripe": 320.0}.items():
        schedule.watch(task, {"ripe": CLIP, "overripe": PICTURE}[task], 1000.0 - age)

    assert Poll("overripe") == schedule.decide(1000.0, Allowance(free=1))


def test_a_job_that_would_be_late_goes_before_a_ripe_task() -> None:
    """The last job decides when all is over: it leaves before a look that only brings a result early."""
    schedule = Schedule(knowing())
    schedule.watch("ripe", CLIP, 0.0)
    schedule.offer("last", CLIP)

    assert Submit("last") == schedule.decide(400.0, PLENTY)


def test_a_source_that_may_go_on_is_never_pressed() -> None:
    """While nobody knows the end, there is none to be late for: results come first."""
    schedule = Schedule(knowing())
    schedule.expect_more(True)
    schedule.watch("ripe", CLIP, 0.0)
    schedule.offer("job", CLIP)

    assert Poll("ripe") == schedule.decide(400.0, PLENTY)


def test_looks_grow_rare_as_slots_grow_scarce() -> None:
    """One caller with one clip looks early; the same clip in a batch of a thousand waits until it is sure."""
    alone, crowded = Schedule(knowing()), Schedule(knowing())
    for schedule in (alone, crowded):
        schedule.watch("clip", CLIP, 0.0)
    for job in range(1000):
        crowded.watch(job, LONG_CLIP, 0.0)

    assert first_look(alone, after=0.0) < 120.0
    assert first_look(crowded, after=0.0) > 160.0


@given(st.integers(min_value=0, max_value=2**32))
@settings(max_examples=25, deadline=None)
def test_every_task_is_looked_at_in_the_end(seed: int) -> None:
    """However long tasks run and whatever competes, none waits for ever for its next look."""
    chance = random.Random(seed)
    schedule = Schedule(knowing([CLIP]))
    ends = {task: 150.0 * chance.lognormvariate(0, 1.0) for task in range(40)}
    for task in ends:
        schedule.watch(task, chance.choice(list(KINDS)), 0.0)
    now = 0.0
    while ends and now < 1e6:
        decision = schedule.decide(now, PLENTY)
        if isinstance(decision, Sleep):
            now = decision.until or 1e6
        elif isinstance(decision, Poll) and isinstance(decision.task, int):
            schedule.polling(decision.task)
            if ends[decision.task] <= now:
                schedule.forget(decision.task)
                del ends[decision.task]
            else:
                schedule.polled(decision.task, now)

    assert not ends


def test_an_old_task_is_looked_at_among_ever_new_ones() -> None:
    """A straggler is not starved by a stream of surer tasks: waiting makes it surer still."""
    schedule = Schedule(knowing([CLIP]))
    schedule.watch("straggler", CLIP, 0.0)
    schedule.polling("straggler")
    schedule.polled("straggler", 300.0)
    now, looks = 300.0, 0
    for name in range(3000):
        schedule.watch(name, CLIP, now - 400.0)
        decision = schedule.decide(now, Allowance(free=1))
        assert isinstance(decision, Poll)
        if decision.task == "straggler":
            looks += 1
            break
        schedule.forget(decision.task)
        now += 2.0

    assert looks


def test_after_a_drift_the_backlog_is_not_polled_in_vain() -> None:
    """Hundreds of tasks pass the old median and still run: some looks tell, the others wait."""
    schedule = Schedule(knowing([CLIP]))
    for task in range(300):
        schedule.watch(task, CLIP, 0.0)
    window = [0.0] * 30  # the instants at which the slots come back
    looks = 0
    for now in range(300):
        returns = tuple(sorted(at for at in window if at > now))
        while window[0] <= now and isinstance(
            decision := schedule.decide(now, Allowance(free=30 - len(returns), returns=returns)), Poll
        ):
            schedule.polling(decision.task)
            schedule.polled(decision.task, now)
            window = sorted([*window[1:], now + 60.0])
            returns = tuple(sorted(at for at in window if at > now))
            looks += 1

    assert looks < 40  # of ninety slots


def test_a_failed_poll_teaches_nothing_and_leaves_the_task_eligible() -> None:
    """When the answer was lost, nothing is known: the task may be chosen again at once."""
    schedule = Schedule(knowing())
    schedule.watch("clip", CLIP, 0.0)
    due = first_look(schedule, after=0.0)
    schedule.polling("clip")
    schedule.polled("clip", 0.0)

    assert Poll("clip") == schedule.decide(due, PLENTY)


@pytest.mark.parametrize("free", [0, 7, 30])
def test_the_allowance_reckons_slots_of_an_exact_window(free: int) -> None:
    """The instant of each coming request and the count by an instant agree with slots replayed one by one."""
    allowance = Allowance(free=free, returns=tuple(100.0 + place for place in range(1, 31 - free)))
    slots = sorted([100.0] * free + list(allowance.returns))
    replayed = [slot + 60.0 * period for period in range(4) for slot in slots]

    assert replayed == [allowance.instant(index, now=100.0) for index in range(120)]
    for instant in (100.0, 100.5, 115.0, 160.0, 161.0, 279.0):
        assert sum(slot <= instant for slot in replayed) == allowance.until(instant, now=100.0)
