"""The number of jobs at a time that the server takes, learned from its 503 ``service_busy``.

Untaught, the request budget alone decides. A busy answer says that what is under way is all that is taken at
present; so from then on another job goes only when one has ended. With every job that is accepted the bound
moves up, hardly at first and then ever faster::

    bound = proven + (accepted / (2 * proven)) ** 2

So a server that is full is asked in vain by one POST in ``2 * proven``, and one that has recovered gets its
whole stream back within a few dozen. (The bound is measured, not halved as TCP does: the server states how
much it carries, while a lost packet shows only that it was too much.)

Pure.
"""

from __future__ import annotations

from math import inf

from attrs import evolve, frozen


@frozen(kw_only=True)
class Capacity:
    """What is known about the server's capacity.

    Attributes:
        proven: tasks of ours that were running when the server was last busy, at least 1; None if it never
            was.
        accepted: jobs accepted since then.
    """

    proven: int | None = None
    accepted: int = 0

    @property
    def bound(self) -> float:
        """Most jobs that may be under way at a time."""
        return inf if self.proven is None else self.proven + (self.accepted / (2 * self.proven)) ** 2

    def admits(self, under_way: int) -> bool:
        """Whether one more job may be sent beside so many."""
        return under_way + 1 <= self.bound

    def after_busy(self, *, running: int) -> Capacity:
        """The server was busy while so many tasks of ours were running."""
        return Capacity(proven=max(1, running))

    def after_acceptance(self) -> Capacity:
        """The server took a job."""
        return evolve(self, accepted=self.accepted + 1) if self.proven else self
