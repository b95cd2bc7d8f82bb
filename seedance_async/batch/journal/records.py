"""What goes into a journal and comes out of it, as values."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import attrs
from attrs import field, frozen

from seedance_async import wire
from seedance_async.batch import keys
from seedance_async.batch.ledger import Tariff
from seedance_async.batch.states import State
from seedance_async.models import Kind, Submission, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from seedance_async.batch.jobs import Job
    from seedance_async.batch.journal.cells import Row


@frozen(kw_only=True)
class Draft:
    """A job as it is asked for, serialised once and for all.

    Attributes:
        line: where it stands in the manifest, from 1.
        place: what it is named after where it has no name.
        take: counts the takes of one line from 1.
        digest: of path and body.
    """

    line: int
    place: int
    name: str | None
    take: int
    tariff: Tariff
    path: str
    body: bytes = field(repr=False)
    digest: bytes = field(repr=False)


def drafts(job: Job, *, line: int, place: int) -> Iterator[Draft]:
    """A draft for each take of a job. The first take bears the job's own name, whatever their number."""
    request = job.request
    body = wire.encode(request)
    tariff = Tariff(request.kind, getattr(request, "batch_count", 1))
    digest = keys.digest(request.path, body)
    for take in range(1, job.repeat + 1):
        name = job.name if job.name is None or take == 1 else f"{job.name}-{take}"
        yield Draft(
            line=line,
            place=place,
            name=name,
            take=take,
            tariff=tariff,
            path=request.path,
            body=body,
            digest=digest,
        )


@frozen(kw_only=True)
class Ticket:
    """A job that there is something to do for; light, because thousands of them wait.

    Attributes:
        digest: of path and body: equal for jobs that ask for the same.
        key: that it was asked for under before; None if it never was, or will not be again.
        seat: its place among the jobs that share its POST; None if it goes alone, or was not sent.
        crashes: runs that died while it was being sent.
        intended_at: wall clock, seconds, of its first POST under its key; None before that.
        submission: what was accepted; None before that.
        accepted_at: wall clock, seconds; None before that.
    """

    number: int
    name: str
    tariff: Tariff
    state: State
    digest: bytes = field(repr=False)
    key: str | None = None
    seat: int | None = None
    crashes: int = 0
    intended_at: float | None = None
    submission: Submission | None = None
    accepted_at: float | None = None

    @property
    def kind(self) -> Kind:
        """The class of work it belongs to."""
        return self.tariff.kind


@frozen
class Hold:
    """A job whose price is not settled: it was sent, and nobody has said what it costs."""

    number: int
    tariff: Tariff
    state: State


@frozen
class Milestones:
    """The state of a job and how it came there; instants are seconds of the wall clock, or None."""

    number: int
    state: State
    intended_at: float | None
    accepted_at: float | None
    ended_at: float | None


@frozen(kw_only=True)
class Changes:
    """How a manifest differs from the one of the run before.

    Attributes:
        added: jobs that are new.
        removed: jobs that are gone; those never sent are forgotten, what is paid is still collected.
        edited: jobs whose request is another; what was sent before is kept under another name.
    """

    added: int = 0
    removed: int = 0
    edited: int = 0


@frozen(kw_only=True)
class Entry:
    """One job, all that is known of it. ``…_at`` are seconds of the wall clock since 1970, UTC.

    Attributes:
        line: its place in the manifest when it was planned.
        unnamed: its name follows from its place.
        files: below the batch directory, with ``/``.
    """

    number: int
    name: str
    line: int
    unnamed: bool
    take: int
    model: str
    path: str
    body: bytes = field(repr=False)
    state: State
    key: str | None
    intended_at: float | None
    accepted_at: float | None
    ended_at: float | None
    task_ids: tuple[str, ...]
    tasks: tuple[Task, ...] = field(repr=False)
    credits_used: float | None
    credits_refunded: float | None
    files: tuple[str, ...]
    error: str | None

    @property
    def request_fields(self) -> dict[str, object]:
        """The request under the API's own names, without the model."""
        fields = json.loads(self.body)
        assert isinstance(fields, dict)  # noqa: S101 - our own bytes
        return fields

    @property
    def urls(self) -> tuple[str, ...]:
        """Output URLs of all its tasks."""
        return tuple(url for task in self.tasks for url in task.urls)


ENTRY_COLUMNS: Final = (
    "number, name, line, unnamed, take, (SELECT model FROM tariffs WHERE id = tariff) AS model, path, body, "
    "state, key, intended_at, accepted_at, ended_at, task_ids, tasks, credits_used, credits_refunded, "
    "files, error"
)

TICKET_COLUMNS: Final = (
    "number, name, tariff, state, digest, seat, crashes, key, "
    "intended_at, task_ids, credits_used, accepted_at"
)


def entry(row: Row) -> Entry:
    """An entry from a row of ``ENTRY_COLUMNS``."""
    return Entry(**dict(zip((attribute.name for attribute in attrs.fields(Entry)), row, strict=True)))


def ticket(row: Row, tariff_of: Callable[[int], Tariff]) -> Ticket:
    """A ticket from a row of ``TICKET_COLUMNS``."""
    number, name, tariff, state, digest, seat, crashes, key, intended_at, ids, used, accepted_at = row
    submission = None
    if ids:
        submission = Submission(id=ids[0], task_ids=ids, credits_used=used, idempotency_key=key)
    return Ticket(
        number=number,
        name=name,
        tariff=tariff_of(tariff),
        state=state,
        digest=digest,
        key=key,
        seat=seat,
        crashes=crashes,
        intended_at=intended_at,
        submission=submission,
        accepted_at=accepted_at,
    )


def as_json(value: object) -> str:
    """A value as the journal keeps it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
