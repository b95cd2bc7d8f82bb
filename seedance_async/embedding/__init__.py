"""The prompt in a file's own metadata: a clip or picture says itself where it comes from, wherever it goes.

Two texts are put in: the prompt, as the comment that players and viewers show, and the file's *origin*, by
which a later download knows it again. Pixels, samples and every box, chunk or segment that was there stay as
they are; a change is one ``Splice``, so a large clip needs no memory.

Files that sign themselves (C2PA content credentials) are refused: whatever is added to those breaks the
signature, and the signature is worth more.

Pure: reads what it is given, returns what to change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from seedance_async.embedding import jpeg, mp4, png
from seedance_async.embedding.splice import EmbeddingError, Origin, Splice, spliced

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import BinaryIO

__all__ = ["EmbeddingError", "Origin", "Splice", "embedding", "origin_of", "spliced"]


class Format(Protocol):
    """What a module knows about one format."""

    def splice(self, file: BinaryIO, *, prompt: str, origin: Origin) -> Splice: ...

    def origin_of(self, file: BinaryIO) -> Origin | None: ...


FORMATS: Final[Mapping[str, Format]] = {"mp4": mp4, "png": png, "jpg": jpeg}


def embedding(file: BinaryIO, kind: str, *, prompt: str, origin: Origin) -> Splice:
    """The change that puts both texts into a file.

    Args:
        file: where the bytes are read; it is sought in, and not changed.
        kind: ``mp4``, ``png`` or ``jpg``.
        prompt: goes into the comment.
        origin: where the file comes from, under a name of its own.

    Raises:
        EmbeddingError: the file cannot carry them, or should not; says why.
    """
    return _format(kind).splice(file, prompt=prompt, origin=origin)


def origin_of(file: BinaryIO, kind: str) -> Origin | None:
    """The origin that a file tells; None if it tells none that can be read."""
    try:
        return _format(kind).origin_of(file)
    except EmbeddingError:
        return None


def _format(kind: str) -> Format:
    if kind not in FORMATS:
        raise EmbeddingError(f"nothing is known of texts in {kind} files")
    return FORMATS[kind]
