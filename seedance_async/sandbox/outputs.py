"""The content of a task's output files: clips and pictures, their sizes and what they show.

Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from seedance_async.sandbox.catalogue import image_size, video_size
from seedance_async.sandbox.media import ImageFormat

if TYPE_CHECKING:
    from seedance_async.sandbox.tasks import Task
    from seedance_async.sandbox.validation import GenerationRequest


@frozen(kw_only=True)
class Clip:
    """A video to make."""

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
        """The media type that it is served as."""
        return f"image/{self.image_format}"


def content_of(task: Task, name: str) -> Clip | Picture:
    """The content of the named output file of the task."""
    width, height = _size(task.request)
    if name == "video.mp4":
        return Clip(
            width=width,
            height=height,
            seconds=task.request.seconds,
            prompt=task.request.prompt,
            audio=task.request.fields["generate_audio"] is True,
            seed=task.seed,
        )
    return Picture(
        width=width,
        height=height,
        image_format="jpeg" if name.endswith(".jpeg") else "png",
        prompt=task.request.prompt,
        seed=task.seed,
    )


def _size(request: GenerationRequest) -> tuple[int, int]:
    resolution = request.text("resolution")
    match request.model:
        case "seedance2":
            return video_size(resolution, request.text("aspect_ratio"))
        case "gpt-image-2":
            return image_size(resolution, request.text("aspect_ratio"))
        case _:
            return image_size(resolution, request.text("image_size"))
