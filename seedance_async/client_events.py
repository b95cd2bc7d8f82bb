"""Events of a client, for whoever watches it: what was sent, what was paid, what came to its end. Pure.

``SeedanceClient(on_event=…)`` is called with each of them, in the order in which they happen::

    def tell(event: ClientEvent) -> None:
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
    """A request was on the wire once.

    Attributes:
        method: ``GET`` for a poll, ``POST`` for a submit.
        route: the path, with ``{id}`` for the id of a task.
        number: of this attempt among all of the client, from 1.
        resends: how often the same call was on the wire before.
        status: of HTTP; None where no answer arrived.
        error: the class of the error that it ended with, such as ``RateLimitedError``; None for an answer as
            documented.
        started_at: by this machine's clock.
        seconds: until the answer was there, or known not to come.
        idempotency_key: of a POST.
        task_id: of a poll.
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
    """A call failed and is sent again.

    Attributes:
        method: ``GET`` or ``POST``.
        route: the path, with ``{id}`` for the id of a task.
        error: the class of the error, such as ``RateLimitedError``.
        seconds: from now until it is sent again, at least.
        idempotency_key: of a POST.
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
        task_ids: one to four.
        credits_used: charged for all of them; None if the answer did not say.
        balance: credits left on the account; None if the answer did not say.
        idempotency_key: of the POST.
    """

    model: str
    task_ids: tuple[str, ...]
    credits_used: float | None = None
    balance: float | None = None
    idempotency_key: str | None = None


@frozen(kw_only=True)
class TaskFinished(Convertible):
    """A task that this client had submitted, or waited for, is final.

    Attributes:
        task_id: its id.
        model: the API's name of the model.
        status: ``completed`` or ``failed``.
        seconds: since it was accepted; for a task that was submitted elsewhere, as far as that is known.
        credits_used: charged; None if the answer did not say.
        credits_refunded: given back; None if the answer did not say.
    """

    task_id: str
    model: str
    status: str
    seconds: float
    credits_used: float | None = None
    credits_refunded: float | None = None


ClientEvent: TypeAlias = AttemptEnded | RetryPlanned | SubmissionAccepted | TaskFinished
"""Any event; works with ``isinstance``."""
