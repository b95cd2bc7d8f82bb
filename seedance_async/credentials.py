"""API key as a value that is absent from reprs and pickles.

A key in a plain ``str`` appears in reprs, tracebacks with locals and pickles. Here only ``reveal`` returns
the text, and only the transport calls it, directly before it sends a request.
"""

from __future__ import annotations

import hashlib
import socket
from ipaddress import IPv6Address
from typing import Final, NoReturn
from urllib.parse import urlsplit

from seedance_async.errors import ConfigurationError
from seedance_async.network import is_loopback, parse_address
from seedance_async.scrubbing import MASK, Scrubber

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_LOOPBACK: Final = "127.0.0.1"
LIVE_PREFIX: Final = "sk_live_"
"""How the vendor's own keys begin."""


class ApiKey:
    """A bearer key of the API.

    Args:
        text: the key as the dashboard shows it; white space around it is removed.

    Raises:
        ConfigurationError: it is empty, or has characters that are not allowed in a header. The message never
            contains the key.
    """

    __slots__ = ("_scrubber", "_text")

    def __init__(self, text: str) -> None:
        text = text.strip()
        if not text:
            raise ConfigurationError("the API key is empty")
        if not text.isascii() or any(ord(character) < 0x21 or ord(character) == 0x7F for character in text):
            raise ConfigurationError(
                "the API key has spaces, control or non-ASCII characters inside it; paste it again"
            )
        self._text = text
        self._scrubber = Scrubber(text)

    def reveal(self) -> str:
        """The key, for the Authorization header of requests to the API's origin only."""
        return self._text

    @property
    def is_live(self) -> bool:
        """Whether it is one of the real API, where it pays with real credits."""
        return self._text.startswith(LIVE_PREFIX)

    def account(self, origin: str) -> str:
        """Name of the account at the API of ``origin``: one for each key, from which no key follows.

        It is the origin in its normal form, and 16 hexadecimal digits that stand for the key.
        """
        digits = hashlib.sha256(self._text.encode()).hexdigest()[:16]
        return f"{normal_origin(origin)} {digits}"

    def scrub_body(self, body: bytes) -> bytes:
        """An answer's body without the key: some servers repeat the credentials that they refuse."""
        return self._scrubber.body(body)

    def scrub_text(self, text: str) -> str:
        """As ``scrub_body``, for the text of a header."""
        return self._scrubber.text(text)

    def __repr__(self) -> str:
        return f"ApiKey({MASK})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an API key cannot be pickled: pass the key to the other process in another way")


def normal_origin(origin: str) -> str:
    """The one spelling of an origin under which budget and journal know its account.

    Case, a trailing dot, the scheme's own port and ``www.`` make no difference, nor does the name by which
    the loopback interface is called.
    """
    parts = urlsplit(origin.strip())
    host = _normal_host(parts.hostname or "")
    port = parts.port
    suffix = "" if port is None or port == _DEFAULT_PORTS.get(parts.scheme) else f":{port}"
    return f"{parts.scheme}://{host}{suffix}"


def _normal_host(host: str) -> str:
    name = host.lower().rstrip(".").removeprefix("www.")
    address = parse_address(name) or parse_address(_four_numbers(name))
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if is_loopback(str(address or name)):
        return _LOOPBACK
    return f"[{address}]" if isinstance(address, IPv6Address) else str(address or name)


def _four_numbers(name: str) -> str:
    """An IPv4 address in its usual form where ``name`` is a short or hexadecimal one, such as 127.1."""
    try:
        return socket.inet_ntoa(socket.inet_aton(name)) if name[:1].isdigit() else name
    except (OSError, ValueError):  # ValueError: characters that no address has
        return name
