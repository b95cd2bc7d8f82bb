"""The conversion of a manifest's entries to jobs, the same for all file formats.

Every entry has ``model`` and the request's fields under the API's names. It may have ``name``, ``repeat`` and
``project``; ``shots`` and ``style``, which become parts of its prompt, see ``prompts.in_manifests``; and
``lint``, the codes of rules that are not applied to its prompt. The fields that a run adds in
``results.jsonl`` are ignored. See ``preamble`` for defaults and assets, and ``matrix`` for entries that
describe several jobs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import evolve, field, frozen

from seedance_async import wire
from seedance_async.batch import preamble
from seedance_async.batch.cells import ASKED_SEED
from seedance_async.batch.jobs import Job, name_problems, project_problems, repeat_problems
from seedance_async.batch.matrix import MATRIX_FIELDS, MatrixError, expand
from seedance_async.batch.preamble import FIELDS_OF, PREAMBLE_FIELDS, Preamble
from seedance_async.errors import ValidationError
from seedance_async.media.written import as_written
from seedance_async.models import MEDIA_FIELDS, REQUEST_TYPES, Link, LocalFile
from seedance_async.models.display import shown
from seedance_async.models.links import parse_link
from seedance_async.models.rules import Problem
from seedance_async.prompts.in_manifests import PROMPT_FIELDS, with_prompt
from seedance_async.prompts.lint import errors_of, read_codes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

MOST_NAMES: Final = 1_000
"""Most job names that are kept for suggestions in messages about unknown names."""

OWN_FIELDS: Final = ("name", "model", "repeat", "project")
LINT: Final = "lint"
"""Field with the codes of rules that are not applied to an entry's prompt, such as ``-P15``."""

RESULT_FIELDS: Final = (
    "state", "task_ids", "idempotency_key", "credits_used", "credits_refunded", "urls", "files", "error",
    "line", "stale", "in_manifest", "older_of", "final_of", "delivered", "mismatches",
)  # fmt: skip
"""The fields that a run adds to a job's line in ``results.jsonl``."""


@frozen
class Line:
    """One job of a manifest, or its problems.

    Attributes:
        number: the line where its entry begins, from 1.
        place: the number in the name of a job without one: its line, or its position among rows or elements.
        job: None if there are problems.
        problems: as ``(field, reason)``.
        name: the job's name, if it has a valid one, also if there are problems.
        model: if there are problems, the model, as far as it can be read.
        links: if there are problems, the links to other jobs, each with its field.
        files: the local files that it names, with their fields.
        ignored: the codes of rules that are not applied to its prompt.
    """

    number: int
    place: int = field(kw_only=True)
    job: Job | None = None
    problems: tuple[tuple[str, str], ...] = field(default=())
    name: str | None = field(default=None, kw_only=True)
    model: str | None = field(default=None, kw_only=True)
    links: tuple[tuple[str, Link], ...] = field(default=(), kw_only=True)
    files: tuple[tuple[str, LocalFile], ...] = field(default=(), kw_only=True)
    ignored: frozenset[str] = field(default=frozenset(), kw_only=True)

    @property
    def called(self) -> str:
        """The name of its job for messages."""
        return self.name or f"job-{self.place:06d}"


@frozen
class Spot:
    """The position of an entry in its manifest.

    Attributes:
        number: the line where it begins, from 1.
        place: the number in the name of a job without one.
        prefix: prefix of field names in messages, such as ``[0].`` in an array.
    """

    number: int
    place: int
    prefix: str = ""

    def line(self, problems: Iterable[Problem]) -> Line:
        """Return a line without a job, with these problems."""
        prefixed = tuple((f"{self.prefix}{name}", reason) for name, reason in problems)
        return Line(self.number, place=self.place, problems=prefixed)


