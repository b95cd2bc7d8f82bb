"""The entries of a manifest, whatever it is written in: what is common to all, and the jobs each stands for.

Every job has ``model`` and the request's fields under the API's own names, and may have ``name`` and
``repeat``. What a run adds in ``results.jsonl`` is recognised and ignored. See ``preamble`` for defaults and
assets, and ``matrix`` for entries that stand for several jobs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import evolve, field, frozen

from seedance_async import wire
from seedance_async.batch import preamble
from seedance_async.batch.jobs import Job, name_problems, repeat_problems
from seedance_async.batch.matrix import MatrixError, expand
from seedance_async.batch.preamble import FIELDS_OF, PREAMBLE_FIELDS, Preamble
from seedance_async.errors import ValidationError
from seedance_async.media.written import as_written
from seedance_async.models import MEDIA_FIELDS, REQUEST_TYPES, LocalFile
from seedance_async.models.display import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

OWN_FIELDS: Final = ("name", "model", "repeat")
RESULT_FIELDS: Final = (
    "state", "task_ids", "idempotency_key", "credits_used", "credits_refunded", "urls", "files", "error",
    "stale", "in_manifest", "older_of", "delivered", "mismatches",
)  # fmt: skip
"""What a run adds to a job's line in ``results.jsonl``."""

ASKED_SEED: Final = "asked_seed"
"""In a line of ``results.jsonl`` the request's own seed, or null; ``seed`` there is the one that was used."""


@frozen
class Line:
    """One job of a manifest, or what is wrong with it.

    Attributes:
        number: the line where it begins, from 1.
        place: the number in the name of a job without one: its line, or its place among rows or elements.
        job: None if there are problems.
        problems: as ``(field, reason)``.
        name: of the job, if it has one that can be used, also where the job has problems.
        files: the local files that it names, with their fields.
    """

    number: int
    place: int = field(kw_only=True)
    job: Job | None = None
    problems: tuple[tuple[str, str], ...] = field(default=())
    name: str | None = field(default=None, kw_only=True)
    files: tuple[tuple[str, LocalFile], ...] = field(default=(), kw_only=True)


class Entries:
    """Makes jobs of the entries of one manifest, in their order.

    Args:
        base: the directory that paths of local files are relative to.
    """

    def __init__(self, base: Path) -> None:
        self._base = base
        self._preamble = Preamble()

    def prepare(self, document: Mapping[str, object]) -> Iterator[Line]:
        """Take up defaults and assets, for the entries after them; yields what is wrong with them."""
        found, problems = preamble.read(document)
        self._preamble = self._preamble.extended(found)
        if problems:
            yield Line(1, place=1, problems=tuple(problems))

    def jobs(self, fields: Mapping[str, object]) -> Iterator[Line]:
        """The jobs that an entry stands for, or everything that is wrong with it; all at line 1."""
        if fields and fields.keys() <= set(PREAMBLE_FIELDS):
            yield from self.prepare(fields)
            return
        filled = self._preamble.fill(_as_asked(fields))
        try:
            expanded = expand(filled, sorted(FIELDS_OF.get(str(filled.get("model")), ())))
        except MatrixError as error:
            yield Line(1, place=1, problems=tuple(error.problems))
            return
        told = set[tuple[tuple[str, str], ...]]()
        for each in expanded:
            marked = self._with_files(each)
            line = _job(marked)
            if files := tuple(_files(marked)):
                line = evolve(line, files=files)
            if line.problems not in told:  # a matrix may make the same mistake ten thousand times
                yield line
            if line.problems:
                told.add(line.problems)

    def _with_files(self, fields: Mapping[str, object]) -> Mapping[str, object]:
        """The fields, with what names a local file marked as one."""
        given = [name for name in MEDIA_FIELDS if name in fields]
        files = {name: as_written(fields[name], self._base) for name in given}
        return {**fields, **files} if files else fields


def _files(fields: Mapping[str, object]) -> Iterator[tuple[str, LocalFile]]:
    for name in MEDIA_FIELDS:
        value = fields.get(name)
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, LocalFile):
                yield name, each


def _as_asked(fields: Mapping[str, object]) -> Mapping[str, object]:
    """A line of ``results.jsonl`` with the seed of its request in the place of the one that was used."""
    if ASKED_SEED not in fields:
        return fields
    others = {name: value for name, value in fields.items() if name not in {"seed", ASKED_SEED}}
    asked = fields[ASKED_SEED]
    return others if asked is None else {**others, "seed": asked}


def _job(fields: Mapping[str, object]) -> Line:
    """The job that these fields describe, or everything that is wrong with them, at line 1."""
    name, model, repeat = (fields.get(own) for own in OWN_FIELDS)
    repeat = 1 if repeat is None else repeat
    unusable = list(name_problems(name))
    problems = [*unusable, *repeat_problems(repeat)]
    line = Line(1, place=1, name=None if unusable else name)  # type: ignore[arg-type]  # text, or there were problems
    if not isinstance(model, str):
        got = "" if model is None else f"; got {shown(model)}"
        problems.append(("model", f"is required: {', '.join(REQUEST_TYPES)}{got}"))
        return evolve(line, problems=tuple(problems))
    try:
        request = wire.build(
            model, {key: value for key, value in fields.items() if key not in _NOT_OF_THE_REQUEST}
        )
        job = Job(request, name=name, repeat=repeat)  # type: ignore[arg-type]  # checked by Job itself
    except ValidationError as error:
        return evolve(line, problems=(*problems, *(each for each in error.problems if each not in problems)))
    return evolve(line, job=job)


_NOT_OF_THE_REQUEST: Final = frozenset({*OWN_FIELDS, *RESULT_FIELDS})
