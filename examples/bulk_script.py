"""A few hundred pictures, each handled the moment it is ready.

seedance sandbox --speed 600 -- python examples/bulk_script.py 300     # no key, no money
SEEDANCE_API_KEY=... python examples/bulk_script.py 3                  # the real thing: spends credits

However many there are, the client sends no more requests than the account's limit allows, and no job is lost
to an error of another: every one comes back, with its tasks or with what went wrong.
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
    """Up to 300 pictures, each described only when the client gets to it."""
    wishes = itertools.product(ANIMALS, PLACES, HOURS, STYLES)
    for animal, place, hour, style in itertools.islice(wishes, number):
        yield NanoBananaPro(prompt=f"A {animal} {place} {hour}, {style}", image_size="4:3")


async def main(number: int) -> None:
    """Make them, and print each URL as it arrives."""
    async with SeedanceClient() as client:
        async for result in client.as_completed(requests(number)):
            print(result.index, result.request.prompt, *(result.urls or [f"failed: {result.error}"]))
        usage = client.usage
    print(f"{usage.requests} requests, {usage.credits_used - usage.credits_refunded:g} credits")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10))
