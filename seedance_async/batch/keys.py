"""Idempotency keys: the same for every attempt at a job, another for every other job.

A key is derived, not random, so that a job whose last record was lost gets the very key back that it was sent
under: ``HMAC-SHA256(nonce of the batch, name, generation, digest of the call)``, written as a UUID. Each part
has its reason. The *nonce* is random and kept in the journal: two batches never share keys, and nobody can
guess one. The *name* makes two equal requests two jobs. The *generation* counts deliberate new attempts, made
only after proof that the last one was not charged. The *digest* changes when the request is edited; for a
URL that links to another job it counts the link and its task, since each poll
signs the URL anew.

Thirty-six characters of ASCII fit every limit that servers are known to set on keys.

Pure: the nonce comes in.
"""

from __future__ import annotations

import hashlib
import hmac
import uuid
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

NONCE_BYTES: Final = 32


def digest(path: str, body: bytes) -> bytes:
    """What is asked for, in 32 bytes: equal for equal calls only."""
    return hashlib.sha256(path.encode() + b"\n" + body).digest()


def derive(nonce: bytes, *, name: str, generation: int, digest: bytes) -> str:
    """The idempotency key of one generation of one job.

    Args:
        nonce: the batch's own random bytes.
        name: the job's name, unique within the batch.
        generation: counts from 1.
        digest: of the call, see ``digest``.
    """
    parts = (name.encode(), str(generation).encode(), digest)
    # Each part is preceded by its length, so that no two lists of parts give the same bytes.
    message = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    code = hmac.new(nonce, message, hashlib.sha256).digest()
    return str(uuid.UUID(bytes=code[:16], version=4))


def joined(names: Sequence[str]) -> str:
    """What the key of a POST is derived from in the place of one job's name.

    All names are in it, so that these jobs with others never get the key, and with it the pictures, of these
    jobs among themselves. No name holds a NUL, so no job can be called so.
    """
    return "\0".join(names)
