"""The values that are written to a journal and read from it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

import attrs
from attrs import field, frozen

from seedance_async import posts, wire
from seedance_async.batch import keys
from seedance_async.batch.jobs import Job
from seedance_async.batch.states import State
from seedance_async.convertible import Convertible
from seedance_async.errors import JournalError
from seedance_async.models import Delivered, Kind, Link, Submission, Task, links
from seedance_async.prices import Tariff

Row: TypeAlias = tuple[Any, ...]
"""A row of a query; its cells are those that the query selects."""

REMEDY: Final = (
    "nothing was sent because of it; put a copy of journal.sqlite from before in its place and run again "
    "(results.jsonl and the files' own JSON have the ids and keys of what is paid)"
)


@frozen(kw_only=True)
class Draft:
    """A job of a manifest, with its request serialised.

    Attributes:
        line: its line in the manifest, from 1.
        place: its position, from which its name is made if it has none.
        name: its name; None if it has none of its own.
        take: number of the take of the same line, from 1.
        tariff: what its price depends on.
        path: the API path of its POST.
        body: the serialised request; links and content references stand in the place of URLs.
        digest: digest of path and body.
        links: its links to other jobs, with the field of each.
        inputs: its local files: the path, by content reference in the body.
        project: the project to which its costs belong; None for that of the batch.
    """

    line: int
    place: int
    name: str | None
    take: int
    tariff: Tariff
    path: str
    body: bytes = field(repr=False)
    digest: bytes = field(repr=False)
    links: Mapping[Link, str] = field(factory=dict)
    inputs: Mapping[str, str] = field(factory=dict)
    project: str | None = None


def drafts(
    job: Job, *, line: int, place: int, files: Mapping[str, tuple[str, str]] | None = None
) -> Iterator[Draft]:
    """Yield a draft for each take of a job. The first take always has the job's own name.

    Args:
        job: the job.
        line: its line in the manifest.
        place: its position, from which its name is made if it has none.
        files: its local files: by the text in the request, the content reference and the path.
    """
    request, files = job.request, files or {}
    body = posts.resolved(wire.encode(request), {text: ref for text, (ref, _) in files.items()})
    tariff = Tariff.of(request)
    digest = keys.digest(request.path, body)
    linked = {link: name for name, link in links(request)}
    for take in range(1, job.repeat + 1):
        name = job.name if job.name is None or take == 1 else f"{job.name}-{take}"
        yield Draft(
            line=line,
            place=place,
            name=name,
            take=take,
            tariff=tariff,
            path=request.path,
            body=body,
            digest=digest,
            links=linked,
            inputs=dict(files.values()),
            project=job.project,
        )


@frozen(kw_only=True)
class Changes(Convertible):
    """The differences between a manifest and that of the previous run, as numbers of jobs.

    Attributes:
        added: new jobs.
        removed: removed jobs; those never sent are deleted, the results of those sent are still collected.
        edited: jobs with another request; a job that was sent before is kept under another name.
        found: edited jobs whose new request was made before, for them or for a removed job: they get that
            result, and nothing is paid.
        adopted: jobs that were found under another name and keep their results.
        drifts: whether there is a long chain of clips, each beginning with the last frame of another.
    """

    added: int = 0
    removed: int = 0
    edited: int = 0
    found: int = 0
    adopted: int = 0
    drifts: bool = False


@frozen(kw_only=True)
class JobEntry:
    """Everything that is stored about one job. ``…_at`` are seconds of the wall clock since 1970, UTC.

    Attributes:
        line: its line in the manifest when it was last listed.
        unnamed: whether its name was made from its position.
        digest: digest of path and body: equal for jobs with equal requests.
        post: the row of its POST; None if it was never sent, or is to be sent under a new key.
        place: its position among the jobs of its POST, from 0.
        key: the idempotency key of its POST.
        intended_at: time of its first POST under that key; None for a planned or blocked job.
        crashes: number of runs that died while its POST was under way.
        files: paths below the batch directory, with ``/``.
        stale: whether a source that it was made of was made again since.
        inputs: its local files: the path, by content reference in the body.
        in_manifest: whether the manifest of the last run lists it, or a job of which it is another result or
            the final.
        older_of: the name of the job of which it is an older or a further result; None for a job itself.
        final_of: the name of the take of which it is the final; None for any other job.
        is_extra: whether it is another take of a job, or was removed from the manifest.
        saved_as: the name that its files have, if it differs from its own.
        delivered: the measured properties of each file; None for a file that could not be measured.
        project: the project to which its costs belong, if its manifest names one.
    """

    number: int
    name: str
    line: int
    unnamed: bool
    take: int
    tariff: Tariff
    path: str
    body: bytes = field(repr=False)
    digest: bytes = field(repr=False)
    state: State
    post: int | None = None
    place: int | None = None
    key: str | None = None
    intended_at: float | None = None
    crashes: int = 0
    accepted_at: float | None = None
    ended_at: float | None = None
    task_ids: tuple[str, ...] = ()
    tasks: tuple[Task, ...] = field(default=(), repr=False)
    credits_used: float | None = None
    credits_refunded: float | None = None
    files: tuple[str, ...] = ()
    error: str | None = None
    stale: bool = False
    inputs: Mapping[str, str] = field(factory=dict)
    in_manifest: bool = True
    older_of: str | None = None
    final_of: str | None = None
    is_extra: bool = False
    saved_as: str | None = None
    delivered: tuple[Delivered | None, ...] = ()
    project: str | None = None

    @property
    def model(self) -> str:
        """The API's name of the model."""
        return str(self.tariff.kind.model)

    @property
    def name_on_disk(self) -> str:
        """The name from which its file names are made."""
        return self.saved_as or self.name

    @property
    def kind(self) -> Kind:
        """The class of work it belongs to."""
        return self.tariff.kind

    @property
    def submission(self) -> Submission | None:
        """Its part of the answer to its POST; None before the POST was accepted."""
        if not self.task_ids:
            return None
        return Submission(
            id=self.task_ids[0],
            task_ids=self.task_ids,
            credits_used=self.credits_used,
            idempotency_key=self.key,
        )

    @property
    def stored_fields(self) -> dict[str, object]:
        """The request as it is stored, with content references in the place of local files."""
        fields = json.loads(self.body)
        assert isinstance(fields, dict)  # noqa: S101 - our own bytes
        return fields

    @property
    def request_fields(self) -> dict[str, object]:
        """The request under the API's field names, without the model, and with the paths of local files."""
        fields = json.loads(posts.resolved(self.body, self.inputs))
        assert isinstance(fields, dict)  # noqa: S101 - our own bytes
        return fields

    @property
    def seed(self) -> int | None:
        """The first seed that the server reports; None if it reports none."""
        return next((task.seed for task in self.tasks if task.seed is not None), None)

    @property
    def urls(self) -> tuple[str, ...]:
        """Output URLs of all its tasks."""
        return tuple(url for task in self.tasks for url in task.urls)


