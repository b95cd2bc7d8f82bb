"""Tests of the places that keep a shared budget, against real servers."""

from __future__ import annotations

import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import asyncpg
import pytest

from seedance_async.budget.postgres_store import TABLE, PostgresStore
from seedance_async.budget.redis_store import RedisStore
from seedance_async.budget.shared_store import MOST_CHARACTERS, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from seedance_async.budget.shared_store import Store
    from tests.servers import Postgres, Redis, Server


@pytest.fixture
def anyio_backend() -> str:
    """The real loop: what is waited for are other processes."""
    return "asyncio"


@pytest.fixture(params=["postgres", "redis"])
def server(request: pytest.FixtureRequest) -> Server:
    """A running server with an empty database."""
    request.getfixturevalue(f"{request.param}_url")
    found: Server = request.getfixturevalue(f"{request.param}_server")
    return found


@pytest.fixture
def url(server: Server, request: pytest.FixtureRequest) -> str:
    """Where its empty database is."""
    return str(request.getfixturevalue("redis_url" if _is_redis(server) else "postgres_url"))


def _is_redis(server: Server) -> bool:
    return type(server).__name__ == "Redis"


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Store]:
    """A connection to a store."""
    store: Store = RedisStore(url) if url.startswith("redis") else PostgresStore(url)
    try:
        yield store
    finally:
        await store.close()


async def test_what_is_written_is_read_by_others(url: str) -> None:
    """With the server's name and time, and under the name it was written for only."""
    async with opened(url) as one, opened(url) as other:
        nothing = await one.read("account")
        written = await one.replace("account", nothing.version, "the page")
        read = await other.read("account")
        assert (await other.read("another")).text is None

    assert nothing.text is None
    assert nothing.version == 0
    assert written is not None
    assert (written.text, written.version) == (read.text, read.version)
    assert "the page" == read.text
    assert nothing.server == read.server != ""
    assert nothing.at <= written.at <= read.at < nothing.at + 30.0
    assert read.up_for >= 0


async def test_only_who_has_read_the_last_page_replaces_it(url: str) -> None:
    """Ten at once, twenty rounds each: none overwrites what it has not seen."""
    replaced = []

    async def add(number: int) -> None:
        async with opened(url) as store:
            for turn in range(20):
                while True:
                    kept = await store.read("account")
                    text = f"{kept.text or ''} {number}:{turn}"
                    if await store.replace("account", kept.version, text) is not None:
                        break
                    replaced.append(number)

    async with anyio.create_task_group() as tasks:
        for number in range(10):
            tasks.start_soon(add, number)
    async with opened(url) as store:
        kept = await store.read("account")

    assert {f"{number}:{turn}" for number in range(10) for turn in range(20)} == set(
        (kept.text or "").split()
    )
    assert replaced


async def test_what_was_lost_and_begun_again_is_another_version(url: str) -> None:
    """So nobody takes the new page for the one he knows."""
    async with opened(url) as store:
        first = await store.replace("account", 0, "first")
        assert first is not None
        await _delete(url)
        assert await store.replace("account", first.version, "second") is None
        again = await store.replace("account", 0, "again")
        assert again is not None
        assert again.version > first.version
        assert await store.replace("account", first.version, "second") is None
        assert await store.replace("account", 0, "third") is None


async def test_a_page_that_nobody_can_have_written_is_not_fetched(url: str) -> None:
    """It would cost memory, for nothing."""
    async with opened(url) as store:
        await store.replace("account", 0, "x" * (MOST_CHARACTERS + 1))
        assert "" == (await store.read("account")).text


async def test_a_server_that_is_away_is_told_and_found_again(server: Server, url: str) -> None:
    """A restart is another server."""
    async with opened(url) as store:
        before = await store.read("account")
        server.stop(signal.SIGQUIT if not _is_redis(server) else signal.SIGKILL)
        for _ in range(2):
            with pytest.raises(StoreUnavailableError):
                await store.read("account")
        server.start()
        after = await store.read("account")

    assert before.server != after.server
    assert after.up_for < 30.0


async def test_a_question_given_up_leaves_no_answer_for_the_next(url: str) -> None:
    """A connection with an unread answer on it is not used again."""
    async with opened(url) as store:
        await store.replace("account", 0, "the page")
        for _ in range(20):
            with anyio.move_on_after(0.0002):
                await store.read("another")
            assert "the page" == (await store.read("account")).text


async def test_who_may_not_make_tables_uses_one_that_is_there(
    postgres_url: str, postgres_server: Postgres
) -> None:
    """The owner of the database makes it from the definition."""
    owner = await asyncpg.connect(postgres_url)
    await owner.execute("CREATE ROLE seedance LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    url = postgres_url.replace("postgres@", "seedance@")
    async with opened(url) as store:
        with pytest.raises(StoreUnavailableError, match="InsufficientPrivilege"):
            await store.read("account")
        await owner.execute(f"{TABLE}; GRANT SELECT, INSERT, UPDATE ON seedance_budget TO seedance")
        assert await store.replace("account", 0, "the page") is not None
    await owner.execute("REASSIGN OWNED BY seedance TO postgres; DROP OWNED BY seedance; DROP ROLE seedance")
    await owner.close()


async def test_who_may_not_ask_for_the_servers_name_still_shares(redis_url: str, redis_server: Redis) -> None:
    """Hosted servers hide INFO."""
    from redis.asyncio import Redis as Client

    admin = Client.from_url(redis_url)
    await admin.acl_setuser(
        "seedance", enabled=True, nopass=True, keys=["seedance:*"], commands=["+@all", "-info"]
    )
    async with opened(redis_url.replace("redis://", "redis://seedance@")) as store:
        assert await store.replace("account", 0, "the page") is not None
        assert "" == (await store.read("account")).server
    await admin.acl_deluser("seedance")
    await admin.aclose()


async def test_a_url_over_which_the_answer_stumbles_is_as_a_server_away(redis_url: str) -> None:
    """What is raised then is of no kind that a driver is known for, and ends nothing."""
    async with opened(f"{redis_url}?decode_responses=true") as store:
        with pytest.raises(StoreUnavailableError):
            await store.read("account")


async def test_a_server_of_another_role_is_as_one_away(postgres_url: str) -> None:
    """An error of asyncpg's that is neither the server's nor the interface's."""
    async with opened(f"{postgres_url}?target_session_attrs=standby") as store:
        with pytest.raises(StoreUnavailableError, match="TargetServerAttributeNotMatched"):
            await store.read("account")


async def _delete(url: str) -> None:
    if url.startswith("redis"):
        from redis.asyncio import Redis as Client

        client = Client.from_url(url)
        await client.flushall()
        await client.aclose()
    else:
        connection = await asyncpg.connect(url)
        await connection.execute("DELETE FROM seedance_budget")
        await connection.close()
