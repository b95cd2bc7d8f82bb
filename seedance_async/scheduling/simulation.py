"""A simulation of a batch: a schedule, an exact window, and a server with a fixed latency.

A day of traffic takes a second, because time is a number that jumps to the next event. The policy is asked
whenever a request may leave. A slot becomes free one period after its answer, and only a few requests may be
unanswered at a time, as in the client's budget.

Pure: durations are arguments, instants are float seconds from the start.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from attrs import define, field, frozen

from seedance_async.budget.allowance import Allowance, most_unanswered
from seedance_async.models import Kind, RateLimit
from seedance_async.scheduling.schedule import Poll, Schedule, Sleep, Submit

if TYPE_CHECKING:
    from collections.abc import Hashable

    from seedance_async.scheduling.forecast import Forecast

LATENCY: Final = 0.2  # s from sending to the answer; the server acts halfway
TICK: Final = 1e-6  # s; the smallest step of time, so that the loop always advances


@frozen
class SimulatedTask:
    """A task as the server will run it: its kind, its duration in seconds, and whether it fails."""

    kind: Kind
    duration: float
    fails: bool = False


class Policy(Protocol):
    """The interface that the simulation calls: that of ``Schedule``, and ``learn``.

    POSTs and tasks are numbered from 0, and the tasks of the first POST come first.
    """

    def offer(self, job: Hashable, kind: Kind, then: Sequence[Kind] = ()) -> None:
        """Add a POST; others of the kinds ``then`` wait for it, each for the result of the one before."""

    def withdraw(self, job: Hashable) -> None:
        """Remove a POST, which was sent."""

    def watch(self, task: Hashable, kind: Kind, started_at: float, then: Sequence[Kind] = ()) -> None:
        """Add an accepted task."""

    def polling(self, task: Hashable) -> None:
        """Note that a poll is on the wire."""

    def polled(self, task: Hashable, now: float) -> None:
        """Note that the poll found the task running."""

    def forget(self, task: Hashable) -> None:
        """Remove a task, which the poll found final."""

    def decide(self, now: float, allowance: Allowance) -> Submit | Poll | Sleep:
        """What to send now."""
        ...

    def learn(self, task: SimulatedTask) -> None:
        """Learn the kind, exact duration and outcome of a final task."""


class LearningSchedule(Schedule):
    """The client's schedule; it learns from final answers as it does through the client's poller."""

    def __init__(self, forecast: Forecast) -> None:
        super().__init__(forecast)
        self._learned = forecast

    def learn(self, task: SimulatedTask) -> None:
        """Learn the duration of a completed task; that of a failed one tells nothing about the kind."""
        if not task.fails:
            self._learned.observe(task.kind, task.duration)


@frozen(kw_only=True)
class SimulatedRun:
    """The result of a simulation: when each task was done and was found done, and the requests sent."""

    done: Sequence[float]
    seen: Sequence[float]
    requests: int
    refused: int = 0


@define
class _World:
    limit: RateLimit
    latency: float
    posts: list[range]
    tasks: list[SimulatedTask]
    after: Mapping[int, int]
    done: list[float]
    seen: list[float]
    wire: deque[tuple[float, int, bool]] = field(factory=deque)
    returns: deque[float] = field(factory=deque)
    requests: int = 0

    def allowance(self, now: float) -> Allowance:
        while self.returns and self.returns[0] <= now:
            self.returns.popleft()
        free = self.limit.requests - len(self.returns) - len(self.wire)
        unanswered = most_unanswered(self.limit.requests) - len(self.wire)
        return Allowance(
            free=max(0, min(free, unanswered)),
            returns=tuple(self.returns),
            requests=self.limit.requests,
            period=self.limit.period,
        )

    def next_event(self, now: float, until: float | None) -> float:
        events = [until, self.wire[0][0] if self.wire else None, self.returns[0] if self.returns else None]
        return max(now + TICK, min(event for event in events if event is not None))


def simulate(
    policy: Policy,
    posts: Sequence[Sequence[SimulatedTask]],
    *,
    running: Sequence[SimulatedTask] = (),
    after: Mapping[int, int] | None = None,
    limit: RateLimit | None = None,
    latency: float = LATENCY,
) -> SimulatedRun:
    """Simulate a whole batch with ``policy``, and return the result.

    Args:
        policy: decides what is sent.
        posts: for each POST, the tasks it starts, which are of one kind.
        running: tasks that are already running at the start.
        after: by number of a POST with one task, the number of the POST that needs its result.
        limit: the account's limit; by default the documented one.
        latency: seconds from sending a request to its answer.
    """
    world = _world(posts, running, after or {}, limit or RateLimit(), latency)
    for number in set(range(len(posts))) - set(world.after.values()):
        _offer(policy, world, number)
    _start(policy, world, range(len(world.tasks) - len(running), len(world.tasks)), 0.0)
    now, unseen = 0.0, len(world.tasks)
    while unseen:
        while world.wire and world.wire[0][0] <= now:
            unseen -= _answer(policy, world)
        decision = policy.decide(now, world.allowance(now))
        if isinstance(decision, Sleep):
            now = world.next_event(now, decision.until) if unseen else now
        else:
            _send(policy, world, now, decision)
    return SimulatedRun(done=world.done, seen=world.seen, requests=world.requests)


def _world(
    posts: Sequence[Sequence[SimulatedTask]],
    running: Sequence[SimulatedTask],
    after: Mapping[int, int],
    limit: RateLimit,
    latency: float,
) -> _World:
    tasks: list[SimulatedTask] = []
    ranges = []
    for members in posts:
        ranges.append(range(len(tasks), len(tasks) + len(members)))
        tasks += members
    tasks += running
    never = [math.inf] * len(tasks)
    return _World(limit, latency, ranges, tasks, after, done=never, seen=list(never))


def _offer(policy: Policy, world: _World, number: int) -> None:
    kind, *then = _chain(world, number)
    policy.offer(number, kind, then)


def _chain(world: _World, number: int) -> list[Kind]:
    """The kind of a task, then the kinds of the POSTs of which each needs the result of the one before."""
    chain = [number]
    while chain[-1] in world.after:
        chain.append(world.after[chain[-1]])
    return [world.tasks[each].kind for each in chain]


def _send(policy: Policy, world: _World, now: float, decision: Submit | Poll) -> None:
    world.requests += 1
    match decision:
        case Submit(int(post)):
            policy.withdraw(post)
            world.wire.append((now + world.latency, post, True))
        case Poll(int(task)):
            policy.polling(task)
            world.wire.append((now + world.latency, task, False))
        case _:
            raise TypeError(f"the policy chose {decision}, which it was never offered")


def _start(policy: Policy, world: _World, tasks: range, at: float) -> None:
    for number in tasks:
        world.done[number] = at + world.tasks[number].duration
        kind, *then = _chain(world, number)
        policy.watch(number, kind, at, then)


def _answer(policy: Policy, world: _World) -> bool:
    """Process the oldest answer; returns whether it brought a result."""
    at, number, submitted = world.wire.popleft()
    world.returns.append(at + world.limit.period)
    acted_at = at - world.latency / 2
    if submitted:
        _start(policy, world, world.posts[number], acted_at)
        return False
    if world.done[number] > acted_at:
        policy.polled(number, at)
        return False
    world.seen[number] = at
    policy.learn(world.tasks[number])
    policy.forget(number)
    if number in world.after:
        _offer(policy, world, world.after[number])
    return True
