"""The jobs of a run that wait to be sent, and which of them go next in one POST.

Jobs wait by tariff, because the ledger judges by tariff: while the price of one is unknown, or does not fit
under the cap any more, jobs of the others go on. While the canary of a kind is out, the others of the kind
wait for it. Of those that may go, the first in the manifest goes, and the next ones of its tariff with it
where they may share its POST.

Pure.
"""

from __future__ import annotations

from collections import Counter, deque
from math import inf
from typing import TYPE_CHECKING, Final

from attrs import evolve, frozen

from seedance_async import clocks, posts
from seedance_async.batch.canaries import Canaries
from seedance_async.batch.journal import JobEntry
from seedance_async.batch.states import State
from seedance_async.credit_format import credit_count
from seedance_async.errors import CreditCapError, SeedanceError
from seedance_async.models import MEDIA_FIELDS

if TYPE_CHECKING:
    from seedance_async.batch.ledger import Ledger
    from seedance_async.models import Kind
    from seedance_async.prices import Tariff

CAPACITY: Final = 2000
"""Jobs that wait here at most: enough for the schedule to see the longest kinds, and bounded."""


@frozen
class Post:
    """One POST of a batch and the jobs it serves.

    Attributes:
        jobs: all of one tariff, in one state, and asked for under one key if they ever were.
    """

    jobs: tuple[JobEntry, ...]

    @property
    def number(self) -> int:
        """The job that stands for the POST in the journal: the first."""
        return self.jobs[0].number

    @property
    def numbers(self) -> tuple[int, ...]:
        """Of all its jobs."""
        return tuple(job.number for job in self.jobs)

    @property
    def name(self) -> str:
        """What to call it in a message."""
        return ", ".join(job.name for job in self.jobs)

    @property
    def state(self) -> State:
        """Where its jobs stand."""
        return self.jobs[0].state

    @property
    def kind(self) -> Kind:
        """The class of work they belong to."""
        return self.jobs[0].kind

    @property
    def has_media(self) -> bool:
        """Whether it brings pictures or clips for the server to fetch."""
        return any(self.jobs[0].request_fields.get(name) for name in MEDIA_FIELDS)

    @property
    def project(self) -> str | None:
        """Whose costs its jobs are, where their manifest says so."""
        return self.jobs[0].project

    @property
    def refused_key(self) -> str | None:
        """The key that it was refused under before, and is sent again under; None if there is none."""
        return self.jobs[0].key if self.state is State.PLANNED else None

    @property
    def is_suspect(self) -> bool:
        """Whether more than one run died while it was under way, and it is to be sent again."""
        return self.state is not State.ACCEPTED and any(job.crashes > 1 for job in self.jobs)

    def age(self, now: float) -> float:
        """Seconds since its first POST under its key, by the wall clock; 0 if there was none.

        Infinite where that was in the future: a clock was wrong, and nobody knows the age.
        """
        age = now - (self.jobs[0].intended_at or now)
        return inf if age < -clocks.TOLERANCE else max(0.0, age)

    def anew(self) -> Post:
        """The same jobs, to be asked for under a new key."""
        return Post(
            tuple(evolve(job, state=State.PLANNED, key=None, post=None, place=None) for job in self.jobs)
        )

    def may_take(self, job: JobEntry) -> bool:
        """Whether it may serve one more job."""
        first = self.jobs[0]
        # Those that were refused together are sent together: else they would not get their key again.
        same = (job.digest, job.post, job.project) == (first.digest, first.post, first.project)
        return is_shareable(job.tariff) and same and len(self.jobs) < posts.MOST_JOBS


def is_shareable(tariff: Tariff) -> bool:
    """Whether jobs of this tariff may share a POST with their equals."""
    return posts.is_shareable(tariff.kind.model, tariff.tasks)


def posts_for(tariff: Tariff, jobs: int) -> Counter[Tariff]:
    """How many POSTs a number of jobs that ask for the same go out in, by what each asks for."""
    if not is_shareable(tariff):
        return Counter({tariff: jobs})
    full, rest = divmod(jobs, posts.MOST_JOBS)
    sizes = Counter({posts.MOST_JOBS: full}) + Counter([rest] if rest else [])
    return Counter({evolve(tariff, tasks=size): count for size, count in sizes.items()})


