"""The public values of a batch: a job, and its result."""

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
"""Suffixes of a batch's files: a folder with such a name could conflict with a file."""


@frozen
class Job(Convertible):
    """One generation of a batch.

    Attributes:
        request: the request.
        name: unique within the batch, regardless of case; its files are named after it, and a ``/`` in it
            makes a folder. Left out, it is ``job-000001`` and so on, by the job's position.
        repeat: number of takes of the request, 1 to 10,000, each a separate job: ``name``, ``name-2``, …
        project: the project to which its costs belong in the account record; None for that of the batch. It
            is not part of the request.

    Raises:
        ValidationError: with every problem.

    Example:
        >>> Job(Seedance2Video(prompt="A paper boat crosses a pond"), name="boats/first", repeat=3)
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
        """Return a link to an output of this job, to be used as a URL in another job of the batch.

        Args:
            output: ``video`` or ``last_frame`` for a clip, ``image`` for a picture.
            place: number of the picture, from 1.

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
    """Yield why ``name`` is not a valid job name, if so."""
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
    """Yield why the parts of a name with ``/`` cannot be folders, if so."""
    *folders, last = (part.strip() for part in name.split("/"))
    if not last or any(part in {"", ".", ".."} for part in (*folders, last)):
        yield "name", f"has a / that makes no folder: an empty part, . or .. is none; got {shown_url(name)}"
    elif file := next((part for part in folders if part.casefold().endswith(FILES)), None):
        yield "name", f"has a / that would make a folder of {file!r:.60}, which is called like a file"


def repeat_problems(repeat: object) -> Iterator[tuple[str, str]]:
    """Yield why ``repeat`` is not a valid number of takes, if so."""
    if not isinstance(repeat, int) or isinstance(repeat, bool) or not 1 <= repeat <= MAX_REPEAT:
        yield "repeat", f"must be a whole number from 1 to {MAX_REPEAT}; got {repeat!r:.60}"


def project_problems(project: object) -> Iterator[tuple[str, str]]:
    """Yield why ``project`` is not a valid project, if so."""
    if project is None:
        return
    if not isinstance(project, str) or not project.strip() or "\x00" in project:
        yield "project", f"must be text that is not blank; got {shown(project)}"
    elif len(project) > MAX_NAME_CHARACTERS:
        yield "project", f"must have at most {MAX_NAME_CHARACTERS} characters; got {len(project)}"


@frozen(kw_only=True)
class JobResult(Convertible):
    """The result of a job.

    Attributes:
        name: the job's name.
        state: its state. ``saved`` is success; a ``planned`` job was not sent, and ``error`` has the reason.
        model: the API's name of the model.
        task_ids: ids of its accepted tasks.
        idempotency_key: the key under which it was sent; None if it never was.
        credits_used: credits charged; None if not reported.
        credits_refunded: credits refunded; None if not reported.
        urls: URLs of the output files at the server; they expire.
        files: paths of the saved output files.
        error: why it is not saved, or which of several tasks failed; None if there is no problem.
        earlier: True if it ended in an earlier run.
        stale: True if a source that it was made of was made again since. It is not made again automatically.
        in_manifest: False if it was removed from the manifest; an older result counts with its job.
        older_of: the name of the job of which it is an older or a further result; None for a job itself.
        final_of: the name of the take of which it is the final; None for any other job.
        seed: the seed that the server reports; None if it reports none.
        delivered: the measured properties of each of ``files``; None for a file that could not be measured.
        mismatches: differences from the request, such as ``720x1280, asked for 1080x1920``.
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
