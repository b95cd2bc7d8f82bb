"""The events of a client: attempts, retries, accepted submissions and finished tasks. Pure.

``SeedanceClient(on_event=…)`` calls a function with each event, in the order in which they happen::

    def show(event: ClientEvent) -> None:
        if isinstance(event, TaskFinished):
            print(event.task_id, event.status, event.seconds)

They hold no prompt, no API key and no signed URL, so ``event.to_dict()`` may be logged as it is. Classes and
fields may be added in later versions.
"""

from __future__ import annotations

from datetime import datetime
from typing import TypeAlias

from attrs import frozen

from seedance_async.convertible import Convertible


@frozen(kw_only=True)
class AttemptEnded(Convertible):
    """An attempt has ended: a call was on the wire once.

    Attributes:
        method: ``GET`` for a poll, ``POST`` for a submit.
        route: the path, with ``{id}`` for the id of a task.
        number: the number of the attempt in this client, from 1.
        resends: how often the same call was on the wire before.
        status: the HTTP status; None if no answer arrived.
        error: the class of the error, such as ``RateLimitedError``; None for a documented answer.
        started_at: when it began, by this machine's clock.
        seconds: until the answer arrived, or was known not to come.
        idempotency_key: the key of a POST.
        task_id: the task of a poll.
    """

    method: str
    route: str
    number: int
    resends: int = 0
    status: int | None = None
    error: str | None = None
    started_at: datetime
    seconds: float
    idempotency_key: str | None = None
    task_id: str | None = None


@frozen(kw_only=True)
class RetryPlanned(Convertible):
    """A call has failed and will be sent again.

    Attributes:
        method: ``GET`` or ``POST``.
        route: the path, with ``{id}`` for the id of a task.
        error: the class of the error, such as ``RateLimitedError``.
        seconds: the least time until it is sent again.
        idempotency_key: the key of a POST.
    """

    method: str
    route: str
    error: str
    seconds: float
    idempotency_key: str | None = None


@frozen(kw_only=True)
class SubmissionAccepted(Convertible):
    """A POST was accepted, and its tasks are paid.

    Attributes:
        model: the API's name of the model.
        task_ids: one to four ids.
        credits_used: credits charged for all of them; None if not stated.
        balance: credits left on the account; None if not stated.
        idempotency_key: the key of the POST.
    """

    model: str
    task_ids: tuple[str, ...]
    credits_used: float | None = None
    balance: float | None = None
    idempotency_key: str | None = None


@frozen(kw_only=True)
class TaskFinished(Convertible):
    """A task that this client submitted, or waited for, is final.

    Attributes:
        task_id: the task's id.
        model: the API's name of the model.
        status: ``completed`` or ``failed``.
        seconds: since it was accepted; approximate for a task that was submitted elsewhere.
        credits_used: credits charged; None if not stated.
        credits_refunded: credits given back; None if not stated.
    """

    task_id: str
    model: str
    status: str
    seconds: float
    credits_used: float | None = None
    credits_refunded: float | None = None


ClientEvent: TypeAlias = AttemptEnded | RetryPlanned | SubmissionAccepted | TaskFinished
"""Any event; works with ``isinstance``."""
