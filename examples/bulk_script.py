"""A few hundred pictures, each processed as soon as it is ready.

seedance sandbox --speed 600 -- python examples/bulk_script.py 300     # no key, no money
SEEDANCE_API_KEY=... python examples/bulk_script.py 3                  # the real thing: spends credits

However many there are, the client sends no more requests than the account's limit allows, and no job is lost
through the error of another: each one is returned, with its tasks or its error.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from typing import TYPE_CHECKING

from seedance_async import NanoBananaPro, SeedanceClient

if TYPE_CHECKING:
    from collections.abc import Iterator

ANIMALS = ("fox", "heron", "otter", "lynx", "toad")
PLACES = ("in a flooded library", "on a rooftop garden", "in an empty tram", "on a salt flat")
HOURS = ("at dawn", "at noon", "by lamplight")
STYLES = ("gouache", "woodcut", "35 mm film", "cut paper", "blue ink")


def requests(number: int) -> Iterator[NanoBananaPro]:
    """Yield up to 300 requests, each made only when the client asks for it."""
    combinations = itertools.product(ANIMALS, PLACES, HOURS, STYLES)
    for animal, place, hour, style in itertools.islice(combinations, number):
        yield NanoBananaPro(prompt=f"A {animal} {place} {hour}, {style}", image_size="4:3")


async def main(number: int) -> None:
    """Generate the pictures, and print each URL as it arrives."""
    async with SeedanceClient() as client:
        async for result in client.as_completed(requests(number)):
            print(result.index, result.request.prompt, *(result.urls or [f"failed: {result.error}"]))
        usage = client.usage
    print(f"{usage.requests} requests, {usage.credits_used - usage.credits_refunded:g} credits")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10))
