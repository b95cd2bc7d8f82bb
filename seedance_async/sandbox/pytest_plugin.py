"""Fixtures for tests of programs that use this package: a sandbox, a client of it, and virtual time.

::

    @pytest.mark.anyio
    @pytest.mark.seedance_sandbox(credits=30)
    async def test_a_clip_spends_its_credits(seedance_client, seedance_sandbox, seedance_clock):
        await seedance_client.generate(Seedance2Video(prompt="a paper boat crosses a pond"))

        assert seedance_sandbox.balance() == 0
        assert seedance_clock.now > 60

A test that uses any of them runs in virtual time: the minutes of a clip pass at once, and identically in
every run. Every peer of the test must then run in its own loop, for the reasons in
:mod:`seedance_async.sandbox.virtual_time`. A test in real time enters a
:class:`~seedance_async.sandbox.Sandbox` itself.

pytest loads this module in every run where the package is installed, so its import must cost nothing: heavy
modules are imported inside the fixtures. The fixtures need anyio's own pytest plugin, which is installed with
anyio: mark tests with ``@pytest.mark.anyio`` or set ``anyio_mode = auto``.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from seedance_async.client import SeedanceClient
    from seedance_async.sandbox import Sandbox
    from seedance_async.sandbox.virtual_time import Clock, VirtualLoop

EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""The start of every test's sandbox, so that ``created_at`` is the same in every run."""

NEEDS_ANYIO: Final = (
    "the seedance fixtures need anyio's pytest plugin: write an async test with @pytest.mark.anyio, and "
    "leave asyncio_mode at strict"
)
"""The error of a test that anyio does not run: only anyio puts a test on the virtual loop."""


@pytest.fixture
async def seedance_clock() -> Clock:
    """Read and advance the virtual time that the test runs in."""
    from seedance_async.sandbox.virtual_time import Clock  # noqa: PLC0415

    return Clock()


@pytest.fixture
async def seedance_sandbox(
    request: pytest.FixtureRequest,
    seedance_clock: Clock,  # noqa: ARG001 - puts the test in virtual time
) -> AsyncIterator[Sandbox]:
    """Run an emulator of the whole API for one test.

    ``@pytest.mark.seedance_sandbox(...)`` takes the options of :class:`seedance_async.sandbox.Sandbox`.
    """
    from seedance_async.sandbox import Sandbox  # noqa: PLC0415

    mark = request.node.get_closest_marker("seedance_sandbox")
    options = {"epoch": EPOCH, **(mark.kwargs if mark else {})}
    async with Sandbox(**options) as sandbox:
        yield sandbox


@pytest.fixture
async def seedance_client(seedance_sandbox: Sandbox) -> AsyncIterator[SeedanceClient]:
    """Open a client of the sandbox, with its key."""
    from seedance_async.client import SeedanceClient  # noqa: PLC0415
    from seedance_async.models import CreditLimits  # noqa: PLC0415

    async with SeedanceClient(
        seedance_sandbox.api_key,
        seedance_sandbox.base_url,
        record=False,  # play money, and gone with the test
        credit_limits=CreditLimits(),
    ) as client:
        yield client


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", "seedance_sandbox(**options): options of the fixture of this name.")


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests that use the clock on the virtual loop, whatever the suite's own backend is."""
    if "seedance_clock" not in metafunc.fixturenames:
        return
    if _another_plugin_runs(metafunc.config) or "anyio_backend" not in metafunc.fixturenames:
        pytest.fail(f"{metafunc.definition.nodeid}: {NEEDS_ANYIO}", pytrace=False)
    else:
        backend = pytest.param(("asyncio", {"loop_factory": _virtual_loop}), id="virtual")
        metafunc.definition.add_marker(pytest.mark.parametrize("anyio_backend", [backend], scope="module"))


def _another_plugin_runs(config: pytest.Config) -> bool:
    """Whether pytest-asyncio runs every async test, those with anyio's mark too."""
    try:
        mode = config.getoption("asyncio_mode", None) or config.getini("asyncio_mode")
    except ValueError:  # no such setting: it is not installed
        return False
    return str(getattr(mode, "value", mode)) == "auto"


def _virtual_loop() -> VirtualLoop:
    from seedance_async.sandbox.virtual_time import VirtualLoop  # noqa: PLC0415

    return VirtualLoop()
