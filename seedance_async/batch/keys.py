"""The idempotency keys of a batch: the same for every attempt at a job, different for every other job.

A key is derived, not random, so that a job whose last record was lost gets the same key again:
``HMAC-SHA256(nonce of the batch, name, generation, digest of the call)``, formatted as a UUID. The *nonce* is
random and stored in the journal: two batches never share keys, and keys cannot be guessed. The *name* gives
two jobs with equal requests different keys. The *generation* counts deliberate new keys, used only after
proof that nothing was charged under the last one, or if the user accepts to pay twice. The *digest* changes
when the request is edited; in the place of a URL that links to another job it contains the link and the task
id, because the URL is signed again at each poll.

Thirty-six ASCII characters are within every limit that servers are known to set on keys.

Pure.
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
    """Return the SHA-256 digest (32 bytes) of a call's path and body."""
    return hashlib.sha256(path.encode() + b"\n" + body).digest()


def derive(nonce: bytes, *, name: str, generation: int, digest: bytes) -> str:
    """Return the idempotency key of one generation of one job.

    Args:
        nonce: the batch's random bytes.
        name: the job's name, unique within the batch.
        generation: number of the key for the same job and call, from 1.
        digest: digest of the call, see ``digest``.
    """
    parts = (name.encode(), str(generation).encode(), digest)
    # Each part is preceded by its length, so that different lists of parts give different bytes.
    message = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    code = hmac.new(nonce, message, hashlib.sha256).digest()
    return str(uuid.UUID(bytes=code[:16], version=4))


def joined(names: Sequence[str]) -> str:
    """Return the name from which the key of a shared POST is derived.

    It contains the names of all jobs, so that another group of jobs never gets this key, and with it the
    pictures of these jobs. Job names contain no NUL, so no single job has this name.
    """
    return "\0".join(names)
