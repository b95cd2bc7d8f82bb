"""Classification of hosts and URLs by their form: loopback, private, or on the public internet. Pure.

Media URLs of a request, by the vendor's rule: "Media URLs must be public HTTPS URLs. asset:// URLs are not
accepted." The vendor's server fetches them, so only the *form* can be checked here: a name that resolves to a
private address still passes. Sources: for addresses, the IANA special-purpose registries as ``ipaddress``
implements them; for names, RFC 6761 (``localhost``), RFC 6762 with its appendix G (``local`` and the suffixes
that private networks use) and RFC 8375 (``home.arpa``).
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final
from urllib.parse import SplitResult, urlsplit

PRIVATE_SUFFIXES: Final = frozenset(
    {"localhost", "local", "internal", "intranet", "private", "corp", "home", "lan", "home.arpa"}
)
NOT_PUBLIC: Final = (
    IPv4Network("168.63.129.16/32"),  # Azure's metadata service; other clouds' are link-local or private
    IPv4Network("192.0.0.0/24"),  # IETF protocol assignments, which older Pythons count as global
)

TRANSLATED: Final = (
    IPv6Network("64:ff9b::/96"),  # NAT64's well-known prefix, RFC 6052
    IPv6Network("64:ff9b:1::/48"),  # its prefix for local use, RFC 8215
)
"""Networks whose addresses are translated to the IPv4 address in their last 32 bits."""

_LABEL: Final = re.compile(r"(?!-)[\w-]{1,63}(?<!-)")
# A host whose last label is a number is an IPv4 address to the URL standard: 2130706433, 127.1, 0x7f.1.
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_NOT_IN_A_URL: Final = re.compile(r"[\s\x00-\x1f\x7f\\\"<>\ud800-\udfff]")
# A URL may carry another in its path or its query; after anything else, the second of a list begins.
_SECOND_URL: Final = re.compile(r"(?<![/=:])https?://", re.IGNORECASE)
_DOTS: Final = str.maketrans("\u3002\uff0e\uff61", "...")  # full stops that IDNA reads as dots


def public_url_fault(url: str) -> str | None:
    """The reason why ``url`` is not a public https URL, or None if it is one."""
    if _NOT_IN_A_URL.search(url):
        return "contains white space or other characters that must be percent-encoded"
    if _SECOND_URL.search(url, 1):
        return "holds more than one URL; give each as a separate value"
    if url.endswith((",", ";")):
        return f"ends with {url[-1]!r}, which belongs to a list and not to a URL"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return f"is not a URL ({error})"
    if port == 0:
        return "names port 0, where nothing can be fetched"
    return _scheme_fault(parts) or public_host_fault(parts.hostname or "")


def public_host_fault(host: str) -> str | None:
    """The reason why ``host``, a name or an address without port, is not public, or None if it is."""
    name = unicodedata.normalize("NFKC", host).translate(_DOTS).lower().removesuffix(".")
    address = parse_address(name)
    if address is not None:
        return None if is_public(address) else f"names {host}, which is not a public address"
    labels = name.split(".")
    if not all(_LABEL.fullmatch(label) for label in labels):
        return "has no usable host name"
    if _NUMBER.fullmatch(labels[-1]):
        return f"names {host}, an address not written in the usual four numbers"
    if len(labels) == 1 or PRIVATE_SUFFIXES & {labels[-1], ".".join(labels[-2:])}:
        return f"names {host}, which exists only inside a private network"
    return None


@lru_cache(maxsize=64)  # asked before every request
def is_loopback(host: str) -> bool:
    """Whether ``host``, a name or an address, in brackets or not, is the loopback interface."""
    address = parse_address(host.strip("[]"))
    return address.is_loopback if address else host.rstrip(".").lower() == "localhost"


def is_sandbox(scheme: str, host: str) -> bool:
    """Whether an accepted base URL is that of a sandbox: plain http is accepted for sandboxes only."""
    return scheme == "http" or is_loopback(host)


def is_host(text: str) -> bool:
    """Whether ``text`` is a name or an address alone, without scheme, port and brackets."""
    return parse_address(text) is not None or re.fullmatch(r"[\w.-]+", text) is not None


def parse_address(host: str) -> IPv4Address | IPv6Address | None:
    """``host`` as an IP address, or None if it is a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address is on the public internet; an IPv4 address inside an IPv6 one is decisive."""
    inner = _wrapped_address(address)
    if inner is not None:
        return is_public(inner)
    # Not all of these are outside `is_global` in every Python: multicast, NAT64, site-local.
    special = address.is_multicast or address.is_reserved or (address.version == 6 and address.is_site_local)
    return address.is_global and not special and not any(address in network for network in NOT_PUBLIC)


def _scheme_fault(parts: SplitResult) -> str | None:
    if parts.scheme == "asset":
        return "is an asset:// URL; these work inside the vendor's app only, never over the API"
    if parts.scheme != "https":
        scheme = f"{parts.scheme}://" if parts.scheme else "no scheme"
        return f"must be a public https URL, got {scheme}"
    if "@" in parts.netloc:
        return "carries a user name or password; a public URL needs none"
    return None


def _wrapped_address(address: IPv4Address | IPv6Address) -> IPv4Address | None:
    """The IPv4 address inside an IPv6 one, if any: packets sent to the outer one reach the inner one."""
    if not isinstance(address, IPv6Address):
        return None
    number = int(address)
    # The prefix for local use has other layouts, too; bits 64 to 95 are not all zero in them.
    if any(address in network for network in TRANSLATED) and not number >> 32 & 0xFFFFFFFF:
        return IPv4Address(number & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour
