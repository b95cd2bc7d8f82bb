"""The recorder of all exchanges with the sandbox, and the fullest window of requests in its records.

Tests of the rate limit and of paid work use it, because it does not depend on the client's own counts.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from attrs import evolve, frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from seedance_async.sandbox.calls import Record, Reply


@frozen(kw_only=True)
class WorstWindow:
    """The fullest window of any account: requests that arrived, and those that were admitted."""

    arrivals: int = 0
    admitted: int = 0


class Recorder:
    """One record per exchange, in order of arrival; a record is replaced when more becomes known."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def put(self, record: Record) -> None:
        """Store a record under its number, in place of an earlier one of the same number."""
        if record.number > len(self.records):
            self.records.append(record)
        else:
            self.records[record.number - 1] = record

    def set_reply(self, number: int, reply: Reply) -> None:
        """Complete a record with the reply."""
        record = self.records[number - 1]
        self.put(
            evolve(
                record,
                status=reply.status,
                code=reply.code,
                replayed=reply.replayed,
                task_ids=reply.task_ids,
                admitted=record.admitted and not reply.over_limit,
            )
        )

    def set_answered(self, number: int, *, at: float) -> None:
        """Complete a record with the instant at which the exchange ended."""
        self.put(evolve(self.records[number - 1], answered_at=at))

    @property
    def next_number(self) -> int:
        """The number of the next arrival."""
        return len(self.records) + 1


def worst_window(records: Iterable[Record], *, seconds: float) -> WorstWindow:
    """The fullest of all half-open windows of ``seconds`` that start at an arrival, over all accounts."""
    by_account: defaultdict[str | None, list[Record]] = defaultdict(list)
    for record in records:
        by_account[record.account].append(record)
    return WorstWindow(
        arrivals=max((_fullest([r.at for r in rs], seconds) for rs in by_account.values()), default=0),
        admitted=max(
            (_fullest([r.at for r in rs if r.admitted], seconds) for rs in by_account.values()), default=0
        ),
    )


def _fullest(instants: Sequence[float], seconds: float) -> int:
    return max(_counts(instants, seconds), default=0)


def _counts(instants: Sequence[float], seconds: float) -> Iterator[int]:
    first = 0
    for last, instant in enumerate(instants):
        while instants[first] + seconds <= instant:
            first += 1
        yield last - first + 1
