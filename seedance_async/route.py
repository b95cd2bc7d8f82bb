"""The route of requests out of this machine: the proxy, and the non-public networks that are allowed.

One setting applies to the API and to downloads, so that a paid file can also be fetched where a proxy is the
only way out. Both use https, so a proxy gets a ``CONNECT`` and sees neither key nor prompt. This machine
itself is never reached through a proxy.

The proxy of the environment is used only on request; if it is set and not used, a warning says so.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.request import getproxies, proxy_bypass

import aiohttp
from attrs import field, frozen
from yarl import URL

from seedance_async.errors import ConfigurationError
from seedance_async.logs import Log
from seedance_async.network import is_loopback, is_public

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

    from aiohttp import ClientSession

log: Log = Log(__name__)

PROXY_VARIABLE: Final = "SEEDANCE_PROXY"
NETWORKS_VARIABLE: Final = "SEEDANCE_DOWNLOAD_NETWORKS"
FROM_ENVIRONMENT: Final = "env"
NONE: Final = "none"

MAX_HEADER_BYTES: Final = 256 * 1024
"""The longest header of an answer that is accepted; a content security policy alone may have 9 kB."""

MAX_HEADERS: Final = 1000
"""The most headers of an answer that are accepted."""

UNTRUSTED: Final = (
    "the server's certificate is not trusted; mend the system's clock or certificates, or name the file of "
    "your own authority in SSL_CERT_FILE before Python starts"
)

Network: TypeAlias = IPv4Network | IPv6Network


@frozen
class Proxy:
    """An HTTP proxy, or none; its password does not appear in the repr.

    Attributes:
        url: its address, without user and password; None for no proxy.
    """

    url: URL | None = None
    _authorization: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, text: str) -> Proxy:
        """The proxy at a URL such as ``http://user:password@proxy.example:3128``.

        Raises:
            ConfigurationError: the text is not such a URL; the message does not repeat it.
        """
        try:
            url = URL(text.strip())
            user, password = url.user, url.password or ""
            bare = url.with_user(None).origin()
            credentials = None if user is None else aiohttp.encode_basic_auth(user, password)
        except ValueError:
            url = bare = URL()
            credentials = None
        if url.scheme not in {"http", "https"} or not url.host:
            raise ConfigurationError(
                "a proxy must look like http://user:password@host:port; SOCKS is not supported"
            )
        return cls(bare, credentials)

    def headers(self) -> dict[str, str] | None:
        """The headers of the ``CONNECT`` request; a new dictionary, as aiohttp adds to it. None for none."""
        return None if self._authorization is None else {"Proxy-Authorization": self._authorization}


DIRECT: Final = Proxy()


@frozen(kw_only=True)
class Route:
    """The settings of the route.

    Attributes:
        proxy: the proxy of every request to another machine.
        from_environment: whether the proxy is that of ``HTTPS_PROXY`` and ``NO_PROXY``, by host.
        networks: non-public networks from which downloads are allowed.
        unused: the environment variable that names a proxy which is not used; None if there is none.
    """

    proxy: Proxy = DIRECT
    from_environment: bool = False
    networks: tuple[Network, ...] = ()
    unused: str | None = None

    def proxy_for(self, url: URL) -> Proxy:
        """The proxy for a request, if any."""
        host = url.host or ""
        if is_loopback(host):
            return DIRECT
        return _environment_proxy(host) if self.from_environment else self.proxy

    def allows(self, address: IPv4Address | IPv6Address) -> bool:
        """Whether a file may be fetched from an address."""
        return is_public(address) or any(address in network for network in self.networks)

    @property
    def hint(self) -> str:
        """A possible reason of a failed connection, for the end of a message; empty if none is known."""
        return f"; {self._advice}" if self.unused else ""

    def warn(self) -> None:
        """Log a warning if a proxy is set and not used."""
        if self.unused:
            log.warning("%s", self._advice)

    @property
    def _advice(self) -> str:
        return (
            f"{self.unused} is set and not used; {PROXY_VARIABLE}={FROM_ENVIRONMENT} uses it, "
            f"{PROXY_VARIABLE}={NONE} silences this"
        )


def read_route(
    proxy: str | None,
    networks: str | Iterable[str] | None,
    *,
    base_url: URL,
    session: ClientSession | None,
) -> Route | ConfigurationError:
    """The route set by arguments; else by the caller's session; else by the environment.

    Returns:
        The route, or an error if an argument or a variable cannot be used. If the error were raised here, its
        stack frames would show a password.
    """
    if fault := _type_fault(proxy, networks):
        return ConfigurationError(fault)
    try:
        return _read_route(proxy, networks, base_url.host or "", session)
    except ConfigurationError as error:
        return error.with_traceback(None)


def _type_fault(proxy: object, networks: object) -> str | None:
    """Why the types of the arguments are wrong, without their values, which may contain a password."""
    if proxy is not None and not isinstance(proxy, str):
        return f"proxy must be text; got a value of type {type(proxy).__name__}"
    if networks is not None and not isinstance(networks, str | Iterable):
        return f"download_networks must be text, or texts; got a value of type {type(networks).__name__}"
    return None


def _read_route(
    proxy: str | None, networks: str | Iterable[str] | None, host: str, session: ClientSession | None
) -> Route:
    allowed = _networks(os.environ.get(NETWORKS_VARIABLE, "") if networks is None else networks)
    chosen = _chosen(proxy, session)
    if chosen == FROM_ENVIRONMENT:
        _environment_proxy(host)  # raises now if it cannot be used
        return Route(from_environment=True, networks=allowed)
    if chosen == NONE:
        return Route(networks=allowed)
    if chosen:
        return Route(proxy=Proxy.parse(chosen), networks=allowed)
    return Route(networks=allowed, unused=_unused(host))


def _chosen(proxy: str | None, session: ClientSession | None) -> str | None:
    if proxy is not None:
        return proxy
    if session is not None and (own := _proxy_of(session)) is not None:
        return own
    return os.environ.get(PROXY_VARIABLE)


def _proxy_of(session: ClientSession) -> str | None:
    """The proxy of a session, read from private attributes, as aiohttp has no public ones for it."""
    own, credentials = (getattr(session, name, None) for name in ("_default_proxy", "_default_proxy_auth"))
    if own is not None:
        url = URL(own)
        return str(
            url.with_user(credentials.login).with_password(credentials.password) if credentials else url
        )
    return FROM_ENVIRONMENT if session.trust_env and "https" in getproxies() else None


def proxy_failure(problem: aiohttp.ClientProxyConnectionError | aiohttp.ClientHttpProxyError) -> str:
    """The message for a failed connection through a proxy."""
    if isinstance(problem, aiohttp.ClientProxyConnectionError):
        return "the proxy could not be reached"
    wants = "; it wants a user name and a password" if problem.status == 407 else ""
    return f"the proxy refused to connect (HTTP {problem.status}){wants}"


def _environment_proxy(host: str) -> Proxy:
    """The environment's proxy for an https request to a host, or ``DIRECT``."""
    proxies = getproxies()
    text = proxies.get("https") or proxies.get("all")
    return Proxy.parse(text) if text and not proxy_bypass(host) else DIRECT


def _unused(host: str) -> str | None:
    names = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
    name = next((name for name in names if os.environ.get(name)), None)
    return None if name is None or is_loopback(host) or proxy_bypass(host) else name


def _networks(given: str | Iterable[str]) -> tuple[Network, ...]:
    texts = given.replace(",", " ").split() if isinstance(given, str) else given
    try:
        return tuple(ip_network(text, strict=False) for text in texts)
    except ValueError as problem:
        raise ConfigurationError(
            f"download networks must look like 198.18.0.0/15, several with commas: {problem}"
        ) from None
