"""The URL of a database server: its parts, and how it is shown without its password.

Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Collection

MOST_PORTS: Final = 65_535


@frozen(kw_only=True)
class ServerUrl:
    """What a URL says but for its password and its options.

    Attributes:
        scheme: as it was written.
        user: empty if none is named.
        hosts: with their ports, commas between several; empty for the machine's own socket.
        path: with its leading slash; empty if none is named.
    """

    scheme: str
    user: str
    hosts: str
    path: str

    @property
    def shown(self) -> str:
        """The URL for messages."""
        user = f"{self.user}@" if self.user else ""
        return f"{self.scheme}://{user}{self.hosts}{self.path}"


def server_url(text: str, schemes: Collection[str]) -> ServerUrl | None:
    """The parts of a URL; None if it is none of these schemes, or cannot be read without doubt.

    An ``@`` behind the host may be the end of a password in which ``/`` or ``?`` was not escaped, so such a
    URL is refused rather than shown.
    """
    try:
        parts = urlsplit(text)
        user = unquote(parts.username or "")
    except ValueError:
        return None
    hosts = parts.netloc.rpartition("@")[2]
    is_readable = (
        parts.scheme in schemes
        and "@" not in f"{parts.path}{parts.query}"
        and not parts.fragment
        and all(map(_is_host, hosts.split(",")))  # libpq takes several
        and bool(parts.netloc or parts.path.strip("/"))
    )
    return ServerUrl(scheme=parts.scheme, user=user, hosts=hosts, path=parts.path) if is_readable else None


def _is_host(text: str) -> bool:
    """Whether this may be a host with or without a port; libpq takes none at all for a socket."""
    _, colon, port = ("", "", "") if text.endswith("]") else text.rpartition(":")
    return not colon or (port.isdecimal() and int(port) <= MOST_PORTS)
