"""TLS: whom the client trusts, and the one redirect it obeys, over real certificates on loopback."""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aiohttp
import pytest
import trustme
from aiohttp import web
from aiohttp.abc import AbstractResolver

from seedance_async import ConnectionFailedError, Seedance2Video, SeedanceClient, SeedanceError

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncGenerator

    from aiohttp.abc import ResolveResult

VIDEO = Seedance2Video(prompt="A glass train crosses a snowy bridge")
APEX, WWW = "seedance2ai.test", "www.seedance2ai.test"
ACCEPTED = {"id": "sd2_a1", "status": "processing", "model": "seedance2", "credits_used": 30}


class EverythingIsHere(AbstractResolver):
    """Every name is this machine."""

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily | int = 0,  # noqa: ARG002 - the base class names it
    ) -> list[ResolveResult]:
        """Loopback."""
        entry = {"hostname": host, "host": "127.0.0.1", "port": port, "family": 2, "proto": 6, "flags": 4}
        return [entry]  # type: ignore[list-item]  # the keys of the TypedDict, spelled out

    async def close(self) -> None:
        """Nothing is open."""


class Vendor:
    """A TLS server that is both the apex host and its www. host."""

    def __init__(self, *, redirect: dict[str, str], status: int) -> None:
        self.authority = trustme.CA()
        self.seen: list[tuple[str, str, str | None, bytes]] = []
        self.port = 0
        self._redirect = redirect
        self._status = status
        self._accepted = 0

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Redirect the hosts that are told to, accept everything else."""
        host = request.host.partition(":")[0]
        self.seen.append((host, request.method, request.headers.get("Authorization"), await request.read()))
        if target := self._redirect.get(host):
            location = f"https://{target}:{self.port}{request.path}"
            return web.Response(status=self._status, headers={"Location": location})
        self._accepted += 1
        return web.json_response({**ACCEPTED, "id": f"sd2_a{self._accepted}"}, status=202)

    @asynccontextmanager
    async def client(self, host: str = APEX) -> AsyncGenerator[SeedanceClient]:
        """A client of a caller who trusts this vendor, and calls it by this name."""
        trusting = ssl.create_default_context()
        self.authority.configure_trust(trusting)
        connector = aiohttp.TCPConnector(resolver=EverythingIsHere(), ssl=trusting, use_dns_cache=False)
        url = f"https://{host}:{self.port}/api/v1"
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            SeedanceClient("sk_live", url, session=session) as client,
        ):
            yield client


@asynccontextmanager
async def vendor(redirect: dict[str, str], *, status: int = 301) -> AsyncGenerator[Vendor]:
    """A running vendor."""
    there = Vendor(redirect=redirect, status=status)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    there.authority.issue_cert(APEX, WWW, "elsewhere.test").configure_cert(context)
    runner = web.ServerRunner(web.Server(there.answer))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    there.port = runner.addresses[0][1]
    try:
        yield there
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("status", [301, 307])
@pytest.mark.parametrize(("start", "end"), [(APEX, WWW), (WWW, APEX)])
async def test_the_www_host_is_followed_whole_and_remembered(status: int, start: str, end: str) -> None:
    """The vendor's apex redirects to www.; a 301 must not turn the POST into a GET without its body."""
    async with vendor({start: end}, status=status) as there, there.client(start) as client:
        first = await client.submit(VIDEO)
        await client.submit(VIDEO)

    assert first.id == "sd2_a1"
    assert [(host, method) for host, method, _, _ in there.seen] == [
        (start, "POST"),
        (end, "POST"),
        (end, "POST"),
    ]
    assert {key for _, _, key, _ in there.seen} == {"Bearer sk_live"}
    assert len({body for *_, body in there.seen}) == 1


async def test_two_hosts_that_point_at_each_other_end_in_an_error() -> None:
    """One hop is obeyed; a loop is not."""
    async with vendor({APEX: WWW, WWW: APEX}) as there, there.client() as client:
        with pytest.raises(SeedanceError, match=APEX):
            await client.submit(VIDEO)

    assert len(there.seen) == 2


@pytest.mark.case(29, 153)
async def test_another_host_is_never_sent_the_key() -> None:
    """However trusted its certificate."""
    async with vendor({APEX: "elsewhere.test"}) as there, there.client() as client:
        with pytest.raises(SeedanceError, match=r"elsewhere\.test"):
            await client.submit(VIDEO)

    assert [host for host, *_ in there.seen] == [APEX]


@pytest.mark.case(4)
async def test_an_untrusted_certificate_is_final_and_certain() -> None:
    """Case 4: not retried, and no advice to switch verification off."""
    async with vendor({}) as there:
        client = SeedanceClient("sk_live", f"https://localhost:{there.port}/api/v1")
        async with client:
            with pytest.raises(ConnectionFailedError, match="certificate") as caught:
                await client.submit(VIDEO)

            assert client.usage.retries == 0
    assert "verify" not in str(caught.value)
    assert there.seen == []
