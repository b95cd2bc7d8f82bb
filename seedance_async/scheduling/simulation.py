"""A simulation of a batch: a schedule, an exact window, and a server that answers after a moment.

A day of traffic takes a second, because time is a number that jumps to the next event. The policy is asked
whenever a request may leave. A slot comes back one period after its answer, and a few requests may be
unanswered at a time, as in the client's budget.

Pure: durations come in, instants are float seconds from the start.
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
TICK: Final = 1e-6  # s; the least that time moves on, lest a loop stand still


@frozen
class SimulatedTask:
    """A task as the server will run it: its kind, the seconds it takes, and whether it fails in the end."""

    kind: Kind
    duration: float
    fails: bool = False


class Policy(Protocol):
    """What the simulation calls: the interface of ``Schedule``, and one method more.

    POSTs and tasks are numbered from 0, and the tasks of the first POST come first.
    """

    def offer(self, job: Hashable, kind: Kind, then: Sequence[Kind] = ()) -> None:
        """A POST waits to be sent, and others of the kinds ``then`` wait for its result in turn."""

    def withdraw(self, job: Hashable) -> None:
        """It was sent."""

    def watch(self, task: Hashable, kind: Kind, started_at: float, then: Sequence[Kind] = ()) -> None:
        """A task was accepted."""

    def polling(self, task: Hashable) -> None:
        """A poll is on the wire."""

    def polled(self, task: Hashable, now: float) -> None:
        """The poll found the task running."""

    def forget(self, task: Hashable) -> None:
        """The poll found the task final."""

    def decide(self, now: float, allowance: Allowance) -> Submit | Poll | Sleep:
        """What to send now."""
        ...

    def learn(self, task: SimulatedTask) -> None:
        """Learn from a final answer: the task's kind, exact duration and end."""


class LearningSchedule(Schedule):
    """The client's schedule, which learns from final answers as the client's poller makes it learn."""

    def __init__(self, forecast: Forecast) -> None:
        super().__init__(forecast)
        self._learned = forecast

    def learn(self, task: SimulatedTask) -> None:
        """Only completed tasks are learned from: how soon others fail says nothing."""
        if not task.fails:
            self._learned.observe(task.kind, task.duration)


@frozen(kw_only=True)
class SimulatedRun:
    """What came of a batch: for each task when it was done and when that was seen, and the requests sent."""

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
    """Run a whole batch under ``policy`` and say what came of it.

    Args:
        policy: decides what is sent.
        posts: each with the tasks it starts, which are of one kind.
        running: tasks that begin before anything is sent.
        after: by place of a post of one task, the one that can only be sent when its result was seen.
        limit: the account's; by default the documented one.
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
    kind, *then = _line(world, number)
    policy.offer(number, kind, then)


def _line(world: _World, number: int) -> list[Kind]:
    """The kinds of a post without running tasks' own, and of those that come after it."""
    line = [number]
    while line[-1] in world.after:
        line.append(world.after[line[-1]])
    return [world.tasks[each].kind for each in line]


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
        kind, *then = _line(world, number)
        policy.watch(number, kind, at, then)


def _answer(policy: Policy, world: _World) -> bool:
    """Take in the oldest answer; whether it brought a result."""
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