EXTRA: Final = "jobs.listed = 0 OR jobs.number IN (SELECT number FROM older)"
"""SQL: whether a row of ``jobs`` is another take of a job, or was removed from the manifest."""

_IS_THERE: Final = (
    f"({EXTRA}) AND EXISTS (SELECT 1 FROM tasks JOIN jobs AS maker ON maker.post = tasks.post "
    "WHERE tasks.id = links.task AND maker.number NOT IN (SELECT number FROM older) "
    "AND links.task IN (SELECT value FROM json_each(maker.task_ids)))"
)
"""SQL: whether a job that no line of the manifest lists was made of a result that is still the newest.

Its link names a source, and that name may belong to another job now; so the task id is looked up.
"""

ENTRY_COLUMNS: Final = (
    "number, name, line, unnamed, take, tariff, jobs.path, jobs.body, digest, jobs.state, post, place, "
    "posts.key, posts.intended_at, posts.crashes, accepted_at, ended_at, task_ids, tasks, credits_used, "
    "credits_refunded, files, error, "
    "EXISTS (SELECT 1 FROM links JOIN jobs AS source ON source.fold = links.source "
    "WHERE links.job = jobs.number AND source.task_ids IS NOT NULL "
    f"AND links.task NOT IN (SELECT value FROM json_each(source.task_ids)) AND NOT ({_IS_THERE})), "
    "(SELECT json_group_object(ref, path) FROM inputs WHERE inputs.job = jobs.number), "
    "listed = 1 OR EXISTS (SELECT 1 FROM older JOIN jobs AS newer ON newer.fold = older.fold "
    "WHERE older.number = jobs.number AND newer.listed = 1) "
    "OR EXISTS (SELECT 1 FROM finals JOIN jobs AS take ON take.number = finals.source "
    "LEFT JOIN older ON older.number = take.number LEFT JOIN jobs AS newer ON newer.fold = older.fold "
    "WHERE finals.number = jobs.number AND 1 IN (take.listed, newer.listed)), "
    "(SELECT newer.name FROM older JOIN jobs AS newer ON newer.fold = older.fold "
    "WHERE older.number = jobs.number), "
    "(SELECT take.name FROM finals JOIN jobs AS take ON take.number = finals.source "
    "WHERE finals.number = jobs.number), "
    f"{EXTRA}, "
    "(SELECT moves.name FROM moves WHERE moves.number = jobs.number), "
    "CASE jobs.state WHEN 'saved' THEN (SELECT delivered FROM deliveries WHERE job = jobs.number) END, "
    "(SELECT project FROM projects WHERE job = jobs.number)"
)
"""The columns of ``jobs LEFT JOIN posts`` in the order of ``JobEntry``."""

