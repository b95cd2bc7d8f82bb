"""What ``as_completed`` takes in and gives out: numbered requests, and one completion for each.

Pictures that are equal in every field may share a POST: the API makes up to four of one prompt for one
request (``batch_count``), so four such jobs cost 1.25 requests each where they would cost two. They are four
jobs all the same: each has its own completion, task and share of the credits.
"""

from __future__ import annotations

from collections.abc import AsyncIterable
from typing import TYPE_CHECKING, Final

from attrs import evolve, field, frozen

from seedance_async.errors import (
    SeedanceError,
    TaskFailedError,
    UncertainSubmissionError,
    UnexpectedReplyError,
    ValidationError,
)
from seedance_async.models import GptImage2, Request, Submission, Task

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

    from seedance_async.generation import Ending, Generation
    from seedance_async.models import Kind

MOST_IN_A_POST: Final = 4
"""The vendor's table: ``batch_count`` is 1 to 4."""


@frozen(kw_only=True)
class Completion:
    """How one request of ``as_completed`` ended.

    Attributes:
        index: place of the request in the source, from 0.
        request: the request itself.
        submission: the accepted POST; None when it was not accepted.
        tasks: the final tasks; one, or ``batch_count`` of them.
        error: None when every task completed; else why not, with key and task id where known.
        posted: the request as it was sent: with ``batch_count`` where equal ones shared the POST. It is what
            belongs to ``error.idempotency_key``: submit it under that key, once for all that shared it.
    """

    index: int
    request: Request
    submission: Submission | None
    tasks: tuple[Task, ...]
    error: SeedanceError | None
    posted: Request

    @property
    def urls(self) -> tuple[str, ...]:
        """Output URLs of all tasks."""
        return tuple(url for task in self.tasks for url in task.urls)


@frozen
class Wanted:
    """A request of ``as_completed``, or some equal ones that share a POST, and their places in the source."""

    request: Request
    indices: tuple[int, ...]
    submission: None = field(default=None, init=False)

    @property
    def kind(self) -> Kind:
        """The request's own: how many pictures it asks for changes neither time nor price of each."""
        return self.request.kind

    @property
    def to_post(self) -> Request:
        """The request whose POST makes all that is wanted."""
        if len(self.indices) > 1 and isinstance(self.request, GptImage2):
            return evolve(self.request, batch_count=len(self.indices))
        return self.request

    def tell_shared(self, error: SeedanceError) -> None:
        """Have the error of a shared POST in doubt say what its key belongs to: another body is refused."""
        count = len(self.indices)
        if count > 1:
            error.message += f"; {count} pictures shared this POST, its request had batch_count={count}"

    def may_take(self, request: Request) -> bool:
        """True for one more of the same, where a POST holds several."""
        single = isinstance(request, GptImage2) and request.batch_count == 1
        return single and request == self.request and len(self.indices) < MOST_IN_A_POST


async def wanted(
    source: Iterable[Request] | AsyncIterable[Request], *, share_posts: bool
) -> AsyncGenerator[Wanted]:
    """Number the requests of a source; with ``share_posts`` equal neighbours become one.

    An async source is never waited for just to see whether its next request is another of the same.

    Raises:
        ValidationError: one of them is no request.
    """
    share_posts = share_posts and not isinstance(source, AsyncIterable)
    held: Wanted | None = None
    index = 0
    async for item in _each(source):
        request = checked(item, place=f"requests[{index}]")
        if held is not None and share_posts and held.may_take(request):
            held = Wanted(request, (*held.indices, index))
        else:
            if held is not None:
                yield held
            held = Wanted(request, (index,))
        if not share_posts:
            yield held
            held = None
        index += 1
    if held is not None:
        yield held


def completions(ending: Ending[Wanted]) -> list[Completion]:
    """The completions that an ending is, seen from outside: one for each request."""
    order = ending.order
    index, *others = order.indices
    if others:
        return [_share(ending, place) for place in range(len(order.indices))]
    return [
        Completion(
            index=index,
            request=order.request,
            submission=ending.submission,
            tasks=ending.tasks,
            error=ending.error,
            posted=order.to_post,
        )
    ]


def traces(untold: Iterable[Completion], run: Generation[Wanted]) -> list[str]:
    """What names the work that is or may be paid, and of which a caller who has left never heard."""
    endings = sorted([*run.unheard(), *run.under_way()], key=lambda ending: ending.order.indices)
    works = [(work.submission, work.error) for work in untold]
    works += [(ending.submission, ending.error) for ending in endings]
    return [name for work in works if (name := trace(*work)) is not None]


def trace(submission: Submission | None, error: SeedanceError | None) -> str | None:
    """The task ids and the key of an accepted POST, or the error of one in doubt; else None."""
    if submission is not None:
        return f"{', '.join(submission.task_ids)} (idempotency_key={submission.idempotency_key})"
    return str(error) if isinstance(error, UncertainSubmissionError) else None


def _share(ending: Ending[Wanted], place: int) -> Completion:
    """One job's part of a POST that several shared."""
    whole = ending.submission
    part = whole if whole is None else part_of(whole, place)
    tasks = tuple(task for task in ending.tasks if part is not None and task.id in part.task_ids)
    return Completion(
        index=ending.order.indices[place],
        request=ending.order.request,
        submission=part,
        tasks=tasks,
        error=_error(ending, part, tasks),
        posted=ending.order.to_post,
    )


def part_of(whole: Submission, place: int) -> Submission | None:
    """The submission as if this place's job had been posted alone; None where the server started fewer."""
    if place >= len(whole.task_ids):
        return None
    task_id, used = whole.task_ids[place], whole.credits_used
    share = None if used is None else used / len(whole.task_ids)
    return evolve(
        whole, id=task_id, task_ids=(task_id,), credits_used=share, batch_success=None, batch_failed=None
    )


def _error(ending: Ending[Wanted], part: Submission | None, tasks: tuple[Task, ...]) -> SeedanceError | None:
    """This job's own reason; that of a neighbour in the same POST is not one."""
    if ending.submission is None:
        return ending.error
    if part is None:
        return UnexpectedReplyError(
            f"the server started {len(ending.submission.task_ids)} of {len(ending.order.indices)} pictures; "
            "this one was not started and not charged, ask for it again"
        )
    if not tasks:
        return ending.error
    if tasks[0].is_failed:
        return TaskFailedError(tasks[0], idempotency_key=part.idempotency_key)
    return None


def checked(item: object, *, place: str = "request") -> Request:
    """What a caller gave for a request, if it is one.

    Raises:
        ValidationError: it is something else, such as a prompt.
    """
    if isinstance(item, Request):
        return item
    told = f"expected Seedance2Video, GptImage2 or NanoBananaPro, got {type(item).__name__}"
    raise ValidationError([(place, told)], subject="the call")


async def _each(source: Iterable[Request] | AsyncIterable[Request]) -> AsyncGenerator[Request]:
    if isinstance(source, AsyncIterable):
        async for request in source:
            yield request
        return
    for request in source:
        yield request
