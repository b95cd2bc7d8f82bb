"""The API key, as a value that never appears in reprs and pickles.

A key in a plain ``str`` appears in reprs, tracebacks with locals and pickles. Here only ``reveal`` returns
the text, and only the transport calls it, directly before it sends a request.
"""

from __future__ import annotations

import hashlib
import re
import socket
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Final, NoReturn
from urllib.parse import urlsplit

from seedance_async.errors import ConfigurationError
from seedance_async.network import is_loopback, parse_address
from seedance_async.scrubbing import MASK, Scrubber

if TYPE_CHECKING:
    from collections.abc import Callable

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_LOOPBACK: Final = "127.0.0.1"
LIVE_PREFIX: Final = "sk_live_"
"""The prefix of the vendor's keys."""


_AROUND: Final = re.compile(
    r"""(?P<quote>["'`]) (?P<quoted>.*) (?P=quote)
    | [\u201c\u2018\u201e\u00ab] (?P<curly>.*) [\u201d\u2019\u201c\u00bb]
    | (?:Authorization:\s*)? Bearer:? (?:\s+(?P<bearer>.*))?""",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
"""Text around a key that is certainly not part of it: quotes of an env file, the words of the header."""

_NEVER_IN_A_KEY: Final[dict[str, Callable[[str], bool]]] = {
    "spaces, control or non-ASCII characters": lambda text: re.search(r"[^\x21-\x7e]", text) is not None,
    "a comment": lambda text: "#" in text,
    "quotes": lambda text: re.search(r"[\"'`]", text) is not None,
    "the name of a variable, which nobody has replaced": lambda text: text.startswith(("$", "%", "{{")),
    "an assignment": lambda text: "=" in text.rstrip("="),
    "punctuation that no key has": lambda text: re.search(r"[;,\\<>(){}\[\]|*]", text) is not None,
    "a URL": lambda text: "://" in text,
}


class ApiKey:
    """A bearer key of the API.

    Args:
        text: the key as the dashboard shows it; white space, quotes, a byte order mark and ``Bearer`` around
            it are removed.

    Raises:
        ConfigurationError: it is empty, or has characters that are not allowed in a header. The message never
            contains the key.
    """

    __slots__ = ("_scrubber", "_text")

    def __init__(self, text: str) -> None:
        text = _without_surroundings(text)
        fault = _fault(text)
        if fault is not None:
            del text  # the traceback shows this frame
            raise ConfigurationError(fault)
        self._text = text
        self._scrubber = Scrubber(text)

    def reveal(self) -> str:
        """The key, for the Authorization header of requests to the API's origin only."""
        return self._text

    @property
    def is_live(self) -> bool:
        """Whether it is a key of the real API, where requests cost real credits."""
        return self._text.startswith(LIVE_PREFIX)

    def account(self, origin: str) -> str:
        """The name of the account at the API of ``origin``, unique for each key, without revealing the key.

        It consists of the origin in its normal form, and 16 hexadecimal digits of the key's hash.
        """
        digits = hashlib.sha256(self._text.encode()).hexdigest()[:16]
        return f"{normal_origin(origin)} {digits}"

    def scrub_body(self, body: bytes) -> bytes:
        """An answer's body without the key: some servers repeat the credentials that they refuse."""
        return self._scrubber.body(body)

    def scrub_text(self, text: str) -> str:
        """Like ``scrub_body``, for the text of a header."""
        return self._scrubber.text(text)

    def __repr__(self) -> str:
        return f"ApiKey({MASK})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an API key cannot be pickled: pass the key to the other process in another way")


def read_key(given: object) -> ApiKey | ConfigurationError:
    """The key in ``given``, or an error for the caller to raise from a stack frame without the text."""
    if not isinstance(given, str):
        return ConfigurationError(f"api_key must be text; got a value of type {type(given).__name__}")
    fault = _fault(_without_surroundings(given))
    return ApiKey(given) if fault is None else ConfigurationError(fault)


def _without_surroundings(text: str) -> str:
    text = text.strip().strip("\ufeff\u200b\u2060").strip()
    around = _AROUND.fullmatch(text)
    if around is None:
        return text
    return _without_surroundings(around["quoted"] or around["curly"] or around["bearer"] or "")


def _fault(text: str) -> str | None:
    """Why ``text`` is not a key, without repeating any of it; None if it may be one."""
    if not text:
        return "the API key is empty"
    found = [what for what, stands in _NEVER_IN_A_KEY.items() if stands(text)]
    return f"the API key has {' and '.join(found)} inside it; paste it again" if found else None


def normal_origin(origin: str) -> str:
    """The normal form of an origin, which budget and journal use in the account's name.

    Case, a trailing dot, the default port of the scheme and ``www.`` make no difference, nor does the name
    used for the loopback interface.
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
    """The usual form of an IPv4 address in a short or hexadecimal one, such as 127.1; else ``name``."""
    try:
        return socket.inet_ntoa(socket.inet_aton(name)) if name[:1].isdigit() else name
    except (OSError, ValueError):  # ValueError: characters that are not allowed in an address
        return name
