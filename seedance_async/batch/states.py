"""The states of a job, and the changes between them that the journal allows.

    planned ──> submitting ──> accepted ──> completed ──> saved
     │ ^          │  │  ^          └──> failed
     │ └──────────┤  │  └──> uncertain
     v            └──> refused
    blocked

``submitting`` is stored before the POST is sent, so it means "may have been accepted". A job goes back from
there to ``planned`` only on proof that nothing was charged: the call was never sent, or the API refused it
for a temporary reason (no credits, a revoked key). Without proof it becomes ``uncertain``, and from there it
can only be sent again with the same bytes under the same key.

``blocked`` is a planned job with a link to a job that has no output. Each run decides this again.

A failed or refused job is planned again only by ``retry_failed``, ``reroll``, ``reroll_refunded``, or another
request in its line of the manifest. A saved job becomes completed again if one of its files is missing at the
start of a run. These changes are special orders, so they are not in the table.

Pure.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class State(StrEnum):
    """The state of a job in the journal."""

    PLANNED = "planned"
    SUBMITTING = "submitting"
    ACCEPTED = "accepted"
    COMPLETED = "completed"
    SAVED = "saved"
    FAILED = "failed"
    """All of its tasks failed."""
    REFUSED = "refused"
    """The API refused the request; nothing was charged."""
    UNCERTAIN = "uncertain"
    """It cannot be known whether the server accepted it."""
    BLOCKED = "blocked"
    """Not sent, because one of its sources has no output."""


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
"""States in which nothing is left to do, unless the user orders it again."""

HAS_OUTPUT: Final = frozenset({State.COMPLETED, State.SAVED})
"""States in which a job has an output for other jobs."""

NEVER_PAID: Final = frozenset({State.PLANNED, State.REFUSED, State.BLOCKED})
"""States in which it is certain that no credit was spent on the job."""
