"""Tests of the servers that other tests use."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import asyncpg
import pytest

from tests import servers

if TYPE_CHECKING:
    from tests.servers import Postgres, Redis


@pytest.fixture
def anyio_backend() -> str:
    """The real loop: what is waited for are other processes."""
    return "asyncio"


async def test_a_database_survives_a_crash_of_its_server(
    postgres_server: Postgres, postgres_url: str
) -> None:
    """And is another test's own."""
    connection = await asyncpg.connect(postgres_url)
    await connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
    postgres_server.restart(signal.SIGQUIT)
    connection = await asyncpg.connect(postgres_url)
    assert 1 == await connection.fetchval("SELECT one FROM kept")
    await connection.close()


def test_a_redis_answers(redis_server: Redis, redis_url: str) -> None:
    """Also after its process was killed."""
    redis_server.restart(signal.SIGKILL)
    assert redis_server.answers()


@pytest.mark.parametrize("required", [True, False])
def test_without_a_program_the_reason_is_said(required: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """And in CI it is a failure."""
    monkeypatch.setenv("TESTS_NEED_SERVERS", "1" if required else "")
    outcome = pytest.fail.Exception if required else pytest.skip.Exception
    with pytest.raises(outcome, match="apt-get install redis-server"):
        servers._do_without("redis-server")
