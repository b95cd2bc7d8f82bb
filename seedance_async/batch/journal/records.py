"""What goes into a journal and comes out of it, as values."""

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
"""What is read; the columns selected say what is in it."""

REMEDY: Final = (
    "nothing was sent because of it; put a copy of journal.sqlite from before in its place and run again "
    "(results.jsonl and the files' own JSON have the ids and keys of what is paid)"
)


@frozen(kw_only=True)
class Draft:
    """A job as it is asked for, serialised once and for all.

    Attributes:
        line: where it stands in the manifest, from 1.
        place: what it is named after where it has no name.
        take: counts the takes of one line from 1.
        digest: of path and body, in which links stand as they were written.
        links: to other jobs, with the field of each.
        inputs: local files: by what stands for the content in the body, the path.
        project: whose costs it is; None for the batch's.
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
    """A draft for each take of a job. The first take bears the job's own name, whatever their number.

    Args:
        job: what is asked for.
        line: where it stands.
        place: what it is named after where it has no name.
        files: its local files: by the text in the request, what stands for the content, and the path.
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
    """How a manifest differs from the one of the run before.

    Attributes:
        added: jobs that are new.
        removed: jobs that are gone; those never sent are forgotten, what is paid is still collected.
        edited: jobs whose request is another; what was sent before is kept under another name.
        found: those of them whose new request was made before, for them or for a job that is gone: they have
            its result, and nothing is paid for it.
        adopted: jobs that are renamed, and keep what was made of them under their former name.
        drifts: whether there is a long chain of clips, each begun with the last frame of the one before.
    """

    added: int = 0
    removed: int = 0
    edited: int = 0
    found: int = 0
    adopted: int = 0
    drifts: bool = False


@frozen(kw_only=True)
class JobEntry:
    """One job, all that is known of it. ``…_at`` are seconds of the wall clock since 1970, UTC.

    Attributes:
        line: its place in the manifest when it was planned.
        unnamed: its name follows from its place.
        digest: of path and body: equal for jobs that ask for the same.
        post: the row of its POST; None if it was never sent, or is to be sent under a new key.
        place: among the jobs that its POST serves, from 0.
        key: of its POST.
        intended_at: of its first POST under that key; None for a planned job.
        crashes: runs that died while its POST was under way.
        files: below the batch directory, with ``/``.
        stale: whether something that it was made of was made again since.
        inputs: its local files: by what stands for the content in the body, the path.
        in_manifest: whether it stands in the manifest of the last run, or is another result of one that does,
            or the final of one.
        older_of: the name of the job that it is an older or a further result of; None for a job itself.
        final_of: the name of the take that it is the final of; None for any other job.
        is_beside: whether it is no job of the manifest but another take of one, or gone from it.
        saved_as: the name that its files have, where that is not its own any more.
        delivered: what each of its files turned out to be; None for one that could not be measured.
        project: whose costs it is, where its manifest says so.
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
    is_beside: bool = False
    saved_as: str | None = None
    delivered: tuple[Delivered | None, ...] = ()
    project: str | None = None

    @property
    def model(self) -> str:
        """The API's word for the model."""
        return str(self.tariff.kind.model)

    @property
    def name_on_disk(self) -> str:
        """The name that its files are called after."""
        return self.saved_as or self.name

    @property
    def kind(self) -> Kind:
        """The class of work it belongs to."""
        return self.tariff.kind

    @property
    def submission(self) -> Submission | None:
        """Its part of what was accepted; None before that."""
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
        """The request as it is stored: what stands for the content of a local file is in its place."""
        fields = json.loads(self.body)
        assert isinstance(fields, dict)  # noqa: S101 - our own bytes
        return fields

    @property
    def request_fields(self) -> dict[str, object]:
        """The request under the API's own names, without the model, and with the paths of local files."""
        fields = json.loads(posts.resolved(self.body, self.inputs))
        assert isinstance(fields, dict)  # noqa: S101 - our own bytes
        return fields

    @property
    def seed(self) -> int | None:
        """The first seed that the server says it has used; None if it says none."""
        return next((task.seed for task in self.tasks if task.seed is not None), None)

    @property
    def urls(self) -> tuple[str, ...]:
        """Output URLs of all its tasks."""
        return tuple(url for task in self.tasks for url in task.urls)