_FIELDS: Final = tuple(attribute.name for attribute in attrs.fields(JobEntry))


def entry(row: Row, tariffs: Mapping[int, Tariff]) -> JobEntry:
    """Return the entry for a row of ``ENTRY_COLUMNS``.

    Raises:
        JournalError: a cell is damaged; names the cell and the job.
    """
    cells = dict(zip(_FIELDS, row, strict=True))
    job = f"job {cells['number']} ({cells['name']!r:.80})"
    if cells["tariff"] not in tariffs:
        raise damage(f"tariff {cells['tariff']} of {job}")
    _check_request(cells["body"], job)
    converted = {
        "unnamed": bool(cells["unnamed"]),
        "stale": bool(cells["stale"]),
        "in_manifest": bool(cells["in_manifest"]),
        "is_extra": bool(cells["is_extra"]),
        "tariff": tariffs[cells["tariff"]],
        "state": State(cells["state"]),
        "crashes": cells["crashes"] or 0,
        "task_ids": names(cells["task_ids"], f"task_ids of {job}"),
        "tasks": tasks_of(cells["tasks"], f"tasks of {job}"),
        "files": names(cells["files"], f"files of {job}"),
        "inputs": json.loads(cells["inputs"]),  # generated by SQLite from text columns
        "delivered": delivered_of(cells["delivered"], f"delivered of {job}"),
    }
    if converted["state"] in {State.PLANNED, State.BLOCKED}:
        converted["intended_at"] = None
    return JobEntry(**(cells | converted))


def names(cell: str | None, what: str) -> tuple[str, ...]:
    """Decode a list of names from a cell; empty for NULL.

    Raises:
        JournalError: the cell is damaged; ``what`` names it.
    """
    found = _list(cell, what)
    if not all(isinstance(name, str) and name.strip() and "\0" not in name for name in found):
        raise damage(what)
    return tuple(map(str, found))


def tasks_of(cell: str | None, what: str) -> tuple[Task, ...]:
    """Decode final tasks from a cell; empty for NULL.

    Raises:
        JournalError: the cell is damaged; ``what`` names it.
    """
    try:
        return tuple(map(wire.task, _list(cell, what)))
    except (ValueError, RecursionError) as problem:
        raise damage(what) from problem


def delivered_of(cell: str | None, what: str) -> tuple[Delivered | None, ...]:
    """Decode the measured properties of files from a cell; empty for NULL.

    Raises:
        JournalError: the cell is damaged; ``what`` names it.
    """
    try:
        return tuple(each if each is None else Delivered.read(each) for each in _list(cell, what))
    except ValueError as problem:
        raise damage(what) from problem


def as_json(value: object) -> str:
    """Encode a value as JSON for a cell."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def damage(what: str) -> JournalError:
    """Return the error for a damaged part of the journal."""
    return JournalError(f"the journal is damaged: {what} cannot be right; {REMEDY}")


def _list(cell: str | None, what: str) -> list[object]:
    try:
        found = [] if cell is None else json.loads(cell, parse_constant=_no_number)
        if not isinstance(found, list):
            raise damage(what)
        if cell is not None and "\\u" in cell:
            as_json(found).encode()  # fails for a lone surrogate, which could be neither stored nor sent
    except (ValueError, RecursionError) as problem:
        raise damage(what) from problem
    return found


def _check_request(body: bytes, job: str) -> None:
    try:
        request = wire.loads(body)
    except (ValueError, TypeError, AttributeError):
        request = None
    if not isinstance(request, dict) or not isinstance(request.get("prompt"), str):
        raise damage(f"body of {job}")


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no number")
