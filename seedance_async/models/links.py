"""A link: a reference to the output of another job of a batch, in place of a URL: ``$still-01.image``.

It is replaced by the URL before the request is sent. Pure.
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
"""The models that make each output."""

_LINK: Final = re.compile(r"\$(.+)\.(video|last_frame|image)(?:\[([1-9][0-9]{0,2})\])?", re.DOTALL)


@frozen
class Link:
    """A reference to an output of a job, in another job of the same batch.

    Attributes:
        job: name of the job that makes the output.
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
        """The link as it is written in a manifest."""
        place = "" if self.place == 1 else f"[{self.place}]"
        return f"{SIGN}{self.job}.{self.output}{place}"

    @property
    def is_picture(self) -> bool:
        """Whether the output is a picture."""
        return self.output != "video"

    def task(self, tasks: Sequence[Task]) -> Task | None:
        """The task that makes the output, among the tasks of the job; None if there is none."""
        place = self.place if len(tasks) > 1 else 1
        return tasks[place - 1] if place <= len(tasks) else None

    def url(self, tasks: Sequence[Task]) -> str | None:
        """The URL of the output, from the final tasks of the job; None if there is none."""
        task = self.task(tasks)
        match task and task.output:
            case VideoOutput(video_url=video, last_frame_url=frame):
                return video if self.output == "video" else frame if self.output == "last_frame" else None
            case ImageOutput(images=images) if self.output == "image":
                place = 1 if len(tasks) > 1 else self.place  # each of several tasks has one picture
                return images[place - 1].url if place <= len(images) else None
            case _:
                return None


def parse_link(text: str) -> Link | None:
    """The link in a text; None for any other text, such as a URL."""
    found = _LINK.fullmatch(text)
    if found is None:
        return None
    job, output, place = found.groups()
    return Link(job, output, int(place or 1))  # type: ignore[arg-type]  # one of the three, by the pattern
