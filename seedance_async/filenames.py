"""File names made of foreign text, which every file system accepts. Pure.

A job's name, or a server's id, becomes part of a path. The rules are the same on every system, so that a
directory can be copied from one to another:

* characters that some system forbids or hides become ``_``: separators, ``<>:"|?*``, control and format
  characters (bidirectional marks among them), lone surrogates; white space becomes a blank;
* leading blanks, dots and dashes are removed (``-rf``, hidden files), and trailing blanks and dots (Windows
  drops them);
* names that Windows reserves for devices (``con``, ``nul.txt``) get a ``_`` in front;
* text is NFC, and at most ``MAX_STEM_BYTES`` long in UTF-8, cut between code points.

Two texts never give the same name: a name that had to be changed ends in six hexadecimal digits of the text's
hash. Names that differ only in case are one file on some systems; ``fold`` finds them.

Source: Microsoft's "Naming Files, Paths, and Namespaces"; the fault catalogue's cases 141 to 147.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import Final

MAX_STEM_BYTES: Final = 150
"""File systems allow 255; the rest is reserved for ``-last-frame``, a number and several extensions."""

_FORBIDDEN: Final = frozenset('/\\<>:"|?*')
_DEVICES: Final = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(?![^. ])", re.IGNORECASE
)


def fold(name: str) -> str:
    """A form that is equal for two names if a file system that ignores case treats them as one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def safe(text: str) -> str:
    """``text`` as one part of a path, the same on every system; different texts give different names."""
    plain = unicodedata.normalize("NFC", text)
    cleaned = "".join(" " if character.isspace() else _allowed(character) for character in plain)
    cleaned = cleaned.lstrip(" .-").rstrip(" .")
    if _DEVICES.match(cleaned):
        cleaned = f"_{cleaned}"
    cut = _cut(cleaned, MAX_STEM_BYTES)
    if cut and cut == plain:
        return cut
    return f"{_cut(cleaned, MAX_STEM_BYTES - 7).rstrip(' .')}-{_digest(plain)}".lstrip("-")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:6]


def in_ascii(part: str) -> str:
    """A safe part of a path for file systems that accept only ASCII; different parts stay different."""
    plain = part.encode("ascii", "replace").decode().replace("?", "_").lstrip(" .-")
    return part if part.isascii() else f"{_cut(plain, MAX_STEM_BYTES - 7)}-{_digest(part)}"


def _allowed(character: str) -> str:
    hidden = unicodedata.category(character) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    return "_" if hidden or character in _FORBIDDEN else character


def _cut(text: str, max_bytes: int) -> str:
    """The longest prefix of ``text`` that fits, in whole code points."""
    return text.encode()[:max_bytes].decode(errors="ignore")
