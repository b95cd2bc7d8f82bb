"""The habits of today's scripts: a loop for every job, and at best a limiter in front.

Each habit is written as well as it can be: no request is lost, every 429 is obeyed to its Retry-After plus a
little jitter, and a job stops polling the moment it is final. The server counts accepted requests in an exact
sliding window, refuses the others with a Retry-After, and does not charge refusals.

A job is a generator: it yields what to wait for or to send, and gets the answer back, so it reads like the
script it stands for.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Generator, Sequence
from typing import Final

from attrs import define, field, frozen

from seedance_async.models import RateLimit
from seedance_async.scheduling.simulation import LATENCY, SimulatedRun, SimulatedTask

REQUESTS: Final = RateLimit().requests
PERIOD: Final = RateLimit().period

PATIENCE: Final = 12 * 3600.0  # s; a batch that takes longer counts as never ending


@frozen(kw_only=True)
class Habit:
    """How a script polls.

    Attributes:
        name: as people call it.
        first: seconds between the answer to the submit and the first poll.
        grows: factor by which the pause grows after each poll.
        longest: the longest pause in seconds.
        in_flight: jobs run at a time; None for all at once.
        limited: whether every request takes a token of ``AsyncLimiter(30, 60)`` first.
    """

    name: str
    first: float
    grows: float = 1.0
    longest: float = math.inf
    in_flight: int | None = None
    limited: bool = False


HABITS: Final = (
    Habit(name="gather, AsyncLimiter(30, 60), every 5 s", first=5.0, limited=True),
    Habit(name="10 in flight, every 10 s", first=10.0, in_flight=10),
    Habit(name="50 in flight, every 5 s", first=5.0, in_flight=50),
    Habit(name="backoff 1 s to 30 s", first=1.0, grows=2.0, longest=30.0),
    Habit(name="fal: every 0.1 s", first=0.1),
    Habit(name="replicate: every 0.5 s", first=0.5),
    Habit(name="openai: every 1 s", first=1.0),
    Habit(name="runway: every 6 s", first=6.0),
)


@frozen
class _Pause:
    seconds: float


@frozen
class _Send:
    job: int
    submits: bool


Script = Generator[_Pause | _Send, float, float]


@define
class _Server:
    """An exact sliding window. It answers 0 for done or accepted, -1 for running, else Retry-After."""

    draws: Sequence[SimulatedTask]
    done: list[float]
    accepted: deque[float] = field(factory=deque)
    refused: int = 0
    requests: int = 0

    def answer(self, send: _Send, at: float) -> float:
        while self.accepted and self.accepted[0] <= at - PERIOD:
            self.accepted.popleft()
        self.requests += 1
        if len(self.accepted) >= REQUESTS:
            self.refused += 1
            return max(1, math.ceil(self.accepted[0] + PERIOD - at))
        self.accepted.append(at)
        if send.submits:
            self.done[send.job] = at + self.draws[send.job].duration
        return 0.0 if send.submits or self.done[send.job] <= at else -1.0


@define
class _Bucket:
    """``AsyncLimiter(30, 60)``, first come first served: a burst of thirty, then one every two seconds."""

    empty_at: float = -math.inf

    def take(self, now: float) -> float:
        """Seconds until the caller has its token."""
        drip = PERIOD / REQUESTS
        self.empty_at = max(self.empty_at, now) + drip
        return max(0.0, self.empty_at - PERIOD - now)


def run(habit: Habit, draws: Sequence[SimulatedTask], *, seed: int) -> SimulatedRun:
    """The batch as this habit does it."""
    server = _Server(draws, [math.inf] * len(draws))
    loop = _Loop(habit, server, random.Random(f"{habit.name} {seed}"), [math.inf] * len(draws))
    loop.run()
    return SimulatedRun(done=server.done, seen=loop.seen, requests=server.requests, refused=server.refused)


@define
class _Loop:
    """An event loop: each event resumes a script with an answer, or brings what it sent to the server."""

    habit: Habit
    server: _Server
    chance: random.Random
    seen: list[float]
    bucket: _Bucket = field(factory=_Bucket)
    events: list[tuple[float, int, int, Script, _Send | float]] = field(factory=list)
    waiting: deque[int] = field(init=False)
    counter: int = 0

    def run(self) -> None:
        self.waiting = deque(range(len(self.seen)))
        for _ in range(min(len(self.seen), self.habit.in_flight or len(self.seen))):
            self._start(0.0)
        while self.events and self.events[0][0] < PATIENCE:
            now, _, job, script, event = heapq.heappop(self.events)
            if isinstance(event, _Send):
                self._later(now + LATENCY / 2, job, script, self.server.answer(event, now))
            else:
                self._resume(now, job, script, event)

    def _start(self, now: float) -> None:
        job = self.waiting.popleft()
        script = _script(self.habit, job, self.chance)
        self._follow(now, job, script, next(script))

    def _resume(self, now: float, job: int, script: Script, answer: float) -> None:
        try:
            step = script.send(answer)
        except StopIteration:
            self.seen[job] = now
            if self.waiting:
                self._start(now)
        else:
            self._follow(now, job, script, step)

    def _follow(self, now: float, job: int, script: Script, step: _Pause | _Send) -> None:
        if isinstance(step, _Pause):
            self._later(now + step.seconds, job, script, 0.0)
        else:
            wait = self.bucket.take(now) if self.habit.limited else 0.0
            self._later(now + wait + LATENCY / 2, job, script, step)

    def _later(self, at: float, job: int, script: Script, event: _Send | float) -> None:
        self.counter += 1
        heapq.heappush(self.events, (at, self.counter, job, script, event))


def _script(habit: Habit, job: int, chance: random.Random) -> Script:
    """One job: submit it, then poll until it is final."""
    yield from _sent(_Send(job, submits=True), chance)
    pause = habit.first
    while True:
        yield _Pause(pause)
        if (yield from _sent(_Send(job, submits=False), chance)) == 0:
            return 0.0
        pause = min(pause * habit.grows, habit.longest)


def _sent(send: _Send, chance: random.Random) -> Script:
    """Send it until it is not refused; the answer."""
    while (answer := (yield send)) > 0:
        yield _Pause(answer + chance.uniform(0, 1))
    return answer
