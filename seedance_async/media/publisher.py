"""The publishing of local files: each content once, a few at a time, and with a check of every URL.

A failure of a store, which may be the user's code or command, affects only the jobs that need it. A store
that fails several times in a row is not called for a minute, so that a thousand jobs do not each wait for it.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable
from urllib.parse import urlsplit

import anyio
from anyio import to_thread
from attrs import evolve, field, frozen

from seedance_async import posts
from seedance_async.errors import MediaError, ValidationError
from seedance_async.foreign import as_reported, cancellations, is_stray, place
from seedance_async.logs import Log
from seedance_async.media.inspection import InputFile, checked_files, inspect
from seedance_async.models import local_files
from seedance_async.models.display import shown, shown_url
from seedance_async.network import is_loopback, public_url_fault

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yarl import URL

    from seedance_async.media.kept_urls import KeptUrls
    from seedance_async.models import Request
    from seedance_async.protocol import Call

log: Log = Log(__name__)

NO_STORE: Final = (
    "is a local file, and the API fetches URLs only: name a bucket of yours with --media-store "
    "s3://bucket/prefix (or SEEDANCE_MEDIA_STORE, or media_store= in Python), or a command that prints a URL "
    "for a path with --publish-with CMD"
)
"""The message for a request with a local file and no media store, with both ways to set one."""

AT_A_TIME: Final = 4
"""How many files are published at the same time."""

FRESH: Final = 3600.0
"""Seconds for which a URL is used for new jobs if its store does not state it."""

PATIENCE: Final = 900.0
"""The time limit in seconds for publishing one file."""

FAILURES_IN_A_ROW: Final = 3
PAUSE: Final = 60.0
"""Seconds for which a store is not called after ``FAILURES_IN_A_ROW``."""

REMEMBERED: Final = 10_000


@runtime_checkable
class MediaStore(Protocol):
    """The interface of a store from which the API can fetch files; you can implement your own.

    It may have an attribute ``fresh_for``: the seconds for which a URL is used for new jobs before
    ``publish`` is called again; 3600 without it.

    Example:
        >>> class MyStore:
        ...     async def publish(self, file: InputFile) -> str:
        ...         await upload(file.path, file.key)
        ...         return f"https://media.example.com/{file.key}"
        >>> client = SeedanceClient(media_store=MyStore())
    """

    async def publish(self, file: InputFile) -> str:
        """Upload a file to where the API can fetch it, and return its https URL.

        ``file.key`` is equal for equal content, so an existing file of that name need not be uploaded again.
        The URL should be valid for days, as the API fetches it when the job is sent.
        """
        ...


@frozen
class Published:
    """A URL, and the instant on the loop's clock until which it is used for new jobs."""

    url: str = field(repr=False)
    fresh_until: float


