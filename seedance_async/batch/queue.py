"""The queue of a run's planned jobs, and the choice of the jobs of the next POST.

There is one queue per tariff, because the ledger decides by tariff: while the price of one tariff is unknown,
or exceeds the cap, jobs of the others can be sent. While the canary of a kind is under way, the other jobs of
the kind wait. Of the jobs that may be sent, the first in the manifest is next, together with the next ones of
its tariff if they may share its POST.

Pure.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Final

from attrs import evolve, frozen

from seedance_async import clocks, posts
from seedance_async.batch.canaries import Canaries
from seedance_async.batch.journal import JobEntry
from seedance_async.batch.states import State
from seedance_async.credit_format import credit_count
from seedance_async.errors import CreditCapError, SeedanceError
from seedance_async.prices import documented_price

if TYPE_CHECKING:
    from seedance_async.batch.ledger import Ledger
    from seedance_async.models import Kind
    from seedance_async.prices import Tariff

CAPACITY: Final = 2000
"""Most jobs in the queue: enough for the schedule to find the longest kinds, and bounded."""


@frozen
class Post:
    """One POST of a batch and the jobs it serves.

    Attributes:
        jobs: all of the same tariff and state, and sent under the same key, if they were sent.
    """

    jobs: tuple[JobEntry, ...]

    @property
    def number(self) -> int:
        """The number of the first job, which stands for the POST in the journal."""
        return self.jobs[0].number

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers of all its jobs."""
        return tuple(job.number for job in self.jobs)

    @property
    def name(self) -> str:
        """The names of its jobs, for messages."""
        return ", ".join(job.name for job in self.jobs)

    @property
    def state(self) -> State:
        """The state of its jobs."""
        return self.jobs[0].state

    @property
    def kind(self) -> Kind:
        """The kind of its jobs."""
        return self.jobs[0].kind

    @property
    def has_media(self) -> bool:
        """Whether it has pictures or clips that the server has to fetch."""
        return posts.has_media(self.jobs[0].body)

    @property
    def project(self) -> str | None:
        """The project to which its costs belong, if the manifest names one."""
        return self.jobs[0].project

    @property
    def refused_key(self) -> str | None:
        """The key under which it was refused before and is sent again; None if there is none."""
        return self.jobs[0].key if self.state is State.PLANNED else None

    @property
    def is_suspect(self) -> bool:
        """Whether it has no answer, and more than one run died while it was under way."""
        return self.state is not State.ACCEPTED and any(job.crashes > 1 for job in self.jobs)

    def age(self, now: float) -> float:
        """Return the seconds since its first POST under its key, by the wall clock; 0 if there was none.

        Infinite if that time is in the future, because a clock was wrong and the age is unknown.
        """
        intended_at = self.jobs[0].intended_at
        return 0.0 if intended_at is None else clocks.age(intended_at, now)

    def with_new_key(self) -> Post:
        """Return a post with the same jobs, to be sent under a new key."""
        return Post(
            tuple(evolve(job, state=State.PLANNED, key=None, post=None, place=None) for job in self.jobs)
        )

    def may_take(self, job: JobEntry) -> bool:
        """Whether it may serve one more job."""
        first = self.jobs[0]
        # Jobs that were refused together are sent together: otherwise they would not get the same key.
        same = (job.digest, job.post, job.project) == (first.digest, first.post, first.project)
        return is_shareable(job.tariff) and same and len(self.jobs) < posts.MOST_JOBS


def is_shareable(tariff: Tariff) -> bool:
    """Whether equal jobs of this tariff may share a POST."""
    return posts.is_shareable(tariff.kind.model, tariff.tasks)


def posts_for(tariff: Tariff, jobs: int) -> Counter[Tariff]:
    """Return the number of POSTs for a number of equal jobs, by the tariff of each POST."""
    if not is_shareable(tariff):
        return Counter({tariff: jobs})
    full, rest = divmod(jobs, posts.MOST_JOBS)
    sizes = Counter({posts.MOST_JOBS: full}) + Counter([rest] if rest else [])
    return Counter({evolve(tariff, tasks=size): count for size, count in sizes.items()})


