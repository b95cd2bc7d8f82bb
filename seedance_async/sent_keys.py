"""The idempotency keys given by callers: their form, and the request that was sent under each."""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from seedance_async import wire
from seedance_async.errors import IdempotencyConflictError, ValidationError

if TYPE_CHECKING:
    from seedance_async.models import Request

REMEMBERED_KEYS: Final = 10_000


class SentKeys:
    """The keys given by a client's callers, each with a digest of its request."""

    def __init__(self) -> None:
        self._digests: OrderedDict[str, bytes] = OrderedDict()

    def check(self, request: Request, key: object) -> None:
        """Check a key before a POST, and remember its request.

        Raises:
            ValidationError: the key is not allowed in a header.
            IdempotencyConflictError: the key was sent with another request before.
        """
        if not isinstance(key, str) or not re.fullmatch(r"[\x21-\x7e]{1,255}", key):
            raise ValidationError(
                [("idempotency_key", "must be 1 to 255 printable ASCII characters, no spaces")]
            )
        digest = hashlib.sha256(request.path.encode() + wire.encode(request)).digest()
        if self._digests.setdefault(key, digest) != digest:
            raise IdempotencyConflictError(
                "this key was sent with another request before; nothing was sent",
                code="idempotency_conflict",
                idempotency_key=key,
            )
        while len(self._digests) > REMEMBERED_KEYS:
            self._digests.popitem(last=False)
