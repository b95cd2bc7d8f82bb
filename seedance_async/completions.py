"""The run of ``as_completed``: it numbers the requests, and yields one completion for each.

Requests that are equal in every field may share a POST (``posts.py``). They remain separate jobs: each has
its own completion, task and share of the credits.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Sequence
from functools import partial

import anyio
from attrs import frozen

from seedance_async import posts
from seedance_async.arguments import how_to_make_one
from seedance_async.convertible import Convertible
from seedance_async.engine import Engine
from seedance_async.errors import (
    ApiError,
    InsufficientCreditsError,
    SeedanceError,
    TaskFailedError,
    UnauthorizedError,
    UncertainSubmissionError,
    UnexpectedReplyError,
    ValidationError,
)
from seedance_async.logs import Log
from seedance_async.models import Request, Submission, Task, media
from seedance_async.observer import Work
from seedance_async.stream import Stream

log: Log = Log(__name__)


@frozen(kw_only=True)
class Completion(Convertible):
    """The result of one request of ``as_completed``.

    Attributes:
        index: place of the request in the source, from 0.
        request: the request itself.
        submission: the accepted POST; None if it was not accepted.
        tasks: the final tasks: one, or ``batch_count`` of them.
        error: why not every task completed, with key and task id where known; None if all did.
        posted: the request as it was sent, with ``batch_count`` if equal ones shared the POST. It belongs to
            ``error.idempotency_key``: submit it under that key, once for all requests that shared it.
    """

    index: int
    request: Request
    submission: Submission | None
    tasks: tuple[Task, ...]
    error: SeedanceError | None
    posted: Request

    @property
    def urls(self) -> tuple[str, ...]:
        """The output URLs of all tasks."""
        return tuple(url for task in self.tasks for url in task.urls)


@frozen
class RequestGroup:
    """A request of ``as_completed``, or some equal ones that share a POST, and their places in the source."""

    request: Request
    indices: tuple[int, ...]

    @property
    def posted(self) -> Request:
        """The request whose POST serves them all."""
        return posts.combined(self.request, len(self.indices))

    def may_take(self, request: Request) -> bool:
        """Whether ``request`` may share the POST of this group."""
        shareable = posts.is_shareable(request.model, getattr(request, "batch_count", 1))
        return shareable and request == self.request and len(self.indices) < posts.MOST_JOBS


class CompletionRun:
    """One call of ``as_completed``: one coroutine for each group, from its POST to its completions.

    A 401 or 402 stops further POSTs, because the next one would be refused as well. Tasks that are already
    paid are still collected, and the completions of requests that were not sent have an error that says so.
    """

    def __init__(self, engine: Engine, *, max_in_flight: int | None) -> None:
        self._engine = engine
        self._stream: Stream[Completion] = Stream(engine, max_in_flight=max_in_flight)
        self._unyielded: dict[int, str] = {}

    async def completions(self, groups: AsyncIterable[RequestGroup]) -> AsyncGenerator[Completion]:
        """Yield a completion for every request, as each ends."""
        self._stream.start(partial(self._feed, groups))
        async for completion in self._stream.results():
            self._unyielded.pop(completion.index, None)
            yield completion

    def leave(self, error: BaseException) -> None:
        """End because of ``error``; name paid work that was not yielded in the log and on a cancellation."""
        self._stream.leave()
        names = dict.fromkeys(self._unyielded[index] for index in sorted(self._unyielded))  # each once
        if not names:
            return
        message = (
            f"as_completed was left with paid work running, collect it with client.wait: {'; '.join(names)}"
        )
        log.warning("%s", message)
        if isinstance(error, anyio.get_cancelled_exc_class()):
            error.add_note(message)

    async def _feed(self, groups: AsyncIterable[RequestGroup]) -> None:
        async for group in groups:
            await self._stream.spawn(self._complete, group)

    async def _complete(self, group: RequestGroup) -> None:
        """Take one group from its POST to its completions."""
        async with self._stream.place:
            with self._engine.observer.work("generate", group.request) as work:
                completions = await self._submit_and_collect(group, work)
        for completion in completions:
            await self._stream.deliver(completion)

    async def _submit_and_collect(self, group: RequestGroup, work: Work) -> list[Completion]:
        try:
            await self._engine.media.prepare(group.request)  # before its turn, as an upload takes long
        except SeedanceError as error:
            return self._failed(group, error)
        with_media = any(media(group.request))
        async with self._stream.turn(group.request.kind, with_media=with_media) as slot:
            if slot is None:
                return _not_accepted(group, _not_sent(self._stream.stopped))
            try:
                submission = await self._stream.protect(self._engine.post(group.posted, slot=slot))
            except SeedanceError as error:
                return self._failed(group, error)
            if submission is None:
                return _not_accepted(group, SeedanceError("not answered before the client closed"))
            work.accepted(submission)
            self._accepted(group, submission)
            followers = self._engine.follow(submission.task_ids)
        return _collected(group, submission, await self._stream.outcomes(followers))

    def _accepted(self, group: RequestGroup, submission: Submission) -> None:
        if self._stream.left:
            log.warning("accepted after its caller left: %s", _name_of_paid(submission))
        for index, part in zip(group.indices, posts.divide(submission, len(group.indices)), strict=True):
            if part is not None:
                self._unyielded[index] = _name_of_paid(part)

    def _failed(self, group: RequestGroup, error: SeedanceError) -> list[Completion]:
        if self._stream.left:
            log.warning("not accepted, after its caller left: %s", error)
        if isinstance(error, UncertainSubmissionError):
            if (count := len(group.indices)) > 1:  # under this key, another body would be refused
                error.message += f"; {count} pictures shared this POST, its request had batch_count={count}"
            self._unyielded.update(dict.fromkeys(group.indices, str(error)))
        if isinstance(error, UnauthorizedError | InsufficientCreditsError):
            self._stream.stop(error)
        return _not_accepted(group, error)


async def grouped(
    source: Iterable[Request] | AsyncIterable[Request], *, share_posts: bool
) -> AsyncGenerator[RequestGroup]:
    """Number the requests of a source; with ``share_posts`` equal neighbours become one group.

    For an async source there are no groups, as it would have to be waited for to compare its next request.

    Raises:
        ValidationError: an item is not a request.
    """
    share_posts = share_posts and not isinstance(source, AsyncIterable)
    held: RequestGroup | None = None
    index = 0
    async for item in _each(source):
        request = checked(item, place=f"requests[{index}]")
        if held is not None and share_posts and held.may_take(request):
            held = RequestGroup(request, (*held.indices, index))
        else:
            if held is not None:
                yield held
            held = RequestGroup(request, (index,))
        if not share_posts:
            yield held
            held = None
        index += 1
    if held is not None:
        yield held


def checked(item: object, *, place: str = "request") -> Request:
    """Return ``item`` if it is a request.

    Raises:
        ValidationError: it is something else, such as a prompt.
    """
    if isinstance(item, Request):
        return item
    reason = f"expected Seedance2Video, GptImage2 or NanoBananaPro, got {type(item).__name__}"
    raise ValidationError([(place, reason + how_to_make_one(item))], subject="the call")


async def _each(source: Iterable[Request] | AsyncIterable[Request]) -> AsyncGenerator[Request]:
    if isinstance(source, AsyncIterable):
        async for request in source:
            yield request
        return
    for request in source:
        yield request


def _not_sent(stopped: SeedanceError | None) -> SeedanceError:
    """The error of a request that was not sent because of the error of another one."""
    if stopped is None:
        return SeedanceError("not sent")
    message = f"not sent, because an earlier job was answered {stopped.message}"
    return (
        type(stopped)(message, code=stopped.code) if isinstance(stopped, ApiError) else SeedanceError(message)
    )


def _not_accepted(group: RequestGroup, error: SeedanceError) -> list[Completion]:
    return [_completion(group, index, None, (), error) for index in group.indices]


def _collected(
    group: RequestGroup, submission: Submission, outcomes: Sequence[Task | SeedanceError]
) -> list[Completion]:
    """Divide the result of a POST among the requests it served."""
    parts = posts.divide(submission, len(group.indices))
    ends = dict(zip(submission.task_ids, outcomes, strict=True))
    completions = []
    for index, part in zip(group.indices, parts, strict=True):
        if part is None:
            completions.append(_completion(group, index, None, (), _left_out(group, submission)))
        else:
            own = [ends[task_id] for task_id in part.task_ids]
            tasks = tuple(end for end in own if isinstance(end, Task))
            error = _error_among(own, part) or _shortfall(group, part)
            completions.append(_completion(group, index, part, tasks, error))
    return completions


def _left_out(group: RequestGroup, submission: Submission) -> SeedanceError:
    """The error of a request for which the answer to its POST names no task."""
    named, asked = len(submission.task_ids), len(group.indices)
    if posts.accounts_for(submission, asked):
        return UnexpectedReplyError(
            f"the server started {named} of {asked} pictures; "
            "this one was not started and not charged, ask for it again"
        )
    return _contradiction(submission, named, asked)


def _shortfall(group: RequestGroup, part: Submission) -> SeedanceError | None:
    """The error of a request that has fewer tasks than it asked for."""
    named, asked = len(part.task_ids), getattr(group.request, "batch_count", 1)
    if named >= asked:
        return None
    if posts.accounts_for(part, asked):
        return UnexpectedReplyError(
            f"the server started {named} of {asked} pictures; the others were not charged"
        )
    return _contradiction(part, named, asked)


def _contradiction(submission: Submission, named: int, asked: int) -> SeedanceError:
    return UncertainSubmissionError(
        f"the answer names {named} of {asked} tasks and does not state the outcome of the others: "
        "they may be paid; send the request that was posted with this idempotency key to ask again",
        idempotency_key=submission.idempotency_key,
        task_id=submission.id,
    )


def _error_among(ends: Sequence[Task | SeedanceError], part: Submission) -> SeedanceError | None:
    """The first error among the outcomes, with key and task id of the paid POST; None if all completed."""
    for end in ends:
        if isinstance(end, Task) and not end.is_failed:
            continue
        error = TaskFailedError(end) if isinstance(end, Task) else end
        error.idempotency_key = error.idempotency_key or part.idempotency_key
        error.task_id = error.task_id or part.id
        return error
    return None


def _completion(
    group: RequestGroup,
    index: int,
    submission: Submission | None,
    tasks: tuple[Task, ...],
    error: SeedanceError | None,
) -> Completion:
    return Completion(
        index=index,
        request=group.request,
        submission=submission,
        tasks=tasks,
        error=error,
        posted=group.posted,
    )


def _name_of_paid(submission: Submission) -> str:
    return f"{', '.join(submission.task_ids)} (idempotency_key={submission.idempotency_key})"