class JobQueue:
    """The planned jobs of one run that were not taken yet.

    Args:
        ledger: decides whether a job may be sent, and reserves its price.
        share_posts: whether equal jobs may share a POST.
        canaries: decide which kinds may be sent; None for no restriction.
    """

    def __init__(self, ledger: Ledger, *, share_posts: bool, canaries: Canaries | None = None) -> None:
        self._ledger = ledger
        self._canaries = canaries or Canaries()
        self._share_posts = share_posts
        self._waiting: dict[Tariff, deque[JobEntry]] = {}
        self._held: deque[JobEntry] = deque()  # their prices were reserved together with their sources'
        self._set_aside: list[JobEntry] = []
        self._left = 0.0  # credits left under the cap when they were set aside
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def is_full(self) -> bool:
        """Whether no further job should be read."""
        return self._count >= CAPACITY

    def add(self, job: JobEntry) -> None:
        """Add a job to the queue."""
        self._canaries.wanted(job.kind)
        waiting = (
            self._held if self._ledger.is_held(job.number) else self._waiting.setdefault(job.tariff, deque())
        )
        waiting.append(job)
        self._count += 1

    def set_aside(self, post: Post) -> None:
        """Put back a post whose dependent jobs exceed the cap, until more credits are left than now."""
        for job in post.jobs:
            self._ledger.release(job.number)
        self._set_aside += post.jobs
        self._count += len(post.jobs)
        self._left = self._ledger.left

    def take(self) -> Post | None:
        """Return the next post that may be sent, with its price reserved; None if there is none."""
        self._restore_set_aside()
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
            post = Post((*post.jobs, self._take_one(tariff, same_post=post.numbers)))
        return post

    def _restore_set_aside(self) -> None:
        """Return the jobs set aside to the queue, once more credits are left than at that time."""
        if self._set_aside and self._ledger.left > self._left:
            again, self._set_aside = self._set_aside, []
            self._count -= len(again)
            for job in again:
                self.add(job)

    def stuck(self) -> SeedanceError:
        """Return why no job in the queue can be sent: its canaries, or else the cap."""
        waiting = [job.kind for job in (*self._held, *self._set_aside)]
        waiting += [tariff.kind for tariff in self._waiting]
        return self._canaries.holding(waiting) or self.cap_reached()

    def _may_go(self, tariff: Tariff) -> bool:
        return self._canaries.lets(tariff.kind) and self._ledger.affords(tariff)

    def cap_reached(self) -> CreditCapError:
        """Return the error for jobs that the cap does not allow."""
        ledger = self._ledger
        if ledger.is_in_doubt:
            return CreditCapError(
                "the answers to several jobs were lost, so their cost is unknown: under a cap no more are "
                "sent until one is answered; run again to send them again under their keys"
            )
        tariffs = {*self._waiting, *(job.tariff for job in self._set_aside)}
        cheapest = min(tariffs, key=ledger.needs)
        least, needed = ledger.expects(cheapest), ledger.needs(cheapest)
        price = f"costs {least:g}" if least else "has a price that is not known yet"
        if needed > least:
            price += f", far below the documented {documented_price(cheapest):g}; to trust it, raise the cap"
            price += f" until {needed:g} are left"
        made_for = "" if self._waiting else ", without the jobs that use its output"
        return CreditCapError(
            f"the cap of {credit_count(ledger.cap or 0)} is reached: {ledger.spent:g} are spent, "
            f"{ledger.reserved:g} reserved, and the next job {price}{made_for}"
        )

    def _next_may_join(self, post: Post, tariff: Tariff) -> bool:
        waiting = self._waiting.get(tariff)
        if waiting is None or not post.may_take(waiting[0]) or not self._canaries.is_proven(tariff.kind):
            return False
        return self._ledger.affords(tariff, same_post=post.numbers)

    def _take_one(self, tariff: Tariff, *, same_post: tuple[int, ...] = ()) -> JobEntry:
        waiting = self._waiting[tariff]
        job = waiting.popleft()
        if not waiting:
            del self._waiting[tariff]
        self._count -= 1
        self._ledger.reserve(job.number, tariff, same_post=same_post)
        return job
