"""Signed URLs of output files, each of which contains the time of its expiry.

Output URLs expire (U9), and a client must poll again for new ones. So each URL contains its expiry and a
signature of it, as in object stores, and every poll of a completed task returns new URLs.

Pure: ``now`` is the server's clock, in seconds.
"""

from __future__ import annotations

import hashlib
import hmac
from urllib.parse import parse_qs, quote, unquote, urlsplit

from attrs import frozen


@frozen
class SignedUrl:
    """The parts of the URL of an output file."""

    task_id: str
    file: str
    expires: str
    signature: str


@frozen
class UrlSigner:
    """The signer of the URLs of output files, each of which is valid for ``life`` seconds."""

    media_url: str
    secret: bytes
    life: float

    def sign(self, task_id: str, name: str, now: float) -> str:
        """A URL of the file that is valid from ``now`` on."""
        expires = str(round((now + self.life) * 1000))
        signature = self._signature(task_id, name, expires)
        return f"{self.media_url}/{quote(task_id)}/{quote(name)}?expires={expires}&signature={signature}"

    def parse(self, url: str) -> SignedUrl | None:
        """The parts of a URL of this server; None for any other."""
        if not url.startswith(f"{self.media_url}/"):
            return None
        parts = urlsplit(url.removeprefix(f"{self.media_url}/"))
        task_id, _, name = parts.path.partition("/")
        query = parse_qs(parts.query)
        expires, signature = (query.get(word, [""])[0] for word in ("expires", "signature"))
        return SignedUrl(unquote(task_id), unquote(name), expires, signature)

    def refusal_reason(self, task_id: str, name: str, expires: str, signature: str, now: float) -> str | None:
        """Why the URL is not valid at ``now``; None if it is."""
        if not hmac.compare_digest(signature.encode(), self._signature(task_id, name, expires).encode()):
            return "The URL's signature does not match"
        return "The URL has expired" if int(expires) <= now * 1000 else None

    def _signature(self, task_id: str, name: str, expires: str) -> str:
        return hmac.new(self.secret, f"{task_id}/{name}?{expires}".encode(), hashlib.sha256).hexdigest()[:32]
