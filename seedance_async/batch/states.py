"""The states of a job, and the moves between them that the journal allows.

    planned ──> submitting ──> accepted ──> completed ──> saved
     │ ^          │  │  ^          └──> failed
     │ └──────────┤  │  └──> uncertain
     v            └──> refused
    blocked

``submitting`` is written before the POST leaves, so it means "may have been accepted". A job goes back from
there to ``planned`` only on proof that nothing was charged: the call never left, or the API refused it for a
reason that another day may mend (no credits, a revoked key). Without proof it becomes ``uncertain``, and from
there only the same bytes under the same key lead on.

``blocked`` is a planned job that has a link to a job which came to no output. Each run decides that anew.

What has failed or was refused is planned again only because somebody says so: by ``retry_failed``, by
``reroll_refunded``, or by another request in its line of the manifest. What is saved becomes completed again
where a file of it is found missing at the start of a run. Those are no moves that every run makes, so they
are not in its table.

Pure.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class State(StrEnum):
    """Where a job stands, in the journal's words."""

    PLANNED = "planned"
    SUBMITTING = "submitting"
    ACCEPTED = "accepted"
    COMPLETED = "completed"
    SAVED = "saved"
    FAILED = "failed"
    """The server gave up on every task of it."""
    REFUSED = "refused"
    """The API refused the request; nothing was charged."""
    UNCERTAIN = "uncertain"
    """Nobody can know whether the server accepted it."""
    BLOCKED = "blocked"
    """Never sent, because a job whose output it takes has none."""


MOVES: Final[dict[State, frozenset[State]]] = {
    State.PLANNED: frozenset({State.SUBMITTING, State.BLOCKED}),
    State.SUBMITTING: frozenset({State.ACCEPTED, State.REFUSED, State.UNCERTAIN, State.PLANNED}),
    State.ACCEPTED: frozenset({State.COMPLETED, State.FAILED}),
    State.COMPLETED: frozenset({State.SAVED}),
    State.SAVED: frozenset(),
    State.FAILED: frozenset(),
    State.REFUSED: frozenset(),
    State.UNCERTAIN: frozenset({State.SUBMITTING}),
    State.BLOCKED: frozenset({State.PLANNED}),
}
"""For each state, the states a job may take next."""

ENDED: Final = frozenset({State.SAVED, State.FAILED, State.REFUSED})
"""States in which nothing is left to do, unless somebody asks for it anew."""

HAS_OUTPUT: Final = frozenset({State.COMPLETED, State.SAVED})
"""States in which there is something for other jobs to take."""

NEVER_PAID: Final = frozenset({State.PLANNED, State.REFUSED, State.BLOCKED})
"""States in which it is certain that no credit was spent on the job."""
