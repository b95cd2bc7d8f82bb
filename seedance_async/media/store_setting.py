"""The setting ``media_store`` of a client: an argument, else an environment variable."""

from __future__ import annotations

import os
from typing import Final

from seedance_async.errors import ConfigurationError
from seedance_async.media.object_store import EXAMPLES, ObjectStore
from seedance_async.media.publisher import MediaStore

VARIABLE: Final = "SEEDANCE_MEDIA_STORE"


def read_media_store(given: object) -> MediaStore | None:
    """The media store given, else that of the environment; None if neither is set.

    Raises:
        ConfigurationError: it is neither the URL of a store nor an object with ``publish``.
    """
    if given is None:
        given = os.environ.get(VARIABLE) or None
    if given is None or (isinstance(given, MediaStore) and not isinstance(given, type)):
        return given
    if isinstance(given, str):
        return ObjectStore(given.strip())
    kind = type(given).__name__  # its repr may show a password
    raise ConfigurationError(
        f"media_store must be {EXAMPLES}, or an object with an async publish(file); got {kind}"
    )
