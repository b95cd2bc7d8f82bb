"""What the sandbox saw, in the order of arrival: the independent witness of the limit's law."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from attrs import evolve, frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from seedance_async.sandbox.exchange import Answer, Record


@frozen(kw_only=True)
class WorstWindow:
    """The fullest window any account saw: requests that arrived, and those that were admitted."""

    arrivals: int = 0
    admitted: int = 0


class Recorder:
    """Keeps one record an exchange; those still open are replaced when more is known."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def note(self, record: Record) -> None:
        """Keep a record under its number; a later one of the same number replaces it."""
        if record.number > len(self.records):
            self.records.append(record)
        else:
            self.records[record.number - 1] = record

    def answered(self, number: int, answer: Answer) -> None:
        """The server decided on its answer."""
        record = self.records[number - 1]
        self.note(
            evolve(
                record,
                status=answer.status,
                code=answer.code,
                replayed=answer.replayed,
                task_ids=answer.task_ids,
                admitted=record.admitted and not answer.over_limit,
            )
        )

    def close(self, number: int, *, at: float) -> None:
        """The exchange ended at ``at``."""
        self.note(evolve(self.records[number - 1], answered_at=at))

    @property
    def next_number(self) -> int:
        """The number of the next arrival."""
        return len(self.records) + 1


def worst_window(records: Iterable[Record], *, seconds: float) -> WorstWindow:
    """Look at every window of ``seconds`` (half-open) that starts at an arrival, account by account."""
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
