"""Where result files may come from, and the session that fetches them, which knows no credentials.

Output URLs come from the server, so they are foreign input: only https to public addresses is followed, hop
by hop, and the address is judged at the moment of connecting, when a second look-up can no longer change it.
Where the API itself is at loopback (the sandbox), so may its files be.
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
from seedance_async.models.rules import shown_url
from seedance_async.network import is_loopback, is_public, parse_address

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncGenerator, Mapping

    from aiohttp import ClientResponse, ClientSession
    from aiohttp.abc import ResolveResult

    from seedance_async.models import Timeouts

MAX_HOPS: Final = 5
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
ANSWERS: Final = frozenset({200, 206, 416})
PASSING: Final = frozenset({408, 425, 429})
"""4xx that say "later". Every other one says that this URL is good no more: 403 or 404 at most stores, 400 at
some whose signature has expired."""


class BrokenError(Exception):
    """This attempt failed; another may work."""


class Web:
    """Asks for files.

    Args:
        timeouts: ``connect`` and ``download_idle`` are used.
        trusted: the API's base URL; at loopback it permits plain http and loopback hosts.
    """

    def __init__(self, timeouts: Timeouts, *, trusted: URL) -> None:
        self.patience: float = timeouts.download_idle
        self._timeout = ClientTimeout(
            total=None, sock_connect=timeouts.connect, sock_read=timeouts.download_idle
        )
        self._local = is_loopback(trusted.host or "")
        self._session: ClientSession | None = None

    async def close(self) -> None:
        """Close the session, if one was opened."""
        if self._session is not None:
            await self._session.close()

    @asynccontextmanager
    async def get(self, address: str, *, headers: Mapping[str, str]) -> AsyncGenerator[ClientResponse]:
        """The answer, 200, 206 or 416, at the end of at most five hops, every hop judged by itself.

        Raises:
            DownloadError: refused, or the URL is not good any more (``gone``).
            BrokenError: another answer, which may be better next time.
        """
        url = _parsed(address)
        for _ in range(MAX_HOPS + 1):
            self._judge(url)
            async with await self._answer(url, headers) as response:
                if response.status in REDIRECTS and "Location" in response.headers:
                    url = _parsed(response.headers["Location"], base=url)
                    continue
                _check(response.status, address)
                yield response
                return
        raise DownloadError(f"{shown_url(address)} redirects more than {MAX_HOPS} times")

    async def _answer(self, url: URL, headers: Mapping[str, str]) -> ClientResponse:
        """One hop up to its headers, which may not trickle either."""
        with anyio.fail_after((self._timeout.sock_connect or 0.0) + self.patience):
            return await self._open_session().get(
                url,
                allow_redirects=False,
                timeout=self._timeout,
                headers={"Accept-Encoding": "identity", **headers},
            )

    def _judge(self, url: URL) -> None:
        """Refuse what a download has no business with, before anything is asked of it."""
        host = url.host or ""
        if self._local and url.scheme == "http" and is_loopback(host):
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
    """Resolves names to public addresses only, and hands the judged addresses to the connector itself."""

    def __init__(self, *, local: bool) -> None:
        self._local = local
        self._inner = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily | int = 0
    ) -> list[ResolveResult]:
        """The addresses of a host.

        Raises:
            OSError: none of them is public.
        """
        found = await self._inner.resolve(host, port, family)  # type: ignore[arg-type]  # its stub names the enum only
        good = [entry for entry in found if self._local or _public(entry["host"])]
        if not good:
            raise OSError(errno.EACCES, f"{host} has no public address")
        return good

    async def close(self) -> None:
        """Nothing is held open."""


def _parsed(address: str, *, base: URL | None = None) -> URL:
    """A URL of which every part can be read; yarl reads host and port only when they are asked for.

    Raises:
        DownloadError: it is none (``gone``: a fresh one may be better).
    """
    try:
        if not address.isprintable():
            raise ValueError("control characters")
        url = URL(address, encoded=address.isascii())  # a signed query must not be quoted anew
        url = base.join(url) if base is not None else url
        _ = url.user, url.port, (url.host or "").encode("idna")
    except ValueError:
        raise _gone(f"refused {shown_url(address)}: not a URL") from None
    return url


def _gone(told: str) -> DownloadError:
    error = DownloadError(told)
    error.gone = True
    return error


def _check(status: int, address: str) -> None:
    if status in ANSWERS:
        return
    if 400 <= status < 500 and status not in PASSING:
        raise _gone(f"{shown_url(address)} is gone (HTTP {status})")
    raise BrokenError(f"HTTP {status}")


def _public(host: str, *, unresolved: bool = True) -> bool:
    """Whether a host may be connected to; ``unresolved`` accepts names, which the resolver checks later."""
    address = parse_address(host.strip("[]").partition("%")[0])
    if address is None:
        return unresolved or not is_loopback(host)
    return is_public(address)
