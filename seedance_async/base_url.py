"""The API's base URL: what is refused as one, and which redirect it follows. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from yarl import URL

from seedance_async.errors import ConfigurationError
from seedance_async.models import REQUEST_TYPES
from seedance_async.network import is_loopback
from seedance_async.sandbox_hosts import VARIABLE, normal_host

if TYPE_CHECKING:
    from collections.abc import Collection

VENDOR: Final = URL("https://seedance2ai.io/api/v1")
_CALLS: Final = ("/tasks", *(request_type.path for request_type in REQUEST_TYPES.values()))


def read_base_url(
    text: object, *, sandbox_hosts: Collection[str] = (), is_live: bool = False
) -> URL | ConfigurationError:
    """The API's base URL: https, or http for a sandbox at loopback or at ``sandbox_hosts``.

    An error, for a frame to raise that has not the text, which may hold a password, is returned for no URL,
    another scheme, credentials, query or fragment in it, no host, and a path at which the API cannot be; and
    for a live key that would leave this machine over http.
    """
    url = _readable(text)
    if url is None or not url.host or url.scheme not in {"http", "https"} or _with_extras(url):
        return ConfigurationError("base_url must look like https://host/path, without credentials or query")
    if url.scheme == "http" and not is_loopback(url.host):
        if normal_host(url.host) not in sandbox_hosts:
            where = f"http is for a sandbox, on this machine or at a host of {VARIABLE}"
            return ConfigurationError(f"base_url {url} would send the API key unencrypted; {where}")
        if is_live:
            other = "a sandbox takes any other, such as sk_test_sandbox"
            return ConfigurationError(f"base_url {url} would send a live API key unencrypted; {other}")
    wanted = _with_the_path(url)
    if wanted != url:
        return ConfigurationError(f"base_url {url} is not where the API is; did you mean {wanted} ?")
    return url


def twin(base_url: URL, location: str) -> URL | None:
    """The base URL on its ``www.`` twin, if that is where the redirect points."""
    try:
        target = URL(location)
    except ValueError:
        return None
    host = base_url.host or ""
    other = host.removeprefix("www.") if host.startswith("www.") else f"www.{host}"
    if target.scheme == "https" == base_url.scheme and target.host == other and target.port == base_url.port:
        return base_url.with_host(other)
    return None


def _with_the_path(url: URL) -> URL:
    """The URL at the API's path; on other hosts than the vendor's any path may be it, but for a call's."""
    if (url.host or "").removeprefix("www.") == VENDOR.host:
        return url.with_path(VENDOR.path)
    path = url.raw_path.rstrip("/")
    for call in _CALLS:
        path = path.removesuffix(call)
    return url if path and path == url.raw_path else url.with_path(path or VENDOR.path)


def _readable(text: object) -> URL | None:
    """Nothing of a text that cannot be read is repeated: there is no telling where its password stands."""
    try:
        return URL(text.strip().rstrip("/")) if isinstance(text, str) else None
    except ValueError:
        return None


def _with_extras(url: URL) -> bool:
    """A URL may have a password without a user, and yarl then gives None for the user."""
    return bool(url.raw_user or url.raw_password or url.query or url.fragment)
