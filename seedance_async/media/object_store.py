"""A media store in S3 or a compatible service, GCS or Azure, through obstore.

The name of an object is the hash of its content, so an existing one is not uploaded again. obstore's blocking
functions are used, in a thread: after its async ones, the interpreter sometimes aborts at its exit.
"""

from __future__ import annotations

import hashlib
import io
import mimetypes
import os
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlsplit

from anyio import to_thread

from seedance_async.errors import ConfigurationError, MediaError
from seedance_async.models.display import without_queries
from seedance_async.network import is_loopback

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

    from seedance_async.media.inspection import InputFile

SIGNED_FOR: Final = timedelta(days=7)
"""The validity of a URL: the longest that signature version 4 allows, so that it outlasts any queue."""

FRESH: Final = timedelta(days=1)
"""How long a URL is used for new jobs before another one is signed."""

RETRIES: Final = 4
PATIENCE: Final = timedelta(seconds=60)
"""For how long a call is retried if the store does not answer or is busy."""

SCHEMES: Final = frozenset({"s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "adl"})
WITH_ACCOUNT: Final = frozenset({"abfs", "abfss"})
"""Schemes of URLs such as ``abfss://container@account.dfs.core.windows.net``."""

ENDPOINTS: Final = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
EXAMPLES: Final = "s3://bucket/prefix, gs://bucket/prefix or az://container/prefix"

_CODE: Final = re.compile(
    r"<Code>([^<]{1,100})</Code>(?:.{0,200}?<Message>([^<]{1,300})</Message>)?", re.DOTALL
)
_TIMES: Final = re.compile(r" in [\d.]+\w+(?:, after \d+ retries, max_retries: \d+, retry_timeout: \w+)?")

KEYS: Final = {
    "s3": "its keys come from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION, its address from "
    "AWS_ENDPOINT_URL; profiles of ~/.aws are not read "
    '(eval "$(aws configure export-credentials --format env)" sets the keys of one)',
    "gs": "its key comes from GOOGLE_APPLICATION_CREDENTIALS: a service account's file, which signs URLs",
    "az": "its key comes from AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
"""The source of the credentials, by scheme."""


class ObjectStore:
    """A media store in a bucket, below a prefix.

    Args:
        url: the store's URL, such as ``s3://bucket/prefix``.

    Raises:
        ConfigurationError: the URL is not valid, or obstore is not installed.
    """

    fresh_for: float = FRESH.total_seconds()

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in SCHEMES or not parts.netloc:
            raise ConfigurationError(f"a media store must look like {EXAMPLES}")
        has_user = parts.username is not None and parts.scheme not in WITH_ACCOUNT
        if has_user or parts.password or parts.query or parts.fragment:
            raise ConfigurationError(
                f"a media store has no user name, password or query: {EXAMPLES}; {KEYS['s3']}"
            )
        self._url = url
        self._keys = KEYS["s3" if parts.scheme.startswith("s3") else "gs" if parts.scheme == "gs" else "az"]
        self._store = _opened(url, self._keys, is_s3=parts.scheme.startswith("s3"))

    def __repr__(self) -> str:
        return f"ObjectStore({self._url!r})"

    async def publish(self, file: InputFile) -> str:
        """Upload a file unless the store has it, and return a signed URL for it.

        Raises:
            MediaError: the store refused the file, or cannot be reached.
        """
        return await to_thread.run_sync(self._publish, file)

    def _publish(self, file: InputFile) -> str:
        import obstore  # noqa: PLC0415 - an extra; the constructor has checked that it is installed

        try:
            if not self._has(file):
                with file.path.open("rb") as content:
                    reader: Any = _Verifying(content, file)
                    obstore.put(self._store, file.key, reader, attributes={"Content-Type": file.media_type})
            return obstore.sign(self._store, "GET", file.key, SIGNED_FOR)
        except (obstore.exceptions.BaseError, OSError, ValueError) as problem:
            raise self._error(problem, file.path) from None  # its text contains the whole exchange

    async def save(self, path: Path, key: str, *, replaces: bool = False) -> None:
        """Upload a file under a given name, without replacing other content.

        Args:
            path: the path of the file.
            key: the name, below the store's prefix.
            replaces: whether other content of that name is replaced nevertheless.

        Raises:
            MediaError: another file has that name, or the store refused the file or cannot be reached.
        """
        await to_thread.run_sync(self._save, path, key, replaces)

    def _save(self, path: Path, key: str, replaces: bool) -> None:
        import obstore  # noqa: PLC0415 - as above

        if not replaces and (is_equal := self._equals(path, key)) is not None:
            if not is_equal:
                raise self._taken(key)
            return
        media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        mode: Literal["overwrite", "create"] = "overwrite" if replaces else "create"
        try:
            obstore.put(self._store, key, path, attributes={"Content-Type": media_type}, mode=mode)
        except obstore.exceptions.AlreadyExistsError:  # another worker has just uploaded one
            if not self._equals(path, key):
                raise self._taken(key) from None
        except (obstore.exceptions.BaseError, OSError, ValueError) as problem:
            raise self._error(problem, path) from None

    def _equals(self, path: Path, key: str) -> bool | None:
        """Whether the object of this name has the content of this file; None if there is no such object."""
        import obstore  # noqa: PLC0415 - as above

        try:
            if obstore.head(self._store, key)["size"] != path.stat().st_size:
                return False
            theirs = hashlib.sha256()
            for chunk in obstore.get(self._store, key):
                theirs.update(chunk)
        except FileNotFoundError:
            return None
        except (obstore.exceptions.BaseError, OSError, ValueError) as problem:
            raise self._error(problem, path) from None
        with path.open("rb") as ours:
            return hashlib.file_digest(ours, "sha256").digest() == theirs.digest()

    def _taken(self, key: str) -> MediaError:
        return MediaError(
            f"{self._url} has another file named {key!r:.200}, which was not replaced. Give the workers "
            "another prefix or --output-name, and run the batch again"
        )

    def _has(self, file: InputFile) -> bool:
        """Whether the store has the content; False if the credentials do not allow to check."""
        import obstore  # noqa: PLC0415 - as above

        try:
            return obstore.head(self._store, file.key)["size"] == file.size_bytes
        except (FileNotFoundError, obstore.exceptions.PermissionDeniedError):
            return False

    def _error(self, problem: Exception, path: Path) -> MediaError:
        text = str(problem)
        if CHANGED in text:
            return MediaError(f"{str(path)!r:.300} has changed while it was uploaded")
        said = reason(text)
        advice = next((what for sign, what in ADVICE.items() if sign in said), self._keys)
        return MediaError(f"{self._url} did not take {path.name!r:.100}: {said}; {advice}")


def _opened(url: str, keys: str, *, is_s3: bool) -> Any:  # noqa: ANN401 - one of obstore's classes
    try:
        from obstore.store import from_url  # noqa: PLC0415 - an extra
    except ImportError:
        raise ConfigurationError(
            "a media store needs the extra 'store': pip install 'seedance-async[store]'"
        ) from None
    endpoint = next(filter(None, map(os.environ.get, ENDPOINTS)), "") if is_s3 else ""
    if endpoint.startswith("http://") and not is_loopback(urlsplit(endpoint).hostname or ""):
        raise ConfigurationError(
            f"the media store's address is not https ({without_queries(endpoint)}), and the API fetches "
            "https URLs only"
        )
    try:
        return from_url(
            url,
            client_options={"allow_http": endpoint.startswith("http://")},
            retry_config={"max_retries": RETRIES, "retry_timeout": PATIENCE},
        )
    except Exception as problem:
        raise ConfigurationError(
            f"the media store {url} cannot be used: {reason(str(problem))}; {keys}"
        ) from None


def reason(text: str) -> str:
    """A store's error message in one line, without parts that may be secret."""
    if found := _CODE.search(text):
        return f"{found[1]}: {found[2]}" if found[2] else found[1]
    first = text.partition("\n")[0]
    return without_queries(_TIMES.sub("", first))[:300].strip() or "no reason given"


ADVICE: Final = {
    "NoSuchBucket": "make the bucket, or name another one",
    "error sending request": "it cannot be reached: its address is that of the cloud, or AWS_ENDPOINT_URL",
}
"""Advice by a text in a store's error message; for any other message, the advice is about the keys."""

CHANGED: Final = "seedance: the file has changed"


class _Verifying(io.RawIOBase):
    """A reader of a file that raises an error at its end if the content is not the inspected one.

    An upload is completed only after the last read, so an object whose content does not match its name never
    becomes visible.
    """

    def __init__(self, file: BinaryIO, expected: InputFile) -> None:
        self._file = file
        self._expected = expected
        self._digest = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        place = self._file.seek(offset, whence)
        if place == 0:
            self._digest = hashlib.sha256()
        return place

    def read(self, size: int = -1, /) -> bytes:
        """Read the next part.

        Raises:
            OSError: at the end, if the content has changed.
        """
        piece = self._file.read(size)
        self._digest.update(piece)
        if not piece and size != 0 and self._digest.hexdigest() != self._expected.sha256:
            raise OSError(CHANGED)
        return piece
