"""The demo's jobs: a small production, mixed as real ones are, of clips and stills in many shapes.

Any first few of them are a mix already, and beyond the last they start over as further takes.
"""

from __future__ import annotations

from itertools import count, islice
from typing import TYPE_CHECKING, Final

import attrs
from attrs import frozen

from seedance_async.models import GptImage2, NanoBananaPro, Request, Seedance2Video

if TYPE_CHECKING:
    from collections.abc import Iterator


@frozen
class DemoJob:
    """A request and the stem of its files."""

    name: str
    request: Request

    @property
    def shape(self) -> str:
        """Width to height, such as ``16:9``."""
        if isinstance(self.request, NanoBananaPro):
            return self.request.image_size
        return self.request.aspect_ratio


TAKES: Final = (
    DemoJob(
        "glass-train",
        Seedance2Video(
            prompt="Dawn over a frozen valley: a train of clear glass crosses a stone viaduct, its lamps "
            "glowing amber. The camera glides alongside at window height, then rises as snow "
            "lifts behind the last car.",
            aspect_ratio="21:9",
            duration=6,
        ),
    ),
    DemoJob(
        "tea-poster",
        GptImage2(
            prompt="A travel poster in three flat inks: a porcelain teapot as a mountain, steam as its "
            "clouds, a tiny red cable car climbing to the lid.",
            aspect_ratio="2:3",
        ),
    ),
    DemoJob(
        "lighthouse-keeper",
        Seedance2Video(
            prompt="A lighthouse keeper in a yellow coat winds the great lens by hand. The beam sweeps "
            "across her face and out to sea. Slow push in, salt on the window, distant foghorn.",
            aspect_ratio="9:16",
        ),
    ),
    DemoJob(
        "market-still",
        NanoBananaPro(
            prompt="Overhead still life of a night market stall: persimmons, paper lanterns, wet slate, "
            "one hand reaching in with coins. Soft tungsten light, 50 mm, shallow focus.",
            image_size="4:3",
        ),
    ),
    DemoJob(
        "clockwork-koi",
        Seedance2Video(
            prompt="A clockwork koi of brass and blue enamel turns through ink-black water. Macro lens, "
            "gears ticking softly, gold leaf drifting off its scales.",
            aspect_ratio="1:1",
            quality_tier="pro",
        ),
    ),
    DemoJob(
        "rooftop-fox",
        NanoBananaPro(
            prompt="A fox asleep on a warm rooftop ventilator above a rainy city, neon reflected in "
            "puddles, painted in gouache with visible brushwork.",
            image_size="16:9",
            output_format="jpeg",
        ),
    ),
    DemoJob(
        "desert-dancer",
        Seedance2Video(
            prompt="A dancer in copper silk turns on a salt flat at noon; the silk draws rings in the "
            "air that stay for a heartbeat. Locked camera, one long take, wind and bare feet.",
            aspect_ratio="16:9",
            fixed_lens=True,
        ),
    ),
    DemoJob(
        "moss-typewriter",
        GptImage2(
            prompt="A typewriter reclaimed by moss and small ferns in a shaft of forest light, a half- "
            "written letter still in the carriage.",
            aspect_ratio="1:1",
        ),
    ),
    DemoJob(
        "paper-armada",
        Seedance2Video(
            prompt="An armada of paper boats, each with a candle, slides down a flooded library "
            "staircase. The camera floats at water level between the shelves.",
            aspect_ratio="4:3",
            quality_tier="mini",
        ),
    ),
    DemoJob(
        "orbit-kitchen",
        GptImage2(
            prompt="A cook tossing noodles in zero gravity inside a copper-lined orbital kitchen, the "
            "Earth's edge bright in the porthole, cinematic wide shot.",
            aspect_ratio="3:1",
        ),
    ),
    DemoJob(
        "last-tram",
        Seedance2Video(
            prompt="The last tram home, seen from the back seat: rain beads race along the glass, shop "
            "signs melt into colour, a child's hand draws a comet in the fog. Gentle sway, "
            "muffled bells.",
            aspect_ratio="3:4",
            duration=4,
        ),
    ),
    DemoJob(
        "whale-atlas",
        NanoBananaPro(
            prompt="A page of an antique atlas on which a whale, engraved in fine blue line, swims out "
            "of the paper and casts a real shadow on the desk.",
            image_size="3:2",
        ),
    ),
)


def demo_jobs(number: int) -> list[DemoJob]:
    """The first ``number`` jobs, their names numbered in order."""
    return list(islice(_numbered(), number))


def _numbered() -> Iterator[DemoJob]:
    for index in count():
        take, place = divmod(index, len(TAKES))
        job = TAKES[place]
        request = (
            attrs.evolve(job.request, prompt=f"{job.request.prompt} Take {take + 1}.")
            if take
            else job.request
        )
        yield DemoJob(f"{index + 1:02}-{job.name}", request)
