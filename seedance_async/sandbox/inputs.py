"""The sandbox's own output files as inputs of further requests: their recognition and check.

The vendor's server fetches the media of a request from anywhere. The sandbox does not access the internet, so
media elsewhere are accepted unseen, while its own are checked: the URL's signature and age, and the type of
the file. Files at another server of this machine are fetched, see ``local_media``.

Pure.
"""

from __future__ import annotations

import json
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from seedance_async.sandbox.signed_urls import UrlSigner
    from seedance_async.sandbox.tasks import Task
    from seedance_async.sandbox.validation import GenerationRequest

MOST_URLS: Final = 12
"""The most URLs in one request, by the vendor's table."""

MEDIA_FIELDS: Final = ("image_url", "end_image_url", "media_urls", "image_urls")
CLIPS_TOO: Final = frozenset({"media_urls"})
"""Fields that may hold clips; the others hold pictures only."""


def media_of(fields: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Every URL of a request, with its field."""
    for name in MEDIA_FIELDS:
        value = fields.get(name)
        for url in value if isinstance(value, list) else [value]:
            if isinstance(url, str):
                yield name, url


def local_urls(body: bytes, *, media_url: str) -> dict[str, str]:
    """The http URLs at loopback in a request's body, with their fields, without the sandbox's own files."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    given = media_of(document) if isinstance(document, dict) else ()
    found = {url: name for name, url in given if is_local(url) and not url.startswith(f"{media_url}/")}
    return dict(list(found.items())[:MOST_URLS])


def is_local(url: str) -> bool:
    """Whether a URL has http and a loopback address."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        return parts.scheme == "http" and (host == "localhost" or ip_address(host).is_loopback)
    except ValueError:
        return False


def refusal_reason(
    request: GenerationRequest, *, signer: UrlSigner, tasks: Mapping[str, Task], now: float
) -> str | None:
    """Why a request is refused because of one of the sandbox's own files; None if it is not."""
    for name, url in media_of(request.fields):
        given = signer.parse(url)
        if given is None:
            continue
        if reason := signer.refusal_reason(given.task_id, given.file, given.expires, given.signature, now):
            return f"{name}: {reason}"
        if given.task_id not in tasks:
            return f"{name}: The file does not exist"
        if given.file.endswith(".mp4") and name not in CLIPS_TOO:
            return f"{name}: must be an image; got video/mp4"
    return None


def sources_of(task: Task, *, signer: UrlSigner, tasks: Mapping[str, Task]) -> tuple[tuple[Task, str], ...]:
    """The sandbox's own files that were inputs of a task: for each, the task that made it, and its name."""
    given = (signer.parse(url) for _, url in media_of(task.request.fields))
    return tuple((tasks[url.task_id], url.file) for url in given if url is not None and url.task_id in tasks)
