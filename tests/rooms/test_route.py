"""The way out: proxies for API and downloads alike, networks that are allowed, and what is said of both."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import socket
import ssl
import traceback
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING

import aiohttp
import anyio
import pytest
import trustme
from attrs import define, field
from yarl import URL

from seedance_async import (
    ConfigurationError,
    ConnectionFailedError,
    DownloadError,
    NanoBananaPro,
    RateLimit,
    RetryPolicy,
    SeedanceClient,
)
from seedance_async.network import is_public
from seedance_async.route import Proxy, Route, read_route
from tests.rooms.file_store import finished, picture, save
from tests.rooms.raw_server import answer, raw_server, says

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from pathlib import Path

    Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

API, FILES, HIDDEN = "api.seedance.test", "cdn.seedance.test", "10.0.0.7"
REQUEST = NanoBananaPro(prompt="A red kite")
BODY = picture(5000)
QUICK = {"rate_limit": RateLimit(requests=30, period=1.0), "retry": RetryPolicy(max_elapsed=2.0)}
VARIABLES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def without_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the machine's own settings."""
    for name in (*VARIABLES, *(name.lower() for name in VARIABLES), "SEEDANCE_PROXY"):
        monkeypatch.delenv(name, raising=False)


@define
class World:
    """A proxy, and behind it the API and a store, whose names nobody but the proxy can resolve."""

    authority: trustme.CA = field(factory=trustme.CA)
    connects: list[str] = field(factory=list)
    credentials: list[str | None] = field(factory=list)
    seen: list[tuple[str, str, str | None]] = field(factory=list)
    file_url: str = f"https://{FILES}/kite.png"
    refuses: int = 0
    proxy: str = ""
    door: int = 0
    far: list[asyncio.StreamWriter] = field(factory=list)

    async def tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """CONNECT, to wherever it is asked for."""
        with suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
            self.connects.append(head[0])
            self.credentials.append(next((h[21:] for h in head if h.startswith("Proxy-Authorization")), None))
            assert "authorization" not in headers
            if self.refuses:
                writer.write(f"HTTP/1.1 {self.refuses} No\r\nContent-Length: 0\r\n\r\n".encode())
                await writer.drain()
                return
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.door)
            self.far.append(far_writer)
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        writer.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The API and the store, over TLS."""
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in head[1:])}
                await reader.readexactly(int(headers.get("content-length", "0")))
                method, path, _ = head[0].split(" ")
                self.seen.append((headers["host"], method, headers.get("authorization")))
                status, body = self.reply(method, path)
                writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
                await writer.drain()
        writer.close()

    def reply(self, method: str, path: str) -> tuple[int, bytes]:
        """What the API or the store says."""
        task = {"id": "nbp_1", "status": "processing", "model": "nano-banana-pro", "credits_used": 12}
        if method == "POST":
            return 202, json.dumps(task).encode()
        if "/tasks/" in path:
            output = {"images": [{"url": self.file_url}]}
            return 200, json.dumps({**task, "status": "completed", "output": output}).encode()
        return 200, BODY

    async def generate(self, folder: Path, **options: object) -> list[Path]:
        """What a user does: a client, a picture, its file."""
        url = f"https://{API}/api/v1"
        async with SeedanceClient("sk_test", url, **QUICK, **options) as client:  # type: ignore[arg-type]  # by name
            return await client.download(await client.generate(REQUEST), folder)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[World]:
    """A world whose authority everybody trusts, as SSL_CERT_FILE does before Python starts."""
    there = World()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    there.authority.issue_cert(API, FILES, HIDDEN, "127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    there.authority.configure_trust(trusting)
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", trusting)
    workers: set[asyncio.Task[None]] = set()
    writers: list[asyncio.StreamWriter] = []

    def served_by(handler: Handler) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]:
        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writers.append(writer)
            workers.add(asyncio.ensure_future(handler(reader, writer)))

        return accept

    server = await asyncio.start_server(served_by(there.serve), "127.0.0.1", 0, ssl=context)
    proxy = await asyncio.start_server(served_by(there.tunnel), "127.0.0.1", 0)
    there.door = server.sockets[0].getsockname()[1]
    there.proxy = f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}"
    try:
        yield there
    finally:
        server.close()
        proxy.close()
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        for writer in (*writers, *there.far):
            writer.transport.abort()
        await asyncio.sleep(0)  # the transports close in the next turn of the loop


@pytest.mark.parametrize(
    "how",
    ["argument", "variable", "env", "lower case", "all", "session", "trust_env", "session without, variable"],
)
async def test_one_setting_leads_api_and_files_through_the_proxy(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever sets it and where: what is paid for is saved, too, and the key goes to the API alone."""
    async with world(monkeypatch) as there:
        if how == "argument":
            paths = await there.generate(tmp_path, proxy=there.proxy)
        elif how == "variable":
            monkeypatch.setenv("SEEDANCE_PROXY", there.proxy)
            paths = await there.generate(tmp_path)
        elif how in {"env", "lower case", "all"}:
            name = {"env": "HTTPS_PROXY", "lower case": "https_proxy", "all": "ALL_PROXY"}[how]
            monkeypatch.setenv(name, there.proxy)
            paths = await there.generate(tmp_path, proxy="env")
        elif how == "session":
            async with aiohttp.ClientSession(proxy=there.proxy) as session:
                paths = await there.generate(tmp_path, session=session)
        elif how == "session without, variable":
            monkeypatch.setenv("SEEDANCE_PROXY", there.proxy)
            async with aiohttp.ClientSession(trust_env=True) as session:
                paths = await there.generate(tmp_path, session=session)
        else:
            monkeypatch.setenv("HTTPS_PROXY", there.proxy)
            async with aiohttp.ClientSession(trust_env=True) as session:
                paths = await there.generate(tmp_path, session=session)

    assert [BODY] == [path.read_bytes() for path in paths]
    assert {f"CONNECT {host}:443 HTTP/1.1" for host in (API, FILES)} == set(there.connects)
    assert {(API, "Bearer sk_test"), (FILES, None)} == {(host, key) for host, _, key in there.seen}


