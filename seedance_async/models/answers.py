"""What comes back: an accepted POST, and the state of a task.

The documents describe three shapes of output, one for each model; all three are read everywhere, because a
paid result must not be lost to a shape from the wrong family. Numbers of the accounting are None where the
server sent none that can be used: a task is paid by then, and a strange number must not cost its result.
``raw`` keeps the answer as it came, with every field this version does not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final, TypeAlias

from attrs import field, frozen

COMPLETED: Final = "completed"
FAILED: Final = "failed"
FINAL_STATUSES: Final = frozenset({COMPLETED, FAILED})


@frozen(kw_only=True)
class VideoOutput:
    """A finished clip.

    Attributes:
        seed: the seed the clip was made with, which makes it again.
    """

    video_url: str | None = None
    last_frame_url: str | None = None
    seed: int | None = None

    @property
    def urls(self) -> tuple[str, ...]:
        """The clip, then its last frame, as far as they exist."""
        return tuple(url for url in (self.video_url, self.last_frame_url) if url)


@frozen(kw_only=True)
class OutputImage:
    """A finished picture.

    Attributes:
        url: where the vendor keeps it.
        provider_url: where the vendor's own provider keeps it (Nano Banana Pro only).
    """

    url: str
    provider_url: str | None = None


@frozen(kw_only=True)
class ImageOutput:
    """The finished pictures of a task, in the server's order."""

    images: tuple[OutputImage, ...] = ()

    @property
    def urls(self) -> tuple[str, ...]:
        """Every picture's own URL; a provider's copy is not listed."""
        return tuple(image.url for image in self.images)


Output: TypeAlias = VideoOutput | ImageOutput


@frozen(kw_only=True)
class Submission:
    """An accepted POST: it is paid, and these are the tasks it started.

    Attributes:
        task_ids: every task started, at least one; several when ``batch_count`` was above 1.
        credits_used: what was charged; None if the answer did not say.
        remaining_credits: the balance after it; the video endpoint does not tell.
        request_id: the provider's name for the work, where told.
        batch_success: how many pictures of the batch were started, where told.
        batch_failed: how many were not, where told.
        idempotency_key: the key the POST was sent under; the client fills it in.
        raw: the answer as it came.
    """

    id: str
    status: str = ""
    model: str = ""
    credits_used: float | None = None
    remaining_credits: float | None = None
    request_id: str | None = None
    task_ids: tuple[str, ...]
    batch_success: int | None = None
    batch_failed: int | None = None
    idempotency_key: str | None = None
    raw: Mapping[str, object] = field(factory=dict, eq=False, repr=False)


@frozen(kw_only=True)
class Task:
    """A task as the server told it at one moment.

    Attributes:
        status: the server's word. Only ``completed`` and ``failed`` are final; a word the documents do not
            know is neither.
        credits_used: what was charged; None if the answer did not say.
        credits_refunded: what was given back; None if the answer did not say.
        error: the server's reason for a failure, as text.
        created_at: None if the answer held no instant with a time zone; ``raw`` keeps what it held.
        updated_at: as ``created_at``; for a final task, the instant it ended.
        raw: the answer as it came.
    """

    id: str
    status: str = ""
    model: str = ""
    credits_used: float | None = None
    credits_refunded: float | None = None
    output: Output | None = None
    error: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    raw: Mapping[str, object] = field(factory=dict, eq=False, repr=False)

    @property
    def is_completed(self) -> bool:
        """The server has finished the work."""
        return self.status == COMPLETED

    @property
    def is_failed(self) -> bool:
        """The server gave up."""
        return self.status == FAILED

    @property
    def is_final(self) -> bool:
        """The status will not change any more."""
        return self.status in FINAL_STATUSES

    @property
    def lacks_output(self) -> bool:
        """Completed, and yet there is nothing to download."""
        return self.is_completed and not self.urls

    @property
    def urls(self) -> tuple[str, ...]:
        """Every output URL, whatever the model's shape: a clip before its last frame, pictures in order."""
        return self.output.urls if self.output else ()

    @property
    def duration(self) -> float | None:
        """Seconds from creation to end, once final and if both instants are told and in order."""
        if not self.is_final or self.created_at is None or self.updated_at is None:
            return None
        seconds = (self.updated_at - self.created_at).total_seconds()
        return seconds if seconds >= 0 else None
