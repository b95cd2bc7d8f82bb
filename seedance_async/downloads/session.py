"""HTTP session for result files: no credentials, and connections to public addresses only.

Output URLs come from the server and are not trusted: only https to public addresses is allowed, for the URL
and for every redirect. An address is checked when connecting, so a second DNS answer cannot replace it. If a
proxy resolves the names, only names that are private by their form can be refused. If the API is a sandbox,
its files may also be at loopback and at the API's own host.
"""

from __future__ import annotations

import errno
import re
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import aiohttp
import anyio
from aiohttp import ClientTimeout
from aiohttp.abc import AbstractResolver
from yarl import URL

from seedance_async.downloads.codings import CodingError, decoder
from seedance_async.errors import DownloadError
from seedance_async.file_types import HEAD_BYTES
from seedance_async.models.display import shown_url
from seedance_async.network import is_loopback, is_sandbox, parse_address, public_host_fault
from seedance_async.route import (
    MAX_HEADER_BYTES,
    MAX_HEADERS,
    NETWORKS_VARIABLE,
    UNTRUSTED,
    Route,
    proxy_failure,
)

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncGenerator, Iterator, Mapping

    from aiohttp import ClientResponse, ClientSession
    from aiohttp.abc import ResolveResult

    from seedance_async.downloads.codings import Decode
    from seedance_async.models import Timeouts
    from seedance_async.route import Proxy

MAX_REDIRECTS: Final = 5
CHUNK_BYTES: Final = 1024 * 1024
UNQUOTED: Final = (
    "!#$%&'()*+,/:;=?@[]~|{}^`"  # a signature may be over these as they are; quote keeps letters
)
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
ACCEPTED: Final = frozenset({200, 203, 206, 416})
"""203 is the 200 of a proxy that has changed the headers, or the coding."""

TEMPORARY: Final = frozenset({408, 425, 429})
"""4xx that ask to try again later. All others mean that the URL has expired (403, 404, sometimes 400)."""


class AttemptError(Exception):
    """An attempt failed; another one may succeed. Never raised out of ``downloads``."""


class Body:
    """The body of an answer, with content codings decoded.

    Attributes:
        length: the length in bytes that the server stated; None if it stated none, or if the body is coded.
    """

    def __init__(self, response: ClientResponse) -> None:
        self.length: int | None = response.content_length
        self._stream = response.content
        self._codings = ", ".join(response.headers.getall("Content-Encoding", ()))
        self._decode: Decode | None = None
        self._pieces: Iterator[bytes] = iter(())

    async def head(self) -> bytes:
        """Read at least ``HEAD_BYTES``, or all bytes if there are fewer. Must be the first read.

        Raises:
            AttemptError: the body cannot be decoded.
        """
        head = b""
        while len(head) < HEAD_BYTES and (chunk := await self._stream.read(CHUNK_BYTES)):
            head += chunk
        try:
            self._decode = decoder(self._codings, head)
        except CodingError as problem:
            raise AttemptError(str(problem)) from None
        if self._decode is None:
            return head
        self.length, self._pieces = None, self._decode(head)
        head = b""
        while len(head) < HEAD_BYTES and (piece := await self.read()):
            head += piece
        return head

    async def read(self) -> bytes:
        """Read the next bytes; empty at the end.

        Raises:
            AttemptError: the body cannot be decoded.
        """
        while True:
            try:
                if piece := next(filter(None, self._pieces), b""):
                    return piece
            except CodingError as problem:
                raise AttemptError(str(problem)) from None
            chunk = await self._stream.read(CHUNK_BYTES)
            if not chunk or self._decode is None:
                return chunk
            self._pieces = self._decode(chunk)


