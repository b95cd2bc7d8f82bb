"""Built-in manifest of the demo: clips and pictures in many aspect ratios, mixed as in a real production.

The first few jobs are already a mix. Beyond the last job the list starts over, with further takes.
"""

from __future__ import annotations

from itertools import count, islice
from typing import TYPE_CHECKING, Final

from attrs import evolve

from seedance_async.batch.jobs import Job
from seedance_async.models import GptImage2, NanoBananaPro, Seedance2Video

if TYPE_CHECKING:
    from collections.abc import Iterator


JOBS: Final = (
    Job(
        Seedance2Video(
            prompt="Dawn over a frozen valley: a train of clear glass crosses a stone viaduct, its lamps "
            "glowing amber. The camera glides alongside at window height, then rises as snow "
            "lifts behind the last car.",
            aspect_ratio="21:9",
            duration=6,
        ),
        name="glass-train",
    ),
    Job(
        GptImage2(
            prompt="A travel poster in three flat inks: a porcelain teapot as a mountain, steam as its "
            "clouds, a tiny red cable car climbing to the lid.",
            aspect_ratio="2:3",
        ),
        name="tea-poster",
    ),
    Job(
        Seedance2Video(
            prompt="A lighthouse keeper in a yellow coat winds the great lens by hand. The beam sweeps "
            "across her face and out to sea. Slow push in, salt on the window, distant foghorn.",
            aspect_ratio="9:16",
        ),
        name="lighthouse-keeper",
    ),
    Job(
        NanoBananaPro(
            prompt="Overhead still life of a night market stall: persimmons, paper lanterns, wet slate, "
            "one hand reaching in with coins. Soft tungsten light, 50 mm, shallow focus.",
            image_size="4:3",
        ),
        name="market-still",
    ),
    Job(
        Seedance2Video(
            prompt="A clockwork koi of brass and blue enamel turns through ink-black water. Macro lens, "
            "gears ticking softly, gold leaf drifting off its scales.",
            aspect_ratio="1:1",
            quality_tier="pro",
        ),
        name="clockwork-koi",
    ),
    Job(
        NanoBananaPro(
            prompt="A fox asleep on a warm rooftop ventilator above a rainy city, neon reflected in "
            "puddles, painted in gouache with visible brushwork.",
            image_size="16:9",
            output_format="jpeg",
        ),
        name="rooftop-fox",
    ),
    Job(
        Seedance2Video(
            prompt="A dancer in copper silk turns on a salt flat at noon; the silk draws rings in the "
            "air that stay for a heartbeat. Locked camera, one long take, wind and bare feet.",
            aspect_ratio="16:9",
            fixed_lens=True,
        ),
        name="desert-dancer",
    ),
    Job(
        GptImage2(
            prompt="A typewriter reclaimed by moss and small ferns in a shaft of forest light, a half- "
            "written letter still in the carriage.",
            aspect_ratio="1:1",
        ),
        name="moss-typewriter",
    ),
    Job(
        Seedance2Video(
            prompt="An armada of paper boats, each with a candle, slides down a flooded library "
            "staircase. The camera floats at water level between the shelves.",
            aspect_ratio="4:3",
            quality_tier="mini",
        ),
        name="paper-armada",
    ),
    Job(
        GptImage2(
            prompt="A cook tossing noodles in zero gravity inside a copper-lined orbital kitchen, the "
            "Earth's edge bright in the porthole, cinematic wide shot.",
            aspect_ratio="3:1",
        ),
        name="orbit-kitchen",
    ),
    Job(
        Seedance2Video(
            prompt="The last tram home, seen from the back seat: rain beads race along the glass, shop "
            "signs melt into colour, a child's hand draws a comet in the fog. Gentle sway, "
            "muffled bells.",
            aspect_ratio="3:4",
            duration=4,
        ),
        name="last-tram",
    ),
    Job(
        NanoBananaPro(
            prompt="A page of an antique atlas on which a whale, engraved in fine blue line, swims out "
            "of the paper and casts a real shadow on the desk.",
            image_size="3:2",
        ),
        name="whale-atlas",
    ),
)


def demo_jobs(number: int) -> list[Job]:
    """Return the first ``number`` jobs, their names numbered in order."""
    return list(islice(_numbered(), number))


def _numbered() -> Iterator[Job]:
    for index in count():
        take, place = divmod(index, len(JOBS))
        job = JOBS[place]
        prompt = f"{job.request.prompt} Take {take + 1}." if take else job.request.prompt
        yield Job(evolve(job.request, prompt=prompt), name=f"{index + 1:02}-{job.name}")
