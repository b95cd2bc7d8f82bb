"""File names that every file system takes, made of foreign text.

A job's name, and what a model or a server says, ends up in a path. So each value is made safe before it is
put into the template, in the same way on every system: a directory can be copied from one to another.

* characters that some system forbids or hides become ``_``: separators, ``<>:"|?*``, control and format
  characters (bidirectional marks among them), lone surrogates; white space becomes a blank;
* leading blanks, dots and dashes go (``-rf``, hidden files), and trailing blanks and dots (Windows drops
  them);
* what Windows keeps for devices (``con``, ``nul.txt``) gets a ``_`` in front;
* text is NFC, and at most ``MAX_STEM_BYTES`` long in UTF-8, cut between code points.

Two names must not become one file. Names that differ in case only are one file on some systems, so a batch
refuses them (``fold``); a name that had to be changed gets six hexadecimal digits of its own hash.

Pure. Sources: Microsoft's "Naming Files, Paths, and Namespaces"; cases 141 to 147 of the fault catalogue.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from pathlib import PurePosixPath
from string import Formatter
from typing import TYPE_CHECKING, Final

from attrs import field, frozen

from seedance_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FIELDS: Final[Mapping[str, str]] = {
    "name": "the job's name",
    "index": "the job's place in the batch, from 000001",
    "model": "seedance2, gpt-image-2 or nano-banana-pro",
    "task_id": "the server's id of the task",
    "take": "1, or which repetition of its line the job is",
    "ext": "mp4, png, jpg, …: what the file is; at the end only",
}
"""What a template may use, and what it stands for."""

DISTINCT: Final = frozenset({"name", "index", "task_id"})
"""Fields that differ from job to job; without one of them, several jobs would share a file name."""

DEFAULT: Final = "{name}.{ext}"

MAX_STEM_BYTES: Final = 150
"""Of 255 that file systems allow; the rest is room for ``-last-frame``, a number and several extensions."""

_FORBIDDEN: Final = frozenset('/\\<>:"|?*')
_DEVICES: Final = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(?![^. ])", re.IGNORECASE
)


def fold(name: str) -> str:
    """The key under which a case-insensitive file system takes two names for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def safe(text: str) -> str:
    """``text`` as one part of a path, the same on every system; different texts stay different."""
    plain = unicodedata.normalize("NFC", text)
    cleaned = "".join(" " if each.isspace() else _replaced(each) for each in plain)
    cleaned = cleaned.lstrip(" .-").rstrip(" .")
    if _DEVICES.match(cleaned):
        cleaned = f"_{cleaned}"
    cut = _cut(cleaned, MAX_STEM_BYTES)
    if cut and cut == plain:
        return cut
    digits = hashlib.sha256(plain.encode("utf-8", "surrogatepass")).hexdigest()[:6]
    return f"{_cut(cleaned, MAX_STEM_BYTES - 7).rstrip(' .')}-{digits}".lstrip("-")


def _replaced(character: str) -> str:
    hidden = unicodedata.category(character) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    return "_" if hidden or character in _FORBIDDEN else character


def _cut(text: str, max_bytes: int) -> str:
    """The longest prefix of ``text`` that fits, of whole code points."""
    return text.encode()[:max_bytes].decode(errors="ignore")


@frozen
class Template:
    """Where a job's files go, below the output directory.

    Args:
        text: a relative path with ``{fields}``. Its own ``/`` make folders; a field's value never does.
            ``.{ext}`` may end it or be left out.

    Raises:
        ConfigurationError: an unknown field, no field of ``DISTINCT``, or a path out of the directory.
    """

    text: str = field(default=DEFAULT)

    def __attrs_post_init__(self) -> None:
        problems = list(_problems(self.text))
        if problems:
            raise ConfigurationError(f"output name {self.text!r}: {'; '.join(problems)}")

    def render(self, **values: str) -> PurePosixPath:
        """The relative path of a file without its extension.

        Args:
            values: one for each of ``FIELDS`` but ``ext``.
        """
        safe_values = {name: safe(value) for name, value in values.items()}
        parts = [part.format(**safe_values) for part in _without_ext(self.text).split("/")]
        return PurePosixPath(*(part if part == safe(part) else safe(part) for part in parts))


def _without_ext(text: str) -> str:
    return text.removesuffix(".{ext}")


def _problems(text: str) -> Iterator[str]:
    try:
        parsed = Formatter().parse(text)
        used = [(name, spec or conversion) for _, name, spec, conversion in parsed if name is not None]
    except ValueError as problem:
        yield str(problem)
        return
    for name, formatting in used:
        if name not in FIELDS or formatting:
            yield f"{{{name}}} is not a field; known are {', '.join(FIELDS)}, without any formatting"
    if not DISTINCT & {name for name, _ in used}:
        yield "needs {name}, {index} or {task_id}, or all jobs would have one file"
    if "{ext}" in _without_ext(text):
        yield "{ext} may stand at its end only"
    if not all(_is_plain(part) for part in _without_ext(text).split("/")):
        yield "must be a plain relative path: no empty parts, no .., nothing a file system forbids"


def _is_plain(part: str) -> bool:
    """Whether a part of a template survives being made safe; a field stands for a letter."""
    shape = re.sub(r"\{[a-z_]+\}", "x", part)
    return bool(shape) and shape == safe(shape)
