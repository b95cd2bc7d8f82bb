"""What ``as_completed`` takes in and gives out: numbered requests, and one completion for each.

Requests that are equal in every field may share a POST (``posts.py``). They are jobs of their own all the
same: each has its own completion, task and share of the credits.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Sequence
from functools import partial

import anyio
from attrs import frozen

from seedance_async import posts
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
class RequestGroup:
    """A request of ``as_completed``, or some equal ones that share a POST, and their places in the source."""

    request: Request
    indices: tuple[int, ...]

    @property
    def posted(self) -> Request:
        """The request whose POST serves them all."""
        return posts.combined(self.request, len(self.indices))

    def may_take(self, request: Request) -> bool:
        """True for one more of the same, where a POST serves several."""
        shareable = posts.is_shareable(request.model, getattr(request, "batch_count", 1))
        return shareable and request == self.request and len(self.indices) < posts.MOST_JOBS


class CompletionRun:
    """One call of ``as_completed``: one coroutine for each group, from its POST to its completions.

    A 401 or 402 stops the submits, because the next one would be refused as well; what is already paid is
    still collected, and requests that were not sent say so.
    """

    def __init__(self, engine: Engine, *, max_in_flight: int | None) -> None:
        self._engine = engine
        self._stream: Stream[Completion] = Stream(engine, max_in_flight=max_in_flight)
        self._untold: dict[int, str] = {}

    async def completions(self, groups: AsyncIterable[RequestGroup]) -> AsyncGenerator[Completion]:
        """Yield a completion for every request, as they come."""
        self._stream.start(partial(self._feed, groups))
        async for completion in self._stream.results():
            self._untold.pop(completion.index, None)
            yield completion

    def leave(self, error: BaseException) -> None:
        """End because of ``error``; what is paid and not yielded is named in the log and a cancellation."""
        self._stream.leave()
        names = dict.fromkeys(self._untold[index] for index in sorted(self._untold))  # each once
        if not names:
            return
        message = (
            f"as_completed was left with paid work under way, collect it with client.wait: {'; '.join(names)}"
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
            await self._engine.media.prepare(group.request)  # before its turn: an upload takes long
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
                self._untold[index] = _name_of_paid(part)

    def _failed(self, group: RequestGroup, error: SeedanceError) -> list[Completion]:
        if self._stream.left:
            log.warning("not accepted, after its caller left: %s", error)
        if isinstance(error, UncertainSubmissionError):
            if (count := len(group.indices)) > 1:  # another body under this key would be refused
                error.message += f"; {count} pictures shared this POST, its request had batch_count={count}"
            self._untold.update(dict.fromkeys(group.indices, str(error)))
        if isinstance(error, UnauthorizedError | InsufficientCreditsError):
            self._stream.stop(error)
        return _not_accepted(group, error)


async def grouped(
    source: Iterable[Request] | AsyncIterable[Request], *, share_posts: bool
) -> AsyncGenerator[RequestGroup]:
    """Number the requests of a source; with ``share_posts`` equal neighbours become one group.

    An async source is never waited for just to see whether its next request is another of the same.

    Raises:
        ValidationError: one of them is no request.
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
    """What a caller gave for a request, if it is one.

    Raises:
        ValidationError: it is something else, such as a prompt.
    """
    if isinstance(item, Request):
        return item
    reason = f"expected Seedance2Video, GptImage2 or NanoBananaPro, got {type(item).__name__}"
    raise ValidationError([(place, reason)], subject="the call")


async def _each(source: Iterable[Request] | AsyncIterable[Request]) -> AsyncGenerator[Request]:
    if isinstance(source, AsyncIterable):
        async for request in source:
            yield request
        return
    for request in source:
        yield request


def _not_sent(stopped: SeedanceError | None) -> SeedanceError:
    """The error of a request that was not sent because of another one's."""
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
    """Divide the end of a POST among the requests it served."""
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
    """The error of a request that the answer to its POST names no task for."""
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
        f"the answer names {named} of {asked} tasks and does not say what became of the others: "
        "they may be paid; send the request that was posted with this idempotency key to ask again",
        idempotency_key=submission.idempotency_key,
        task_id=submission.id,
    )


def _error_among(ends: Sequence[Task | SeedanceError], part: Submission) -> SeedanceError | None:
    """The first reason why not every task completed, with what was paid."""
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
