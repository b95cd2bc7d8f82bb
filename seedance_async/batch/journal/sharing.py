"""A POST that several jobs share: the bytes it consists of, and whose each part of its answer is.

The vendor's ``batch_count`` makes up to four pictures of one request. Jobs that ask for the same may go
together: the body asks for as many as there are jobs, and each job has a *seat*, its place among them, by
which it owns the task of that place and an equal share of the credits.

Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from seedance_async import completions, wire
from seedance_async.batch.journal.records import as_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from seedance_async.models import Submission


def body_for(body: bytes, count: int) -> bytes:
    """The request of one job, asking for so many instead."""
    fields = wire.loads(body)
    return as_json({**dict(fields), "batch_count": count}).encode()  # type: ignore[call-overload]  # our own object


def is_of(shared: bytes, body: bytes) -> bool:
    """Whether a shared body asks for what the body of one job does, several times."""
    return any(
        wire.loads(shared) == wire.loads(body_for(body, count))
        for count in range(2, completions.MOST_IN_A_POST + 1)
    )


def name_for(names: Sequence[str]) -> str:
    """What the key of a shared POST is derived from in the place of one job's name.

    All names are in it, so that these jobs with others never get the key, and with it the pictures, of these
    jobs among themselves. No name holds a NUL, so no job can be called so.
    """
    return "\0".join(names)


def part_of(submission: Submission, seat: int | None) -> Submission | None:
    """The submission as if one job had been sent alone; None if the server named no task for its seat.

    Args:
        submission: the answer to the POST.
        seat: of the job, from 0; None if it was sent alone.
    """
    return submission if seat is None else completions.part_of(submission, seat)
