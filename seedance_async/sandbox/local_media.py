"""The check of inputs that are served by a media store on this machine, such as MinIO.

The vendor's server fetches the media of a request, and cannot fetch from loopback. A sandbox is at loopback
itself, so a file that it can fetch there over http counts as public: the first bytes are fetched with a Range
request, as the vendor does, and must be those of a picture or, where allowed, of a clip. Blocking.
"""

from __future__ import annotations

import re
from http.client import HTTPException
from typing import TYPE_CHECKING, Final
from urllib.error import HTTPError
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    OpenerDirector,
    Request,
)

from seedance_async.sandbox.inputs import CLIPS_TOO

if TYPE_CHECKING:
    from collections.abc import Mapping

PATIENCE: Final = 5.0
"""The time limit of one fetch in seconds."""

PROBED_BYTES: Final = 64

PICTURE: Final = re.compile(
    rb"\x89PNG\r\n|\xff\xd8\xff|GIF8|RIFF....WEBP|....ftyp(?:avi[fs]|hei[cfmsx]|mif1|msf1)", re.DOTALL
)
CLIP: Final = re.compile(rb"....(?:ftyp|styp|moov|mdat|wide|free)|\x1aE\xdf\xa3", re.DOTALL)


def look(urls: Mapping[str, str]) -> dict[str, str]:
    """Why each of these URLs, given with their fields, cannot be used; an empty text if it can."""
    return {url: _fault(url, name) for url, name in urls.items()}


def _fault(url: str, name: str) -> str:
    probe = Request(url, headers={"Range": f"bytes=0-{PROBED_BYTES - 1}"})  # noqa: S310 - http, at loopback
    try:
        with _opener().open(probe, timeout=PATIENCE) as answer:
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


def _opener() -> OpenerDirector:
    """An opener that uses no proxy and follows no redirect."""
    opener = OpenerDirector()
    for handler in (HTTPHandler(), HTTPDefaultErrorHandler(), HTTPErrorProcessor()):
        opener.add_handler(handler)
    return opener
