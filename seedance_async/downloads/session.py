"""HTTP session for result files: no credentials, and connections to public addresses only.

Output URLs come from the server and are not trusted: only https to public addresses is allowed, for the URL
and for every redirect. An address is checked when connecting, so a second DNS answer cannot replace it. If
the API itself is a sandbox, its files may be at loopback, and at the API's own host, too.
"""

from __future__ import annotations

import errno
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import aiohttp
import anyio
from aiohttp import ClientTimeout
from aiohttp.abc import AbstractResolver
from yarl import URL

from seedance_async.errors import DownloadError
from seedance_async.models.display import shown_url
from seedance_async.network import is_loopback, is_public, is_sandbox, parse_address

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncGenerator, Mapping

    from aiohttp import ClientResponse, ClientSession
    from aiohttp.abc import ResolveResult

    from seedance_async.models import Timeouts

MAX_REDIRECTS: Final = 5
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
ACCEPTED: Final = frozenset({200, 206, 416})
TEMPORARY: Final = frozenset({408, 425, 429})
"""4xx that ask to try again later. All others mean that the URL has expired (403, 404, sometimes 400)."""


class AttemptError(Exception):
    """An attempt failed; another one may succeed. Never raised out of ``downloads``."""


class DownloadSession:
    """Sends GET requests for files.

    Args:
        timeouts: ``connect`` and ``download_idle`` are used.
        trusted: the API's base URL; one of a sandbox permits plain http from loopback and from its own host.
    """

    def __init__(self, timeouts: Timeouts, *, trusted: URL) -> None:
        self.idle_timeout: float = timeouts.download_idle
        self._timeout = ClientTimeout(
            total=None, sock_connect=timeouts.connect, sock_read=timeouts.download_idle
        )
        self._host = trusted.host or ""
        self._local = is_sandbox(trusted.scheme, self._host)
        self._session: ClientSession | None = None

    async def close(self) -> None:
        """Close the session, if one was opened."""
        if self._session is not None:
            await self._session.close()

    @asynccontextmanager
    async def get(self, address: str, *, headers: Mapping[str, str]) -> AsyncGenerator[ClientResponse]:
        """The answer, 200, 206 or 416, after at most five redirects, each of which is checked.

        Raises:
            DownloadError: the URL is not allowed, or has expired (``gone``).
            AttemptError: any other answer; the next attempt may succeed.
        """
        url = _parsed(address)
        for _ in range(MAX_REDIRECTS + 1):
            self._check_allowed(url)
            async with await self._answer(url, headers) as response:
                if response.status in REDIRECTS and "Location" in response.headers:
                    url = _parsed(response.headers["Location"], base=url)
                    continue
                _check(response.status, address)
                yield response
                return
        raise DownloadError(f"{shown_url(address)} redirects more than {MAX_REDIRECTS} times")

    async def _answer(self, url: URL, headers: Mapping[str, str]) -> ClientResponse:
        """The answer to one request, up to its headers, within a limit of time."""
        with anyio.fail_after((self._timeout.sock_connect or 0.0) + self.idle_timeout):
            return await self._open_session().get(
                url,
                allow_redirects=False,
                timeout=self._timeout,
                headers={"Accept-Encoding": "identity", **headers},
            )

    def _check_allowed(self, url: URL) -> None:
        """Refuse a URL that is not allowed, before anything is sent to it."""
        host = url.host or ""
        if self._local and url.scheme == "http" and (is_loopback(host) or host == self._host):
            return
        if url.scheme != "https" or url.user or not host:
            raise DownloadError(
                f"refused {shown_url(str(url))}: output files come over https without credentials"
            )
        if not _public(host, unresolved=not self._local):
            raise DownloadError(f"refused {shown_url(str(url))}: the host is not a public one")

    def _open_session(self) -> ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(resolver=PublicResolver(local=self._local))
            self._session = aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
            )
        return self._session


class PublicResolver(AbstractResolver):
    """DNS resolver that gives the connector only addresses it has checked to be public.

    Args:
        local: allow every address, for a sandbox.
    """

    def __init__(self, *, local: bool) -> None:
        self._local = local
        self._inner = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily | int = 0
    ) -> list[ResolveResult]:
        """The public addresses of a host.

        Raises:
            OSError: none of them is public.
        """
        found = await self._inner.resolve(host, port, family)  # type: ignore[arg-type]  # its stub names the enum only
        good = [entry for entry in found if self._local or _public(entry["host"])]
        if not good:
            raise OSError(errno.EACCES, f"{host} has no public address")
        return good

    async def close(self) -> None:
        """Does nothing: no resource is held."""


def _parsed(address: str, *, base: URL | None = None) -> URL:
    """``address`` as a URL whose parts are all valid; yarl parses host and port only when they are read.

    Raises:
        DownloadError: it is not a URL (``gone``: a renewed one may be).
    """
    try:
        if not address.isprintable():
            raise ValueError("control characters")
        url = URL(address, encoded=address.isascii())  # a signed query must not be quoted again
        url = base.join(url) if base is not None else url
        _ = url.user, url.port, (url.host or "").encode("idna")
    except ValueError:
        raise _gone(f"refused {shown_url(address)}: not a URL") from None
    return url


def _gone(message: str) -> DownloadError:
    error = DownloadError(message)
    error.gone = True
    return error


def _check(status: int, address: str) -> None:
    if status in ACCEPTED:
        return
    if 400 <= status < 500 and status not in TEMPORARY:
        raise _gone(f"{shown_url(address)} is gone (HTTP {status})")
    raise AttemptError(f"HTTP {status}")


def _public(host: str, *, unresolved: bool = True) -> bool:
    """Whether a host may be connected to; ``unresolved`` accepts names, which the resolver checks later."""
    address = parse_address(host.strip("[]").partition("%")[0])
    if address is None:
        return unresolved or not is_loopback(host)
    return is_public(address)
