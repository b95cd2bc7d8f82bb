"""Tests of section A: a failure before the request is sent is certain, and the request is retried."""

from __future__ import annotations

import asyncio
import errno
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

import aiohttp
import anyio
import pytest
from aiohappyeyeballs import start_connection

from seedance_async import (
    ConnectionFailedError,
    RateLimit,
    SeedanceClient,
    Timeouts,
    UncertainSubmissionError,
)
from seedance_async.sandbox import Conditions, Fault, Sandbox
from tests.faults.helpers import IMPATIENT, VIDEO, client_for, posts
from tests.rooms.raw_server import accepted, answer, raw_server

if TYPE_CHECKING:
    from collections.abc import Iterator


TLS_HANDSHAKE = b"\x16\x03\x01"


async def submit_in_vain(client: SeedanceClient) -> ConnectionFailedError:
    """A submit that must fail, certain that nothing was charged."""
    with pytest.raises(ConnectionFailedError) as caught:
        await client.submit(VIDEO)
    assert not isinstance(caught.value, UncertainSubmissionError)
    assert caught.value.idempotency_key is not None
    assert client.usage.retries > 0
    return caught.value


@contextmanager
def a_server_that_accepts_nobody() -> Iterator[int]:
    """A port whose queue is full, so that the system lets further connections wait for ever."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(server.getsockname())
        yield server.getsockname()[1]
        for each in waiting:
            each.close()


@pytest.mark.case(2)
@pytest.mark.parametrize("problem", [socket.EAI_NONAME, socket.EAI_AGAIN])
async def test_a_name_that_does_not_resolve_charges_nothing(
    problem: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither for good nor for the moment."""

    async def look_up(*_: object, **__: object) -> object:
        raise socket.gaierror(problem, "nobody of that name")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", look_up)
    async with SeedanceClient("sk_test", "https://seedance2ai.test/api/v1", retry=IMPATIENT) as client:
        error = await submit_in_vain(client)

    assert "resolved" in error.message


@pytest.mark.case(2)
async def test_a_slow_name_server_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten seconds until a connection stands, and finding the address is a part of that."""

    async def look_up(*_: object, **__: object) -> None:
        await anyio.sleep_forever()

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", look_up)
    limits, url = Timeouts(connect=10.0, request=1000.0), "https://seedance2ai.test/api/v1"
    async with SeedanceClient("sk_test", url, retry=IMPATIENT, timeouts=limits) as client:
        began = anyio.current_time()
        await submit_in_vain(client)

        assert anyio.current_time() - began < 200


@pytest.mark.case(3)
async def test_a_connection_that_is_never_made_ends_at_its_own_limit() -> None:
    """Ten seconds, not the sixty of a request."""
    with a_server_that_accepts_nobody() as port:
        limits = Timeouts(connect=10.0, request=1000.0)
        url = f"http://127.0.0.1:{port}/api/v1"
        async with SeedanceClient("sk_test", url, retry=IMPATIENT, timeouts=limits) as client:
            began = anyio.current_time()
            await submit_in_vain(client)

            assert anyio.current_time() - began < 200


@pytest.mark.case(5)
@pytest.mark.parametrize("said", [b"HTTP/1.1 400 No TLS here\r\n\r\n", b""], ids=["plain", "silent"])
async def test_a_port_that_speaks_no_tls_charges_nothing(said: bytes) -> None:
    """Plain HTTP, or silence: the handshake never ended, so no byte of the request has left."""
    heard: list[bytes] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(3))
        writer.write(said)
        await reader.read()
        writer.close()

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with SeedanceClient("sk_test", f"https://127.0.0.1:{port}/api", retry=IMPATIENT) as client:
            await submit_in_vain(client)

    assert {TLS_HANDSHAKE} == set(heard)


@pytest.mark.case(6)
async def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody asked us to hand key and prompt to it."""
    async with raw_server(answer(407)) as proxy, Sandbox() as sandbox, client_for(sandbox) as client:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        await client.submit(VIDEO)

    assert [] == proxy.seen


@pytest.mark.case(6)
async def test_a_proxy_that_refuses_is_named_and_charges_nothing() -> None:
    """With a session of the caller's that goes through one."""
    async with (
        raw_server(answer(407)) as proxy,
        aiohttp.ClientSession(proxy=proxy.url.removesuffix("/api/v1")) as session,
        SeedanceClient("sk_test", "https://api.example.com/v1", session=session, retry=IMPATIENT) as client,
    ):
        error = await submit_in_vain(client)

    assert "proxy" in error.message
    assert {"CONNECT"} == {seen.method for seen in proxy.seen}


@pytest.mark.case(7)
async def test_an_address_that_leads_nowhere_does_not_hide_one_that_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first address swallows every packet; the second answers, well within the limit."""
    async with raw_server(accepted()) as server:
        works = int(server.url.split(":")[2].split("/")[0])
        with a_server_that_accepts_nobody() as dead:

            async def dial(**options: object) -> socket.socket:
                stream = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
                places = [(*stream, ("127.0.0.1", port)) for port in (dead, works)]
                return await start_connection(**{**options, "addr_infos": places})  # type: ignore[arg-type]  # handed through

            monkeypatch.setattr("aiohttp.connector.aiohappyeyeballs.start_connection", dial)
            async with SeedanceClient("sk_test", server.url) as client:
                began = anyio.current_time()
                await client.submit(VIDEO)

                assert anyio.current_time() - began < 5.0
                assert client.usage.retries == 0


@pytest.mark.case(8)
async def test_no_descriptor_left_fails_no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program with too many open files gets its turn later."""
    real, refusals = socket.socket, [3]

    def scarce(*args: object, **options: object) -> socket.socket:
        if refusals[0]:
            refusals[0] -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return real(*args, **options)  # type: ignore[arg-type]  # handed through

    async with Sandbox() as sandbox, client_for(sandbox) as client:
        monkeypatch.setattr("aiohappyeyeballs.impl.socket.socket", scarce)
        submission = await client.submit(VIDEO)
        monkeypatch.undo()

    assert 0 == refusals[0]
    assert [submission.id] == [paid.id for paid in sandbox.paid_tasks]


@pytest.mark.case(9)
async def test_no_request_spends_its_time_waiting_for_a_connection() -> None:
    """A hundred and fifty slow answers at once, each with its own minute, and none of them late."""
    slow = Fault(effect="delay", on="submit", seconds=50.0, count=None)
    wide = RateLimit(requests=300, period=60.0)
    async with (
        Sandbox(faults=[slow], conditions=Conditions(requests=300)) as sandbox,
        client_for(sandbox, rate_limit=wide) as client,
    ):
        async with anyio.create_task_group() as callers:
            for _ in range(150):
                callers.start_soon(client.submit, VIDEO)

        assert client.usage.retries == 0

    assert 150 == len(posts(sandbox))


@pytest.mark.case(10)
async def test_a_caller_who_gives_up_while_waiting_for_a_slot_spends_nothing() -> None:
    """Not a byte left, no slot is lost, and nobody is told a key."""
    async with Sandbox() as sandbox, client_for(sandbox) as client:
        for number in range(30):
            await client.submit(VIDEO, idempotency_key=f"k{number}")
        with anyio.move_on_after(1.0):
            await client.submit(VIDEO)
        assert 30 == len(posts(sandbox))

        await client.submit(VIDEO)
    assert 31 == len(posts(sandbox))
    assert 31 == len(sandbox.paid_tasks)
