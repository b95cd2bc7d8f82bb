"""The tasks, the server's units of work, and the documents that describe them at any instant.

When and how a task ends is drawn when it is accepted. Nothing runs in the background; the status of a task
depends on the clock only::

    processing --ends_at, outcome completed--> completed
    processing --ends_at, outcome failed-----> failed, every credit refunded

Pure: ``now`` and every ``…_at`` are seconds on the server's clock. Only :class:`Calendar` converts them to
the ISO instants of the wire.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from math import isinf
from typing import Final, Literal

from attrs import field, frozen

from seedance_async.sandbox.signed_urls import UrlSigner
from seedance_async.sandbox.validation import GenerationRequest

Status = Literal["processing", "completed", "failed"]

ID_PREFIX: Final = {"seedance2": "sd2_", "gpt-image-2": "gpt2_", "nano-banana-pro": "nbp_"}


@frozen(kw_only=True)
class Task:
    """One accepted and charged task.

    Attributes:
        account: the account that was charged.
        credits: the credits charged.
        accepted_at: when it was charged, on the server's clock.
        ends_at: when it is final, on the server's clock; ``inf``: never.
        outcome: the status with which it ends.
        seed: the seed of the generated media.
        idempotency_key: the key of the POST that made it.
        call: the number of the exchange that made it.
    """

    id: str
    account: str
    request: GenerationRequest = field(repr=False)
    credits: int
    accepted_at: float
    ends_at: float
    outcome: Literal["completed", "failed"] = "completed"
    seed: int = 0
    idempotency_key: str | None = None
    call: int = 0

    def status(self, now: float) -> Status:
        """The status of the task at ``now``."""
        return self.outcome if self.ends_at <= now else "processing"

    @property
    def files(self) -> tuple[str, ...]:
        """The names of the output files of the completed task."""
        if self.request.model == "seedance2":
            return "video.mp4", "last_frame.png"
        return (f"image.{self.request.fields.get('output_format', 'png')}",)


@frozen
class Calendar:
    """The conversion between the server's clock and wall-clock times."""

    started_at: float
    epoch: datetime

    def at(self, now: float) -> datetime:
        """The wall-clock time, aware, in UTC."""
        return self.epoch.astimezone(UTC) + timedelta(seconds=now - self.started_at)

    def reading(self, at: datetime) -> float:
        """The time on the server's clock at a wall-clock time."""
        return self.started_at + (at - self.epoch).total_seconds()

    def text(self, now: float) -> str:
        """The wall-clock time in the vendor's format: ``2026-06-03T10:00:00.000Z``."""
        return self.at(now).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def http_date(self, now: float) -> str:
        """The wall-clock time in the format of the ``Date`` header."""
        return format_datetime(self.at(now), usegmt=True)


def submission_document(
    tasks: tuple[Task, ...], *, request_id: str, remaining: int, refused: int = 0
) -> dict[str, object]:
    """The documented reply to a submit; only the image endpoints return the remaining credits."""
    first = tasks[0]
    document: dict[str, object] = {"id": first.id}
    if first.request.model == "nano-banana-pro":
        document["request_id"] = request_id
    document |= _identity(first) | {"credits_used": sum(task.credits for task in tasks)}
    if first.request.model != "seedance2":
        document["remaining_credits"] = remaining
    if first.request.batch_count > 1:
        document["batch_task_ids"] = [task.id for task in tasks]
        document |= {"batch_success": len(tasks), "batch_failed": refused}
    return document


def task_document(task: Task, now: float, *, calendar: Calendar, signer: UrlSigner) -> dict[str, object]:
    """The documented reply to a poll."""
    status = task.status(now)
    changed = task.accepted_at if status == "processing" or isinf(task.ends_at) else task.ends_at
    return {
        "id": task.id,
        **_identity(task),
        "status": status,
        "credits_used": task.credits,
        "credits_refunded": task.credits if status == "failed" else 0,
        "output": _output(task, now, signer) if status == "completed" else None,
        "error": "Generation failed upstream; credits were refunded" if status == "failed" else None,
        "created_at": calendar.text(task.accepted_at),
        "updated_at": calendar.text(changed),
    }


def _identity(task: Task) -> dict[str, object]:
    identity: dict[str, object] = {"status": "processing", "model": task.request.model}
    if task.request.model == "seedance2":
        identity |= {name: task.request.fields[name] for name in ("quality_tier", "channel")}
    return identity


def _output(task: Task, now: float, signer: UrlSigner) -> object:
    urls = [signer.sign(task.id, name, now) for name in task.files]
    match task.request.model:
        case "seedance2":
            return {"video_url": urls[0], "last_frame_url": urls[1], "seed": task.seed}
        case "gpt-image-2":
            return urls
        case _:
            return {"images": [{"url": urls[0], "provider_url": f"{urls[0]}&from=provider"}]}
