"""A suite in pytest-asyncio's ``auto`` mode: no marks, async fixtures of its own, and ours."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from seedance_async import InsufficientCreditsError, NanoBananaPro, Seedance2Video, SeedanceClient
from seedance_async.sandbox import Sandbox

BOAT = Seedance2Video(prompt="a paper boat crosses a pond")


class Studio:
    """The program under test."""

    def __init__(self, client: SeedanceClient) -> None:
        self.client = client
        self.made: list[str] = []

    async def make(self, prompt: str) -> str:
        """Make a picture."""
        task = await self.client.generate(NanoBananaPro(prompt=prompt))
        self.made.append(task.id)
        return task.urls[0]


@pytest.fixture
async def studio(seedance_client: SeedanceClient) -> AsyncIterator[Studio]:
    """The program, with the fixture's client."""
    loop = asyncio.get_running_loop()
    yield Studio(seedance_client)
    assert loop is asyncio.get_running_loop()


@pytest.fixture
async def loop_of_a_fixture() -> asyncio.AbstractEventLoop:
    """Nothing of ours."""
    return asyncio.get_running_loop()


async def test_the_program(studio: Studio, seedance_sandbox: Sandbox) -> None:
    """With a fixture of its own."""
    assert (await studio.make("a fox asleep on a roof")).startswith("http")
    assert 1 == len(studio.made)
    assert seedance_sandbox.requests


@pytest.mark.seedance_sandbox(credits=30)
async def test_money(seedance_client: SeedanceClient, seedance_sandbox: Sandbox) -> None:
    """With options."""
    await seedance_client.generate(BOAT)
    with pytest.raises(InsufficientCreditsError):
        await seedance_client.generate(BOAT)
    assert 0 == seedance_sandbox.balance()


@pytest.mark.anyio
async def test_with_anyios_mark(seedance_client: SeedanceClient) -> None:
    """As the README has it."""
    assert (await seedance_client.generate(BOAT)).is_completed


@pytest.mark.asyncio
@pytest.mark.parametrize("count", [1, 2])
async def test_with_parameters(count: int, studio: Studio) -> None:
    """And the other mark."""
    for number in range(count):
        await studio.make(f"a fox asleep on roof {number}")
    assert count == len(studio.made)


async def test_of_the_suites_own(loop_of_a_fixture: asyncio.AbstractEventLoop) -> None:
    """Tests without our fixtures stay where they were."""
    assert loop_of_a_fixture is asyncio.get_running_loop()
    await asyncio.sleep(0)


def test_without_a_loop() -> None:
    """And plain ones."""
    assert BOAT.prompt
