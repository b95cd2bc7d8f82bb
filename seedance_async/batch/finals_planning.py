"""The planning of finals in a journal, while the manifest of their takes is read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Final, Self

from attrs import evolve, frozen

from seedance_async import wire
from seedance_async.batch import finals, keys, picks
from seedance_async.batch.journal import drafts
from seedance_async.batch.journal import finals as journal_finals
from seedance_async.batch.journal.input_rows import with_marks
from seedance_async.batch.journal.link_checks import field_of
from seedance_async.batch.states import HAS_OUTPUT
from seedance_async.errors import ConfigurationError
from seedance_async.filenames import fold
from seedance_async.logs import Log
from seedance_async.media import NO_STORE
from seedance_async.models import local_files
from seedance_async.shortened import first_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from seedance_async.batch.jobs import Job
    from seedance_async.batch.journal import Draft, JobEntry, LineProblem, Planner, Store
    from seedance_async.batch.journal.finals import Named
    from seedance_async.batch.picks import Pick
    from seedance_async.media import Inspector

log: Log = Log(__name__)

NONE_KEPT: Final = "nothing is kept: open `seedance review DIR`, keep some takes, and run this again"


@frozen
class _Known:
    """The jobs of the journal whose names have the form of a final's.

    Attributes:
        own: digests of the finals, by name.
        listed: folded names of those that the manifest lists.
    """

    own: Mapping[str, bytes]
    listed: Collection[str]

    @classmethod
    def of(cls, known: Sequence[Named]) -> Self:
        """Divide these jobs into finals and jobs of the manifest."""
        unlisted = [each for each in known if not each.listed]
        return cls(
            own={each.name: each.digest for each in unlisted if finals.is_final(each.name)},
            listed={fold(each.name) for each in known if each.listed},
        )


class Finishing:
    """The finals that one run is to make.

    Args:
        kept: the picks of the kept takes.
        changes: the changed fields.
        pattern: pattern of the names of takes to finish; None for all kept takes.

    Attributes:
        numbers: the numbers of the finals' jobs, once ``find`` has found them.
    """

    def __init__(self, kept: Sequence[Pick], changes: Mapping[str, object], pattern: str | None) -> None:
        self.numbers: list[int] = []
        self._made: dict[str, int] = {}
        self._listed: list[str] = []
        self._kept = kept
        self._changes = changes
        self._pattern = pattern

    def plan(
        self, store: Store, planner: Planner, inspector: Inspector, *, has_store: bool
    ) -> list[LineProblem]:
        """Plan the finals, all or none. Runs in the journal's thread, in the transaction of the manifest.

        Args:
            store: the journal's store.
            planner: has read the manifest.
            inspector: checks the local files of the takes.
            has_store: whether a media store is configured.

        Returns:
            The problems of the drafts.

        Raises:
            ConfigurationError: there is nothing to finish.
            ValidationError: with every problem of the requests; see ``finishing_jobs``.
        """
        known = _Known.of(journal_finals.named_like_finals(store))
        takes = [
            _take(store, entry, _file_faults(entry, inspector, has_store=has_store))
            for entry in self._entries(store, known)
        ]
        made = finals.finishing_jobs(takes, self._changes)
        for note in finals.notes(made, self._changes):
            log.warning("%s", note)
        if not made.jobs:
            raise ConfigurationError("every take that is kept is made with these fields already")
        new = self._without_listed(store, list(zip(made.jobs, made.takes, strict=True)))
        wanted = [(str(job.name), _digest(job)) for job, _ in new]
        names = finals.final_names(wanted, known.own, known.listed)
        self._made = {name: take.number for name, (_, take) in zip(names, new, strict=True)}
        named = zip(new, names, strict=True)
        return planner.take_finals([_draft(job, take, name) for (job, take), name in named]).problems

    def find(self, store: Store) -> None:
        """Find the numbers of the finals, and store the take of each.

        Called after the manifest is read, because only then renamed jobs are known.
        """
        self.numbers = journal_finals.numbers_of(store, [*self._listed, *self._made])
        journal_finals.note_sources(store, self._made)

    def _without_listed(
        self, store: Store, jobs: Sequence[tuple[Job, finals.KeptTake]]
    ) -> list[tuple[Job, finals.KeptTake]]:
        """Return the finals without those whose request the manifest lists, under any name."""
        listed = journal_finals.listed_by_digest(store, [_digest(job) for job, _ in jobs])
        left: list[tuple[Job, finals.KeptTake]] = []
        for job, take in jobs:
            if names := listed.get(_digest(job)):
                self._listed.append(names.pop(0))
                log.warning(
                    "%s: %s of the manifest is the same, and no other is made", job.name, self._listed[-1]
                )
            else:
                left.append((job, take))
        return left

    def _entries(self, store: Store, known: _Known) -> list[JobEntry]:
        """Return the kept takes, without those that are finals or have no output."""
        chosen = self._chosen(store)
        _note_left_out("they are finals themselves", [each for each in chosen if each.name in known.own])
        _note_left_out("nothing came of them", [each for each in chosen if each.state not in HAS_OUTPUT])
        found = [each for each in chosen if each.name not in known.own and each.state in HAS_OUTPUT]
        if not found:
            raise ConfigurationError("nothing that is kept can be finished")
        return found

    def _chosen(self, store: Store) -> list[JobEntry]:
        """Return the kept takes whose names match the pattern, if there is one."""
        found = list(journal_finals.entries_of(store, (pick.task_ids for pick in self._kept)))
        if not found:
            raise ConfigurationError(NONE_KEPT)
        pattern = self._pattern
        if pattern is None:
            return found
        chosen = [each for each in found if journal_finals.matches(store, each.name, pattern)]
        if not chosen:
            raise ConfigurationError(f"no take that is kept has a name that matches {pattern!r}")
        return chosen


def finishing_of(
    directory: Path | None, changes: Mapping[str, object] | None, pattern: str | None
) -> Finishing | None:
    """Return the finals of a run with these options; None if ``changes`` is None. Blocking.

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
    """Return the arguments of ``Store.choose``: with finals, the pattern was applied to the takes already."""
    return (pattern, None) if finishing is None else (None, finishing.numbers)


