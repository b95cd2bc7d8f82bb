"""Where a task's files are found: URLs that carry their own end, and what each file shows.

Output URLs do not live for ever (U9), and a URL that was read before it ended must be asked for anew. So each
URL names the instant at which it stops working and a signature over it, as object stores do, and every poll
of a completed task hands out fresh ones.

Pure: ``now`` is the server's clock, in seconds.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

from attrs import frozen

from seedance_async.sandbox.catalogue import image_size, video_size

if TYPE_CHECKING:
    from seedance_async.sandbox.tasks import Task
    from seedance_async.sandbox.validation import Order

ImageFormat = Literal["png", "jpeg"]


@frozen(kw_only=True)
class Clip:
    """A film to make."""

    width: int
    height: int
    seconds: int
    prompt: str
    audio: bool
    seed: int
    content_type: str = "video/mp4"


@frozen(kw_only=True)
class Picture:
    """A picture to make."""

    width: int
    height: int
    image_format: ImageFormat
    prompt: str
    seed: int

    @property
    def content_type(self) -> str:
        """The media type it is served under."""
        return f"image/{self.image_format}"


@frozen
class Links:
    """Makes and checks the URLs of output files, each of which works for ``life`` seconds."""

    media_url: str
    secret: bytes
    life: float

    def sign(self, task_id: str, name: str, now: float) -> str:
        """A URL of the file that works from ``now`` on."""
        ends = str(round((now + self.life) * 1000))
        signature = self._signature(task_id, name, ends)
        return f"{self.media_url}/{quote(task_id)}/{quote(name)}?expires={ends}&signature={signature}"

    def refuses(self, task_id: str, name: str, ends: str, signature: str, now: float) -> str | None:
        """Why the URL does not work at ``now``; None if it does."""
        if not hmac.compare_digest(signature.encode(), self._signature(task_id, name, ends).encode()):
            return "The URL's signature does not match"
        return "The URL has expired" if int(ends) <= now * 1000 else None

    def _signature(self, task_id: str, name: str, ends: str) -> str:
        return hmac.new(self.secret, f"{task_id}/{name}?{ends}".encode(), hashlib.sha256).hexdigest()[:32]


def content_of(task: Task, name: str) -> Clip | Picture:
    """What the named output file of the task shows."""
    width, height = _size(task.order)
    if name == "video.mp4":
        return Clip(
            width=width,
            height=height,
            seconds=task.order.seconds,
            prompt=task.order.prompt,
            audio=task.order.fields["generate_audio"] is True,
            seed=task.seed,
        )
    return Picture(
        width=width,
        height=height,
        image_format="jpeg" if name.endswith(".jpeg") else "png",
        prompt=task.order.prompt,
        seed=task.seed,
    )


def _size(order: Order) -> tuple[int, int]:
    resolution = order.text("resolution")
    match order.model:
        case "seedance2":
            return video_size(resolution, order.text("aspect_ratio"))
        case "gpt-image-2":
            return image_size(resolution, order.text("aspect_ratio"))
        case _:
            return image_size(resolution, order.text("image_size"))