class Publisher:
    """The publisher of one client's local files.

    Args:
        store: the media store; None if there is none.
        base_url: the API's URL: only a sandbox at loopback can fetch files from loopback.
        kept: the URLs sent under the keys of the account.
    """

    def __init__(self, store: MediaStore | None, *, base_url: URL, kept: KeptUrls) -> None:
        self._store = store
        self._kept = kept
        self._allows_loopback = is_loopback(base_url.host or "")
        self._published: OrderedDict[str, Published] = OrderedDict()
        self._locks: dict[str, anyio.Lock] = {}
        self._places = anyio.Semaphore(AT_A_TIME)
        self._failures = 0
        self._paused_until = 0.0

    @property
    def has_store(self) -> bool:
        """Whether there is a media store."""
        return self._store is not None

    def fresh(self, refs: Mapping[str, str]) -> dict[str, str] | None:
        """The URL of each content reference; None if one of them must be published first, or again."""
        now = anyio.current_time()
        known = {ref: self._published.get(ref) for ref in refs}
        urls = {ref: each.url for ref, each in known.items() if each is not None and each.fresh_until > now}
        return urls if len(urls) == len(known) else None

    async def files(self, request: Request) -> dict[str, tuple[str, str]]:
        """The local files of a request: by the text in it, the content reference and the path.

        Raises:
            ValidationError: a file cannot be used, or there is no media store; nothing was sent.
        """
        given = list(local_files(request))
        if not given:
            return {}
        if self._store is None:
            faults = [(name, f"{str(text)!r:.300} {NO_STORE}") for name, text in given]
            raise ValidationError(faults, subject=type(request).__name__)
        return await to_thread.run_sync(checked_files, request)

    async def prepare(self, request: Request) -> None:
        """Publish the local files of a request, so that their URLs are ready when its turn comes.

        Raises:
            ValidationError: see ``files``.
            MediaError: see ``publish``.
        """
        await self.publish(dict((await self.files(request)).values()))

    async def filled(self, call: Call, request: Request) -> Call:
        """The POST of a request with URLs in place of its local files; under a known key, the same URLs.

        Raises:
            ValidationError: see ``files``.
            MediaError: see ``publish``.
        """
        files = await self.files(request)
        if not files:
            return call
        refs, key = dict(files.values()), str(call.idempotency_key)
        urls = await self._kept.of(key)
        if not refs.keys() <= urls.keys():
            urls = await self.publish(refs)
            await self._kept.keep(key, urls)
        by_text = {text: urls[ref] for text, (ref, _) in files.items()}
        return evolve(call, body=posts.resolved(call.body or b"", by_text))

    async def publish(self, refs: Mapping[str, str]) -> dict[str, str]:
        """Publish files, and return the URL of each content reference.

        Args:
            refs: by content reference, the path of a file with that content.

        Raises:
            MediaError: a file could not be published; nothing was sent to the API.
        """
        return {ref: await self._url(ref, path) for ref, path in refs.items()}

    async def _url(self, ref: str, path: str) -> str:
        lock = self._locks.setdefault(ref, anyio.Lock())
        try:
            async with lock:
                if (urls := self.fresh({ref: path})) is not None:
                    return urls[ref]
                async with self._places:
                    return await self._publish(ref, path)
        finally:
            if not lock.statistics().tasks_waiting and not lock.locked():
                self._locks.pop(ref, None)

    async def _publish(self, ref: str, path: str) -> str:
        file = await _unchanged(ref, path)
        url = self._checked(await self._asked(file), file)
        await _unchanged(ref, path)  # again, as a command reads the file itself
        fresh_for = float(getattr(self._store, "fresh_for", FRESH))
        self._published[ref] = Published(url, anyio.current_time() + fresh_for)
        self._published.move_to_end(ref)
        while len(self._published) > REMEMBERED:
            self._published.popitem(last=False)
        return url

    async def _asked(self, file: InputFile) -> object:
        """The store's result for a file; a store is foreign code."""
        if self._store is None:
            raise MediaError(f"{file.path} is a local file, and there is no media store")
        if anyio.current_time() < self._paused_until:
            raise MediaError(
                f"{file.path} was not published: the media store has failed {self._failures} times in a row"
            )
        before = cancellations()
        try:
            with anyio.fail_after(PATIENCE):
                url = await self._store.publish(file)
        except BaseException as problem:
            if not isinstance(problem, Exception) and not is_stray(problem, since=before):
                raise
            failure = _error(problem, file)
        else:
            self._failures = 0
            return url
        self._count_failure()
        raise failure  # outside ``except``, as the store's exception may contain a signed URL

    def _count_failure(self) -> None:
        self._failures += 1
        if self._failures >= FAILURES_IN_A_ROW:
            self._paused_until = anyio.current_time() + PAUSE

    def _checked(self, url: object, file: InputFile) -> str:
        if not isinstance(url, str):
            raise MediaError(f"the media store gave no URL for {file.path}; got {shown(url)}")
        fault = public_url_fault(url)
        if fault is None or (self._allows_loopback and _is_at_loopback(url)):
            return url
        raise MediaError(
            f"the media store gave no public https URL for {file.path}: {shown_url(url)} {fault}"
        )


async def _unchanged(ref: str, path: str) -> InputFile:
    """The file, if it still has the content with which the job was planned.

    Raises:
        MediaError: it has changed, or does not exist any more.
    """
    file = await to_thread.run_sync(inspect, path)
    if file.ref != ref:
        raise MediaError(f"{path!r:.300} has changed since it was inspected")
    return file


def _error(problem: BaseException, file: InputFile) -> MediaError:
    if isinstance(problem, MediaError):
        return problem
    if isinstance(problem, TimeoutError):
        return MediaError(f"the media store did not publish {file.path} in {PATIENCE:g} s")
    reported = as_reported(problem, code="the media store")
    log.warning("the media store failed: %s", place(problem))  # its text may contain a signed URL
    return MediaError(f"the media store failed for {file.path}: {type(reported).__name__}")


def _is_at_loopback(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and is_loopback(parts.hostname or "")
