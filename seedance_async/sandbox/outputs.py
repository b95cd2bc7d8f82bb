"""The content of a task's output files: clips and pictures, their sizes, prompts and sources.

A file that was made from other files of the sandbox shows them, so that the steps of a production are
visible.

Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import frozen

from seedance_async.sandbox.catalogue import image_size, video_size
from seedance_async.sandbox.media import Drawn, ImageFormat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from seedance_async.sandbox.tasks import Task
    from seedance_async.sandbox.validation import GenerationRequest

SHOWN_DEPTH: Final = 3
"""How many steps back a file shows its sources."""


@frozen(kw_only=True)
class Clip(Drawn):
    """A video to make."""

    seconds: float
    audio: bool
    content_type: str = "video/mp4"


@frozen(kw_only=True)
class Picture(Drawn):
    """A picture to make."""

    image_format: ImageFormat

    @property
    def content_type(self) -> str:
        """The media type with which it is served."""
        return f"image/{self.image_format}"


def content_of(
    task: Task, name: str, sources: Callable[[Task], Iterable[tuple[Task, str]]], *, depth: int = SHOWN_DEPTH
) -> Clip | Picture:
    """The content of the named output file of the task.

    Args:
        task: the task that made it.
        name: the name of the file.
        sources: returns the files from which a task was made.
        depth: how many steps back sources are shown.
    """
    width, height = _size(task.request)
    shown = tuple(content_of(*each, sources, depth=depth - 1) for each in sources(task)) if depth else ()
    if name == "video.mp4":
        return Clip(
            width=width,
            height=height,
            seconds=task.request.seconds,
            prompt=task.request.prompt,
            audio=task.request.fields["generate_audio"] is True,
            seed=task.seed,
            sources=shown,
        )
    return Picture(
        width=width,
        height=height,
        image_format="jpeg" if name.endswith(".jpeg") else "png",
        prompt=task.request.prompt,
        seed=task.seed,
        sources=shown,
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
