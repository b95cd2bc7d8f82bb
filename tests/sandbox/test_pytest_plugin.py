"""Tests of the pytest plugin from a user's test suite: each test here runs one with pytest itself."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest_plugins = ["pytester"]

USERS_TESTS = """
import anyio
import pytest

from seedance_async import InsufficientCreditsError, Seedance2Video

pytestmark = pytest.mark.anyio
BOAT = Seedance2Video(prompt="a paper boat crosses a pond")


@pytest.mark.seedance_sandbox(credits=30)
async def test_a_clip_spends_its_credits(seedance_client, seedance_sandbox, seedance_clock):
    task = await seedance_client.generate(BOAT)

    assert task.is_completed
    assert task.created_at.isoformat() == "2026-01-01T00:00:00+00:00"
    assert seedance_sandbox.balance() == 0
    assert seedance_clock.now > 60
    with pytest.raises(InsufficientCreditsError):
        await seedance_client.submit(BOAT)


async def test_every_test_has_a_sandbox_of_its_own(seedance_sandbox, seedance_clock):
    assert seedance_sandbox.requests == []
    assert seedance_clock.now < 1


async def test_the_clock_advances_when_told(seedance_clock):
    began = seedance_clock.now
    with anyio.move_on_after(3600) as scope:
        await seedance_clock.advance(7200)
    assert scope.cancelled_caught
    assert seedance_clock.now == began + 3600


async def test_the_client_keeps_the_limit(seedance_client, seedance_sandbox):
    requests = [Seedance2Video(prompt=f"boat {number}") for number in range(50)]
    results = [result async for result in seedance_client.as_completed(requests)]
    assert len(results) == 50
    assert seedance_sandbox.worst_window().arrivals <= 30
"""


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    """A user's suite: its own directory, warnings as errors, markers declared."""
    # Hypothesis would be loaded anew for each of these runs, which takes longer than the run.
    options = "-W error --strict-markers -p no:cacheprovider -p no:hypothesispytest -p no:asyncio"
    pytester.makeini(f"[pytest]\naddopts = {options}\n")
    return pytester


def test_a_users_tests_run_against_a_sandbox_in_virtual_time(suite: pytest.Pytester) -> None:
    """The example of the documentation works: credits, a clock, a limit, and nothing shared between tests."""
    suite.makepyfile(USERS_TESTS)

    result = suite.runpytest_inprocess()

    result.assert_outcomes(passed=4)


def test_other_tests_of_the_suite_stay_on_their_own_backend(suite: pytest.Pytester) -> None:
    """Virtual time comes with the fixtures, not with the installation."""
    suite.makepyfile("""
        import asyncio
        import pytest
        from seedance_async.sandbox.virtual_time import VirtualLoop

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        @pytest.mark.anyio
        async def test_real():
            assert not isinstance(asyncio.get_running_loop(), VirtualLoop)

        @pytest.mark.anyio
        async def test_virtual(seedance_clock):
            assert isinstance(asyncio.get_running_loop(), VirtualLoop)

        @pytest.mark.anyio
        @pytest.mark.usefixtures("seedance_clock")
        async def test_also_virtual():
            assert isinstance(asyncio.get_running_loop(), VirtualLoop)
    """)

    result = suite.runpytest_inprocess()

    result.assert_outcomes(passed=3)


def test_the_clock_refuses_a_loop_in_real_time(suite: pytest.Pytester) -> None:
    """A loop of another maker sleeps for real; saying so beats a test of three minutes."""
    suite.makepyfile("""
        import asyncio
        import pytest
        from seedance_async.sandbox.virtual_time import Clock

        def test_real():
            async def look():
                Clock()

            asyncio.run(look())
    """)

    result = suite.runpytest_inprocess()

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*this runs in real time*"])


