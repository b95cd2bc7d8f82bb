"""A job of a batch: what is asked for, and what became of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from attrs import field, frozen

from seedance_async.batch.states import State
from seedance_async.convertible import Convertible
from seedance_async.errors import SeedanceError, ValidationError
from seedance_async.models import Delivered, Link, Request
from seedance_async.models.display import shown, shown_url, shown_urls
from seedance_async.models.links import MAKERS, LinkedOutput
from seedance_async.models.rules import make_plain, one_of, whole_number

MAX_NAME_CHARACTERS = 500
MAX_REPEAT = 10_000

FILES = (
    ".sqlite",
    ".jsonl",
    ".json",
    ".html",
    ".pid",
    ".reserve",
    ".part",
    ".mp4",
    ".webm",
    ".png",
    ".jpg",
    ".webp",
)
"""How the files of a batch end: a folder of such a name could take the place of one."""


@frozen
class Job(Convertible):
    """One generation of a batch.

    Attributes:
        request: what is asked for.
        name: unique within the batch, differing in more than case; names its files, and a ``/`` in it makes
            a folder. Left out, it is ``job-000001`` by the job's place.
        repeat: so many takes of the same request, 1 to 10,000, each a job of its own: ``name``, ``name-2``, …
        project: whose costs it is in the account's record; else the batch's. No part of what is asked for.

    Raises:
        ValidationError: with everything that is wrong.
    """

    request: Request
    name: str | None = field(default=None, kw_only=True)
    repeat: int = field(default=1, kw_only=True)
    project: str | None = field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        make_plain(self)
        problems = [
            *_request_problems(self.request),
            *name_problems(self.name),
            *repeat_problems(self.repeat),
            *project_problems(self.project),
        ]
        if problems:
            raise ValidationError(problems, subject="Job")

    def link(self, output: LinkedOutput, place: int = 1) -> Link:
        """What this job makes, to stand for a URL in another job of the batch.

        Args:
            output: ``video`` or ``last_frame`` of a clip, ``image`` of a picture.
            place: which of several pictures, from 1.

        Raises:
            ValidationError: the job has no name, or makes no such output.

        Example:
            >>> still = Job(NanoBananaPro(prompt="A red boat"), name="still")
            >>> clip = Job(Seedance2Video(prompt="It sails", image_url=still.link("image")), name="clip")
        """
        problems = [] if self.name is not None else [("name", "is needed to link to a job")]
        if fault := one_of(tuple(MAKERS))(output):
            problems.append(("output", fault))
        elif self.request.model not in MAKERS[output]:
            problems.append(("output", f"a job for {self.request.model} makes no {output}"))
        if fault := whole_number(1, 999)(place):
            problems.append(("place", fault))
        if problems:
            raise ValidationError(problems, subject="link")
        return Link(str(self.name), output, place)


def _request_problems(request: object) -> Iterator[tuple[str, str]]:
    if not isinstance(request, Request):
        reason = f"must be Seedance2Video, GptImage2 or NanoBananaPro; got {type(request).__name__}"
        yield "request", reason


def name_problems(name: object) -> Iterator[tuple[str, str]]:
    """Why ``name`` cannot name a job, if so."""
    if name is None:
        return
    if not isinstance(name, str) or not name.strip():
        yield "name", f"must be text that is not blank; got {name!r:.60}"
    elif len(name) > MAX_NAME_CHARACTERS:
        yield "name", f"must have at most {MAX_NAME_CHARACTERS} characters; got {len(name)}"
    elif "\x00" in name or any("\ud800" <= character <= "\udfff" for character in name):
        yield "name", "contains a NUL or half a character (a lone surrogate)"
    elif "/" in name:
        yield from _folder_problems(name)


def _folder_problems(name: str) -> Iterator[tuple[str, str]]:
    """Why the ``/`` of a name cannot make folders, if so."""
    *folders, last = (part.strip() for part in name.split("/"))
    if not last or any(part in {"", ".", ".."} for part in (*folders, last)):
        yield "name", f"has a / that makes no folder: an empty part, . or .. is none; got {shown_url(name)}"
    elif file := next((part for part in folders if part.casefold().endswith(FILES)), None):
        yield "name", f"has a / that would make a folder of {file!r:.60}, which is called like a file"


def repeat_problems(repeat: object) -> Iterator[tuple[str, str]]:
    """Why ``repeat`` is no number of takes, if so."""
    if not isinstance(repeat, int) or isinstance(repeat, bool) or not 1 <= repeat <= MAX_REPEAT:
        yield "repeat", f"must be a whole number from 1 to {MAX_REPEAT}; got {repeat!r:.60}"


def project_problems(project: object) -> Iterator[tuple[str, str]]:
    """Why ``project`` cannot be whose costs a job is, if so."""
    if project is None:
        return
    if not isinstance(project, str) or not project.strip() or "\x00" in project:
        yield "project", f"must be text that is not blank; got {shown(project)}"
    elif len(project) > MAX_NAME_CHARACTERS:
        yield "project", f"must have at most {MAX_NAME_CHARACTERS} characters; got {len(project)}"


@frozen(kw_only=True)
class JobResult(Convertible):
    """What became of a job.

    Attributes:
        name: of the job.
        state: where it stands. ``saved`` is the good end; ``planned`` was not sent, and ``error`` says why.
        model: the API's word for it.
        task_ids: of the accepted tasks.
        idempotency_key: the key it was sent under; None if it never was.
        credits_used: what it was charged; None if nobody said.
        credits_refunded: what was given back; None if nobody said.
        urls: the output files at the server, which forgets them sooner or later.
        files: the output files here.
        error: why it is not saved, or which of several tasks failed; None if all is well.
        earlier: True if an earlier run had ended it already.
        stale: True if something that it was made of was made again since. It is not made again by itself.
        in_manifest: False if it is gone from the manifest; an older result goes with its job.
        older_of: the name of the job that it is an older or a further result of; None for a job itself.
        final_of: the name of the take that it is the final of; None for any other job.
        seed: that the server says it has used; None if it says none.
        delivered: what each of ``files`` turned out to be; None for one that could not be measured.
        mismatches: in how far that is not what was asked for, such as ``720x1280, asked for 1080x1920``.
    """

    name: str
    state: State
    model: str
    task_ids: tuple[str, ...] = ()
    idempotency_key: str | None = None
    credits_used: float | None = None
    credits_refunded: float | None = None
    urls: tuple[str, ...] = field(default=(), repr=shown_urls)
    files: tuple[Path, ...] = ()
    error: SeedanceError | None = None
    earlier: bool = False
    stale: bool = False
    in_manifest: bool = True
    older_of: str | None = None
    final_of: str | None = None
    seed: int | None = None
    delivered: tuple[Delivered | None, ...] = ()
    mismatches: tuple[str, ...] = ()
