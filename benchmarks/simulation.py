"""A day of traffic in a second: a schedule, an exact window, and a server that answers after a moment.

Time is a number that jumps to the next event. The policy is asked whenever a request may leave. A slot comes
back one period after its answer, and a few requests may be unanswered at a time, as in the client's budget.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol

from attrs import define, field, frozen

from benchmarks.workloads import Draw
from seedance_async.budget.allowance import Allowance, most_unanswered
from seedance_async.scheduling.schedule import Poll, Sleep, Submit

if TYPE_CHECKING:
    from collections.abc import Hashable

    from seedance_async.models import Kind

REQUESTS: Final = 30
PERIOD: Final = 60.0
LATENCY: Final = 0.2  # s from sending to the answer; the server acts halfway
TICK: Final = 1e-6  # s; the least that time moves on, lest a loop stand still


class Policy(Protocol):
    """What the simulator asks and tells: the interface of the package's ``Schedule``, and one thing more.

    Jobs are named by their places in the workload, and a job's task by the same number.
    """

    def offer(self, job: Hashable, kind: Kind) -> None:
        """A request waits to be submitted."""

    def withdraw(self, job: Hashable) -> None:
        """It was sent."""

    def watch(self, task: Hashable, kind: Kind, started_at: float) -> None:
        """It was accepted."""

    def polling(self, task: Hashable) -> None:
        """A look is on the wire."""

    def polled(self, task: Hashable, now: float) -> None:
        """The look found the task running."""

    def forget(self, task: Hashable) -> None:
        """The look found the task final."""

    def decide(self, now: float, allowance: Allowance) -> Submit | Poll | Sleep:
        """What to send now."""

    def learn(self, draw: Draw) -> None:
        """What a final answer tells: the task's kind, exact duration and fate."""


@frozen(kw_only=True)
class Outcome:
    """What came of a batch: for each job when it was done and when that was seen, and what it cost."""

    done: Sequence[float]
    seen: Sequence[float]
    requests: int
    refused: int = 0


@define
class _World:
    draws: Sequence[Draw]
    done: list[float]
    seen: list[float]
    wire: deque[tuple[float, int, bool]] = field(factory=deque)
    returns: deque[float] = field(factory=deque)
    requests: int = 0

    def allowance(self, now: float) -> Allowance:
        while self.returns and self.returns[0] <= now:
            self.returns.popleft()
        open_now = REQUESTS - len(self.returns) - len(self.wire)
        free = min(open_now, most_unanswered(REQUESTS) - len(self.wire))
        return Allowance(free=free, returns=tuple(self.returns), requests=REQUESTS, period=PERIOD)

    def next_event(self, now: float, until: float | None) -> float:
        events = [until, self.wire[0][0] if self.wire else None, self.returns[0] if self.returns else None]
        return max(now + TICK, min(event for event in events if event is not None))


def simulate(policy: Policy, draws: Sequence[Draw]) -> Outcome:
    """Run the whole batch under ``policy`` and say what came of it."""
    world = _World(draws, [math.inf] * len(draws), [math.inf] * len(draws))
    for job, draw in enumerate(draws):
        policy.offer(job, draw.kind)
    now, unseen = 0.0, len(draws)
    while unseen:
        while world.wire and world.wire[0][0] <= now:
            unseen -= _answer(policy, world)
        decision = policy.decide(now, world.allowance(now))
        if isinstance(decision, Sleep):
            now = world.next_event(now, decision.until) if unseen else now
        else:
            _send(policy, world, now, decision)
    return Outcome(done=world.done, seen=world.seen, requests=world.requests)


def _send(policy: Policy, world: _World, now: float, decision: Submit | Poll) -> None:
    world.requests += 1
    match decision:
        case Submit(int(job)):
            policy.withdraw(job)
            world.wire.append((now + LATENCY, job, True))
        case Poll(int(task)):
            policy.polling(task)
            world.wire.append((now + LATENCY, task, False))
        case _:
            raise TypeError(f"the policy chose {decision}, which it was never offered")


def _answer(policy: Policy, world: _World) -> bool:
    """Take in the oldest answer; whether it brought a result."""
    at, job, submitted = world.wire.popleft()
    world.returns.append(at + PERIOD)
    draw, acted_at = world.draws[job], at - LATENCY / 2
    if submitted:
        world.done[job] = acted_at + draw.duration
        policy.watch(job, draw.kind, acted_at)
        return False
    if world.done[job] > acted_at:
        policy.polled(job, at)
        return False
    world.seen[job] = at
    policy.learn(draw)
    policy.forget(job)
    return True