BESIDE: Final = "jobs.listed = 0 OR jobs.number IN (SELECT number FROM older)"
"""Whether a row of ``jobs`` is no job of the manifest, but another take of one, or gone from it."""

_IS_THERE: Final = (
    f"({BESIDE}) AND EXISTS (SELECT 1 FROM tasks JOIN jobs AS maker ON maker.post = tasks.post "
    "WHERE tasks.id = links.task AND maker.number NOT IN (SELECT number FROM older) "
    "AND links.task IN (SELECT value FROM json_each(maker.task_ids)))"
)
"""Whether a job that no line of the manifest stands for was made of a result that was not made again since.

Its link goes by a name, which may be another job's by now.
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
    f"{BESIDE}, "
    "(SELECT moves.name FROM moves WHERE moves.number = jobs.number), "
    "CASE jobs.state WHEN 'saved' THEN (SELECT delivered FROM deliveries WHERE job = jobs.number) END, "
    "(SELECT project FROM projects WHERE job = jobs.number)"
)
"""Of ``jobs LEFT JOIN posts``, in the order of ``JobEntry``."""

_FIELDS: Final = tuple(attribute.name for attribute in attrs.fields(JobEntry))


def entry(row: Row, tariffs: Mapping[int, Tariff]) -> JobEntry:
    """An entry from a row of ``ENTRY_COLUMNS``.

    Raises:
        JournalError: a cell holds what it cannot; names it and the job.
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
        "is_beside": bool(cells["is_beside"]),
        "tariff": tariffs[cells["tariff"]],
        "state": State(cells["state"]),
        "crashes": cells["crashes"] or 0,
        "task_ids": names(cells["task_ids"], f"task_ids of {job}"),
        "tasks": tasks_of(cells["tasks"], f"tasks of {job}"),
        "files": names(cells["files"], f"files of {job}"),
        "inputs": json.loads(cells["inputs"]),  # made by SQLite of texts
        "delivered": delivered_of(cells["delivered"], f"delivered of {job}"),
    }
    if converted["state"] in {State.PLANNED, State.BLOCKED}:
        converted["intended_at"] = None
    return JobEntry(**(cells | converted))


def names(cell: str | None, what: str) -> tuple[str, ...]:
    """A list of names as the journal keeps it; empty where there is none.

    Raises:
        JournalError: it is something else.
    """
    found = _list(cell, what)
    if not all(isinstance(name, str) and name.strip() and "\0" not in name for name in found):
        raise damage(what)
    return tuple(map(str, found))


def tasks_of(cell: str | None, what: str) -> tuple[Task, ...]:
    """Final tasks as the journal keeps them; empty where there are none.

    Raises:
        JournalError: it is something else.
    """
    try:
        return tuple(map(wire.task, _list(cell, what)))
    except (ValueError, RecursionError) as problem:
        raise damage(what) from problem


def delivered_of(cell: str | None, what: str) -> tuple[Delivered | None, ...]:
    """Measures as the journal keeps them; empty where there are none.

    Raises:
        JournalError: it is something else.
    """
    try:
        return tuple(each if each is None else Delivered.read(each) for each in _list(cell, what))
    except ValueError as problem:
        raise damage(what) from problem


def as_json(value: object) -> str:
    """A value as the journal keeps it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def damage(what: str) -> JournalError:
    """The error for something in a journal that cannot have been written there."""
    return JournalError(f"the journal is damaged: {what} cannot be what stands there; {REMEDY}")


def _list(cell: str | None, what: str) -> list[object]:
    try:
        found = [] if cell is None else json.loads(cell, parse_constant=_no_number)
        if not isinstance(found, list):
            raise damage(what)
        if cell is not None and "\\u" in cell:
            as_json(found).encode()  # half a character could be neither written nor sent
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
