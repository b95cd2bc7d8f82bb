"""One POST and the one to four jobs it serves: its body, and the division of its answer among them.

With the API's ``batch_count``, one request makes up to four pictures of one prompt. So up to four jobs that
are equal in every field may share a POST, which needs 1.25 requests per job instead of two. Each job has a
*place* among them, from 0; the task of that place and an equal share of the credits belong to it.

Pure. Source of the rule: the vendor's parameter table, ``batch_count`` 1 to 4, GPT Image 2 only.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from attrs import evolve

from seedance_async.models import MEDIA_FIELDS, GptImage2
from seedance_async.models.links import parse_link

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from seedance_async.models import Request, Submission

MOST_JOBS: Final = 4
"""The most jobs that one POST can serve."""

SHARED_MODEL: Final = GptImage2.model
"""The only model with a ``batch_count``."""


def is_shareable(model: str | None, tasks: int) -> bool:
    """Whether a job of this model with this number of tasks may share a POST with equal jobs."""
    return model == SHARED_MODEL and tasks == 1


def combined(request: Request, jobs: int) -> Request:
    """The request whose POST serves ``jobs`` jobs with this request."""
    return evolve(request, batch_count=jobs) if jobs > 1 and isinstance(request, GptImage2) else request


def body(single: bytes, jobs: int) -> bytes:
    """The body of a POST that serves ``jobs`` jobs, made from the body that serves one."""
    if jobs == 1:
        return single
    fields = {**json.loads(single), "batch_count": jobs}
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()


def has_media(body: bytes) -> bool:
    """Whether a body refers to pictures or clips that the server has to fetch."""
    return any(media(body))


def has_links(body: bytes) -> bool:
    """Whether a planned body takes the output of another job."""
    return any(parse_link(text) is not None for text in media(body))


def media(body: bytes) -> Iterator[str]:
    """The URLs, links and content references of a body's pictures and clips."""
    fields = json.loads(body)
    for name in MEDIA_FIELDS:
        value = fields.get(name) or ()
        yield from (value,) if isinstance(value, str) else value


def resolved(body: bytes, urls: Mapping[str, str]) -> bytes:
    """A body in which every link is replaced by its URL.

    Args:
        body: the planned body.
        urls: the URLs, by the text of the link.
    """
    if not urls:
        return body
    fields = json.loads(body)
    for name in MEDIA_FIELDS:
        value = fields.get(name)
        if isinstance(value, list):
            fields[name] = [urls.get(each, each) for each in value]
        elif value is not None:
            fields[name] = urls.get(value, value)
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()


def divide(submission: Submission, jobs: int) -> list[Submission | None]:
    """Each job's part of the answer to their POST, as if it had been sent alone.

    None stands for a job for which the answer names no task; see ``accounts_for``. A POST that serves one job
    belongs to that job entirely, however many tasks it has. If the answer names more tasks than there are
    jobs, the last job gets the rest, so that nothing paid is left out.
    """
    if jobs == 1:
        return [submission]
    ids = submission.task_ids
    shares = [ids[place : place + 1] for place in range(jobs - 1)] + [ids[jobs - 1 :]]
    return [_part(submission, share) if share else None for share in shares]


def accounts_for(submission: Submission, tasks: int) -> bool:
    """Whether an answer consistently accounts for every requested task.

    It does if it states how many tasks were started, names as many, and these and the failed ones add up to
    the number requested. Only then is it known that tasks it does not name were not charged.
    """
    named = len(submission.task_ids)
    started, failed = submission.batch_success, submission.batch_failed or 0
    if started is None and named == tasks:
        started = named  # none is left out
    return submission.is_consistent and started == named and failed >= 0 and named + failed == tasks


def _part(whole: Submission, task_ids: tuple[str, ...]) -> Submission:
    used = whole.credits_used
    share = None if used is None else used * len(task_ids) / len(whole.task_ids)
    return evolve(
        whole,
        id=task_ids[0],
        task_ids=task_ids,
        credits_used=share,
        batch_success=None,
        batch_failed=None,
    )
