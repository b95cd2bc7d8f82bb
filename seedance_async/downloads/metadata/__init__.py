"""Metadata of result files: the prompt and the origin, inserted into MP4, MOV, PNG and JPEG.

Two texts are inserted: the prompt, as the comment that players and viewers show, and the file's *origin*, by
which a later download recognises it, and which has the seed. Pixels, samples and all existing boxes, chunks
and segments are kept. A change is one ``Splice``, so that a large clip is never held in memory.

Signed files (C2PA content credentials) are refused, because an insertion would break the signature.

Pure: reads a file, returns the change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from seedance_async.downloads.metadata import jpeg, mp4, png
from seedance_async.downloads.metadata.splice import MetadataError, Origin, Splice, apply_splice

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import BinaryIO

__all__ = ["MetadataError", "Origin", "Splice", "apply_splice", "plan_insertion", "read_origin"]


class Format(Protocol):
    """The functions that a module has for its file format."""

    def plan_insertion(self, file: BinaryIO, *, prompt: str, origin: Origin) -> Splice: ...

    def read_origin(self, file: BinaryIO) -> Origin | None: ...


FORMATS: Final[Mapping[str, Format]] = {"mp4": mp4, "mov": mp4, "png": png, "jpg": jpeg}


def plan_insertion(file: BinaryIO, kind: str, *, prompt: str, origin: Origin) -> Splice:
    """Return the change that inserts both texts into a file.

    Args:
        file: the file to read; its position changes, its bytes do not.
        kind: ``mp4``, ``mov``, ``png`` or ``jpg``; others are refused.
        prompt: stored as the comment.
        origin: stored under the name ``KEY``.

    Raises:
        MetadataError: the file cannot carry the texts, or must not be changed.
    """
    return _format(kind).plan_insertion(file, prompt=prompt, origin=origin)


def read_origin(file: BinaryIO, kind: str) -> Origin | None:
    """Return the origin stored in a file; None if there is none, or the file cannot be read."""
    try:
        return _format(kind).read_origin(file)
    except MetadataError:
        return None


def _format(kind: str) -> Format:
    if kind not in FORMATS:
        raise MetadataError(f"metadata of {kind} files are not supported")
    return FORMATS[kind]
