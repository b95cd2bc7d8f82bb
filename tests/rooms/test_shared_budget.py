"""Clients that share the budget of their account at a real PostgreSQL or Redis."""

from __future__ import annotations

import builtins
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio
import asyncpg
import pytest
from yarl import URL

from seedance_async import ConfigurationError, RateLimit, SeedanceClient, SeedanceError
from seedance_async.sandbox import Conditions, Sandbox
from tests.servers import Redis

if TYPE_CHECKING:
    from tests.servers import Server

LIMIT = RateLimit(requests=6, period=2.0)
SPEED = 30.0
CONDITIONS = Conditions(speed=SPEED, requests=6, latency=(0.0, 0.1))


@pytest.fixture
def anyio_backend() -> str:
    """The real loop: what is waited for are other processes."""
    return "asyncio"


@pytest.fixture(params=["postgres", "redis"])
def server(request: pytest.FixtureRequest) -> Server:
    """A running server."""
    found: Server = request.getfixturevalue(f"{request.param}_server")
    return found


@pytest.fixture
def url(server: Server, request: pytest.FixtureRequest) -> str:
    """Where its empty database is."""
    return str(request.getfixturevalue("redis_url" if isinstance(server, Redis) else "postgres_url"))


def client(sandbox: Sandbox, url: str) -> SeedanceClient:
    """One host's."""
    return SeedanceClient(sandbox.api_key, sandbox.base_url, rate_limit=LIMIT, shared_budget=url)


async def ask(client: SeedanceClient, calls: int) -> None:
    """Ask for a task that is none, all at once."""

    async def once() -> None:
        with suppress(SeedanceError):
            await client.get_task("nbp_none")

    async with client, anyio.create_task_group() as callers:
        for _ in range(calls):
            callers.start_soon(once)


async def test_clients_of_several_hosts_share_one_window(url: str) -> None:
    """Three, each with more to ask than one window holds; none is refused."""
    async with Sandbox(conditions=CONDITIONS) as sandbox:
        async with anyio.create_task_group() as hosts:
            for _ in range(3):
                hosts.start_soon(ask, client(sandbox, url), 8)

        assert 24 == len(sandbox.requests)
        assert sandbox.worst_window().arrivals <= LIMIT.requests
        assert all(record.admitted for record in sandbox.requests)


async def test_a_server_that_is_stopped_and_started_opens_no_window(server: Server, url: str) -> None:
    """Whether it keeps what it had, or not, as this Redis."""
    async with Sandbox(conditions=CONDITIONS) as sandbox:
        async with anyio.create_task_group() as hosts:
            for _ in range(2):
                hosts.start_soon(ask, client(sandbox, url), 12)
            with anyio.fail_after(20.0):
                while len(sandbox.requests) < 8:  # noqa: ASYNC110 - the sandbox sets no event
                    await anyio.sleep(0.05)
            await anyio.to_thread.run_sync(server.restart, _hard(server))

        assert 24 == len(sandbox.requests)
        assert sandbox.worst_window().arrivals <= LIMIT.requests


async def test_without_its_server_a_client_goes_on_with_a_share(
    server: Server, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """One warning, with the address and without the password."""
    url = url.replace("postgres@", "postgres:hunter2@").replace("redis://", "redis://:hunter2@")
    server.stop(_hard(server))
    try:
        async with Sandbox(conditions=CONDITIONS) as sandbox:
            await ask(client(sandbox, url), 3)
            assert 3 == len(sandbox.requests)
            assert 1 == sandbox.worst_window().arrivals
    finally:
        server.start()

    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert f"127.0.0.1:{server.port}" in warning
    assert "at most 25% of the limit" in warning
    assert "hunter2" not in caplog.text


async def test_the_server_sees_neither_key_nor_account(postgres_url: str) -> None:
    """The row of an account is called by a hash."""
    async with Sandbox(conditions=CONDITIONS) as sandbox:
        account = client(sandbox, postgres_url).account
        await ask(client(sandbox, postgres_url), 1)
    connection = await asyncpg.connect(postgres_url)
    rows = f"{await connection.fetch('SELECT * FROM seedance_budget')}"
    await connection.close()

    assert "claims" in rows
    assert sandbox.api_key not in rows
    assert all(part not in rows for part in account.split())


async def test_the_environment_says_where_it_is(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """So a whole deployment shares without a change of its code."""
    monkeypatch.setenv("SEEDANCE_SHARED_BUDGET", redis_url)
    async with Sandbox(conditions=CONDITIONS) as sandbox:
        async with anyio.create_task_group() as hosts:
            for _ in range(2):
                there = SeedanceClient(sandbox.api_key, sandbox.base_url, rate_limit=LIMIT)
                hosts.start_soon(ask, there, 6)

        assert sandbox.worst_window().arrivals <= LIMIT.requests


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost",
        "mysql://user:hunter2@host/database",
        "redis://:hun/ter2@host:6379/0",
        "redis://:hun?ter2@host:6379/0",
        "redis://:hunter2@host:many/0",
        "redis://:hunter2@host:6379/0?socket_timeout=hunter2",
        "redis://:hunter2@host:6379/0?timeout=5",
        "redis://:hunter2@host:6379/0?retry=hunter2",
        "redis://:hunter2@host:6379/0?encoding=hunter2",
        "postgresql://user:hunter2@host:many/database",
        "postgresql://user:hun#ter2@host/database",
        "postgresql://[user:hunter2@host/database",
    ],
)
def test_a_url_that_is_none_is_refused_without_its_password(url: str) -> None:
    """Neither the message nor what caused it shows it."""
    with pytest.raises(ConfigurationError, match="shared") as refused:
        SeedanceClient("sk_test_1", "http://127.0.0.1:1/api/v1", shared_budget=url)

    told = f"{refused.value!r} {refused.value.__cause__!r} {refused.value.__context__!r}"
    assert "hun" not in told
    assert "ter2" not in told


@pytest.mark.parametrize(
    "given", [5, b"redis://:hunter2@host", URL("redis://:hunter2@host")], ids=["int", "bytes", "URL"]
)
def test_what_is_no_text_is_refused_by_its_type(given: object) -> None:
    """Its repr may have the password."""
    with pytest.raises(ConfigurationError, match="shared_budget must be a URL") as refused:
        SeedanceClient("sk_test_1", "http://127.0.0.1:1/api/v1", shared_budget=given)  # type: ignore[arg-type]

    assert f"got {type(given).__name__}" in str(refused.value)
    assert "hunter2" not in repr(refused.value)


@pytest.mark.parametrize(
    ("url", "library", "extra"),
    [("postgresql://host/database", "asyncpg", "postgres"), ("rediss://host", "redis", "redis")],
)
def test_a_missing_library_is_named(
    url: str, library: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what installs it."""
    real = builtins.__import__

    def without(name: str, *args: object, **options: object) -> object:
        if name.partition(".")[0] == library:
            raise ImportError(name)
        return real(name, *args, **options)  # type: ignore[arg-type]  # as they came

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigurationError, match=rf'pip install "seedance-async\[{extra}\]"'):
        SeedanceClient("sk_test_1", "http://127.0.0.1:1/api/v1", shared_budget=url)


def _hard(server: Server) -> signal.Signals:
    return signal.SIGKILL if isinstance(server, Redis) else signal.SIGQUIT
