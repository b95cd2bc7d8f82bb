"""The inspection of local files: type, size and hash, all determined from the content.

Blocking: call it in a thread.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import frozen

from seedance_async.errors import MediaError, ValidationError
from seedance_async.file_types import HEAD_BYTES, kind_of
from seedance_async.models import local_files
from seedance_async.models.local_files import CLIPS_TOO

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from io import BufferedReader

    from seedance_async.models import LocalFile, Request

MOST_PICTURE_BYTES: Final = 30_000_000
"""The largest picture: 30 MB, the limit that the vendor's site states."""

MOST_CLIP_BYTES: Final = 500_000_000
"""The largest clip. The vendor states no limit; a larger file is assumed to be a mistake."""

PICTURES: Final[Mapping[str, str]] = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "avif": "image/avif",
    "heic": "image/heic",
    "heif": "image/heif",
}
CLIPS: Final[Mapping[str, str]] = {
    "mp4": "video/mp4",
    "mov": "video/quicktime",
    "webm": "video/webm",
    "mkv": "video/x-matroska",
}
"""Media types by the extension that belongs to the content, whatever the file's name."""

REF: Final = "sha256:"
"""The prefix of a content reference, which represents a file until it is replaced by its URL."""

REMEMBERED_FILES: Final = 10_000


@frozen(kw_only=True)
class InputFile:
    """A local picture or clip, as it was inspected.

    Attributes:
        path: the absolute path.
        sha256: the hash of the content, in hexadecimal digits.
        extension: the extension that belongs to the content: ``png``, ``jpg``, ``mp4``, …
        media_type: the media type of the content: ``image/png``, …
        size_bytes: the size of the content.
    """

    path: Path
    sha256: str
    extension: str
    media_type: str
    size_bytes: int

    @property
    def key(self) -> str:
        """Its name in a store, equal for equal content."""
        return f"{self.sha256}.{self.extension}"

    @property
    def ref(self) -> str:
        """The content reference that represents it in a request until it is replaced by its URL."""
        return f"{REF}{self.key}"


def inspect(path: str | os.PathLike[str]) -> InputFile:
    """Inspect a local file.

    Raises:
        MediaError: it cannot be read, or is not a picture or clip that the API accepts; the message says why.
    """
    place = Path(os.path.abspath(path))  # noqa: PTH100 - Path.resolve would follow links, absolute keeps ..
    try:
        with _opened(place) as file:
            return _inspected(place, file)
    except (OSError, ValueError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else problem
        raise MediaError(f"{str(place)!r:.300} cannot be read: {reason}; {_MEANT}") from problem


def _opened(path: Path) -> BufferedReader:
    """Open a regular file for reading, without blocking on a named pipe."""
    number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        if not stat.S_ISREG(os.fstat(number).st_mode):
            raise MediaError(f"{str(path)!r:.300} is not a file (a directory, a pipe or a device)")
        return os.fdopen(number, "rb")
    except BaseException:
        os.close(number)
        raise


def _inspected(path: Path, file: BufferedReader) -> InputFile:
    head = file.read(HEAD_BYTES)
    extension = kind_of(head)
    media_type = {**PICTURES, **CLIPS}.get(extension or "")
    size = os.fstat(file.fileno()).st_size
    if extension is None or media_type is None:
        raise MediaError(f"{str(path)!r:.300} {_foreign(head)}: by its content it must be {_TYPES}")
    most = MOST_CLIP_BYTES if extension in CLIPS else MOST_PICTURE_BYTES
    if size > most:
        reason = f"has {size / 1e6:,.1f} MB; a {media_type} may have {most / 1e6:,.0f} MB"
        raise MediaError(f"{str(path)!r:.300} {reason}")
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    return InputFile(path=path, sha256=digest, extension=extension, media_type=media_type, size_bytes=size)


def _foreign(head: bytes) -> str:
    """A description of other content, which repeats nothing of it, as it may be a secret."""
    if not head:
        return "is empty"
    is_page = head.lstrip()[:1] == b"<"
    return "is no picture and no clip but a page" if is_page else "is no picture and no clip"


class Inspector:
    """The inspector of local files; it reads an unchanged file once, and knows files that no longer exist.

    Args:
        known: the content references, by path, of files sent by earlier runs. If such a file does not exist
            any more, the results made from it are still recognised.
    """

    def __init__(self, known: Mapping[str, str] | None = None) -> None:
        self._known = dict(known or {})
        self._seen: OrderedDict[str, tuple[tuple[int, ...], InputFile]] = OrderedDict()
        self.gone: dict[str, str] = {}
        """By path, why files cannot be read whose content is known from earlier runs."""

    def files(
        self, given: Iterable[tuple[str, LocalFile]]
    ) -> tuple[dict[str, tuple[str, str]], list[tuple[str, str]]]:
        """Inspect the local files of a request, given with their fields.

        Returns:
            By the text in the request, the content reference and the absolute path; and all problems, as
            field and reason.
        """
        found: dict[str, tuple[str, str]] = {}
        wrong: list[tuple[str, str]] = []
        for name, text in given:
            try:
                ref, path = self._ref(text)
                if fault := clip_fault(name, ref, path):
                    raise MediaError(fault)
                found[str(text)] = ref, path
            except MediaError as problem:
                wrong.append((name, problem.message))
        return found, wrong

    def fault(self, ref: str, path: str) -> str | None:
        """Why a file no longer has the content of this reference; None if it has."""
        try:
            found = self._inspected(path)
        except MediaError as problem:
            return problem.message
        return None if found.ref == ref else f"{path!r:.300} has changed since the take was made"

    def _ref(self, text: str) -> tuple[str, str]:
        path = os.path.abspath(text)  # noqa: PTH100 - as above
        try:
            return self._inspected(path).ref, path
        except MediaError as problem:
            if path not in self._known or Path(path).exists():
                raise
            self.gone[path] = problem.message
            return self._known[path], path

    def _inspected(self, path: str) -> InputFile:
        try:
            found = os.stat(path)  # noqa: PTH116 - the text is one already
        except (OSError, ValueError):
            return inspect(path)
        mark = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        seen = self._seen.get(path)
        if seen is None or seen[0] != mark:
            seen = self._seen[path] = mark, inspect(path)
        self._seen.move_to_end(path)
        while len(self._seen) > REMEMBERED_FILES:
            self._seen.popitem(last=False)
        return seen[1]


def clip_fault(name: str, ref: str, path: str) -> str | None:
    """Why a file is not allowed in a field because it is a clip; None if it is allowed."""
    extension = ref.rpartition(".")[2]
    if extension in PICTURES or name in CLIPS_TOO:
        return None
    return f"{path!r:.300} must be a picture; by its content it is a clip ({CLIPS.get(extension)})"


def checked_files(request: Request) -> dict[str, tuple[str, str]]:
    """The local files of one request: by the text in it, the content reference and the path.

    Raises:
        ValidationError: with every problem, by field.
    """
    found, wrong = Inspector().files(local_files(request))
    if wrong:
        raise ValidationError(wrong, subject=type(request).__name__)
    return found


_TYPES: Final = f"one of {', '.join([*PICTURES, *CLIPS])}"
_MEANT: Final = "name a picture or clip, or a URL, which begins with https://"
