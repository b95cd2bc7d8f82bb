"""The outcome of a job on the distributed engine: the output of its workflow, and errors as JSON and back.

An error keeps its class, its words and what the server said, so a program that follows a batch
catches the same classes as one that runs it. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs
from attrs import evolve, frozen

from seedance_async import errors, wire
from seedance_async.batch import results
from seedance_async.batch.journal import JobEntry
from seedance_async.batch.states import State
from seedance_async.charges import charged_by
from seedance_async.errors import ApiError, SeedanceError, TaskFailedError
from seedance_async.integrations.engine.intents import Intent
from seedance_async.models import Delivered, Kind, Task
from seedance_async.prices import Tariff, documented_price

FINAL: Final = frozenset({State.SAVED, State.COMPLETED, State.FAILED, State.REFUSED, State.BLOCKED})
"""States after which it is certain what other jobs can take of a job."""

KINDS: Final[Mapping[str, type[SeedanceError]]] = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, SeedanceError)
    and kind not in {errors.ValidationError, errors.ManifestError, TaskFailedError, errors.OutputMissingError}
}  # fmt: skip
"""Classes of errors that are made of their words alone."""


@frozen(kw_only=True)
class Outcome:
    """How far a job came.

    Attributes:
        state: in the journal's words.
        was_sent: whether it was ever sent under its key.
        error: why it came no further, as ``error_facts`` has it.
        task_ids: of what was accepted.
        tasks: final, as the server sent them.
        credits_used: charged for all its tasks; None if not stated.
        credits_refunded: given back; None if not stated.
        files: below the directory or the prefix of the workers, with ``/``.
        delivered: what each of these turned out to be.
        accepted_at: when its POST was accepted, in seconds since 1970 by the database's clock; for one
            that another worker sent, when that worker began to send it.
        ended_at: when its tasks were final, by the database's clock.
    """

    state: State
    was_sent: bool = True
    error: Mapping[str, Any] | None = None
    task_ids: tuple[str, ...] = ()
    tasks: tuple[Mapping[str, Any], ...] = ()
    credits_used: float | None = None
    credits_refunded: float | None = None
    files: tuple[str, ...] = ()
    delivered: tuple[Mapping[str, Any] | None, ...] = ()
    accepted_at: float | None = None
    ended_at: float | None = None

    def dump(self) -> dict[str, object]:
        """It as JSON has it."""
        return {**attrs.asdict(self, recurse=False), "state": str(self.state)}

    @classmethod
    def load(cls, document: Mapping[str, Any]) -> Outcome:
        """The outcome that ``dump`` has made a document of."""
        lists = {name: tuple(document[name]) for name in ("task_ids", "tasks", "files", "delivered")}
        return cls(**{**document, **lists, "state": State(document["state"])})

    @property
    def final_tasks(self) -> tuple[Task, ...]:
        """The tasks as values."""
        return tuple(map(wire.task, self.tasks))

    def entry(self, intent: Intent) -> JobEntry:
        """The job as a journal would have it."""
        return evolve(
            intent.entry(self.state),
            key=intent.key if self.was_sent else None,
            accepted_at=self.accepted_at,
            ended_at=self.ended_at,
            task_ids=self.task_ids,
            tasks=self.final_tasks,
            credits_used=self.credits_used,
            credits_refunded=self.credits_refunded,
            files=self.files,
            error=None if self.error is None else str(self.error["message"]),
            delivered=tuple(None if each is None else Delivered.read(each) for each in self.delivered),
        )

    def failure(self, entry: JobEntry) -> SeedanceError | None:
        """The error of its class that it ended with."""
        if self.error is None:
            return None
        if self.error["type"] == TaskFailedError.__name__ and (
            failed := results.failure_among(entry.tasks, entry)
        ):
            return failed
        return restored(self.error, key=entry.key, task_id=next(iter(entry.task_ids), None))


def error_facts(error: SeedanceError) -> dict[str, object]:
    """An error as JSON has it."""
    facts: dict[str, object] = {"type": type(error).__name__, "message": error.message}
    if isinstance(error, ApiError):
        facts |= {"code": error.code, "status": error.status, "request_id": error.request_id}
    return facts


def restored(
    facts: Mapping[str, Any], *, key: str | None = None, task_id: str | None = None
) -> SeedanceError:
    """The error that ``error_facts`` has made a document of."""
    kind = KINDS.get(facts["type"], SeedanceError)
    if issubclass(kind, ApiError):
        said = {name: facts[name] for name in ("code", "status", "request_id") if name in facts}
        return kind(facts["message"], **said, idempotency_key=key, task_id=task_id)
    return kind(facts["message"], idempotency_key=key, task_id=task_id)


def charged_for(booked: float | None, tasks: Sequence[Task], kind: Kind) -> float | None:
    """What a job has cost by its tasks, where the answer to its POST said nothing, or less."""
    stated = [task.credits_used for task in tasks]
    return charged_by(booked, stated, of_post=len(tasks), alone=documented_price(Tariff(kind)))
