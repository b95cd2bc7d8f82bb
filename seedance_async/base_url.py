"""The API's base URL: the check of a given one, and the redirect that is followed. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from yarl import URL

from seedance_async.errors import ConfigurationError
from seedance_async.models import REQUEST_TYPES
from seedance_async.network import is_loopback
from seedance_async.sandbox_hosts import VARIABLE, normal_host

if TYPE_CHECKING:
    from collections.abc import Collection

VENDOR: Final = URL("https://seedance2ai.io/api/v1")
_PATHS: Final = "|".join(re.escape(request_type.path) for request_type in REQUEST_TYPES.values())
_CALL: Final = re.compile(rf"(?:{_PATHS}|/tasks(?:/[^/]*)?|(?<=/v1)/(?:video|image)(?:/[^/]*)?)/?$")
"""The end of a path that belongs to a call, or to the beginning of one; a gateway may have any other path."""

_FORM: Final = "base_url must look like https://host/path, without credentials or query"
_QUOTED: Final = re.compile(r"""(["'`])(.*)\1""", re.DOTALL)
_HOST: Final = re.compile(r"(?!sk_)[a-z0-9-]+(\.[a-z0-9-]+)+(:[0-9]+)?(/[\w./-]*)?", re.IGNORECASE)
"""A host and a path without a scheme, but not an API key in the wrong place."""


def read_base_url(
    text: object, *, sandbox_hosts: Collection[str] = (), is_live: bool = False
) -> URL | ConfigurationError:
    """The API's base URL: https, or http for a sandbox at loopback or at ``sandbox_hosts``.

    An error is returned for a text that is no URL, has another scheme, credentials, a query or a fragment, no
    host, or a path at which the API cannot be; and if a live key would leave this machine over http. It is
    returned, not raised, because the text may contain a password: the caller raises it from a stack frame
    without the text.
    """
    if not isinstance(text, str):
        return ConfigurationError(f"base_url must be text; got a value of type {type(text).__name__}")
    url = _readable(text)
    if url is None:
        return ConfigurationError(f"{_FORM}; what was given cannot be read as a URL")
    if fault := _fault(url):
        return ConfigurationError(f"{_FORM}; {fault}")
    host = url.host or ""
    if url.scheme == "http" and not is_loopback(host):
        if normal_host(host) not in sandbox_hosts:
            where = f"http is for a sandbox, on this machine or at a host of {VARIABLE}"
            return ConfigurationError(f"base_url {url} would send the API key unencrypted; {where}")
        if is_live:
            other = "a sandbox takes any other, such as sk_test_sandbox"
            return ConfigurationError(f"base_url {url} would send a live API key unencrypted; {other}")
    wanted = _with_the_path(url)
    if wanted == url:
        return url
    what = "is the address of a call, not of the API" if _CALL.search(url.path) else "is not where the API is"
    return ConfigurationError(f"base_url {url} {what}; did you mean {wanted} ?")


def with_or_without_www(base_url: URL, location: str) -> URL | None:
    """The base URL with ``www.`` added or removed, if the redirect points there; else None."""
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
    """The URL with the API's path; on other hosts than the vendor's, any path but that of a call is kept."""
    if (url.host or "").removeprefix("www.") == VENDOR.host:
        return url.with_path(VENDOR.path)
    path = _CALL.sub("", url.raw_path.rstrip("/"))
    return url if path and path == url.raw_path else url.with_path(path or VENDOR.path)


def _readable(text: str) -> URL | None:
    """The URL in a text; None if there is none. Such a text is never shown, as it may contain a password."""
    text = text.strip().strip("\ufeff")
    if quoted := _QUOTED.fullmatch(text):  # copied from an env file with quoted values
        text = quoted[2].strip()
    try:
        return URL(text.rstrip("/"))
    except ValueError:
        return None


def _fault(url: URL) -> str | None:
    """Why a URL cannot be the API's, without its secret parts; None if it can."""
    if not url.scheme and _HOST.fullmatch(str(url)):
        return f"{url} has no scheme; did you mean {_with_the_path(URL(f'https://{url}'))} ?"
    if not url.host:
        return "what was given has no scheme and host"
    if url.scheme not in {"http", "https"}:
        return f"what was given begins with {url.scheme}://" if url.scheme else "what was given has no scheme"
    # A URL may have a password without a user, and yarl then gives None for the user.
    if url.raw_user or url.raw_password or "@" in url.path:
        return f"{_shown(url)} has a user name or a password in it: leave it out"
    if url.query or url.fragment:
        return f"{_shown(url)} has a query or a fragment: leave out what begins with ? or #"
    return None


def _shown(url: URL) -> str:
    """A URL with ``…`` in place of every part that may be secret."""
    credentials = "…@" if url.raw_user or url.raw_password else ""
    port = f":{url.explicit_port}" if url.explicit_port else ""
    path = "/…" if "@" in url.path else url.raw_path
    extras = f"{'?…' if url.query else ''}{'#…' if url.fragment else ''}"
    return f"{url.scheme}://{credentials}{url.host}{port}{path}{extras}"
