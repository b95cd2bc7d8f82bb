"""One clip from its prompt to a file on disk.

seedance sandbox --speed 20 -- python examples/quickstart.py     # no key, no money
SEEDANCE_API_KEY=... python examples/quickstart.py               # the real thing: spends credits
"""

from __future__ import annotations

import asyncio

from seedance_async import Seedance2Video, SeedanceClient


async def main() -> None:
    """Make one clip and print where it is."""
    request = Seedance2Video(prompt="A paper boat crosses a moonlit pond, slow push in", duration=4)
    async with SeedanceClient() as client:
        task = await client.generate(request)
        for path in await client.download(task, "out"):
            print(path)


if __name__ == "__main__":
    asyncio.run(main())
