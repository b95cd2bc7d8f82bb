"""The pytest fixtures for programs that use this package: a sandbox, a client of it, and virtual time.

::

    @pytest.mark.anyio
    @pytest.mark.seedance_sandbox(credits=30)
    async def test_a_clip_spends_its_credits(seedance_client, seedance_sandbox, seedance_clock):
        await seedance_client.generate(Seedance2Video(prompt="a paper boat crosses a pond"))

        assert seedance_sandbox.balance() == 0
        assert seedance_clock.now > 60

A test that uses any of them runs in virtual time: the minutes of a clip pass at once, and identically in
every run. All servers and clients of the test must then run in the test's event loop, for the reasons in
:mod:`seedance_async.sandbox.virtual_time`. A test in real time enters a
:class:`~seedance_async.sandbox.Sandbox` itself.

pytest loads this module in every run where the package is installed, so its import must be fast: large
modules are imported inside the fixtures. A test that uses them is run by anyio's pytest plugin, which is
installed with anyio and can use the virtual loop: a test with ``@pytest.mark.anyio``, any async test with
``anyio_mode = auto``, and every test that pytest-asyncio would run, in both of its modes.
"""

from __future__ import annotations

import inspect
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator

    from seedance_async.client import SeedanceClient
    from seedance_async.sandbox import Sandbox
    from seedance_async.sandbox.virtual_time import Clock, VirtualLoop

    _Collected = pytest.Item | pytest.Collector | list[pytest.Item | pytest.Collector] | None

EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""The start of every test's sandbox, so that ``created_at`` is the same in every run."""

NEEDS_ANYIO: Final = (
    "the seedance fixtures need anyio's pytest plugin: write an async test with @pytest.mark.anyio, or with "
    "@pytest.mark.asyncio where pytest-asyncio is installed"
)
"""The error for an async test that no plugin would run on an event loop."""


ANYIO_IS_OFF: Final = (
    "the seedance fixtures need anyio's pytest plugin, which is switched off: leave out -p no:anyio"
)


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
        record=False,  # its credits are not real, and end with the test
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
    if not metafunc.config.pluginmanager.has_plugin("anyio"):
        pytest.fail(f"{metafunc.definition.nodeid}: {ANYIO_IS_OFF}", pytrace=False)
    if "anyio_backend" not in metafunc.fixturenames:
        if not _is_for_pytest_asyncio(metafunc.definition):
            pytest.fail(f"{metafunc.definition.nodeid}: {NEEDS_ANYIO}", pytrace=False)
        metafunc.fixturenames.append("anyio_backend")
    backend = pytest.param(("asyncio", {"loop_factory": _virtual_loop}), id="virtual")
    metafunc.definition.add_marker(pytest.mark.parametrize("anyio_backend", [backend], scope="module"))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_pycollect_makeitem() -> Generator[None, _Collected, _Collected]:
    """Replace the items that pytest-asyncio has made of tests with the clock, so that anyio runs them."""
    collected = yield
    return [_in_virtual_time(node) for node in collected] if isinstance(collected, list) else collected


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest
) -> Generator[None, object, object]:
    """Leave the async fixtures of such a test to anyio, as pytest-asyncio would run them on another loop."""
    with pytest.MonkeyPatch.context() as patch:
        if isinstance(request.node, VirtualTimeTest) and hasattr(request.config.option, "asyncio_mode"):
            patch.setattr(request.config.option, "asyncio_mode", "strict")
            if hasattr(fixturedef.func, "_force_asyncio_fixture"):  # @pytest_asyncio.fixture
                patch.setattr(fixturedef.func, "_force_asyncio_fixture", False)
        return (yield)


class VirtualTimeTest(pytest.Function):
    """A test that anyio runs, although it may have marks of pytest-asyncio."""

    def get_closest_marker(self, name: str, default: pytest.Mark | None = None) -> pytest.Mark | None:  # type: ignore[override]  # its overloads say the same
        """The nearest mark of this name, except that of pytest-asyncio."""
        return None if name == "asyncio" else super().get_closest_marker(name, default)  # type: ignore[arg-type]


def _in_virtual_time(node: pytest.Item | pytest.Collector) -> pytest.Item | pytest.Collector:
    if not isinstance(node, pytest.Function) or "seedance_clock" not in node.fixturenames:
        return node
    assert node.parent is not None  # noqa: S101 - it was collected from one
    if "anyio_backend" not in node.fixturenames:  # pytest has dropped it: no signature names it
        node.fixturenames.insert(0, "anyio_backend")
    test = VirtualTimeTest.from_parent(
        node.parent,
        name=node.name,
        callspec=node.callspec,
        callobj=node.obj,
        fixtureinfo=node._fixtureinfo,  # noqa: SLF001 - as anyio's plugin makes its own items
        keywords=node.keywords,
        originalname=node.originalname,
    )
    test.own_markers = node.own_markers
    return test


def _is_for_pytest_asyncio(definition: pytest.Function) -> bool:
    """Whether pytest-asyncio runs this test: one with its mark, or any async test in ``auto`` mode."""
    config = definition.config
    if not config.pluginmanager.has_plugin("asyncio") or not inspect.iscoroutinefunction(definition.obj):
        return False
    mode = config.getoption("asyncio_mode", None) or config.getini("asyncio_mode")
    return definition.get_closest_marker("asyncio") is not None or str(getattr(mode, "value", mode)) == "auto"


def _virtual_loop() -> VirtualLoop:
    from seedance_async.sandbox.virtual_time import VirtualLoop  # noqa: PLC0415

    return VirtualLoop()
