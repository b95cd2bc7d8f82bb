"""The planning of finals into a journal, beside the manifest whose takes they finish."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Final, Self

from attrs import evolve, frozen

from seedance_async import wire
from seedance_async.batch import finish, keys, picks
from seedance_async.batch.journal import drafts, finals
from seedance_async.batch.states import HAS_OUTPUT
from seedance_async.errors import ConfigurationError, ValidationError
from seedance_async.filenames import fold
from seedance_async.logs import Log

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from seedance_async.batch.jobs import Job
    from seedance_async.batch.journal import Draft, JobEntry, LineProblem, Planner, Store
    from seedance_async.batch.journal.finals import Named
    from seedance_async.batch.picks import Pick

log: Log = Log(__name__)

NONE_KEPT: Final = "nothing is kept: open `seedance review DIR`, keep some takes, and run this again"


@frozen
class _Known:
    """The jobs on record that are called as finals are.

    Attributes:
        own: digests of the finals, by their names.
        listed: folded names of those that the manifest has.
    """

    own: Mapping[str, bytes]
    listed: Collection[str]

    @classmethod
    def of(cls, known: Sequence[Named]) -> Self:
        """What is known of these."""
        unlisted = [each for each in known if not each.listed]
        return cls(
            own={each.name: each.digest for each in unlisted if finish.is_final(each.name)},
            listed={fold(each.name) for each in known if each.listed},
        )


class Finishing:
    """The finals that one run is to make.

    Args:
        kept: the picks that keep their takes.
        changes: the changed fields.
        pattern: of the names of takes that are finished; None for all that are kept.

    Attributes:
        numbers: of the jobs, once they are planned.
    """

    def __init__(self, kept: Sequence[Pick], changes: Mapping[str, object], pattern: str | None) -> None:
        self.numbers: list[int] = []
        self._kept = kept
        self._changes = changes
        self._pattern = pattern

    def plan(self, store: Store, planner: Planner) -> list[LineProblem]:
        """Plan the finals, all or none; part of reading a manifest whole, in the journal's thread.

        Raises:
            ConfigurationError: there is nothing to finish.
            ValidationError: with everything that is wrong about the requests; see ``finishing_jobs``.
        """
        known = _Known.of(finals.named_like_finals(store))
        entries = self._entries(store, known)
        self._check_sources(store, entries)
        made = finish.finishing_jobs(map(_take, entries), self._changes)
        for note in finish.notes(made, self._changes):
            log.warning("%s", note)
        if not made.jobs:
            raise ConfigurationError("every take that is kept is made with these fields already")
        wanted = [(str(job.name), _digest(job)) for job in made.jobs]
        names = finish.final_names(wanted, known.own, known.listed)
        taken = planner.take([_draft(job, name) for job, name in zip(made.jobs, names, strict=True)])
        self.numbers = taken.numbers
        return taken.problems

    def _entries(self, store: Store, known: _Known) -> list[JobEntry]:
        """The kept takes, without those that are finals themselves or have no output."""
        chosen = self._chosen(store)
        _note_left_out("they are finals themselves", [each for each in chosen if each.name in known.own])
        _note_left_out("nothing came of them", [each for each in chosen if each.state not in HAS_OUTPUT])
        found = [each for each in chosen if each.name not in known.own and each.state in HAS_OUTPUT]
        if not found:
            raise ConfigurationError("nothing that is kept can be finished")
        return found

    def _chosen(self, store: Store) -> list[JobEntry]:
        """The kept takes whose names match the pattern, if there is one."""
        found = list(finals.entries_of(store, (pick.task_ids for pick in self._kept)))
        if not found:
            raise ConfigurationError(NONE_KEPT)
        pattern = self._pattern
        if pattern is None:
            return found
        chosen = [each for each in found if finals.matches(store, each.name, pattern)]
        if not chosen:
            raise ConfigurationError(f"no take that is kept has a name that matches {pattern!r}")
        return chosen

    def _check_sources(self, store: Store, entries: Sequence[JobEntry]) -> None:
        """See that what the takes were made of is still there: a final of anything else is another clip.

        Raises:
            ValidationError: names the takes, and what they took.
        """
        problems = [
            (
                entry.name,
                f"takes {text!r:.80}, which was made anew or is gone since: keep a take of what is there",
            )
            for entry in entries
            for text in finals.changed_sources(store, entry.number)
        ]
        if problems:
            raise ValidationError(problems, subject="--finish kept")


def finishing_of(
    directory: Path | None, changes: Mapping[str, object] | None, pattern: str | None
) -> Finishing | None:
    """What a run with these options finishes; None where it finishes nothing. Blocking.

    Raises:
        ConfigurationError: nothing is kept, or the picks cannot be read.
    """
    if changes is None:
        return None
    if directory is None:
        raise ConfigurationError("what is kept stands in a batch's directory: give --output DIR")
    try:
        kept = picks.kept(directory)
    except OSError as problem:
        reason = problem.strerror or problem
        raise ConfigurationError(f"{directory / picks.PICKS} cannot be read: {reason}") from problem
    if not kept:
        raise ConfigurationError(NONE_KEPT)
    return Finishing(kept, changes, pattern)


def chosen(pattern: str | None, finishing: Finishing | None) -> tuple[str | None, Sequence[int] | None]:
    """What a run sends, as ``Store.choose`` takes it: finals are chosen by their takes' names already."""
    return (pattern, None) if finishing is None else (None, finishing.numbers)


def _note_left_out(reason: str, entries: Sequence[JobEntry]) -> None:
    if entries:
        log.warning("left out, as %s: %s", reason, finish.shown_names([each.name for each in entries]))


def _take(entry: JobEntry) -> finish.KeptTake:
    fields = entry.request_fields
    seed = finish.seed_of([task for task in entry.tasks if task.is_completed], fields)
    return finish.KeptTake(name=entry.name, model=entry.model, fields=fields, seed=seed)


def _digest(job: Job) -> bytes:
    return keys.digest(job.request.path, wire.encode(job.request))


def _draft(job: Job, name: str) -> Draft:
    (draft,) = drafts(evolve(job, name=name), line=1, place=1)
    return draft
