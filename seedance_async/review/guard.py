"""Rules that refuse requests to the review page: foreign hosts, foreign pages, a missing token.

The server listens on the loopback address only, but other users of the machine and every page in the same
browser can reach that as well. Three checks keep them out:

*The token*: 256 random bits in the URL that the command prints. Every path begins with it, and a request that
changes something also sends it in a header, which a form or a link of a foreign page cannot do.

*The host*: an attacker's domain that resolves to 127.0.0.1 (DNS rebinding) has the same origin as the server
for the browser, but its requests have the attacker's domain in ``Host``.

*The origin*: the browser marks requests of foreign pages in ``Origin`` and ``Sec-Fetch-Site``.

Pure.
"""

from __future__ import annotations

import hmac
from typing import Final

from attrs import frozen

TOKEN_HEADER: Final = "X-Review-Token"  # noqa: S105 - the name of a header
HOST: Final = "127.0.0.1"
NAMES: Final = (HOST, "localhost")
HTTP_PORT: Final = 80

OWN_SITES: Final = frozenset({"same-origin", "none"})
"""Values of ``Sec-Fetch-Site`` for requests of the page itself, and for an address that a user has typed."""


@frozen(kw_only=True)
class IncomingRequest:
    """The parts of a request that the rules check; None where a header is missing.

    Attributes:
        changes: whether its method changes something.
        token: from its path.
        token_header: value of ``TOKEN_HEADER``.
        site: value of ``Sec-Fetch-Site``.
    """

    changes: bool
    token: str
    host: str | None = None
    token_header: str | None = None
    origin: str | None = None
    site: str | None = None
    content_type: str = ""


def refusal(incoming: IncomingRequest, *, token: str, port: int) -> tuple[int, str] | None:
    """Return the status and the reason for refusing a request; None if it may be answered.

    Args:
        incoming: the request.
        token: of this server.
        port: that it listens on.
    """
    if incoming.host not in _hosts(port):
        return 421, "this server answers to 127.0.0.1 and localhost only"
    if not _same(incoming.token, token):
        return 403, "open the whole URL that `seedance review` printed"
    if incoming.origin is not None and incoming.origin != f"http://{incoming.host}":
        return 403, "requests of other pages are refused"
    return _change_refusal(incoming, token) if incoming.changes else _site_refusal(incoming)


def _hosts(port: int) -> set[str]:
    """Return the values of ``Host`` that a browser sends to this server; port 80 is left out."""
    return {name if port == HTTP_PORT else f"{name}:{port}" for name in NAMES}


def _change_refusal(incoming: IncomingRequest, token: str) -> tuple[int, str] | None:
    if incoming.origin is None or incoming.site not in {None, "same-origin"}:
        return 403, "requests of other pages are refused"
    if not _same(incoming.token_header or "", token):
        return 403, f"the header {TOKEN_HEADER} is missing or wrong"
    if incoming.content_type != "application/json":
        return 415, "the body must be JSON"
    return None


def _site_refusal(incoming: IncomingRequest) -> tuple[int, str] | None:
    if incoming.site is not None and incoming.site not in OWN_SITES:
        return 403, "requests of other pages are refused"
    return None


def _same(given: str, token: str) -> bool:
    """Compare two tokens in constant time."""
    return hmac.compare_digest(given.encode(errors="replace"), token.encode())
