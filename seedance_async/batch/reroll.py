"""The choice of jobs to make anew: names, patterns of names, and the word for what a review has rejected.

Ambiguity never becomes money: a word that means no job of the manifest, or that could mean two things, is an
error before anything is sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from anyio import to_thread
from attrs import field, frozen

from seedance_async.batch import on_record, picks
from seedance_async.batch.jobs import MAX_REPEAT
from seedance_async.errors import ConfigurationError
from seedance_async.logs import Log
from seedance_async.models.display import shown
from seedance_async.models.rules import whole_number

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from seedance_async.batch.journal import Journal

log: Log = Log(__name__)

REJECTED: Final = "rejected"
"""The word that stands for every job whose newest result was rejected in a review."""

UNFINISHED: Final = (
    "an earlier run has not come to its end with it, so that is completed first, and no other take is begun; "
    "run once more if you want one"
)

PAGE: Final = 5000


def words_fault(words: object) -> str | None:
    """Why these are no names of jobs; None if they are."""
    given = [words] if isinstance(words, str) else words
    if isinstance(given, Sequence) and all(isinstance(word, str) and word.strip() for word in given):
        return None
    return f"must be a list of names or patterns; got {shown(words)}"


def takes_fault(takes: object, words: object) -> str | None:
    """Why there can be no such number of takes; None if there can."""
    if fault := whole_number(1, MAX_REPEAT)(takes):
        return fault
    return None if takes == 1 or words else "says how many new takes of which jobs; name them with reroll"


async def _rejected(journal: Journal, directory: Path) -> frozenset[int]:
    """The numbers of the jobs whose newest result is rejected, by the journal: results may be old ones.

    Raises:
        ConfigurationError: nobody has picked anything, or the picks cannot be read.
    """
    try:
        found = await to_thread.run_sync(picks.load, directory)
    except OSError as problem:
        raise ConfigurationError(
            f"{REJECTED!r}: the picks of {directory} cannot be read ({problem.strerror}); "
            f"run seedance review {directory} first"
        ) from problem
    if not found:
        raise ConfigurationError(
            f"{REJECTED!r}: no take of {directory} was kept or rejected; run seedance review first"
        )
    tasks = [pick.task_ids for pick in found.values() if pick.pick == "reject"]
    return frozenset(await journal.do(journal.store.listed_by_tasks, tasks))


async def chosen(journal: Journal, words: Sequence[str], directory: Path) -> list[int]:
    """The numbers of the jobs that are to be made anew, in their order.

    Args:
        journal: with the manifest planned.
        words: names, patterns of names (``still-*``), or ``rejected``.
        directory: of the batch, with its review.

    Raises:
        ConfigurationError: with every word that means no job, or more than one thing.
    """
    if not words:
        return []
    rejected = await _rejected(journal, directory) if REJECTED in words else frozenset[int]()
    meant = _Meant(frozenset(words), rejected)
    last = 0
    while page := await journal.do(journal.store.listed_names, after=last, limit=PAGE):
        last = page[-1][0]
        for number, name in page:
            meant.look_at(number, name)
    if problems := list(meant.problems()):
        raise ConfigurationError(f"reroll: {'; '.join(problems)}")
    return meant.numbers()


def report_unfinished(names: Sequence[str]) -> None:
    """Say of which jobs no other take is begun, if any."""
    if names:
        log.warning("%s: %s", on_record.shown_names(names), UNFINISHED)


@frozen
class _Meant:
    """What words mean among the jobs that were looked at so far."""

    words: frozenset[str]
    rejected: frozenset[int]
    exactly: dict[str, int] = field(factory=dict[str, int])
    alike: dict[str, set[int]] = field(factory=dict[str, set[int]])
    names: list[str] = field(factory=list[str])

    def look_at(self, number: int, name: str) -> None:
        """Take in one job."""
        if len(self.names) < PAGE:  # so many are searched for one that was meant
            self.names.append(name)
        if name in self.words:
            self.exactly[name] = number
        for word in self.words - {REJECTED}:
            if fnmatchcase(name, word):
                self.alike.setdefault(word, set()).add(number)
        if number in self.rejected:
            self.alike.setdefault(REJECTED, set()).add(number)

    def problems(self) -> Iterator[str]:
        """What is unclear."""
        if REJECTED in self.exactly:
            yield f"{REJECTED!r} is a job's name and the word for what was rejected; rename the job"
        for word in sorted(self.words - self.exactly.keys() - self.alike.keys() - {REJECTED}):
            near = get_close_matches(word, self.names, n=1)
            hint = f"; did you mean {near[0]!r:.80}?" if near else ""
            yield f"no job of the manifest has a name that matches {word!r:.80}{hint}"

    def numbers(self) -> list[int]:
        """Of the jobs that are meant. A word that is a job's very name means no other one."""
        if REJECTED in self.words and REJECTED not in self.alike:
            log.warning("no job of the manifest is rejected, so none is made anew for that")
        meant: Collection[set[int]] = [
            {self.exactly[word]} if word in self.exactly else self.alike.get(word, set())
            for word in self.words
        ]
        return sorted(set().union(*meant))