class Entries:
    """Converts the entries of one manifest to jobs, in their order.

    Args:
        base: the directory that paths of local files are relative to.
        ignored: codes of rules that are not applied to any prompt.
    """

    def __init__(self, base: Path, ignored: frozenset[str] = frozenset()) -> None:
        self._base = base
        self._ignored = ignored
        self._preamble = Preamble()
        self._spots: dict[str, Spot] = {}
        self._names: dict[str, str] = {}
        self._reported = set[tuple[str, str]]()

    def prepare(self, document: Mapping[str, object], spots: Mapping[str, Spot]) -> Iterator[Line]:
        """Add defaults and assets for the entries that follow, and yield lines with their problems.

        Args:
            document: has ``defaults``, ``assets`` or both.
            spots: the positions of these tables by name, also of nested ones, such as ``defaults.seedance2``.
        """
        found, problems = preamble.read(document)
        self._preamble = self._preamble.extended(found)
        self._spots.update(spots)
        for name, reason in problems:
            yield self._spot(name).line([(name, reason)])

    def jobs(self, fields: Mapping[str, object], spot: Spot) -> Iterator[Line]:
        """Yield the jobs that an entry describes, or all of its problems."""
        if fields and fields.keys() <= set(PREAMBLE_FIELDS):
            yield from self.prepare(fields, dict.fromkeys(PREAMBLE_FIELDS, spot))
            return
        filled = self._preamble.resolve(self._preamble.fill(_as_asked(fields)))
        try:
            expanded = expand(filled, sorted(FIELDS_OF.get(str(filled.get("model")), ())))
        except MatrixError as error:
            yield spot.line([*error.problems, *self._beside_matrix(filled, spot)])
            return
        seen = set[tuple[Problem, ...]]()
        for each in expanded:
            composed, problems = with_prompt(*preamble.assets_of(self._preamble.resolve(each)))
            marked = self._with_files(composed)
            line = _job(marked, spot, self._ignored, problems)
            if files := tuple(_files(marked)):
                line = evolve(line, files=files)
            if line.name is not None and len(self._names) < MOST_NAMES:
                self._names[line.name] = str(each.get("model"))
            if line.problems:
                yield from self._defaults_at_fault(line, fields, composed, spot)
                line = self._without_defaults(line, fields, composed, spot)
            # A matrix may repeat the same problem ten thousand times: it is reported once, but every job's
            # name is still needed.
            yield evolve(line, problems=()) if line.problems in seen else line
            if line.problems:
                seen.add(line.problems)

    @property
    def assets(self) -> Mapping[str, str]:
        """The values of the assets that were declared so far."""
        return self._preamble.assets

    def _beside_matrix(self, filled: Mapping[str, object], spot: Spot) -> Iterator[Problem]:
        """Yield the problems of an entry that do not depend on its invalid matrix."""
        plain = {name: value for name, value in filled.items() if name not in MATRIX_FIELDS}
        composed, problems = with_prompt(*preamble.assets_of(plain))
        for name, reason in _job(self._with_files(composed), spot, self._ignored, problems).problems:
            if name in plain and "{" not in str(plain[name]):
                yield name, reason

    def _spot(self, table: str) -> Spot:
        """Return the position of a table of defaults or assets; if unknown, that of the table around it."""
        return self._spots.get(table) or self._spots.get(table.partition(".")[0]) or Spot(1, 1)

    def _defaults_at_fault(
        self, line: Line, own: Mapping[str, object], filled: Mapping[str, object], spot: Spot
    ) -> Iterator[Line]:
        """Yield the problems that a default causes, once, at the position of the default."""
        for problem in line.problems:
            table = self._table_of(problem[0], own, filled)
            if table is not None and problem not in self._reported:
                self._reported.add(problem)
                reason = f"{problem[1]} (first of the jobs that take it: the one at line {spot.number})"
                yield self._spot(table).line([(f"{table}.{problem[0]}", reason)])

    def _without_defaults(
        self, line: Line, own: Mapping[str, object], filled: Mapping[str, object], spot: Spot
    ) -> Line:
        """Return a line with the problems of its own fields only, with suggestions for unknown names."""
        mine = [each for each in line.problems if self._table_of(each[0], own, filled) is None]
        hinted = [(name, reason + self._about_names(name, filled)) for name, reason in mine]
        model = filled.get("model")
        return evolve(
            line,
            job=None,
            problems=spot.line(hinted).problems,
            model=model if isinstance(model, str) else None,
            links=tuple(_links(filled)),
        )

    def _table_of(self, name: str, own: Mapping[str, object], filled: Mapping[str, object]) -> str | None:
        return None if name in own else self._preamble.default_table(name, filled.get("model"))

    def _about_names(self, name: str, filled: Mapping[str, object]) -> str:
        return self._preamble.about_names(filled.get(name), self._names) if name in MEDIA_FIELDS else ""

    def _with_files(self, fields: Mapping[str, object]) -> Mapping[str, object]:
        """Return the fields with paths of local files as ``LocalFile`` values."""
        given = [name for name in MEDIA_FIELDS if name in fields]
        files = {name: as_written(fields[name], self._base) for name in given}
        return {**fields, **files} if files else fields


