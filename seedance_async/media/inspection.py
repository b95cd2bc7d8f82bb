"""What a local file is, by its content: a picture or a clip, how large, and by which hash it is known.

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
"""Of one picture: the limit of 30 MB that the vendor's site states."""

MOST_CLIP_BYTES: Final = 500_000_000
"""Of one clip. The vendor states no limit; more than this is a mistake."""

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
"""Media types by the extension that the content has, whatever the file is called."""

REF: Final = "sha256:"
"""How a reference to content begins, which stands for a file until its URL takes the place."""

REMEMBERED_FILES: Final = 10_000


@frozen(kw_only=True)
class InputFile:
    """A local picture or clip as it was looked at.

    Attributes:
        path: where it is, absolute.
        sha256: of the content, in hexadecimal digits.
        extension: by the content: ``png``, ``jpg``, ``mp4``, …
        media_type: by the content: ``image/png``, …
        size_bytes: of the content.
    """

    path: Path
    sha256: str
    extension: str
    media_type: str
    size_bytes: int

    @property
    def key(self) -> str:
        """What to call it in a store: equal for equal content."""
        return f"{self.sha256}.{self.extension}"

    @property
    def ref(self) -> str:
        """What stands for its content in a request, until its URL does."""
        return f"{REF}{self.key}"


def inspect(path: str | os.PathLike[str]) -> InputFile:
    """Look at a local file.

    Raises:
        MediaError: it cannot be read, or is no picture or clip that the API can take; the message says why.
    """
    place = Path(os.path.abspath(path))  # noqa: PTH100 - Path.resolve would follow links, absolute keeps ..
    try:
        with _opened(place) as file:
            return _inspected(place, file)
    except (OSError, ValueError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else problem
        raise MediaError(f"{str(place)!r:.300} cannot be read: {reason}; {_MEANT}") from problem


def _opened(path: Path) -> BufferedReader:
    """A file opened for reading; a named pipe is not waited for."""
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
    """What content is that is no picture and no clip; nothing of it is repeated, as it may be a secret."""
    if not head:
        return "is empty"
    is_page = head.lstrip()[:1] == b"<"
    return "is no picture and no clip but a page" if is_page else "is no picture and no clip"


class Inspector:
    """Looks at local files, at one that does not change once; also at those that are gone by now.

    Args:
        known: by path, the content of files that were sent by earlier runs. Where such a file is not there
            any more, what was made of it is recognised all the same.
    """

    def __init__(self, known: Mapping[str, str] | None = None) -> None:
        self._known = dict(known or {})
        self._seen: OrderedDict[str, tuple[tuple[int, ...], InputFile]] = OrderedDict()
        self.gone: dict[str, str] = {}
        """Why files cannot be read whose content is known from before, by path."""

    def files(
        self, given: Iterable[tuple[str, LocalFile]]
    ) -> tuple[dict[str, tuple[str, str]], list[tuple[str, str]]]:
        """The local files of a request, given with their fields.

        Returns:
            By the text in the request, what stands for the content, and the absolute path; and what is wrong,
            as field and reason.
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
        """Why a file has not the content any more that it had, by what stands for it; None if it has."""
        try:
            found = self._inspected(path)
        except MediaError as problem:
            return problem.message
        return None if found.ref == ref else f"{path!r:.300} has another content than when the take was made"

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
    """Why a file cannot stand in a field because it is a clip; None if it can."""
    extension = ref.rpartition(".")[2]
    if extension in PICTURES or name in CLIPS_TOO:
        return None
    return f"{path!r:.300} must be a picture; by its content it is a clip ({CLIPS.get(extension)})"


def checked_files(request: Request) -> dict[str, tuple[str, str]]:
    """The local files of one request: by the text in it, what stands for the content, and the path.

    Raises:
        ValidationError: with everything that is wrong with them, by field.
    """
    found, wrong = Inspector().files(local_files(request))
    if wrong:
        raise ValidationError(wrong, subject=type(request).__name__)
    return found


_TYPES: Final = f"one of {', '.join([*PICTURES, *CLIPS])}"
_MEANT: Final = "name a picture or clip, or a URL, which begins with https://"