def in_frames(error: BaseException) -> str:
    """What a crash reporter shows of an exception, but for the test's own frames."""
    shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    frames = [frame for frame in shown.stack if "/tests/" not in frame.filename]
    return f"{error!r} {[(frame.filename, frame.locals) for frame in frames]} {error.__cause__!r}"


async def test_a_proxys_password_is_sent_to_it_and_shown_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Not in a repr, a message, a log, or a frame of a traceback."""
    async with world(monkeypatch) as there:
        with_password = there.proxy.replace("http://", "http://fox:s%40crosanct@")
        await there.generate(tmp_path, proxy=with_password)
        expected = "Basic " + base64.b64encode(b"fox:s@crosanct").decode()
        assert {expected} == set(there.credentials)
        there.refuses = 407
        with pytest.raises(ConnectionFailedError, match="wants a user name") as caught:
            await there.generate(tmp_path, proxy=with_password)
        task = finished(there.file_url)
        route = Route(proxy=Proxy.parse(with_password))
        with pytest.raises(DownloadError, match="the proxy refused") as late:
            await save(task, tmp_path, name="late", route=route, api=f"https://{API}")
    for error in (caught.value, late.value):
        reported = caplog.text + repr(route) + in_frames(error)
        assert "crosanct" not in reported
        assert expected not in reported


async def test_a_download_that_is_cancelled_takes_no_frame_with_the_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the proxy is silent; a crash reporter shows every frame of a cancellation."""
    async with raw_server(says(b"", then="hold")) as proxy:
        where = proxy.url.removesuffix("/api/v1").replace("//", "//fox:s%40crosanct@")
        route = Route(proxy=Proxy.parse(where))
        reported = ""
        with anyio.move_on_after(5.0):
            try:
                await save(finished(f"https://{FILES}/x"), tmp_path, route=route, api=f"https://{API}")
            except asyncio.CancelledError as cancelled:
                reported = in_frames(cancelled)
                raise

    expected = "Basic " + base64.b64encode(b"fox:s@crosanct").decode()
    assert expected == proxy.seen[0].headers["proxy-authorization"]
    assert "crosanct" not in reported
    assert expected not in reported


