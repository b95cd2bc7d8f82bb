"""Finals: new jobs that make the kept takes of a batch again with some fields changed.

A final has the request of its take, with the changed fields and the seed of the take, if the model has a seed
field. Pictures have none, nor do clips of the ``mini`` tier and the ``real`` channel: drafts to be finished
are best made at ``standard`` 720p. The vendor does not promise that the same seed gives the same scene at
another tier or resolution.

A final is named ``NAME-final``. Like any job it is identified by its name and request: the same order again
gives the same job, and other fields make it an edited one.

Pure.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import count, filterfalse
from typing import Final

import attrs
from attrs import field, frozen

from seedance_async import wire
from seedance_async.answers import Task, VideoOutput
from seedance_async.batch.cells import cell
from seedance_async.batch.jobs import Job
from seedance_async.errors import ConfigurationError, ValidationError
from seedance_async.filenames import fold
from seedance_async.models import MEDIA_FIELDS, REQUEST_TYPES, Request
from seedance_async.models.display import shown
from seedance_async.shortened import first_of
from seedance_async.suggestions import suggestion

SUFFIX: Final = "-final"
LARGEST_SEED: Final = 2**32 - 1

DERIVED: Final = ("mode", "type")
"""Fields that are derived again if media fields are changed."""

CHANCE: Final = frozenset({"quality_tier", "channel", "resolution", "aspect_ratio", "duration"})
"""Fields whose change may give another scene for the same seed."""

_FIELDS: Final = sorted({at.name for kind in REQUEST_TYPES.values() for at in attrs.fields(kind)})
_FINAL: Final = re.compile(r".+-final(?:-[0-9]+)?(?:-(?:take|before-edit)(?:-[0-9]+)?)*", re.DOTALL)


@frozen(kw_only=True)
class KeptTake:
    """A kept take, with its request.

    Attributes:
        name: the present name of its job.
        model: its model.
        fields: the request's fields by the API's names; links and local files are as in the journal.
        number: the number of its job in the journal.
        files: its local files: the path, by content reference in the fields.
        faults: reasons why no final of it can be made at all, as field and reason.
        seed: the seed that the API reported, or that was requested; None if unknown.
        project: the project of its job, if the manifest names one.
    """

    name: str
    model: str
    fields: Mapping[str, object] = field(repr=False)
    number: int = 0
    files: Mapping[str, str] = field(factory=dict, repr=False)
    faults: Sequence[tuple[str, str]] = ()
    seed: int | None = None
    project: str | None = None


@frozen(kw_only=True)
class Finals:
    """The finals of kept takes.

    Attributes:
        jobs: the finals, in the order of the takes.
        takes: the take of each final.
        seeded: number of finals with the seed of their take.
        without_field: names of takes whose finals have no seed field.
        without_seed: names of takes whose seed is unknown.
        so_already: names of takes that already have these field values; they get no final.
    """

    jobs: tuple[Job, ...]
    takes: tuple[KeptTake, ...]
    seeded: int = 0
    without_field: tuple[str, ...] = ()
    without_seed: tuple[str, ...] = ()
    so_already: tuple[str, ...] = ()


def parse_changes(texts: Iterable[str]) -> dict[str, object]:
    """Return the changed fields of ``FIELD=VALUE`` texts; values are converted like cells of a CSV file.

    Raises:
        ConfigurationError: with every problem.
    """
    changes: dict[str, object] = {}
    problems = []
    for text in texts:
        name, mark, value = text.partition("=")
        name = name.strip()
        if not mark:
            problems.append(f"--set {text!r:.60} must be FIELD=VALUE, such as resolution=1080p")
        elif fault := field_fault(name):
            problems.append(f"--set {name!r:.60} {fault}")
        elif not value.strip():
            problems.append(f"--set {name} has no value")
        elif name in changes:
            problems.append(f"--set {name} is there twice")
        changes[name] = cell(name, value)
    if problems:
        raise ConfigurationError("; ".join(problems))
    return changes


def field_fault(name: object) -> str | None:
    """Return why a field cannot be changed; None if it can."""
    if name in {"name", "model", "repeat", "project"}:
        return "cannot be changed: a final is a job of its own, of the same model"
    return None if name in _FIELDS else f"is not a field of a request{suggestion(str(name), _FIELDS)}"


def changes_fault(changes: object) -> str | None:
    """Return why a value is not a mapping of changed fields; None if it is one, or is None."""
    if changes is None:
        return None
    if not isinstance(changes, Mapping) or not changes:
        return f"must be a mapping of changed fields, such as {{'resolution': '1080p'}}; got {shown(changes)}"
    return next((f"{name!r:.60} {fault}" for name in changes if (fault := field_fault(name))), None)


def seed_of(tasks: Sequence[Task], fields: Mapping[str, object]) -> int | None:
    """Return the seed that the API reported for a take, or else the requested one; None if unknown."""
    reported = [task.output.seed for task in tasks if isinstance(task.output, VideoOutput)]
    for seed in (*reported, fields.get("seed")):
        if isinstance(seed, int) and not isinstance(seed, bool) and 0 <= seed <= LARGEST_SEED:
            return seed
    return None


def finishing_jobs(takes: Iterable[KeptTake], changes: Mapping[str, object]) -> Finals:
    """Return the jobs that make takes again with changed fields, named ``NAME-final``.

    Raises:
        ValidationError: a take cannot be made again, or a changed request is invalid; with every problem, and
            the takes it applies to. Then no final is made: only the user can decide whether some of them are
            worth paying for without the others.
    """
    made = _made(takes, changes)
    new = [each for each in made if each.is_new]
    unseeded = [] if "seed" in changes else [each.take for each in new if not each.is_seeded]
    return Finals(
        jobs=tuple(each.job for each in new),
        takes=tuple(each.take for each in new),
        seeded=sum(each.is_seeded for each in new),
        without_field=_names(filterfalse(_lacks_seed, unseeded)),
        without_seed=_names(filter(_lacks_seed, unseeded)),
        so_already=_names(each.take for each in made if not each.is_new),
    )


def is_final(name: str) -> bool:
    """Whether the name of a job that is not in the manifest has the form of a final's."""
    return _FINAL.fullmatch(name) is not None


