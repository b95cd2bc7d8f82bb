"""The intent of a job on the distributed engine: what its workflow is given, before anything is sent.

The body is the exact text of the POST; only links to other jobs are replaced in it, once, before the first
POST, and the result is kept (see ``tables``). The key is derived as a journal derives it, so enqueueing the
same job of the same batch twice is enqueueing it once.

Pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import attrs
from attrs import define, field

from seedance_async import wire
from seedance_async.batch import keys
from seedance_async.batch.journal import JobEntry
from seedance_async.batch.states import State
from seedance_async.models import Link, Request, links
from seedance_async.prices import Tariff


@define(frozen=True, kw_only=True, slots=False)
class Intent:
    """One job, as it is enqueued.

    Attributes:
        key: its idempotency key, which is the id of its workflow.
        batch: that it belongs to.
        number: its place in the manifest, from 1.
        name: of the job, as its manifest or program names it.
        label: what its files are called after: its name, or one that no other job of the batch has; below a
            folder of the batch's name, if it has one.
        line: of the manifest, from 1; for a program's job, its place.
        take: which take of its name it is, from 1.
        model: the API's name of the model.
        path: of the POST.
        body: of the POST, JSON; links stand in it as they were written.
        project: whose costs it is; None for the worker's.
    """

    key: str
    batch: str
    number: int
    name: str
    label: str
    line: int
    take: int
    model: str
    path: str
    body: str = field(repr=False)
    project: str | None = None

    def dump(self) -> dict[str, object]:
        """It as JSON has it."""
        return attrs.asdict(self)

    @classmethod
    def load(cls, document: Mapping[str, Any]) -> Intent:
        """The intent that ``dump`` has made a document of."""
        return cls(**document)

    @cached_property
    def request(self) -> Request:
        """The request as a value; what is sent is the body."""
        return wire.build(self.model, json.loads(self.body))

    @property
    def tariff(self) -> Tariff:
        """What its price goes by."""
        return Tariff.of(self.request)

    @property
    def links(self) -> tuple[Link, ...]:
        """The outputs of other jobs that it takes."""
        return tuple(dict.fromkeys(link for _, link in links(self.request)))

    def entry(self, state: State = State.PLANNED) -> JobEntry:
        """It as a journal would have it, for all that works with entries."""
        body = self.body.encode()
        return JobEntry(
            number=self.number,
            name=self.name,
            line=self.line,
            unnamed=False,
            take=self.take,
            tariff=self.tariff,
            path=self.path,
            body=body,
            digest=keys.digest(self.path, body),
            state=state,
            key=None if state in {State.PLANNED, State.BLOCKED} else self.key,
            saved_as=None if self.label == self.name else self.label,
            project=self.project,
        )
