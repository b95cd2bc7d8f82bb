"""What goes out in one POST: a job, or some pictures that ask for the same.

The API makes up to four pictures of one prompt for one request, so four such jobs cost the budget one POST
where they would cost four. Sharing it changes nothing else: each job keeps its own name, task, files, price
and state.

Pure.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from attrs import evolve, frozen

from seedance_async.batch.journal import Ticket
from seedance_async.batch.states import State
from seedance_async.completions import MOST_IN_A_POST
from seedance_async.models import GptImage2

if TYPE_CHECKING:
    from seedance_async.batch.ledger import Tariff
    from seedance_async.models import Kind, Submission

SHARED_MODEL: Final = GptImage2.model
"""The only one with a ``batch_count``."""


def shareable(tariff: Tariff) -> bool:
    """Whether jobs of this tariff may share a POST with their like."""
    return tariff.kind.model == SHARED_MODEL and tariff.tasks == 1


def posts_for(tariff: Tariff, jobs: int) -> Counter[Tariff]:
    """How many POSTs a number of jobs that ask for the same go out in, by what each asks for."""
    if not shareable(tariff):
        return Counter({tariff: jobs})
    full, rest = divmod(jobs, MOST_IN_A_POST)
    sizes = Counter({MOST_IN_A_POST: full}) + Counter([rest] if rest else [])
    return Counter({evolve(tariff, tasks=size): posts for size, posts in sizes.items()})


@frozen
class Parcel:
    """One job, or several that share a POST.

    Attributes:
        tickets: of its jobs; all of one tariff, in one state, and asked for under one key if they ever were.
    """

    tickets: tuple[Ticket, ...]

    @property
    def number(self) -> int:
        """Of the job that the journal knows the POST by."""
        return self.tickets[0].number

    @property
    def numbers(self) -> tuple[int, ...]:
        """Of all its jobs."""
        return tuple(ticket.number for ticket in self.tickets)

    @property
    def name(self) -> str:
        """What to call it in a message."""
        return ", ".join(ticket.name for ticket in self.tickets)

    @property
    def key(self) -> str | None:
        """That an earlier run asked for it under, and was refused; None if there is none."""
        return self.tickets[0].key if self.state is State.PLANNED else None

    @property
    def state(self) -> State:
        """Where the jobs stand."""
        return self.tickets[0].state

    def age(self, now: float) -> float:
        """Seconds since its first POST under its key, by the wall clock; 0 if there was none."""
        return max(0.0, now - (self.tickets[0].intended_at or now))

    @property
    def kind(self) -> Kind:
        """The class of work they belong to."""
        return self.tickets[0].kind

    @property
    def submission(self) -> Submission | None:
        """What was accepted; None before that. Accepted jobs go on alone."""
        return self.tickets[0].submission

    def anew(self) -> Parcel:
        """The same jobs, to be asked for under a new key."""
        return Parcel(tuple(evolve(each, state=State.PLANNED, key=None, seat=None) for each in self.tickets))

    @property
    def suspect(self) -> bool:
        """Whether runs may have died of it, more than one while it was being sent, and it is to be again."""
        return self.submission is None and any(ticket.crashes > 1 for ticket in self.tickets)

    def may_take(self, ticket: Ticket) -> bool:
        """Whether one more job may share the POST."""
        first = self.tickets[0]
        # Those that were refused together are asked for together: else they would not get their key again.
        same = (ticket.digest, ticket.key) == (first.digest, first.key)
        return shareable(ticket.tariff) and same and len(self.tickets) < MOST_IN_A_POST
