"""Rules by which a request to the review page is refused: foreign hosts, foreign pages, a missing token.

The server listens at loopback, but so near are other users of the machine, and every page that is open in the
same browser. Against them:

*The token*, 256 random bits in the URL that the command printed; every path begins with it, and whoever
changes something sends it in a header as well, which a form or a link of a foreign page cannot.

*The host*: a page of an enemy's domain that is made to resolve to 127.0.0.1 (DNS rebinding) is of one origin
with the server in the browser's eyes, but it names its own domain in ``Host``.

*The origin*: what a browser sends for a foreign page says so in ``Origin`` and ``Sec-Fetch-Site``.

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
"""What ``Sec-Fetch-Site`` says of a page's own requests, and of an address that somebody typed."""


@frozen(kw_only=True)
class Asked:
    """What a request says of itself; None where it says nothing.

    Attributes:
        changes: whether it asks to change something.
        token: of its path.
        token_header: of ``TOKEN_HEADER``.
        site: ``Sec-Fetch-Site``.
    """

    changes: bool
    token: str
    host: str | None = None
    token_header: str | None = None
    origin: str | None = None
    site: str | None = None
    content_type: str = ""


def refusal(asked: Asked, *, token: str, port: int) -> tuple[int, str] | None:
    """The status and the reason to refuse a request with; None for one that may be answered.

    Args:
        asked: the request.
        token: of this server.
        port: that it listens on.
    """
    if asked.host not in _hosts(port):
        return 421, "this server answers to 127.0.0.1 and localhost only"
    if not _same(asked.token, token):
        return 403, "open the whole URL that `seedance review` printed"
    if asked.origin is not None and asked.origin != f"http://{asked.host}":
        return 403, "another page cannot ask for this"
    return _change_refusal(asked, token) if asked.changes else _site_refusal(asked)


def _hosts(port: int) -> set[str]:
    """What a browser says in ``Host`` of this server; it leaves out the port of the scheme."""
    return {name if port == HTTP_PORT else f"{name}:{port}" for name in NAMES}


def _change_refusal(asked: Asked, token: str) -> tuple[int, str] | None:
    if asked.origin is None or asked.site not in {None, "same-origin"}:
        return 403, "another page cannot ask for this"
    if not _same(asked.token_header or "", token):
        return 403, f"the header {TOKEN_HEADER} is missing or wrong"
    if asked.content_type != "application/json":
        return 415, "the body must be JSON"
    return None


def _site_refusal(asked: Asked) -> tuple[int, str] | None:
    if asked.site is not None and asked.site not in OWN_SITES:
        return 403, "another page cannot ask for this"
    return None


def _same(given: str, token: str) -> bool:
    """Whether both are the same, in a time that does not say how much of it is."""
    return hmac.compare_digest(given.encode(errors="replace"), token.encode())