def _note_left_out(reason: str, entries: Sequence[JobEntry]) -> None:
    if entries:
        log.warning("left out, as %s: %s", reason, first_of([each.name for each in entries]))


def _take(store: Store, entry: JobEntry, faults: Sequence[tuple[str, str]]) -> finals.KeptTake:
    fields = with_marks(entry.stored_fields)
    seed = finals.seed_of([task for task in entry.tasks if task.is_completed], fields)
    return finals.KeptTake(
        name=entry.name,
        model=entry.model,
        fields=fields,
        number=entry.number,
        files=entry.inputs,
        faults=[*_source_faults(store, entry), *faults],
        seed=seed,
        project=entry.project,
    )


def _source_faults(store: Store, entry: JobEntry) -> list[tuple[str, str]]:
    """Return the links of a take whose sources have changed: its final would be another clip."""
    reason = "which was made again or removed since: keep a take of the current one"
    changed = journal_finals.changed_sources(store, entry.number)
    return [(field_of(entry.body, text), f"takes {text!r:.80}, {reason}") for text in changed]


def _file_faults(entry: JobEntry, inspector: Inspector, *, has_store: bool) -> list[tuple[str, str]]:
    """Return why the local files of a take cannot be sent again."""
    found: list[tuple[str, str]] = []
    for ref, path in entry.inputs.items():
        fault = inspector.fault(ref, path) if has_store else f"{path!r:.300} {NO_STORE}"
        found += [(field_of(entry.body, ref), fault)] if fault else []
    return found


def _digest(job: Job) -> bytes:
    return keys.digest(job.request.path, wire.encode(job.request))


def _draft(job: Job, take: finals.KeptTake, name: str) -> Draft:
    refs = [str(ref) for _, ref in local_files(job.request)]
    files = {ref: (ref, take.files[ref]) for ref in refs}
    (draft,) = drafts(evolve(job, name=name), line=1, place=1, files=files)
    return draft