def final_names(
    wanted: Sequence[tuple[str, bytes]], known: Mapping[str, bytes], listed: Collection[str]
) -> list[str]:
    """Return the names of finals: that of a known final with the same request, or else a free one.

    Args:
        wanted: for each final the wanted name and the digest of its request.
        known: digests of the known finals, by name.
        listed: folded names of jobs that the manifest lists; they are not used.
    """
    names: dict[int, str] = {}
    used = set(listed)
    alike: dict[bytes, list[str]] = {}
    for each, digest in known.items():
        alike.setdefault(digest, []).append(each)
    for choose in (_own_name, _name_of_the_same, _new_name):
        for place, (name, digest) in enumerate(wanted):
            if place not in names and (chosen := choose(name, alike.get(digest, ()), used)) is not None:
                names[place] = chosen
                used.add(fold(chosen))
    return [names[place] for place in range(len(wanted))]


def _own_name(name: str, same: Sequence[str], used: Collection[str]) -> str | None:
    """Return the wanted name if a known final of this name has the same request."""
    return name if name in same and fold(name) not in used else None


def _name_of_the_same(_: str, same: Sequence[str], used: Collection[str]) -> str | None:
    """Return the name of any other known final with the same request."""
    return next((each for each in same if fold(each) not in used), None)


def _new_name(name: str, _: Sequence[str], used: Collection[str]) -> str | None:
    """Return a free name."""
    return next(each for each in _numbered(name) if fold(each) not in used)


def notes(finals: Finals, changes: Mapping[str, object]) -> list[str]:
    """Return warnings about finals before they are paid for."""
    warnings = []
    if finals.without_field:
        warnings.append(
            f"made without a seed, for which there is no field in pictures, in the mini tier and in the real "
            f"channel, so another scene may come: {first_of(finals.without_field)}"
        )
    if finals.without_seed:
        warnings.append(f"made with a new seed, as none is on record: {first_of(finals.without_seed)}")
    if finals.seeded and CHANCE & changes.keys():
        warnings.append(
            "that a seed shows the same scene with other fields is a hope, not a promise of the vendor's"
        )
    if finals.so_already:
        warnings.append(
            f"left out, as they are made with these fields already: {first_of(finals.so_already)}"
        )
    return warnings


@frozen
class _Made:
    """A take and its final.

    Attributes:
        is_new: whether the final's request differs from the take's.
    """

    take: KeptTake
    job: Job
    is_new: bool

    @property
    def is_seeded(self) -> bool:
        """Whether the job has the seed of its take."""
        return self.take.seed is not None and _seed(self.job) == self.take.seed


def _made(takes: Iterable[KeptTake], changes: Mapping[str, object]) -> list[_Made]:
    """Return the takes with their finals.

    Raises:
        ValidationError: with every problem, and the takes it applies to.
    """
    made: list[_Made] = []
    names_of: dict[tuple[str, str], list[str]] = {}
    for take in takes:
        problems = [*take.faults]
        try:
            finished = _finished(take, changes)
        except ValidationError as error:
            problems += error.problems
        else:
            made += [] if problems else [finished]
        for problem in problems:
            names_of.setdefault(problem, []).append(take.name)
    if names_of:
        named = [(name, f"{reason} ({first_of(names)})") for (name, reason), names in names_of.items()]
        good = [each.take.name for each in made]
        raise ValidationError([*named, *_way_out(good)], subject="--finish kept")
    return made


def _finished(take: KeptTake, changes: Mapping[str, object]) -> _Made:
    before = wire.build(take.model, take.fields)
    fields = {**take.fields, **changes}
    if set(changes) & {*MEDIA_FIELDS}:
        fields = {name: value for name, value in fields.items() if name not in DERIVED or name in changes}
    request = _with_seed(take, fields, keeps_seed="seed" not in changes)
    is_new = any(getattr(request, name) != getattr(before, name) for name in changes)
    job = Job(request, name=f"{take.name}{SUFFIX}", project=take.project)
    return _Made(take, job, is_new)


def _with_seed(take: KeptTake, fields: Mapping[str, object], *, keeps_seed: bool) -> Request:
    """Return the request, with the seed of its take if it may have one."""
    if not keeps_seed or take.seed is None:
        return wire.build(take.model, fields)
    try:
        return wire.build(take.model, {**fields, "seed": take.seed})
    except ValidationError as error:
        if "seed" not in {name for name, _ in error.problems}:
            raise
    return wire.build(take.model, {name: value for name, value in fields.items() if name != "seed"})


def _way_out(good: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield advice on how to finish only the takes without problems, if there are any."""
    if good:
        way = "none is made as long as one cannot be; --until PATTERN finishes some of the takes, by name"
        yield "until", f"{way}; {first_of(good)} can be so"


def _names(takes: Iterable[KeptTake]) -> tuple[str, ...]:
    return tuple(take.name for take in takes)


def _seed(job: Job) -> int | None:
    return getattr(job.request, "seed", None)


def _lacks_seed(take: KeptTake) -> bool:
    """Whether the model has a seed field, and the take's seed is unknown."""
    return take.seed is None and "seed" in {at.name for at in attrs.fields(REQUEST_TYPES[take.model])}


def _numbered(name: str) -> Iterable[str]:
    return (name if number == 1 else f"{name}-{number}" for number in count(1))