class DownloadSession:
    """Sends GET requests for files.

    Args:
        timeouts: ``connect`` and ``download_idle`` are used.
        trusted: the API's base URL; that of a sandbox allows plain http from loopback and from its own host.
        route: the proxy, if any, and the private networks that are allowed.
    """

    def __init__(self, timeouts: Timeouts, *, trusted: URL, route: Route) -> None:
        self.idle_timeout: float = timeouts.download_idle
        self._timeout = ClientTimeout(
            total=None, sock_connect=timeouts.connect, sock_read=timeouts.download_idle
        )
        self._host = trusted.host or ""
        self._local = is_sandbox(trusted.scheme, self._host)
        self._route = route
        self._sessions: dict[bool, ClientSession] = {}

    async def close(self) -> None:
        """Close the sessions that were opened."""
        for session in self._sessions.values():
            await session.close()

    @asynccontextmanager
    async def get(self, address: str, *, headers: Mapping[str, str]) -> AsyncGenerator[ClientResponse]:
        """Yield the answer (``ACCEPTED``), after at most five redirects, each of which is checked.

        Raises:
            DownloadError: the URL is not allowed, or has expired; a renewed one may work (``gone``).
            AttemptError: any other answer; the next attempt may succeed.
        """
        url = _parsed(address)
        for _ in range(MAX_REDIRECTS + 1):
            proxy = self._route.proxy_for(url)
            self._check_allowed(url, by_proxy=proxy.url is not None)
            async with await self._answer(url, headers, proxy) as response:
                if response.status in REDIRECTS and "Location" in response.headers:
                    url = _parsed(response.headers["Location"], base=url)
                    continue
                _check(response.status, address)
                yield response
                return
        reason = f"{shown_url(address)} redirects more than {MAX_REDIRECTS} times"
        raise stale(reason) from AttemptError(reason)

    def reason(self, problem: Exception) -> str:
        """Return why an attempt failed, without the URL's query and a proxy's password."""
        if isinstance(problem, aiohttp.ClientConnectorCertificateError | ssl.SSLCertVerificationError):
            return UNTRUSTED
        if isinstance(problem, aiohttp.ClientProxyConnectionError | aiohttp.ClientHttpProxyError):
            return proxy_failure(problem)
        if isinstance(problem, aiohttp.ClientResponseError):
            return f"the answer is not valid HTTP ({type(problem).__name__})"
        reason = str(problem) or ("no answer in time" if isinstance(problem, TimeoutError) else repr(problem))
        return f"{reason}{self._route.hint}" if isinstance(problem, aiohttp.ClientConnectorError) else reason

    async def _answer(self, url: URL, headers: Mapping[str, str], proxy: Proxy) -> ClientResponse:
        """Send one request, and return the answer when its headers have arrived, with a timeout."""
        session = self._session(by_proxy=proxy.url is not None)
        with anyio.fail_after((self._timeout.sock_connect or 0.0) + self.idle_timeout):
            return await session.get(
                url,
                allow_redirects=False,
                timeout=self._timeout,
                headers={"Accept-Encoding": "identity", **headers},
                proxy=proxy.url,
                proxy_headers=proxy.headers(),
                max_line_size=MAX_HEADER_BYTES,
                max_field_size=MAX_HEADER_BYTES,
                max_headers=MAX_HEADERS,
            )

    def _check_allowed(self, url: URL, *, by_proxy: bool) -> None:
        """Refuse a URL that is not allowed, before anything is sent to it.

        The error has ``gone`` set, because an expired URL may redirect to any login page.
        """
        host = url.host or ""
        is_own = is_loopback(host) or host == self._host
        if self._local and url.scheme in {"http", "https"} and is_own:
            return
        if url.scheme != "https" or url.user or not host:
            raise stale(f"refused {shown_url(str(url))}: output files come over https without credentials")
        address = parse_address(host.strip("[]").partition("%")[0])
        if address is not None:
            allowed = self._route.allows(address)
        else:  # our resolver checks the address; for a proxy only the name can be checked
            allowed = not (by_proxy or is_loopback(host)) or public_host_fault(host) is None
        if not allowed:
            raise stale(f"refused {shown_url(str(url))}: the host is not a public one")

    def _session(self, *, by_proxy: bool) -> ClientSession:
        """Return the session for direct requests, or that for a proxy, which may have a private address."""
        if by_proxy not in self._sessions:
            resolver = None if by_proxy else PublicResolver(local=self._local, route=self._route)
            self._sessions[by_proxy] = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(resolver=resolver),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                auto_decompress=False,
            )
        return self._sessions[by_proxy]


class PublicResolver(AbstractResolver):
    """DNS resolver that returns only public addresses.

    Args:
        local: allow every address, for a sandbox.
        route: has further networks that are allowed.
    """

    def __init__(self, *, local: bool, route: Route | None = None) -> None:
        self._local = local
        self._route = route or Route()
        self._inner = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily | int = 0
    ) -> list[ResolveResult]:
        """Return the public addresses of a host.

        Raises:
            OSError: none of them is public.
        """
        found = await self._inner.resolve(host, port, family)  # type: ignore[arg-type]  # its stub names the enum only
        good = [entry for entry in found if self._local or self._is_allowed(entry["host"])]
        if not good:
            addresses = ", ".join(sorted({entry["host"] for entry in found}))
            raise OSError(
                errno.EACCES,
                f"{host} has no public address here, only {addresses}; if a proxy or VPN on this machine "
                f"answers so, allow its network, such as {NETWORKS_VARIABLE}=198.18.0.0/15",
            )
        return good

    async def close(self) -> None:
        """Does nothing: no resource is held."""

    def _is_allowed(self, host: str) -> bool:
        address = parse_address(host.partition("%")[0])
        return address is not None and self._route.allows(address)


def _parsed(address: str, *, base: URL | None = None) -> URL:
    """Parse a URL and check all of its parts, because yarl parses host and port only when they are read.

    Raises:
        DownloadError: it is not a valid URL (``gone``: a renewed one may be).
    """
    try:
        if not address.isprintable():
            raise ValueError("control characters")
        url = URL(_quoted(address.strip()), encoded=True)  # a signed query must not be quoted again
        url = base.join(url) if base is not None else url
        _ = url.user, url.port, (url.host or "").encode("idna")
    except ValueError:
        raise stale(f"refused {shown_url(address)}: not a URL") from None
    return url


def _quoted(address: str) -> str:
    """Quote characters that are not allowed in a URL, such as spaces; all others are kept."""
    authority, rest = re.match(r"((?:[^:/?#]+:)?//[^/?#]*)?(.*)", address).groups("")  # type: ignore[union-attr]  # empty at least
    if not authority.isascii():
        authority = str(URL(authority)).rstrip("/")  # the host as IDNA writes it
    return authority + quote(rest, safe=UNQUOTED)


def stale(message: str) -> DownloadError:
    """Return an error with ``gone`` set: a renewed URL of the same file may work."""
    error = DownloadError(message)
    error.gone = True
    return error


def _check(status: int, address: str) -> None:
    if status in ACCEPTED:
        return
    if 400 <= status < 500 and status not in TEMPORARY:
        raise stale(f"{shown_url(address)} is gone (HTTP {status})")
    raise AttemptError(f"HTTP {status}")
