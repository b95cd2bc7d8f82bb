"""A link, the output of another job of a batch where a URL is asked for: ``$still-01.image``.

Whoever sends the request puts the URL in its place. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

from attrs import frozen

from seedance_async.answers import ImageOutput, Task, VideoOutput

LinkedOutput: TypeAlias = Literal["video", "last_frame", "image"]

SIGN: Final = "$"
MAKERS: Final = {
    "video": ("seedance2",),
    "last_frame": ("seedance2",),
    "image": ("gpt-image-2", "nano-banana-pro"),
}
"""By output, the models that make it."""

_LINK: Final = re.compile(r"\$(.+)\.(video|last_frame|image)(?:\[([1-9][0-9]{0,2})\])?", re.DOTALL)


@frozen
class Link:
    """The output of a job, as another job of the same batch refers to it.

    Attributes:
        job: name of the job that makes it.
        output: ``video`` or ``last_frame`` of a clip, ``image`` of a picture.
        place: which of several pictures, from 1.

    Example:
        >>> str(Link("still-01", "image", 2))
        '$still-01.image[2]'
    """

    job: str
    output: LinkedOutput
    place: int = 1

    def __str__(self) -> str:
        """The link as a manifest writes it."""
        place = "" if self.place == 1 else f"[{self.place}]"
        return f"{SIGN}{self.job}.{self.output}{place}"

    @property
    def is_picture(self) -> bool:
        """Whether it may stand where a picture is asked for."""
        return self.output != "video"

    def task(self, tasks: Sequence[Task]) -> Task | None:
        """The task that makes it, of the tasks of its job; None if there is none."""
        place = self.place if len(tasks) > 1 else 1
        return tasks[place - 1] if place <= len(tasks) else None

    def url(self, tasks: Sequence[Task]) -> str | None:
        """The URL that it stands for, by the final tasks of its job; None if there is none."""
        task = self.task(tasks)
        match task and task.output:
            case VideoOutput(video_url=video, last_frame_url=frame):
                return video if self.output == "video" else frame if self.output == "last_frame" else None
            case ImageOutput(images=images) if self.output == "image":
                place = 1 if len(tasks) > 1 else self.place  # several tasks have a picture each
                return images[place - 1].url if place <= len(images) else None
            case _:
                return None


def parse_link(text: str) -> Link | None:
    """The link that a text is; None for any other text, such as a URL."""
    found = _LINK.fullmatch(text)
    if found is None:
        return None
    job, output, place = found.groups()
    return Link(job, output, int(place or 1))  # type: ignore[arg-type]  # one of the three, by the pattern
