"""The choice of jobs to make again: by names, patterns of names, or the word for all rejected takes.

A word that matches no job of the manifest, or has two meanings, is an error before anything is sent, so that
nothing is paid by mistake.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from anyio import to_thread
from attrs import field, frozen

from seedance_async.batch import picks
from seedance_async.batch.jobs import MAX_REPEAT
from seedance_async.errors import ConfigurationError
from seedance_async.logs import Log
from seedance_async.models.display import shown
from seedance_async.models.rules import whole_number
from seedance_async.shortened import first_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from seedance_async.batch.journal import Journal

log: Log = Log(__name__)

REJECTED: Final = "rejected"
"""The word that stands for every job whose newest result was rejected in a review."""

UNFINISHED: Final = (
    "not finished yet (new, edited, or left by an interrupted run), so that is completed first, without a "
    "further take; run again if you want one"
)

PAGE: Final = 5000


def words_fault(words: object) -> str | None:
    """Return why a value is not a list of names; None if it is one."""
    given = [words] if isinstance(words, str) else words
    if isinstance(given, Sequence) and all(isinstance(word, str) and word.strip() for word in given):
        return None
    return f"must be a list of names or patterns; got {shown(words)}"


def takes_fault(takes: object, words: object) -> str | None:
    """Return why a number of takes is not valid; None if it is."""
    if fault := whole_number(1, MAX_REPEAT)(takes):
        return fault
    return None if takes == 1 or words else "says how many new takes of which jobs; name them with reroll"


async def _rejected(journal: Journal, directory: Path) -> frozenset[int]:
    """Return the numbers of the jobs whose newest result, according to the journal, was rejected.

    Raises:
        ConfigurationError: there are no picks, or they cannot be read.
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
    """Return the numbers of the jobs that are to be made again, in ascending order.

    Args:
        journal: a journal in which the manifest is planned.
        words: names, patterns of names (``still-*``), or ``rejected``.
        directory: the batch directory, with the picks of its review.

    Raises:
        ConfigurationError: with every word that matches no job, or has two meanings.
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
    """Log the jobs of which no further take is begun, if any."""
    if names:
        log.warning("%s: %s", first_of(names, 10), UNFINISHED)


@frozen
class _Meant:
    """The jobs that words match, among those that were examined so far."""

    words: frozenset[str]
    rejected: frozenset[int]
    exactly: dict[str, int] = field(factory=dict[str, int])
    alike: dict[str, set[int]] = field(factory=dict[str, set[int]])
    names: list[str] = field(factory=list[str])

    def look_at(self, number: int, name: str) -> None:
        """Examine one job."""
        if len(self.names) < PAGE:  # most names that are searched for a suggestion
            self.names.append(name)
        if name in self.words:
            self.exactly[name] = number
        for word in self.words - {REJECTED}:
            if fnmatchcase(name, word):
                self.alike.setdefault(word, set()).add(number)
        if number in self.rejected:
            self.alike.setdefault(REJECTED, set()).add(number)

    def problems(self) -> Iterator[str]:
        """Yield the problems of words."""
        if REJECTED in self.exactly:
            yield f"{REJECTED!r} is a job's name and the word for what was rejected; rename the job"
        for word in sorted(self.words - self.exactly.keys() - self.alike.keys() - {REJECTED}):
            near = get_close_matches(word, self.names, n=1)
            hint = f"; did you mean {near[0]!r:.80}?" if near else ""
            yield f"no job of the manifest has a name that matches {word!r:.80}{hint}"

    def numbers(self) -> list[int]:
        """Return the numbers of the matching jobs. A word that is a job's exact name is not a pattern."""
        if REJECTED in self.words and REJECTED not in self.alike:
            log.warning("no job of the manifest is rejected, so %r selects none", REJECTED)
        meant: Collection[set[int]] = [
            {self.exactly[word]} if word in self.exactly else self.alike.get(word, set())
            for word in self.words
        ]
        return sorted(set().union(*meant))