def _files(fields: Mapping[str, object]) -> Iterator[tuple[str, LocalFile]]:
    return ((name, each) for name, each in _media(fields) if isinstance(each, LocalFile))


def _links(fields: Mapping[str, object]) -> Iterator[tuple[str, Link]]:
    for name, each in _media(fields):
        if isinstance(each, str) and (link := parse_link(each)) is not None:
            yield name, link


def _media(fields: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """Yield the values of all media fields, each with its field."""
    for name in MEDIA_FIELDS:
        value = fields.get(name)
        yield from ((name, each) for each in (value if isinstance(value, list) else [value]))


def _as_asked(fields: Mapping[str, object]) -> Mapping[str, object]:
    """Return a line of ``results.jsonl`` with its request's own seed instead of the one that was used."""
    if ASKED_SEED not in fields:
        return fields
    others = {name: value for name, value in fields.items() if name not in {"seed", ASKED_SEED}}
    asked = fields[ASKED_SEED]
    return others if asked is None else {**others, "seed": asked}


def _job(
    fields: Mapping[str, object], spot: Spot, ignored: frozenset[str], found: Iterable[Problem] = ()
) -> Line:
    """Return a line with the job that these fields describe, or with all of its problems.

    Args:
        fields: the job's fields, with its prompt composed.
        spot: the position of its entry.
        ignored: codes of rules that are not applied to any prompt.
        found: problems that were found before.
    """
    name, model, repeat, project = (fields.get(own) for own in OWN_FIELDS)
    repeat = 1 if repeat is None else repeat
    unusable = list(name_problems(name))
    own_codes, lint_problems = read_codes(fields.get(LINT) or (), LINT)
    problems = [*unusable, *repeat_problems(repeat), *project_problems(project), *lint_problems, *found]
    line = Line(spot.number, place=spot.place, name=None if unusable else name, ignored=own_codes)  # type: ignore[arg-type]  # text, or there are problems
    if not isinstance(model, str):
        got = "" if model is None else f"; got {shown(model)}"
        problems.append(("model", f"is required: {', '.join(REQUEST_TYPES)}{got}"))
        return evolve(line, problems=tuple(problems))
    try:
        request = wire.build(
            model, {key: value for key, value in fields.items() if key not in _NOT_OF_THE_REQUEST}
        )
        job = Job(request, name=name, repeat=repeat, project=project)  # type: ignore[arg-type]  # checked by Job itself
    except ValidationError as error:
        return evolve(line, problems=(*problems, *(each for each in error.problems if each not in problems)))
    if "state" not in fields:  # a line of results.jsonl was checked when it was sent
        problems += [
            ("prompt", f"{each.code}: {each.words}") for each in errors_of(request, ignored | own_codes)
        ]
    return evolve(line, problems=tuple(problems)) if problems else evolve(line, job=job)


_NOT_OF_THE_REQUEST: Final = frozenset({*OWN_FIELDS, *RESULT_FIELDS, *PROMPT_FIELDS, LINT})