@pytest.mark.parametrize(
    "url",
    [
        f"https://{HIDDEN}/kite.png", "https://169.254.169.254/x", "https://[fd00::1]/x", "https://[::1]/x",
        "https://127.0.0.1/x", "https://localhost/x", "https://files.internal/x", "https://router/x",
        "https://2130706433/x", "https://0x7f.1/x", "https://[64:ff9b::a00:7]/x", f"http://{FILES}/x",
    ],
)  # fmt: skip
async def test_a_proxy_is_not_asked_for_what_is_private(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It resolves names, so only the form can be judged, and a private form is refused."""
    async with world(monkeypatch) as there:
        there.file_url = url
        with pytest.raises(DownloadError):
            await there.generate(tmp_path, proxy=there.proxy)

    assert {f"CONNECT {API}:443 HTTP/1.1"} == set(there.connects)
    assert {API} == {host for host, _, _ in there.seen}


async def test_no_proxy_keeps_hosts_away_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are resolved here then, and must be public."""
    async with world(monkeypatch) as there:
        monkeypatch.setenv("HTTPS_PROXY", there.proxy)
        monkeypatch.setenv("NO_PROXY", FILES)
        look_up_in_vain(monkeypatch)
        with pytest.raises(DownloadError):
            await there.generate(tmp_path, proxy="env")

    assert {f"CONNECT {API}:443 HTTP/1.1"} == set(there.connects)


async def test_this_machine_is_never_reached_by_a_proxy(tmp_path: Path) -> None:
    """The sandbox speaks http: its key would pass the proxy in clear text."""
    made = {"id": "nbp_1", "status": "processing", "model": "nano-banana-pro", "credits_used": 12}
    async with raw_server(answer(200, BODY)) as files, raw_server(answer(500)) as proxy:
        done = {**made, "status": "completed", "output": {"images": [{"url": files.url}]}}
        async with (
            raw_server(answer(202, made), answer(200, done)) as server,
            SeedanceClient("sk_test", server.url, proxy=proxy.url.removesuffix("/api/v1")) as client,
        ):
            await client.submit(REQUEST)
            assert await client.download("nbp_1", tmp_path)

    assert [] == proxy.seen


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
async def test_a_proxy_that_is_set_and_not_used_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """When the client opens, and where a connection fails; never with what the variable holds."""
    monkeypatch.setenv(name, "http://fox:secret@proxy.example:3128")
    look_up_in_vain(monkeypatch)
    with caplog.at_level(logging.WARNING):
        async with SeedanceClient("sk_test", f"https://{API}/api/v1", **QUICK) as client:  # type: ignore[arg-type]  # by name
            with pytest.raises(ConnectionFailedError, match=f"{name} is set and not used") as caught:
                await client.submit(REQUEST)
            engine = client.running_engine()
            with pytest.raises(DownloadError, match=f"{name} is set and not used"):
                await engine.downloads.save(
                    finished(f"https://{FILES}/x"), tmp_path, name="x", renew=client.get_task
                )

    assert name in caplog.text
    assert "SEEDANCE_PROXY" in str(caught.value)
    assert "secret" not in caplog.text + str(caught.value)


@pytest.mark.parametrize("silent", ["none", "no_proxy", "loopback", "used"])
async def test_nothing_is_said_of_a_proxy_that_is_not_wanted(
    silent: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Because it was said so, by us or by the environment, or because this machine needs none."""
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("SEEDANCE_PROXY", {"none": "none", "used": "env"}.get(silent, ""))
    monkeypatch.setenv("NO_PROXY", ".test" if silent == "no_proxy" else "")
    url = "http://127.0.0.1:1/api/v1" if silent == "loopback" else f"https://{API}/api/v1"
    async with SeedanceClient("sk_test", url):
        pass

    assert "PROXY" not in caplog.text


@pytest.mark.parametrize(
    "text",
    ["socks5://h:1", "proxy:3128", "http://", "ftp://h", "http://u:secret@h:99999999", "secret", "//h"],
)
def test_what_is_no_proxy_is_refused_and_not_repeated(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may hold a password; the message shows what is wanted."""
    with pytest.raises(ConfigurationError, match="a proxy must look like") as caught:
        SeedanceClient("sk_test", f"https://{API}/api/v1", proxy=text)
    assert "secret" not in in_frames(caught.value)
    monkeypatch.setenv("SEEDANCE_PROXY", text)
    with pytest.raises(ConfigurationError, match="a proxy must look like"):
        SeedanceClient("sk_test", f"https://{API}/api/v1")


def look_up_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no name be known here."""

    async def look_up(*_: object, **__: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "nobody of that name")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", look_up)


async def look_up_as(where: str, door: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every name be at this address, and every connection to it end at a port of this machine."""
    family = socket.AF_INET6 if ":" in where else socket.AF_INET
    place = (where, 443, 0, 0) if ":" in where else (where, 443)

    async def look_up(*_: object, **__: object) -> list[object]:
        return [(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", place)]

    async def dial(**_: object) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", door))
        connection.setblocking(False)
        return connection

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", look_up)
    monkeypatch.setattr("aiohttp.connector.aiohappyeyeballs.start_connection", dial)


@pytest.mark.parametrize(
    ("where", "networks", "connected"),
    [
        ("93.184.216.34", "", True),
        ("64:ff9b::5db8:d822", "", True),
        ("64:ff9b:1::5db8:d822", "", True),
        ("64:ff9b:1:fffe::5db8:d822", "", True),
        ("2002:5db8:d822::1", "", True),
        ("::ffff:93.184.216.34", "", True),
        ("64:ff9b::a00:7", "", False),
        ("64:ff9b::a9fe:a9fe", "", False),
        ("64:ff9b::7f00:1", "", False),
        ("64:ff9b:1::a00:7", "", False),
        ("64:ff9b:1:a00:0:700::", "", False),
        ("64:ff9b:2::5db8:d822", "", False),
        ("2002:a00:7::1", "", False),
        ("::ffff:10.0.0.7", "", False),
        ("198.18.0.7", "", False),
        ("198.18.0.7", "198.18.0.0/15", True),
        ("198.19.255.1", "10.1.0.0/16, 198.18.0.0/15", True),
        ("fc00::7", "198.18.0.0/15 fc00::/18", True),
        ("10.0.0.7", "198.18.0.0/15", False),
        ("169.254.169.254", "198.18.0.0/15", False),
    ],
)
async def test_a_name_is_judged_by_where_it_leads(
    where: str, networks: str, connected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """IPv6-only networks and proxies that answer every name reach what is public, and nothing else."""
    async with world(monkeypatch) as there:
        await look_up_as(where, there.door, monkeypatch)
        route = read_route(None, networks, base_url=URL(f"https://{API}"), session=None)
        assert isinstance(route, Route)
        saving = save(finished(there.file_url), tmp_path, route=route, api=f"https://{API}")
        if connected:
            assert [BODY] == [path.read_bytes() for path in await saving]
            return
        with pytest.raises(DownloadError) as caught:
            await saving

    assert where in caught.value.message
    assert "SEEDANCE_DOWNLOAD_NETWORKS=198.18.0.0/15" in caught.value.message
    assert [] == there.seen


async def test_networks_are_allowed_by_argument_and_by_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user behind a proxy that answers from 198.18.0.0/15."""
    async with world(monkeypatch) as there:
        await look_up_as("198.18.0.7", there.door, monkeypatch)
        assert await there.generate(tmp_path / "argument", download_networks=["198.18.0.0/15"])
        monkeypatch.setenv("SEEDANCE_DOWNLOAD_NETWORKS", "198.18.0.0/15")
        assert await there.generate(tmp_path / "variable")
        monkeypatch.delenv("SEEDANCE_DOWNLOAD_NETWORKS")
        with pytest.raises(DownloadError, match=r"198\.18\.0\.7"):
            await there.generate(tmp_path / "neither")


@pytest.mark.parametrize("text", ["198.18", "everything", "198.18.0.0/99"])
def test_what_is_no_network_is_refused(text: str) -> None:
    """Before anything is sent."""
    with pytest.raises(ConfigurationError, match="download networks"):
        SeedanceClient("sk_test", download_networks=text)


async def test_https_at_loopback_is_a_sandbox_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a certificate that is trusted; its files come over https from there."""
    async with world(monkeypatch) as there:
        there.file_url = f"https://127.0.0.1:{there.door}/kite.png"
        url = f"https://127.0.0.1:{there.door}/api/v1"
        async with SeedanceClient("sk_test", url) as client:
            (path,) = await client.download(await client.generate(REQUEST), tmp_path)

    assert BODY == path.read_bytes()


async def test_a_certificate_that_is_not_trusted_says_how_to_trust_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the API and of the store."""
    async with world(monkeypatch) as there:
        monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", ssl.create_default_context())
        url = f"https://127.0.0.1:{there.door}/api/v1"
        async with SeedanceClient("sk_test", url) as client:
            with pytest.raises(ConnectionFailedError, match="SSL_CERT_FILE"):
                await client.submit(REQUEST)
        with pytest.raises(DownloadError, match="SSL_CERT_FILE"):
            await save(finished(f"https://127.0.0.1:{there.door}/k.png"), tmp_path)


@pytest.mark.parametrize("text", ["8.8.8.8", "2606:2800:220:1::1", "64:ff9b::808:808"])
def test_addresses_of_the_internet_are_public(text: str) -> None:
    """Plain ones, and those that a translator leads to one."""
    assert is_public(ip_address(text))