class JobQueue:
    """The planned jobs of one run that were not handed out yet.

    Args:
        ledger: decides whether a job may be sent, and reserves its price.
        share_posts: whether jobs that ask for the same may share a POST.
        canaries: decide of which kinds jobs may be sent; else of all.
    """

    def __init__(self, ledger: Ledger, *, share_posts: bool, canaries: Canaries | None = None) -> None:
        self._ledger = ledger
        self._canaries = canaries or Canaries()
        self._share_posts = share_posts
        self._waiting: dict[Tariff, deque[JobEntry]] = {}
        self._held: deque[JobEntry] = deque()  # their price was reserved with that of what they are made of
        self._set_aside: list[JobEntry] = []
        self._left = 0.0  # under the cap, as they were set aside
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def is_full(self) -> bool:
        """Whether no further job should be read."""
        return self._count >= CAPACITY

    def add(self, job: JobEntry) -> None:
        """Let a job wait."""
        self._canaries.wanted(job.kind)
        waiting = (
            self._held if self._ledger.is_held(job.number) else self._waiting.setdefault(job.tariff, deque())
        )
        waiting.append(job)
        self._count += 1

    def set_aside(self, post: Post) -> None:
        """Take a post back that the cap allows, but not what its jobs are made for; until it allows more."""
        for job in post.jobs:
            self._ledger.release(job.number)
        self._set_aside += post.jobs
        self._count += len(post.jobs)
        self._left = self._ledger.left

    def take(self) -> Post | None:
        """The next POST that the ledger lets through, its price reserved; None if there is none."""
        self._consider_again()
        held = next((job for job in self._held if self._canaries.lets(job.kind)), None)
        if held is not None and not self._ledger.is_awaiting():
            self._count -= 1
            self._ledger.await_price(held.number)
            self._held.remove(held)
            return Post((held,))
        heads = [jobs[0] for tariff, jobs in self._waiting.items() if self._may_go(tariff)]
        if not heads:
            return None
        tariff = min(heads, key=lambda head: head.number).tariff
        post = Post((self._take_one(tariff),))
        while self._share_posts and self._next_may_join(post, tariff):
            post = Post((*post.jobs, self._take_one(tariff, beside=post.numbers)))
        return post

    def _consider_again(self) -> None:
        """Let what was set aside wait again, once the cap allows more than it did then."""
        if self._set_aside and self._ledger.left > self._left:
            again, self._set_aside = self._set_aside, []
            self._count -= len(again)
            for job in again:
                self.add(job)

    def stuck(self) -> SeedanceError:
        """Why nothing that waits here can be sent: its canaries, else the cap."""
        waiting = [job.kind for job in (*self._held, *self._set_aside)]
        waiting += [tariff.kind for tariff in self._waiting]
        return self._canaries.holding(waiting) or self.cap_reached()

    def _may_go(self, tariff: Tariff) -> bool:
        return self._canaries.lets(tariff.kind) and self._ledger.affords(tariff)

    def cap_reached(self) -> CreditCapError:
        """Why nothing that waits here can be sent."""
        ledger = self._ledger
        if ledger.is_in_doubt:
            return CreditCapError(
                "the answers to several jobs were lost, and nobody knows what they cost: under a cap no more "
                "are sent until one is answered; run again to ask for them"
            )
        tariffs = {*self._waiting, *(job.tariff for job in self._set_aside)}
        least = min(map(ledger.expects, tariffs))
        price = f"costs {least:g}" if least else "has a price that nobody knows yet"
        made_for = "" if self._waiting else " beside what it is made for"
        return CreditCapError(
            f"the cap of {credit_count(ledger.cap or 0)} is reached: {ledger.spent:g} are spent, "
            f"{ledger.reserved:g} reserved, and the next job {price}{made_for}"
        )

    def _next_may_join(self, post: Post, tariff: Tariff) -> bool:
        waiting = self._waiting.get(tariff)
        if waiting is None or not post.may_take(waiting[0]) or not self._canaries.is_proven(tariff.kind):
            return False
        return self._ledger.affords(tariff, beside=post.numbers)

    def _take_one(self, tariff: Tariff, *, beside: tuple[int, ...] = ()) -> JobEntry:
        waiting = self._waiting[tariff]
        job = waiting.popleft()
        if not waiting:
            del self._waiting[tariff]
        self._count -= 1
        self._ledger.reserve(job.number, tariff, beside=beside)
        return job
