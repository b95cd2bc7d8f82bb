"""Inputs that a media store of this machine serves, such as a MinIO beside the sandbox.

The vendor's server fetches the media of a request, and none of its addresses is at loopback. A sandbox is at
loopback itself, so what it can fetch there over http counts as public: the first bytes are fetched with a
Range, as the vendor does it, and have to be those of a picture or, where one may stand, a clip. Blocking.
"""

from __future__ import annotations

import re
from http.client import HTTPException
from typing import TYPE_CHECKING, Final
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

from seedance_async.sandbox.inputs import CLIPS_TOO

if TYPE_CHECKING:
    from collections.abc import Mapping

PATIENCE: Final = 5.0
"""Seconds for which a server is waited for."""

PROBED_BYTES: Final = 64

PICTURE: Final = re.compile(
    rb"\x89PNG\r\n|\xff\xd8\xff|GIF8|RIFF....WEBP|....ftyp(?:avi[fs]|hei[cfmsx]|mif1|msf1)", re.DOTALL
)
CLIP: Final = re.compile(rb"....(?:ftyp|styp|moov|mdat|wide|free)|\x1aE\xdf\xa3", re.DOTALL)


def look(urls: Mapping[str, str]) -> dict[str, str]:
    """What is wrong with each of these URLs, given with their fields; empty for those that work."""
    return {url: _fault(url, name) for url, name in urls.items()}


def _fault(url: str, name: str) -> str:
    opener = build_opener(ProxyHandler({}), _NoRedirects())
    probe = Request(url, headers={"Range": f"bytes=0-{PROBED_BYTES - 1}"})  # noqa: S310 - http, at loopback
    try:
        with opener.open(probe, timeout=PATIENCE) as answer:
            status, head = answer.status, answer.read(PROBED_BYTES)
    except HTTPError as refused:
        return f"The URL could not be fetched (HTTP {refused.code})"
    except (OSError, ValueError, HTTPException):
        return "The URL could not be fetched"
    if PICTURE.match(head):
        return ""
    if not CLIP.match(head):
        return "must be an image or video"
    if name not in CLIPS_TOO:
        return "must be an image; got a video"
    return "" if status == 206 else "video URLs must support Range requests"


class _NoRedirects(HTTPRedirectHandler):
    """Goes where the URL says, and nowhere else."""

    def redirect_request(self, *_: object) -> None:
        """Follow none."""
