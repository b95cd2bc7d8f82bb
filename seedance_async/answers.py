"""Values of the API's answers: an accepted POST, and the state of a task. Pure.

The documents describe three shapes of output, one per model. All three are accepted for every model: a paid
result must not be lost because it came in another model's shape. Amounts are None where the server sent no
usable number: the task is paid by then, and a malformed number must not cost its result. ``raw`` keeps the
answer as received, with fields that this version does not know.

The exceptions carry these values, so this module is below ``errors``; ``models`` exports them, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Final, Generic, TypeAlias

from attrs import field, frozen

from seedance_async.convertible import Convertible

if TYPE_CHECKING:
    from typing_extensions import TypeVar  # with a default, which the standard library has from 3.13 on
else:
    from typing import TypeVar

COMPLETED: Final = "completed"
FAILED: Final = "failed"
FINAL_STATUSES: Final = frozenset({COMPLETED, FAILED})


def _without_query(url: str | None) -> str:
    """A URL as a repr shows it: with its signature from a log, anybody could open the file."""
    address, mark, _ = (url or "").partition("?")
    return "None" if url is None else repr(address + (mark and "?…"))


@frozen(kw_only=True)
class VideoOutput(Convertible):
    """A finished clip.

    Attributes:
        seed: the seed used; the same request with this seed gives the same clip.
    """

    video_url: str | None = field(default=None, repr=_without_query)
    last_frame_url: str | None = field(default=None, repr=_without_query)
    seed: int | None = None

    @property
    def urls(self) -> tuple[str, ...]:
        """The clip's URL, then that of its last frame; only those that exist."""
        return tuple(url for url in (self.video_url, self.last_frame_url) if url)


@frozen(kw_only=True)
class OutputImage(Convertible):
    """A finished picture.

    Attributes:
        url: the vendor's copy.
        provider_url: the copy of the vendor's provider (Nano Banana Pro only).
    """

    url: str = field(repr=_without_query)
    provider_url: str | None = field(default=None, repr=_without_query)


@frozen(kw_only=True)
class ImageOutput(Convertible):
    """The finished pictures of a task, in the server's order."""

    images: tuple[OutputImage, ...] = ()

    @property
    def urls(self) -> tuple[str, ...]:
        """The URL of every picture; the provider's copies are not listed."""
        return tuple(image.url for image in self.images)


Output: TypeAlias = VideoOutput | ImageOutput

if TYPE_CHECKING:
    OutputT_co = TypeVar("OutputT_co", bound=Output, covariant=True, default=Output)
else:
    OutputT_co = TypeVar("OutputT_co", bound=Output, covariant=True)


@frozen(kw_only=True)
class Submission(Convertible):
    """An accepted and paid POST, with the tasks it started.

    Attributes:
        id: the id of the first task.
        status: the server's status of the first task.
        model: the API's name of the model.
        task_ids: every task started, at least one; several when ``batch_count`` was above 1.
        credits_used: credits charged; None if not stated.
        remaining_credits: the balance afterwards; None if not stated, as by the video endpoint.
        request_id: the provider's id of the work; None if not stated.
        batch_success: number of pictures of the batch that were started; None if not stated.
        batch_failed: number of pictures that were not; None if not stated.
        is_consistent: every id and count of the batch could be read, no id occurs twice, and ``id`` is one of
            them. If False, the absence of a task from the answer proves nothing.
        idempotency_key: the key under which the POST was sent; set by the client, not by the server.
        raw: the answer as received.
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
    is_consistent: bool = True
    idempotency_key: str | None = None
    raw: Mapping[str, object] = field(factory=dict, eq=False, repr=False)


@frozen(kw_only=True)
class Task(Convertible, Generic[OutputT_co]):
    """The state of a task when the server answered.

    ``Task[VideoOutput]``, which ``generate`` returns for a ``Seedance2Video``, is a task whose output is a
    clip according to the vendor's documentation. The difference exists for type checkers only.

    Attributes:
        id: the task's id.
        status: the server's word. Only ``completed`` and ``failed`` are final; an undocumented word is not.
        model: the API's name of the model.
        credits_used: credits charged; None if not stated.
        credits_refunded: credits given back; None if not stated.
        output: the URLs of the result; None before there is one.
        error: the server's reason for a failure, as text.
        created_at: aware; None if the answer had no instant with a time zone (then see ``raw``).
        updated_at: as ``created_at``; of a final task, the instant at which it ended.
        raw: the answer as received.
    """

    id: str
    status: str = ""
    model: str = ""
    credits_used: float | None = None
    credits_refunded: float | None = None
    output: OutputT_co | None = None
    error: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    raw: Mapping[str, object] = field(factory=dict, eq=False, repr=False)

    @property
    def is_completed(self) -> bool:
        """Whether the server has finished the work."""
        return self.status == COMPLETED

    @property
    def is_failed(self) -> bool:
        """Whether the task has failed."""
        return self.status == FAILED

    @property
    def is_final(self) -> bool:
        """Whether the status cannot change any more."""
        return self.status in FINAL_STATUSES

    @property
    def lacks_output(self) -> bool:
        """Whether the task is completed without a URL to download."""
        return self.is_completed and not self.urls

    @property
    def urls(self) -> tuple[str, ...]:
        """Every output URL for any model: a clip before its last frame, pictures in order."""
        return self.output.urls if self.output else ()

    @property
    def seed(self) -> int | None:
        """The seed that the server states it has used; None if it states none."""
        return self.output.seed if isinstance(self.output, VideoOutput) else None

    @property
    def duration(self) -> float | None:
        """Seconds from creation to end; None if the task is not final or an instant is unknown or wrong."""
        if not self.is_final or self.created_at is None or self.updated_at is None:
            return None
        seconds = (self.updated_at - self.created_at).total_seconds()
        return seconds if seconds >= 0 else None
