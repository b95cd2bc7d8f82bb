"""The capacity: how many jobs the server accepts at a time, learned from its 503 ``service_busy``.

Before the first 503, only the request budget decides. A 503 means that the server accepts no more than the
jobs that are running now; from then on, a new job is sent only when one has ended. The bound rises with every
accepted job, slowly at first and then ever faster::

    bound = proven + (accepted / (2 * proven)) ** 2

So while the server is full, one POST in ``2 * proven`` is refused, and after it has recovered, the full rate
is reached again within a few dozen jobs. (The bound is measured instead of halved as in TCP: the server shows
how much it can carry, while a lost packet only shows that it was too much.)

Pure.
"""

from __future__ import annotations

from math import inf

from attrs import evolve, frozen


@frozen(kw_only=True)
class Capacity:
    """What is known about the server's capacity.

    Attributes:
        proven: how many of our tasks were running at the last 503, at least 1; None before the first.
        accepted: jobs accepted since then.
    """

    proven: int | None = None
    accepted: int = 0

    @property
    def bound(self) -> float:
        """The largest number of jobs at a time; infinite before the first 503."""
        return inf if self.proven is None else self.proven + (self.accepted / (2 * self.proven)) ** 2

    def admits(self, under_way: int) -> bool:
        """Whether one more job may be sent while ``under_way`` jobs are sent or running."""
        return under_way + 1 <= self.bound

    def after_busy(self, *, running: int) -> Capacity:
        """The capacity after a 503 while ``running`` of our tasks were running."""
        return Capacity(proven=max(1, running))

    def after_acceptance(self) -> Capacity:
        """The capacity after the server has accepted a job."""
        return evolve(self, accepted=self.accepted + 1) if self.proven else self