def test_loading_the_plugin_imports_nothing_heavy() -> None:
    """It is loaded in every pytest run of everybody who has the package installed."""
    code = (
        "import sys, pytest; before = set(sys.modules); import seedance_async.sandbox.pytest_plugin; "
        "print(*sorted(set(sys.modules) - before))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout

    assert {
        "seedance_async",
        "seedance_async.sandbox",
        "seedance_async.sandbox.pytest_plugin",
    } == set(loaded.split())


PLAIN = "async def test_it(seedance_client): pass"
SYNC = "def test_it(seedance_sandbox): pass"


@pytest.mark.parametrize("test", [PLAIN, SYNC])
def test_a_test_that_anyio_does_not_run_is_told_what_to_write(suite: pytest.Pytester, test: str) -> None:
    """Not that some fixture was asked for with no plugin, nor that the client is in another loop."""
    suite.makepyfile(test)

    ending = suite.runpytest()

    ending.assert_outcomes(errors=1)
    ending.stdout.fnmatch_lines(["*write an async test with @pytest.mark.anyio*"])


def test_a_suite_without_anyios_plugin_is_told_which_switch_it_is(suite: pytest.Pytester) -> None:
    """Suites that use pytest-asyncio sometimes switch it off, and met a bare assertion."""
    suite.makepyfile(PLAIN)

    ending = suite.runpytest_subprocess("-p", "no:anyio")

    ending.assert_outcomes(errors=1)
    ending.stdout.fnmatch_lines(["*leave out -p no:anyio*"])


WITHOUT_MARKS = USERS_TESTS.replace("pytestmark = pytest.mark.anyio\n", "")
MARKED_ASYNCIO = USERS_TESTS.replace("pytest.mark.anyio", "pytest.mark.asyncio")

OTHER_TESTS = """

import asyncio

import pytest_asyncio

from seedance_async.sandbox.virtual_time import VirtualLoop


@{fixture}
async def app(seedance_client):
    loop = asyncio.get_running_loop()
    yield seedance_client
    assert loop is asyncio.get_running_loop()


@{fixture}
async def elsewhere():
    return asyncio.get_running_loop()


@pytest.mark.asyncio
async def test_a_fixture_of_the_suites_own(app, elsewhere, seedance_sandbox):
    assert (await app.generate(BOAT)).is_completed
    assert len(seedance_sandbox.requests) > 1
    assert elsewhere is asyncio.get_running_loop()


@pytest.mark.asyncio
async def test_without_the_fixtures(elsewhere):
    assert not isinstance(asyncio.get_running_loop(), VirtualLoop)
    assert elsewhere is asyncio.get_running_loop()


class TestInAClass:
    @pytest.mark.asyncio
    @pytest.mark.parametrize("count", [1, 2])
    async def test_with_parameters(self, count, seedance_client, seedance_clock):
        for _ in range(count):
            await seedance_client.generate(BOAT)
        assert isinstance(asyncio.get_running_loop(), VirtualLoop)


"""


BESIDE_OTHERS = {
    "auto": ("auto", WITHOUT_MARKS + OTHER_TESTS.format(fixture="pytest.fixture"), 8),
    "auto-marks": ("auto", MARKED_ASYNCIO + OTHER_TESTS.format(fixture="pytest_asyncio.fixture"), 8),
    "auto-anyio-marks": ("auto", USERS_TESTS, 4),
    "strict": ("strict", MARKED_ASYNCIO + OTHER_TESTS.format(fixture="pytest_asyncio.fixture"), 8),
    "strict-anyio-marks": ("strict", USERS_TESTS, 4),
}


@pytest.mark.parametrize(("mode", "tests", "count"), BESIDE_OTHERS.values(), ids=BESIDE_OTHERS)
def test_the_fixtures_work_where_pytest_asyncio_runs_the_suite(
    suite: pytest.Pytester, mode: str, tests: str, count: int
) -> None:
    """In both of its modes, with its marks, anyio's or none, beside tests and fixtures of the suite's own."""
    options = "-W error --strict-markers -p no:cacheprovider -p no:hypothesispytest -p no:schemathesis"
    modes = f"asyncio_mode = {mode}\nasyncio_default_fixture_loop_scope = function\n"
    suite.makeini(f"[pytest]\naddopts = {options}\n{modes}")
    suite.makepyfile(tests)

    result = suite.runpytest_subprocess()

    result.assert_outcomes(passed=count)
